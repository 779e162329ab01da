//! `millstream bench produce`: how much is taken, and how long an acknowledgement takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Arg, ArgMatches, Command};
use millstream_actors::client::{Client, TopicView};
use millstream_actors::producer::{ProduceError, Producer};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::connection::{open, with_client};
use super::super::pace::Pace;
use super::super::signals::Signals;
use super::super::{Failure, progress, quantity};
use super::cpu::CpuOf;
use super::load::{self, Load};
use super::report::{Report, cpu_s_per_gb};
use super::sender::{Meter, Schedule, Sender, Stamp};
use super::{loopback, topic};

/// How often progress is shown.
const TICK: Duration = Duration::from_millis(200);

pub(super) fn command() -> Command {
    load::arguments(topic::arguments(Command::new("produce")))
        .about("Measure how much is taken, and how long acknowledgements take")
        .arg(
            Arg::new("with-loopback")
                .long("with-loopback")
                .value_name("TIME")
                .value_parser(quantity::duration)
                .help("First measure loopback TCP for so long, and tell the ratio to it"),
        )
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let wish = topic::Wish::read(matches)?;
    let load = Load::read(matches)?;
    with_client(matches, async |client| {
        let loopback = match matches.get_one::<Duration>("with-loopback") {
            Some(time) => Some(loopback::measure(*time).await?),
            None => None,
        };
        let view = wish.prepare(&client).await?;
        let producers = producers(matches, &client, &load).await?;
        let ran = drive(producers, &view.name, Plan::at(Instant::now(), &load, None), &load).await?;
        wish.clean_up(&client.admin()).await?;
        let mut report = Report { loopback_mb_per_s: loopback, ..ran.report("produce", &view, &load) };
        ran.measured(&mut report, &load)?;
        report.print()
    })
}

/// What all senders of a run share.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    start: Instant,
    schedule: Schedule,
    stamp: Option<Stamp>,
}

impl Plan {
    pub(super) fn at(start: Instant, load: &Load, stamp: Option<Stamp>) -> Self {
        let warm = start + load.warmup;
        let schedule = Schedule {
            warm,
            until: warm + load.duration,
            records: load.records,
            sampled_every: load.sampled_every(),
            stop: Arc::new(AtomicBool::new(false)),
        };
        Self { start, schedule, stamp }
    }
}

/// Producers with their clients: the first has this client, each other one its own.
pub(super) async fn producers(
    matches: &ArgMatches,
    client: &Client,
    load: &Load,
) -> Result<Vec<(Client, Producer)>, Failure> {
    let mut producers = Vec::new();
    for number in 0..load.producers {
        let own = if number == 0 { client.clone() } else { open(matches).await? };
        let producer = own.producer(load.settings.clone()).await?;
        producers.push((own, producer));
    }
    Ok(producers)
}

fn sender(
    producer: &Producer,
    number: usize,
    topic: &Arc<str>,
    plan: &Plan,
    load: &Load,
    meter: &Arc<Meter>,
) -> Sender {
    let rate = load.rate.map(|rate| load.share(rate, number).max(1));
    let schedule = Schedule { records: load.share(load.records, number), ..plan.schedule.clone() };
    let pace = Pace::new(plan.start, rate);
    let sender = Sender::new(producer.clone(), topic, load.size, pace, schedule, meter);
    match plan.stamp {
        Some(stamp) => sender.stamped(stamp),
        None => sender,
    }
}

/// A run that has ended.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) meter: Arc<Meter>,
    /// From the end of the warm-up to the last record's fate.
    pub(super) time: Duration,
    cpu: Duration,
    own_cpu: Duration,
}

/// Sends as planned, to the end or to a signal.
pub(super) async fn drive(
    producers: Vec<(Client, Producer)>,
    topic: &Arc<str>,
    plan: Plan,
    load: &Load,
) -> Result<Ran, Failure> {
    let mut signals = Signals::listen_with_patience()?;
    let own = CpuOf::processes(vec![std::process::id()])?;
    let bar = progress::time_bar(load.warmup + load.duration, "sending");
    let (meter, start) = (Arc::new(Meter::default()), plan.start);
    let mut tasks = JoinSet::new();
    for (number, (_, producer)) in producers.iter().enumerate() {
        tasks.spawn(sender(producer, number, topic, &plan, load, &meter).run());
    }
    let mut tick = tokio::time::interval(TICK);
    let (mut ended, mut before): (_, Option<(Duration, Duration)>) = (start, None);
    loop {
        tokio::select! {
            biased;
            _ = signals.next() => {
                if plan.schedule.stop.swap(true, Ordering::Relaxed) {
                    return Err("given up".into());
                }
            }
            joined = tasks.join_next() => match joined {
                None => break,
                Some(sender) => ended = ended.max(sender?.map_err(cannot_send)?),
            },
            _ = tick.tick() => {
                if before.is_none() && Instant::now() >= plan.schedule.warm {
                    before = Some((load.cpu.used(), own.used()));
                }
                bar.set_position(u64::try_from(start.elapsed().as_millis()).unwrap_or(0));
                bar.set_prefix(format!("{} acknowledged", meter.lock().acknowledged));
            }
        }
    }
    bar.finish_and_clear();
    let (cpu, own_cpu) = before.unwrap_or((load.cpu.used(), own.used()));
    let ran = Ran {
        meter,
        time: ended.saturating_duration_since(plan.schedule.warm),
        cpu: load.cpu.used().saturating_sub(cpu),
        own_cpu: own.used().saturating_sub(own_cpu),
    };
    for (client, _) in producers.iter().skip(1) {
        client.close().await;
    }
    Ok(ran)
}

fn cannot_send(error: ProduceError) -> Failure {
    format!("nothing can be sent: {error}").into()
}

impl Ran {
    /// A report of what was run.
    pub(super) fn report(&self, bench: &'static str, view: &TopicView, load: &Load) -> Report {
        Report {
            acks: Some(load.acks.clone()),
            size: Some(load.size),
            producers: Some(load.producers),
            rate: load.rate,
            ..Report::on(bench, view)
        }
    }

    /// Writes what came out into the report.
    fn measured(&self, report: &mut Report, load: &Load) -> Result<(), Failure> {
        let measured = self.meter.lock();
        if measured.acknowledged == 0 && measured.errors == 0 {
            return Err("nothing was counted: the load ended within the warm-up; see --warmup".into());
        }
        self.rates(report, measured.acknowledged, load);
        tell(measured.first_error.as_deref());
        report.times = (&measured.times).into();
        report.gap(measured.gaps.longest);
        report.errors = measured.errors;
        Ok(())
    }

    /// Writes rates and CPU time into the report.
    pub(super) fn rates(&self, report: &mut Report, records: u64, load: &Load) {
        let bytes = records.saturating_mul(u64::try_from(load.size).unwrap_or(0));
        report.rates(records, bytes, self.time);
        report.cpu_s_per_gb = (!load.cpu.is_empty()).then(|| cpu_s_per_gb(self.cpu, bytes));
        report.own_cpu_s_per_gb = cpu_s_per_gb(self.own_cpu, bytes);
    }
}

/// Tells the first error on standard error, as the report only counts them.
pub(super) fn tell(first_error: Option<&str>) {
    use std::io::Write as _;
    if let Some(error) = first_error {
        let _ = writeln!(std::io::stderr(), "the first error: {error}");
    }
}
