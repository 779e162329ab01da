//! Learn to ask a stream's store: words are counted as lines come, and a small page shows the counts of this moment.
//!
//! `cargo run --release --example queries`; with `-- --stay` the page is served until Ctrl-C.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::get;
use millstream::config::Settings;
use millstream::streams::{QueriedStore, QueryError, StreamBuilder, Streams, StreamsSettings};
use millstream::{Client, CreateTopic, Node, ProducerRecord, ProducerSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const LINES: [&str; 3] = ["to be or not to be", "that is the question", "to suffer"];
const ROUNDS: i64 = 20;
const WITHIN: Duration = Duration::from_secs(30);

/// What is asked: of each word how often it has come.
type Counts = QueriedStore<String, i64>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    run(std::env::args().any(|argument| argument == "--stay"), |line| println!("{line}")).await
}

async fn run(stays: bool, mut say: impl FnMut(String)) -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let settings = Settings::default()
        .set("data.dir", &directory.path().join("node").to_string_lossy())?
        .set("node.cores", "1")?
        .set("quic.listen", "127.0.0.1:0")?
        .set("http.listen", "127.0.0.1:0")?;
    let node = Node::start(&settings)?;
    if !node.wait_until_ready(Duration::from_secs(20)).await {
        return Err("the node did not become ready".into());
    }
    let client = node.client();
    let streams = count_words(&client).await?;

    // In the process that counts. A program elsewhere asks `client.streams("live-words").store::<String, i64>("counts")`.
    let page = serve(streams.store::<String, i64>("counts")?).await?;
    for round in 1..=ROUNDS {
        send_lines(&client).await?;
        if round == 1 || round == ROUNDS {
            say(until(page, "/total", &format!("{} words", 12 * round)).await?);
            say(asked(page, "/count?word=to").await?);
        }
    }
    say(asked(page, "/count?word=nobler").await?);
    say(asked(page, "/").await?);
    say(from_elsewhere(&client).await?);
    if stays {
        say(format!("http://{page}"));
        tokio::signal::ctrl_c().await?;
    }
    streams.close(WITHIN).await?;
    node.stop()?;
    Ok(())
}

async fn count_words(client: &Client) -> Result<Streams, Box<dyn Error>> {
    let topic = CreateTopic {
        name: "lines".to_owned(),
        partitions: Some(2),
        replication_factor: Some(1),
        config: BTreeMap::new(),
    };
    client.admin().create_topic(topic).await?;
    let builder = StreamBuilder::new("live-words");
    builder
        .stream::<Option<String>, String>("lines")
        .flat_map_values(|_, line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .group_by(|_, word| word.clone(), "words")
        .count("counts");
    let streams = Streams::start(client, &builder.build()?, StreamsSettings::default()).await?;
    streams.running(WITHIN).await?;
    Ok(streams)
}

/// The page, on a free port of this machine alone.
async fn serve(counts: Counts) -> Result<SocketAddr, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = Router::new()
        .route("/", get(all))
        .route("/count", get(one))
        .route("/total", get(total))
        .with_state(counts);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

async fn one(
    State(counts): State<Counts>,
    Query(asked): Query<BTreeMap<String, String>>,
) -> Result<String, (StatusCode, String)> {
    let word = asked.get("word").cloned().unwrap_or_default();
    let count = counts.get(&word).await.map_err(refused)?;
    Ok(format!("{word}: {}", count.unwrap_or(0)))
}

async fn total(State(counts): State<Counts>) -> Result<String, (StatusCode, String)> {
    let counts = read_all(&counts).await.map_err(refused)?;
    Ok(format!("{} words", counts.values().sum::<i64>()))
}

async fn all(State(counts): State<Counts>) -> Result<Html<String>, (StatusCode, String)> {
    let counts = read_all(&counts).await.map_err(refused)?;
    let mut text = String::new();
    for (word, count) in counts {
        // The words are those of the lines above: what others send is to be escaped.
        let _ = write!(text, "<li>{word}: {count}</li>");
    }
    Ok(Html(format!("<ul>{text}</ul>")))
}

/// All of a store, page after page, by word.
async fn read_all(counts: &Counts) -> Result<BTreeMap<String, i64>, QueryError> {
    let (mut read, mut after) = (BTreeMap::new(), None);
    loop {
        let page = counts.all(after.as_ref()).await?;
        read.extend(page.entries);
        after = page.next;
        if after.is_none() {
            return Ok(read);
        }
    }
}

fn refused(error: QueryError) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}

/// The same store by way of the cluster, as any client of it asks.
async fn from_elsewhere(client: &Client) -> Result<String, Box<dyn Error>> {
    let counts = client.streams("live-words").store::<String, i64>("counts");
    let sum: i64 = read_all(&counts).await?.values().sum();
    Ok(format!("{sum} words, says the cluster"))
}

async fn send_lines(client: &Client) -> Result<(), Box<dyn Error>> {
    let producer = client.producer(ProducerSettings::default()).await?;
    for line in LINES {
        drop(producer.send(ProducerRecord::to("lines").value(line)).await?);
    }
    producer.close(WITHIN).await;
    Ok(())
}

/// Asks the page until it says what is expected, or what it says instead.
async fn until(page: SocketAddr, path: &str, expected: &str) -> Result<String, Box<dyn Error>> {
    for _ in 0..600 {
        if asked(page, path).await? == expected {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    asked(page, path).await
}

/// What the page answers, without its head.
async fn asked(page: SocketAddr, path: &str) -> Result<String, Box<dyn Error>> {
    let mut stream = TcpStream::connect(page).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {page}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    Ok(body.ok_or("the page's answer has no end of its head")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_page_shows_the_counts_of_the_moment() {
        let mut said = Vec::new();
        run(false, |line| said.push(line)).await.unwrap();
        let all = "<ul><li>be: 40</li><li>is: 20</li><li>not: 20</li><li>or: 20</li><li>question: 20</li>\
                   <li>suffer: 20</li><li>that: 20</li><li>the: 20</li><li>to: 60</li></ul>";
        assert_eq!(
            said,
            ["12 words", "to: 3", "240 words", "to: 60", "nobler: 0", all, "240 words, says the cluster"]
        );
    }
}
