//! Learn how to write an actor of your own: a struct and a handler, started on one node under a name, asked from another
//! node and from a client that do not know where it is.
//!
//! `cargo run --release --example custom_actor`

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use millstream::certificates::{CertificateFolder, LOCAL_CLIENT};
use millstream::config::Settings;
use millstream::{
    ActorContext, ActorMessage, ActorSettings, CallError, Client, ClientSettings, Clock, Handled, NamedActor,
    Node, NodeId, Random,
};
use serde::{Deserialize, Serialize};

/// What a till understands. It travels as postcard, so that new variants go to the end.
#[derive(Debug, Serialize, Deserialize)]
enum Till {
    Sell { article: String, cents: u64 },
    Total,
    Audit,
}

impl ActorMessage for Till {
    const NAME: &'static str = "till";
    /// What it has taken in, in cents.
    type Answer = u64;
}

/// The state: it is this actor's alone, and no lock is needed.
#[derive(Default)]
struct ShopTill {
    sold: BTreeMap<String, u64>,
}

impl NamedActor for ShopTill {
    const KIND: &'static str = "till";
    type Message = Till;

    async fn handle(&mut self, message: Till, _: &ActorContext) -> Handled<Till> {
        match message {
            Till::Sell { cents: 0, article } => {
                return Err(CallError::Refused(format!("{article} is not given away")));
            }
            Till::Sell { article, cents } => *self.sold.entry(article).or_default() += cents,
            Till::Total => {}
            // A panic harms nobody else: whoever asked is told, and the till begins anew.
            Till::Audit => panic!("the auditor found an empty drawer"),
        }
        Ok(self.sold.values().sum())
    }
}

const WITHIN: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    run(|line| println!("{line}")).await
}

async fn run(mut say: impl FnMut(String)) -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let (first, second) = start_two_nodes(&directory).await?;

    // On the first node, under a name that is its own in the whole cluster.
    let till = first.actors().spawn("till-1", ActorSettings::default(), ShopTill::default).await?;
    say(format!("till-1 runs on node {}", till.actor().node));

    // The second node does not know where it is, and need not.
    let sell = |article: &str, cents| Till::Sell { article: article.to_owned(), cents };
    let total = second.actors().ask("till-1", &sell("bread", 320), WITHIN).await?;
    say(format!("node {} sold bread, the till has {total}", second.id()));
    if let Err(refusal) = second.actors().ask("till-1", &sell("milk", 0), WITHIN).await {
        say(format!("refused: {refusal}"));
    }
    let taken = second.actors().spawn("till-1", ActorSettings::default(), ShopTill::default).await;
    say(format!("a second till-1 is refused: {}", taken.is_err()));

    // Neither does a client.
    let credentials = CertificateFolder::new(directory.path().join("certs")).client(LOCAL_CLIENT)?;
    let client =
        Client::connect(credentials, ClientSettings::new([second.quic_address().to_string()])).await?;
    client.actors().tell("till-1", &sell("cheese", 480), WITHIN).await?;
    let total = client.actors().ask_linearizable("till-1", &Till::Total, WITHIN).await?;
    say(format!("a client sold cheese, the till has {total}"));

    let panicked = client.actors().ask("till-1", &Till::Audit, WITHIN).await;
    say(format!("the audit failed: {}", panicked.is_err()));
    let total = client.actors().ask("till-1", &Till::Total, WITHIN).await?;
    say(format!("the till was begun anew and has {total}"));

    // Who watches is told of the end, wherever it watches, and also where it asks late.
    let (watching, id) = (second.actors().clone(), till.actor());
    let watch = tokio::spawn(async move { watching.watch_actor(id).await });
    till.stop();
    say(format!("the watcher on node {} was told: {:?}", second.id(), watch.await??));

    client.close().await;
    second.stop()?;
    first.stop()?;
    Ok(())
}

/// Node 1 votes alone; node 2 has joined it.
async fn start_two_nodes(directory: &tempfile::TempDir) -> Result<(Node, Node), Box<dyn Error>> {
    let certificates = CertificateFolder::new(directory.path().join("certs"));
    let authority = certificates.authority(&Clock::real(), &Random::real())?;
    let settings = |id: u32| -> Result<Settings, Box<dyn Error>> {
        certificates.issue_node(&authority, NodeId(id), &["localhost".to_owned()])?;
        let files = certificates.node_files(NodeId(id));
        let data = directory.path().join(format!("node-{id}"));
        Ok(Settings::default()
            .set("node.id", &id.to_string())?
            .set("data.dir", &data.to_string_lossy())?
            .set("node.cores", "1")?
            .set("quic.listen", "127.0.0.1:0")?
            .set("http.listen", "127.0.0.1:0")?
            .set("tls.authority", &files.authority.to_string_lossy())?
            .set("tls.certificate", &files.certificate.to_string_lossy())?
            .set("tls.key", &files.key.to_string_lossy())?)
    };
    let first = Node::start(&settings(1)?.set("quorum.voters", "1@127.0.0.1:0")?)?;
    let voters = format!("1@{}", first.quic_address());
    let second = Node::start(&settings(2)?.set("quorum.voters", &voters)?)?;
    for node in [&first, &second] {
        if !node.wait_until_ready(Duration::from_secs(20)).await {
            return Err(format!("node {} is not ready: {:?}", node.id(), node.health()).into());
        }
    }
    Ok((first, second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_till_does_what_the_example_says() {
        let mut said = Vec::new();
        run(|line| said.push(line)).await.unwrap();
        let expected = [
            "till-1 runs on node 1",
            "node 2 sold bread, the till has 320",
            "refused: milk is not given away",
            "a second till-1 is refused: true",
            "a client sold cheese, the till has 800",
            "the audit failed: true",
            "the till was begun anew and has 0",
            "the watcher on node 2 was told: Stopped(Asked)",
        ];
        assert_eq!(said, expected);
    }
}
