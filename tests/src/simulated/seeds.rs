//! Which seeds a scenario runs from, and what is said of one that fails.

use std::cell::RefCell;
use std::future::Future;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Once;
use std::time::Duration;

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

/// Runs a scenario from each of these seeds, or from those of `MILLSTREAM_SEEDS` (`a..b`); says of the first that fails
/// how to run it again.
///
/// # Panics
/// If the scenario fails from one of the seeds.
pub fn over_seeds<Scenario, F>(name: &str, seeds: Range<u64>, scenario: Scenario)
where
    Scenario: Fn(Simulation) -> F,
    F: Future<Output = ()>,
{
    for seed in asked().unwrap_or(seeds) {
        if let Err(failure) = catch_unwind(AssertUnwindSafe(|| run_seed(seed, &scenario))) {
            let next = seed + 1;
            let replay = format!(
                "MILLSTREAM_SEEDS={seed}..{next} cargo test -p millstream-tests --test simulation {name}"
            );
            match failure.downcast_ref::<String>() {
                Some(text) => panic!("seed {seed} fails; replay it with\n    {replay}\n{text}"),
                None => resume_unwind(failure),
            }
        }
    }
}

fn asked() -> Option<Range<u64>> {
    let text = std::env::var("MILLSTREAM_SEEDS").ok()?;
    let (first, end) = text.split_once("..").expect("MILLSTREAM_SEEDS is of the form 0..100");
    let number = |text: &str| text.trim().parse().expect("MILLSTREAM_SEEDS is of the form 0..100");
    Some(number(first)..number(end))
}
