//! The topologies of `tests/beside/kafka_streams/Application.java`, exactly once, with state on disk: a process that is told on
//! its standard input `start TOPOLOGY ROUND CACHE_BYTES` and `stop`, and answers `running` and `stopped`.
//!
//! `streams-beside HOST:PORT CERTIFICATES STATE_DIR`

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use millstream::certificates::{CertificateFolder, LOCAL_CLIENT};
use millstream::streams::store::Stored;
use millstream::streams::window::Tumbling;
use millstream::streams::{Coded, StreamBuilder, Streams, StreamsSettings, Topology};
use millstream::{Client, ClientSettings};
use millstream_tests::Outcome;

const WITHIN: Duration = Duration::from_secs(60);

/// The partitions of a topic, each of which is a task's: the cache is one for all of them.
const TASKS: usize = 4;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bootstrap, certificates, state] = arguments.as_slice() else {
        return Err("streams-beside HOST:PORT CERTIFICATES STATE_DIR".into());
    };
    // As many threads as Kafka Streams is given.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let credentials = CertificateFolder::new(certificates).client(LOCAL_CLIENT)?;
    let client = runtime.block_on(Client::connect(credentials, ClientSettings::new([bootstrap])))?;
    let mut running = None;
    for order in std::io::stdin().lines() {
        match order?.split(' ').collect::<Vec<_>>().as_slice() {
            ["start", topology, round, cache_bytes] => {
                let topology = topology_of(topology, round, cache_bytes.parse()?)?;
                running = Some(runtime.block_on(start(&client, &topology, state.as_ref()))?);
                answer("running")?;
            }
            ["stop"] => {
                if let Some(streams) = running.take() {
                    runtime.block_on(streams.close(WITHIN))?;
                }
                answer("stopped")?;
            }
            other => return Err(format!("{} is no order", other.join(" ")).into()),
        }
    }
    Ok(())
}

fn answer(word: &str) -> Outcome {
    Ok(writeln!(std::io::stdout(), "{word}")?)
}

async fn start(client: &Client, topology: &Topology, state: &Path) -> Outcome<Streams> {
    let settings = StreamsSettings { state_dir: Some(state.to_owned()), ..StreamsSettings::default() };
    Ok(Streams::start(client, topology, settings).await?)
}

fn topology_of(name: &str, round: &str, cache_bytes: usize) -> Outcome<Topology> {
    let builder = StreamBuilder::new(&format!("beside-{round}"));
    let (input, output) = (format!("in-{round}"), format!("out-{round}"));
    match name {
        "words" => builder
            .stream::<Option<String>, String>(input.as_str())
            .flat_map_values(|_, line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
            .group_by(|_, word| word.clone(), "words")
            .count(stored("counts", cache_bytes))
            .to_stream()
            .to(output.as_str()),
        "windows" => builder
            .stream::<String, i64>(input.as_str())
            .group_by_key("readings")
            .windowed_by(Tumbling::of(Duration::from_secs(10)).grace(Duration::from_secs(5)))
            .aggregate(|_| 0, |_, value, sum| sum + value, stored("sums", cache_bytes))
            .to_stream()
            .map(|key, sum| (format!("{}@{}", key.key, key.window.start_ms), sum))
            .to(output.as_str()),
        "pages" => builder
            .stream::<String, bytes::Bytes>(input.as_str())
            .group_by_key("pages")
            .reduce(|_, page| page, stored("newest", cache_bytes))
            .to_stream()
            .map_values(|_, page| i64::try_from(page.len()).unwrap_or(i64::MAX))
            .to(output.as_str()),
        _ => return Err(format!("no topology is named {name}").into()),
    }
    Ok(builder.build()?)
}

/// A store whose results are held back in its share of so many bytes, or sent at once.
fn stored<K: Coded, V: Coded>(name: &str, cache_bytes: usize) -> Stored<K, V> {
    match cache_bytes {
        0 => Stored::from(name),
        bytes => Stored::from(name).cached(bytes / TASKS),
    }
}
