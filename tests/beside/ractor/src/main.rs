//! The same ping-pong, and the same counters, with `ractor_cluster`: to be run beside `cargo bench -p millstream-tests
//! --bench actors`, on the same machine in the same minute.
//!
//! `cargo run --release -- [SECONDS] [BYTES] [IN_FLIGHT]`. The other node is this program again, in a process of its own.
//! Nothing is encrypted, and nothing survives: what is measured beside is both.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, pg};
use ractor_cluster::{NodeServer, RactorClusterMessage};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

const COUNTERS: usize = 1_000;
const WITHIN: Duration = Duration::from_secs(10);
const GROUP: &str = "pongers";

#[derive(RactorClusterMessage)]
enum Message {
    /// Comes back as it is.
    #[rpc]
    Ping(Vec<u8>, RpcReplyPort<Vec<u8>>),
    /// Counts, and says how far.
    #[rpc]
    Count(Vec<u8>, RpcReplyPort<u64>),
}

struct Counter;

impl Actor for Counter {
    type Msg = Message;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, (): ()) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        counted: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Ping(bytes, reply) => reply.send(bytes)?,
            Message::Count(_, reply) => {
                *counted += 1;
                reply.send(*counted)?;
            }
        }
        Ok(())
    }
}

/// Ended with this program.
struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, port] = arguments.as_slice()
        && first == "serve"
    {
        return serve(port.parse()?).await;
    }
    let number = |place: usize, default| arguments.get(place).map_or(Ok(default), |text| text.parse::<u64>());
    let (time, bytes) = (Duration::from_secs(number(0, 5)?), usize::try_from(number(1, 100)?)?);
    let in_flight = usize::try_from(number(2, 256)?)?;
    ping(time, bytes).await?;
    count(time, bytes, in_flight).await
}

/// A free port, which somebody else may take before it is used.
fn free_port() -> Outcome<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

async fn node(port: u16) -> Outcome<ActorRef<ractor_cluster::NodeServerMessage>> {
    let server = NodeServer::new(
        port,
        "cookie".to_owned(),
        format!("node-{port}"),
        "localhost".to_owned(),
        None,
        None,
    );
    Ok(Actor::spawn(None, server, ()).await?.0)
}

async fn serve(port: u16) -> Outcome {
    node(port).await?;
    let (actor, running) = Actor::spawn(None, Counter, ()).await?;
    pg::join(GROUP.to_owned(), vec![actor.get_cell()]);
    println!("ready");
    // It ends with its standard input: with the program that began it.
    tokio::task::spawn_blocking(|| std::io::stdin().lines().count()).await?;
    running.abort();
    Ok(())
}

async fn ping(time: Duration, bytes: usize) -> Outcome {
    let port = free_port()?;
    let mut other = Command::new(std::env::current_exe()?);
    let started =
        other.args(["serve", &port.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut other = Other(started?);
    let said = other.0.stdout.take().ok_or("no standard output")?;
    BufReader::new(said).lines().next().ok_or("it ended at once")??;
    let server = node(free_port()?).await?;
    ractor_cluster::client_connect(&server, ("127.0.0.1", port)).await?;
    let until = Instant::now() + WITHIN;
    let ponger: ActorRef<Message> = loop {
        if let Some(found) = pg::get_members(&GROUP.to_owned()).into_iter().next() {
            break found.into();
        }
        if Instant::now() > until {
            return Err("the other node's actor does not appear".into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let (mut trips, began) = (Vec::new(), Instant::now());
    while began.elapsed() < time {
        let (sent, message) = (Instant::now(), vec![7; bytes]);
        let answer = ponger.call(|reply| Message::Ping(message, reply), Some(WITHIN)).await?;
        if !answer.is_success() {
            return Err("no answer".into());
        }
        trips.push(sent.elapsed());
    }
    trips.sort_unstable();
    let per_mille = |rank: usize| trips.get(trips.len() * rank / 1000).copied().unwrap_or_default();
    println!(
        "| ractor_cluster: ask of an actor on another node | {:.0?} | {:.0?} |",
        per_mille(500),
        per_mille(990)
    );
    Ok(())
}

async fn count(time: Duration, bytes: usize, in_flight: usize) -> Outcome {
    let mut counters = Vec::new();
    for _ in 0..COUNTERS {
        counters.push(Actor::spawn(None, Counter, ()).await?.0);
    }
    let began = Instant::now();
    let asking = (0..in_flight).map(|first| {
        let counters = counters.clone();
        tokio::spawn(async move {
            let (mut place, mut done) = (first, 0_u64);
            while began.elapsed() < time {
                let message = vec![7; bytes];
                counters[place % COUNTERS].call(|reply| Message::Count(message, reply), Some(WITHIN)).await?;
                place += in_flight;
                done += 1;
            }
            Outcome::Ok(done)
        })
    });
    let mut done = 0;
    for task in asking.collect::<Vec<_>>() {
        done += task.await??;
    }
    println!(
        "| ractor: counters in memory, asked | {:.0} a second |",
        done as f64 / began.elapsed().as_secs_f64()
    );
    Ok(())
}
