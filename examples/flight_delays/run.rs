//! One run: flights are published, processes are killed meanwhile, and what comes out is looked at.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use millstream::Random;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep, sleep_until};

use crate::Arguments;
use crate::batch;
use crate::input::{self, Outcome, Publisher};
use crate::nodes::{Nodes, this_program};
use crate::report;
use crate::results::{Results, differences, has_all};

/// How long the results may take after the last flight, and the application to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Flights are published in so many steps.
const STEPS: u32 = 200;

/// A process of the application, with the arguments that it is started with.
struct Application {
    arguments: [PathBuf; 4],
    log: PathBuf,
    process: Option<Child>,
}

impl Application {
    fn start(nodes: &Nodes, directory: &Path, number: u32) -> Outcome<Self> {
        let arguments = [
            "application".into(),
            nodes.addresses.join(",").into(),
            directory.join("certs"),
            directory.join(format!("state-{number}")),
        ];
        let log = directory.join(format!("application-{number}.log"));
        let mut application = Self { arguments, log, process: None };
        application.begin()?;
        Ok(application)
    }

    fn begin(&mut self) -> Outcome {
        let arguments = self.arguments.each_ref().map(PathBuf::as_path);
        self.process = Some(this_program(&arguments, &self.log).map_err(|error| error.to_string())?);
        Ok(())
    }

    /// SIGKILL: it has no say in it. An error where it has ended before.
    fn kill(&mut self) -> Outcome {
        let mut process = self.process.take().ok_or("the application does not run")?;
        if let Some(status) = process.try_wait()? {
            return Err(format!("the application has ended by itself: {status}").into());
        }
        process.kill()?;
        process.wait()?;
        Ok(())
    }

    /// Asks it to commit and to end.
    async fn close(mut self) -> Outcome {
        let process = self.process.as_mut().ok_or("the application does not run")?;
        kill_process(Pid::from_child(process), Signal::TERM)?;
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            match process.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("the application ended with {status}").into()),
                None => sleep(Duration::from_millis(20)).await,
            }
        }
        Err("the application did not end in time".into())
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Runs once, with this number as the seed of the flights' order.
pub async fn run(arguments: &Arguments, number: u64, directory: &Path) -> Outcome {
    let count: u32 = if arguments.cluster { 3 } else { 1 };
    let mut nodes = Nodes::start(directory, count).map_err(|error| error.to_string())?;
    let client = nodes.client().await.map_err(|error| error.to_string())?;
    input::make_topics(&client, i16::try_from(count)?).await?;
    input::publish_airports(&client).await?;
    let started = (1..=arguments.applications).map(|number| Application::start(&nodes, directory, number));
    let mut applications = started.collect::<Outcome<Vec<_>>>()?;

    let (flights, time) = (input::shuffled(number)?, Duration::from_secs(arguments.seconds));
    let publishing = tokio::spawn({
        let (flights, client) = (flights.clone(), client.clone());
        async move {
            let mut publisher = Publisher::new(&client).await?;
            let began = Instant::now();
            for (step, flights) in (1..).zip(flights.chunks(flights.len() / STEPS as usize + 1)) {
                publisher.publish(flights).await?;
                sleep_until(began + time * step / STEPS).await;
            }
            publisher.end().await
        }
    });
    kill_now_and_then(&mut nodes, &mut applications, (time, count)).await?;
    let log = publishing.await??;
    println!("{} flights were published in {} s", flights.len(), arguments.seconds);

    let wanted = batch::answer(&log, &input::airports()?);
    let (mut results, began) = (Results::of(&client).await?, Instant::now());
    let is_all = results.until(|read| has_all(read, &wanted), began + PATIENCE).await?;
    println!(
        "{} {} ms after the last",
        if is_all { "all results were there" } else { "results are missing" },
        began.elapsed().as_millis()
    );
    for application in applications {
        application.close().await?;
    }
    let read = results.read_to_the_end(Instant::now() + PATIENCE).await?;
    client.close().await;
    let differences = differences(&read, &wanted);
    if !differences.is_empty() {
        return Err(differences.join("\n").into());
    }
    report::lines(&read).iter().for_each(|line| println!("{line}"));
    Ok(())
}

/// One process at a time is killed and started again: one of the application half-way, where there is one node; else now and
/// then, of the application as often as of the nodes.
async fn kill_now_and_then(
    nodes: &mut Nodes,
    applications: &mut [Application],
    (time, count): (Duration, u32),
) -> Outcome {
    let (random, until) = (Random::real(), Instant::now() + time);
    let pause = |least: u64, most: u64| Duration::from_millis(random.range(least, most));
    let mut kills = 0;
    loop {
        let calm = if count == 1 { time / 2 } else { pause(1_000, 3_000) };
        sleep_until((Instant::now() + calm).min(until)).await;
        if Instant::now() >= until {
            println!("{kills} times a process was killed");
            return Ok(());
        }
        let node = u32::try_from(random.range(1, u64::from(count) + 1))?;
        if count > 1 && random.chance(0.5) {
            nodes.kill(node).map_err(|error| error.to_string())?;
            sleep(pause(200, 2_000)).await;
            nodes.start_one(node).map_err(|error| error.to_string())?;
        } else {
            let place = usize::try_from(random.range(0, applications.len() as u64))?;
            let application = applications.get_mut(place).ok_or("no such application")?;
            application.kill()?;
            sleep(pause(0, 500)).await;
            application.begin()?;
        }
        kills += 1;
    }
}
