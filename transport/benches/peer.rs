//! What a link between two nodes carries over loopback, real QUIC, real threads: throughput of bodies of 256 KiB with eight asks
//! in flight, there and back, and the round trip of 64 bytes; for packets of three sizes.
//!
//! `cargo bench -p millstream-transport --bench peer`, optionally `-- MTU…` for other sizes. A line a case, with
//! the CPU seconds of both ends per GB.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use millstream_transport::identity::{ClusterAuthority, NodeId};
use millstream_transport::message::{Answer, BodyMismatch, Message};
use millstream_transport::peer::{Endpoint, EndpointConfig, Handlers, Lane, Mtu, Peer};
use millstream_transport::wire::{RealWire, RealWireSettings};
use millstream_transport::world::{Arbiters, World};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

const BODY_BYTES: usize = 256 << 10;
const TOTAL_BYTES: usize = 1 << 30;
const IN_FLIGHT: usize = 8;
const ROUND_TRIPS: usize = 5_000;
const DEADLINE: Duration = Duration::from_secs(30);

/// Carries a body there, and wants one of so many bytes back.
#[derive(Debug, Serialize, Deserialize)]
struct Carry {
    back_bytes: u32,
    #[serde(skip)]
    body: Bytes,
}

#[derive(Debug, Serialize, Deserialize)]
struct Carried(#[serde(skip)] Bytes);

impl Message for Carry {
    const KIND: u16 = 99;
    type Answer = Carried;

    fn take_bodies(&mut self) -> Vec<Bytes> {
        vec![std::mem::take(&mut self.body)]
    }

    fn put_bodies(&mut self, mut bodies: Vec<Bytes>) -> Result<(), BodyMismatch> {
        BodyMismatch::check(1, bodies.len())?;
        self.body = bodies.pop().unwrap_or_default();
        Ok(())
    }
}

impl Answer for Carried {
    fn take_bodies(&mut self) -> Vec<Bytes> {
        vec![std::mem::take(&mut self.0)]
    }

    fn put_bodies(&mut self, mut bodies: Vec<Bytes>) -> Result<(), BodyMismatch> {
        BodyMismatch::check(1, bodies.len())?;
        self.0 = bodies.pop().unwrap_or_default();
        Ok(())
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let asked = std::env::args().filter_map(|argument| argument.parse().ok()).collect::<Vec<u16>>();
    let sizes = if asked.is_empty() { vec![1452, 16_384, 65_500] } else { asked };
    for mtu_bytes in sizes {
        measure(mtu_bytes)?;
    }
    Ok(())
}

fn measure(mtu_bytes: u16) -> Result<(), Failure> {
    let (world, arbiters) = World::real(1)?;
    let authority = ClusterAuthority::create(&world.clock, &world.random)?;
    let (tell, hear) = mpsc::channel();
    let other = node(&authority, 2, mtu_bytes)?;
    // The other node has threads of its own, as it would have in a process of its own.
    let answering = std::thread::spawn(move || -> Result<(), Failure> {
        let (world, arbiters) = World::real(1)?;
        runtime()?.block_on(async {
            let endpoint = start(other, world, mtu_bytes)?;
            let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
            tell.send((endpoint.local_address(), stop))?;
            let _ = stopped.await;
            endpoint.close().await;
            Ok::<_, Failure>(())
        })?;
        arbiters.stop();
        Ok(())
    });
    let (address, stop) = hear.recv()?;
    runtime()?.block_on(ask(node(&authority, 1, mtu_bytes)?, world, mtu_bytes, address))?;
    drop(stop);
    stop_threads(arbiters, answering)
}

fn stop_threads(
    arbiters: Arbiters,
    answering: std::thread::JoinHandle<Result<(), Failure>>,
) -> Result<(), Failure> {
    arbiters.stop();
    answering.join().map_err(|_| "the answering node panicked")?
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn node(authority: &ClusterAuthority, node: u32, mtu_bytes: u16) -> Result<EndpointConfig, Failure> {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut config = EndpointConfig::new(listen, authority.issue_node(NodeId(node), &[])?, 1);
    config.tuning.mtu = Mtu::Known(mtu_bytes);
    Ok(config)
}

fn start(config: EndpointConfig, world: World, mtu_bytes: u16) -> Result<Endpoint, Failure> {
    let wire = RealWire::new(RealWireSettings { mtu_bytes, ..RealWireSettings::default() });
    let handlers = Handlers::new().on::<Carry>(|_, message, answering| {
        let back = usize::try_from(message.back_bytes).unwrap_or(0);
        static BACK: [u8; BODY_BYTES] = [7; BODY_BYTES];
        answering.answer(Carried(Bytes::from_static(BACK.get(..back).unwrap_or_default())));
    });
    Ok(Endpoint::start(config, world, Arc::new(wire), Arc::new(handlers))?)
}

async fn ask(
    config: EndpointConfig,
    world: World,
    mtu_bytes: u16,
    address: SocketAddr,
) -> Result<(), Failure> {
    let cores = world.threads.cores().to_vec();
    let endpoint = start(config, world, mtu_bytes)?;
    endpoint.directory().set(NodeId(2), address.to_string());
    let peer = endpoint.peer(NodeId(2));
    let (done, lines) = tokio::sync::oneshot::channel();
    let core = cores.first().ok_or("no core")?;
    // Asked from the core that drives the link, as a producer router does.
    core.spawn(move || async move {
        let _ = done.send(cases(&peer, mtu_bytes).await);
    });
    let lines = lines.await??;
    std::io::stdout().write_all(lines.as_bytes())?;
    endpoint.close().await;
    Ok(())
}

async fn cases(peer: &Peer, mtu_bytes: u16) -> Result<String, Failure> {
    let body = Bytes::from(vec![7; BODY_BYTES]);
    transfer(peer, &body, 0, TOTAL_BYTES / 8).await?;
    let there = transfer(peer, &body, 0, TOTAL_BYTES).await?;
    let back = transfer(peer, &Bytes::new(), u32::try_from(BODY_BYTES)?, TOTAL_BYTES).await?;
    let control = round_trips(peer, Lane::Control).await?;
    let data = round_trips(peer, Lane::Data).await?;
    Ok(format!(
        "mtu {mtu_bytes:>5}: there {there}; back {back}; 64 B round trip p50 / p99, control lane {control}, data lane {data}\n"
    ))
}

/// Throughput of so many bytes, in the request's body or in the answer's.
async fn transfer(peer: &Peer, body: &Bytes, back_bytes: u32, total: usize) -> Result<String, Failure> {
    let (started, cpu) = (Instant::now(), cpu_seconds()?);
    let mut flying = FuturesUnordered::new();
    for _ in 0..total / BODY_BYTES {
        if flying.len() == IN_FLIGHT {
            flying.next().await.ok_or("nothing in flight")??;
        }
        flying.push(peer.ask(Lane::Data, Carry { back_bytes, body: body.clone() }, DEADLINE));
    }
    while let Some(answer) = flying.next().await {
        answer?;
    }
    let gigabytes = f64::from(u32::try_from(total)?) / 1e9;
    let speed = gigabytes * 1e3 / started.elapsed().as_secs_f64();
    Ok(format!("{speed:.0} MB/s at {:.2} CPU s/GB", (cpu_seconds()? - cpu) / gigabytes))
}

async fn round_trips(peer: &Peer, lane: Lane) -> Result<String, Failure> {
    let body = Bytes::from_static(&[1; 64]);
    let mut times = Vec::with_capacity(ROUND_TRIPS);
    for _ in 0..ROUND_TRIPS {
        let started = Instant::now();
        peer.ask(lane, Carry { back_bytes: 64, body: body.clone() }, DEADLINE).await?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    let at = |part: usize| times.get(ROUND_TRIPS * part / 100).map_or(0, Duration::as_micros);
    Ok(format!("{} / {} us", at(50), at(99)))
}

/// CPU time of this process, user and system, from `/proc/self/stat` (hundredths of a second).
fn cpu_seconds() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("unreadable /proc/self/stat")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / 100.0)
}
