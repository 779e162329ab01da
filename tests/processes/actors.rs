//! An actor of a user's on a cluster of processes: asked by a client, and seen by whoever operates the cluster.

use std::time::Duration;

use millstream_tests::asking::{Count, REGISTER};
use millstream_tests::process::{ProcessCluster, http};
use millstream_tests::{Outcome, PATIENCE, until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_bank-under-test");

/// How often the actor is asked.
const ASKED: u64 = 3;

#[tokio::test]
async fn an_actor_is_asked_by_a_client_and_seen_by_the_command_by_http_and_in_metrics() -> Outcome {
    let mut cluster = ProcessCluster::start(PROGRAM.as_ref(), 3, &[]).await?;
    let client = cluster.client().await?;
    let first = until("the actor is there", async || {
        Ok(client.actors().ask(REGISTER, &Count, Duration::from_secs(1)).await.ok())
    });
    let (node, _, mut count) = first.await?;
    while count < ASKED {
        count = client.actors().ask(REGISTER, &Count, PATIENCE).await?.2;
    }
    client.close().await;

    // Whichever node the command asks, it shows the actors of all.
    let other = node % 3 + 1;
    let to_node = cluster.to_node(other);
    let arguments: Vec<&str> = ["actors"].into_iter().chain(to_node.iter().map(String::as_str)).collect();
    let (status, said) = cluster.run_command(other, &arguments).await?;
    assert!(status.success(), "{said}");
    let lines: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    let shown = lines.iter().filter(|words| words.starts_with(&["register", REGISTER])).collect::<Vec<_>>();
    let (node_word, handled) = (node.to_string(), ASKED.to_string());
    assert!(
        matches!(shown.as_slice(), [words] if words.get(2..6) == Some(&[&node_word, "0", &handled, "0"])),
        "{said}"
    );

    for id in 1..=3 {
        let scrape = http::get(cluster.http(id), "/metrics").await?;
        let listed = http::get(cluster.http(id), "/actors").await?;
        let line = format!("millstream_user_messages_handled_total{{kind=\"register\"}} {ASKED}");
        assert_eq!(scrape.contains(&line), id == node, "{scrape}");
        assert_eq!(listed.contains("\"name\":\"register\""), id == node, "{listed}");
    }
    cluster.terminate_all().await
}
