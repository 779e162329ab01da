//! Which seeds a scenario runs from, and what is said of one that fails.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::io::Write;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use millstream_transport::world::simulation::{Simulation, run_within};

/// The longest virtual time of a scenario.
const LIMIT: Duration = Duration::from_secs(900);

thread_local! {
    /// Panics on this thread, also those that the runtime catches: an actor's panic is a bug even where its supervisor
    /// makes up for it.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

static HOOK: Once = Once::new();

fn note_panics() {
    HOOK.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.with_borrow_mut(|panics| panics.push(info.to_string()));
            default(info);
        }));
    });
    PANICS.with_borrow_mut(Vec::clear);
}

/// Runs a scenario from one seed.
///
/// # Panics
/// If the scenario, or any actor or task in it, panics.
pub fn run_seed<Scenario, F>(seed: u64, scenario: Scenario) -> F::Output
where
    Scenario: FnOnce(Simulation) -> F,
    F: Future,
{
    note_panics();
    if let Ok(level) = std::env::var("MILLSTREAM_LOG_LEVEL") {
        millstream::telemetry::log_to_standard_error(&level, false);
    }
    let output = run_within(seed, LIMIT, scenario);
    let panics = PANICS.with_borrow_mut(std::mem::take);
    assert!(panics.is_empty(), "the scenario ended well, but in it there was a panic: {panics:#?}");
    output
}

/// Runs a scenario from each of these seeds, or from those that the environment asks for; says of the first that fails
/// how to run it again.
///
/// `MILLSTREAM_SEEDS=7..9` asks for these seeds. `MILLSTREAM_SEED_SECONDS=20` asks for as many as 20 seconds of real time
/// allow, one at least, from `MILLSTREAM_SEEDS=7..` on or from the first of the scenario's own.
///
/// # Panics
/// If the scenario fails from one of the seeds.
#[expect(clippy::disallowed_methods, reason = "real time is what the machine spends on scenarios")]
pub fn over_seeds<Scenario, F>(name: &str, seeds: Range<u64>, scenario: Scenario)
where
    Scenario: Fn(Simulation) -> F,
    F: Future<Output = ()>,
{
    let asked = Asked::from_environment(seeds);
    let (mut ran, started) = (0, Instant::now());
    for seed in asked.seeds.clone() {
        if let Err(failure) = catch_unwind(AssertUnwindSafe(|| run_seed(seed, &scenario))) {
            panic!("seed {seed} fails; replay it with\n    {}\n{}", replay(name, seed), text(&*failure));
        }
        ran += 1;
        if asked.time.is_some_and(|time| started.elapsed() >= time) {
            break;
        }
    }
    if asked.time.is_some() {
        let (first, took) = (asked.seeds.start, started.elapsed().as_secs_f64());
        let all = RAN.fetch_add(ran, Ordering::Relaxed) + ran;
        // Past the test harness, which keeps what a test that passes prints.
        let told = writeln!(
            std::io::stderr(),
            "{name}: {ran} seeds from {first} on in {took:.0} s; {all} runs of all scenarios so far"
        );
        told.expect("standard error can be written to");
    }
}

/// Runs of all scenarios so far, where they run by time.
static RAN: AtomicU64 = AtomicU64::new(0);

/// Says what happens in a scenario: shown where it fails.
#[expect(clippy::print_stdout, reason = "the test harness keeps it, and shows it with a failure")]
pub fn tell(what: &str) {
    println!("{what}");
}

/// The one command that runs a scenario from a seed again.
fn replay(name: &str, seed: u64) -> String {
    let (next, profile) = (seed + 1, if cfg!(debug_assertions) { "" } else { "--release " });
    format!(
        "MILLSTREAM_SEEDS={seed}..{next} cargo test {profile}-p millstream-tests --test simulation -- {name}"
    )
}

/// What a panic says.
fn text(failure: &(dyn Any + Send)) -> &str {
    let text = failure.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| failure.downcast_ref::<&str>().copied()).unwrap_or("it panicked without words")
}

/// Which seeds, and for how long.
struct Asked {
    seeds: Range<u64>,
    time: Option<Duration>,
}

impl Asked {
    fn from_environment(seeds: Range<u64>) -> Self {
        let time = std::env::var("MILLSTREAM_SEED_SECONDS").ok().map(|text| {
            let seconds = text.trim().parse().expect("MILLSTREAM_SEED_SECONDS is a number of seconds");
            Duration::from_secs(seconds)
        });
        let form = "MILLSTREAM_SEEDS is of the form 0..100, or 0.. where there is a time";
        let asked = std::env::var("MILLSTREAM_SEEDS").ok().map(|text| {
            let (first, end) = text.split_once("..").expect(form);
            let end = match end.trim() {
                "" => u64::MAX,
                end => end.parse().expect(form),
            };
            first.trim().parse().expect(form)..end
        });
        let seeds = match (asked, time) {
            (Some(asked), _) => asked,
            (None, Some(_)) => seeds.start..u64::MAX,
            (None, None) => seeds,
        };
        assert!(seeds.end < u64::MAX || time.is_some(), "{form}");
        Self { seeds, time }
    }
}
