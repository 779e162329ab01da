//! Random histories of commits, failures and take-overs: what was answered is never lost.

use proptest::prelude::*;

use super::coordination::{committed, committing};
use super::*;
use crate::group::fakes::joining;

#[derive(Clone, Debug)]
enum Step {
    Commit { asks: usize },
    Refuse(bool),
    Slow(u64),
    TakeOver,
    Pass(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..5usize).prop_map(|asks| Step::Commit { asks }),
        2 => any::<bool>().prop_map(Step::Refuse),
        1 => (0..40u64).prop_map(Step::Slow),
        1 => Just(Step::TakeOver),
        2 => (0..60u64).prop_map(Step::Pass),
    ]
}

async fn play(steps: Vec<Step>) {
    let topics = FakeTopics::of(&[("t", 1)]);
    let zero = topics.partition("t", 0);
    let log = FakeLog::default();
    let mut node = Node::leading(&log, &topics).await;
    let (mut asked, mut answered) = (0, 0);
    for step in steps {
        match step {
            Step::Commit { asks } => {
                let commits: Vec<_> = (0..asks)
                    .map(|_| {
                        asked += 1;
                        (asked, node.front.handle("", committing("", -1, &[(zero, asked)])))
                    })
                    .collect();
                for (offset, answer) in commits {
                    if answer.await.is_ok() {
                        answered = offset;
                    }
                }
            }
            Step::Refuse(refuses) => {
                log.with(|shelf| shelf.refuses = refuses.then_some(ErrorCode::NotEnoughReplicasAfterAppend));
            }
            Step::Slow(ms) => log.slow(ms),
            Step::TakeOver => node = Node::leading(&log, &topics).await,
            Step::Pass(ms) => pass(ms).await,
        }
    }
    log.with(|shelf| shelf.refuses = None);
    let newest = committed(&node).await.first().copied().unwrap_or(0);
    assert!((answered..=asked).contains(&newest), "{answered} was answered, {newest} is there");
    let next = Node::leading(&log, &topics).await;
    assert_eq!(
        committed(&next).await.first().copied().unwrap_or(0),
        newest,
        "what was read once is there for ever"
    );
    assert!(next.ask_patiently(joining("g", "a", &["t"])).await.is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_answered_is_never_lost(steps in proptest::collection::vec(any_step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(play(steps));
    }
}
