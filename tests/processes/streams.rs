//! kill -9 of an application of streams and of each node in turn while flights come.

use std::path::PathBuf;

use millstream::Client;
use millstream_tests::delays::batch::answer;
use millstream_tests::delays::input::{self, Published, Publisher};
use millstream_tests::delays::results::{Results, differences, has_all};
use millstream_tests::process::{Child, ProcessCluster};
use millstream_tests::{Outcome, PATIENCE, until};
use tokio::time::Instant;

use crate::tell;

const PROGRAM: &str = env!("CARGO_BIN_EXE_delays-under-test");

/// Processes of the application, among which its tasks are dealt out.
const PROCESSES: usize = 2;

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

/// The processes of the application, by number, and what they say.
struct Applications(Vec<(Child, PathBuf)>);

impl Applications {
    fn start(cluster: &ProcessCluster) -> Outcome<Self> {
        Ok(Self((0..PROCESSES).map(|number| start(cluster, number)).collect::<Outcome<_>>()?))
    }

    fn kill_and_start(&mut self, cluster: &ProcessCluster, number: usize) -> Outcome {
        let (process, _) = self.0.get_mut(number).ok_or("no such process")?;
        process.kill()?;
        (*process, _) = start(cluster, number)?;
        Ok(())
    }

    /// Asks all to end; an error where one has not ended well.
    async fn close(&mut self) -> Outcome {
        for (process, _) in &mut self.0 {
            process.terminate()?;
            let status = until("the end of a process of the application", async || process.ended()).await?;
            if !status.success() {
                return Err(format!("a process of the application ended with {status}").into());
            }
        }
        Ok(())
    }

    fn logs(&self) -> String {
        let logs = self.0.iter().map(|(_, log)| std::fs::read_to_string(log).unwrap_or_default());
        logs.map(|text| format!("\n---- application ----\n{text}")).collect()
    }
}

fn start(cluster: &ProcessCluster, number: usize) -> Outcome<(Child, PathBuf)> {
    cluster.start_application(&format!("application-{number}"))
}

/// Kills processes of the application and the nodes in turn.
async fn killed(cluster: &mut ProcessCluster, client: &Client, applications: &mut Applications) -> Outcome {
    let (mut publisher, mut results) = (Publisher::new(client).await?, Results::of(client).await?);
    let all = input::shuffled(1)?;
    let mut flights = all.as_slice();
    for node in 1..=3 {
        flow(&mut publisher, &mut flights, &mut results).await?;
        let number = usize::try_from(node)? % PROCESSES;
        applications.kill_and_start(cluster, number)?;
        tell(&format!("process {number} of the application is killed"));
        flow(&mut publisher, &mut flights, &mut results).await?;
        cluster.kill_9(node)?;
        tell(&format!("node {node} is killed"));
        flow(&mut publisher, &mut flights, &mut results).await?;
        cluster.restart_node(node).await?;
    }
    let wanted = answer(&publisher.end().await?, &input::airports()?);
    let began = Instant::now();
    let is_all = results.until(|read| has_all(read, &wanted), began + PATIENCE).await?;
    tell(&format!("{} results of hours, all: {is_all}, in {:?}", results.read.hours.len(), began.elapsed()));
    applications.close().await?;
    let read = results.read_to_the_end(Instant::now() + PATIENCE).await?;
    let differences = differences(&read, &wanted);
    if differences.is_empty() { Ok(()) } else { Err(differences.join("\n").into()) }
}

#[tokio::test]
async fn results_are_as_the_file_has_them_though_the_application_and_each_node_are_killed() {
    ProcessCluster::run(PROGRAM, 3, &[], async |cluster| {
        let client = cluster.client().await?;
        input::make_topics(&client, 3).await?;
        input::publish_airports(&client).await?;
        let mut applications = Applications::start(cluster)?;
        if let Err(error) = killed(cluster, &client, &mut applications).await {
            return Err(format!("{error}{}", applications.logs()).into());
        }
        client.close().await;
        cluster.terminate_all().await
    })
    .await;
}
