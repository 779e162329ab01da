//! kill -9 of an application of streams and of each node in turn while flights come.

use std::path::PathBuf;

use millstream::Client;
use millstream_tests::delays::batch::{Answer, answer};
use millstream_tests::delays::input::{self, Published, Publisher};
use millstream_tests::delays::results::{Results, differences, has_all};
use millstream_tests::process::{Child, ProcessCluster};
use millstream_tests::{Outcome, PATIENCE, until};
use tokio::time::Instant;

use crate::tell;

const PROGRAM: &str = env!("CARGO_BIN_EXE_delays-under-test");

/// Flights of each step: some hours of the two days.
const FLOW: usize = 1_500;

/// Publishes the flights of a step, and waits until something new has come out of the application, however many lives it needs.
async fn flow(publisher: &mut Publisher, flights: &mut &[Published], results: &mut Results) -> Outcome {
    let (now, later) = flights.split_at_checked(FLOW).ok_or("there are not enough flights")?;
    *flights = later;
    let before = results.read.hours.len();
    publisher.publish(now).await?;
    match results.until(|read| read.hours.len() > before, Instant::now() + PATIENCE).await? {
        true => Ok(()),
        false => Err(format!("after {before} results of hours no more came").into()),
    }
}

async fn end(application: Child, mut results: Results, wanted: &Answer) -> Outcome {
    let began = Instant::now();
    let is_all = results.until(|read| has_all(read, wanted), began + PATIENCE).await?;
    tell(&format!("{} results of hours, all: {is_all}, in {:?}", results.read.hours.len(), began.elapsed()));
    let mut application = application;
    application.terminate()?;
    let status = until("the end of the application", async || application.ended()).await?;
    if !status.success() {
        return Err(format!("the application ended with {status}").into());
    }
    let read = results.to_the_end(Instant::now() + PATIENCE).await?;
    let differences = differences(&read, wanted);
    if differences.is_empty() { Ok(()) } else { Err(differences.join("\n").into()) }
}

/// Kills the application and the nodes in turn.
async fn killed(cluster: &mut ProcessCluster, client: &Client, log: &mut PathBuf) -> Outcome {
    input::make_topics(client, 3).await?;
    input::publish_airports(client).await?;
    let (mut publisher, mut results) = (Publisher::new(client).await?, Results::of(client).await?);
    let all = input::shuffled(1)?;
    let mut flights = all.as_slice();
    let (mut application, said) = cluster.start_application("application")?;
    *log = said;
    for node in 1..=3 {
        flow(&mut publisher, &mut flights, &mut results).await?;
        application.kill()?;
        (application, _) = cluster.start_application("application")?;
        tell("the application is killed");
        flow(&mut publisher, &mut flights, &mut results).await?;
        cluster.kill_9(node)?;
        tell(&format!("node {node} is killed"));
        flow(&mut publisher, &mut flights, &mut results).await?;
        cluster.restart_node(node).await?;
    }
    let wanted = answer(&publisher.end().await?, &input::airports()?);
    end(application, results, &wanted).await
}

#[tokio::test]
async fn results_are_as_the_file_has_them_though_the_application_and_each_node_are_killed() {
    ProcessCluster::run(PROGRAM, 3, &[], async |cluster| {
        let client = cluster.client().await?;
        let mut log = PathBuf::new();
        if let Err(error) = killed(cluster, &client, &mut log).await {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            return Err(format!("{error}\n---- application ----\n{said}").into());
        }
        client.close().await;
        cluster.terminate_all().await
    })
    .await;
}
