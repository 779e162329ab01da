//! Random histories of a group with clients of both protocols.

use proptest::prelude::*;

use super::*;

const SLOTS: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    Start { slot: usize, kind: u8 },
    Act { slot: usize },
    Stop { slot: usize },
    Die { slot: usize },
    Pass { ms: u64 },
    Slow { ms: u64 },
    Refuse(bool),
    TakeOver,
}

fn any_step() -> impl Strategy<Value = Step> {
    let slot = 0..SLOTS;
    prop_oneof![
        5 => (slot.clone(), 0..6u8).prop_map(|(slot, kind)| Step::Start { slot, kind }),
        20 => slot.clone().prop_map(|slot| Step::Act { slot }),
        2 => slot.clone().prop_map(|slot| Step::Stop { slot }),
        1 => slot.prop_map(|slot| Step::Die { slot }),
        5 => (0..1_500u64).prop_map(|ms| Step::Pass { ms }),
        1 => (0..40u64).prop_map(|ms| Step::Slow { ms }),
        1 => any::<bool>().prop_map(Step::Refuse),
        1 => Just(Step::TakeOver),
    ]
}

fn client(slot: usize, life: usize, kind: u8) -> Client {
    let (name, instance) = (format!("c{slot}-{life}"), format!("i{slot}"));
    match kind {
        0 => Client::Modern(Modern::new(&name)),
        1 => Client::Modern(Modern::fixed(&name, &instance)),
        2 => Client::Native(Box::new(Native::new(&name, None))),
        3 => Client::Classic(Classic::fixed(&name, &instance)),
        4 => Client::Classic(Classic::new(&name, false)),
        _ => Client::Classic(Classic::new(&name, true)),
    }
}

async fn play(policy: MigrationPolicy, steps: Vec<Step>) {
    let mut rig = Rig::with(policy).await;
    let mut clients: Vec<Option<Client>> = (0..SLOTS).map(|_| None).collect();
    for (life, step) in steps.into_iter().enumerate() {
        match step {
            Step::Start { slot, kind } => {
                clients[slot].get_or_insert_with(|| client(slot, life, kind)).act(&rig).await;
            }
            Step::Act { slot } => {
                if let Some(client) = &mut clients[slot] {
                    client.act(&rig).await;
                }
            }
            Step::Stop { slot } => {
                if let Some(client) = clients[slot].take() {
                    client.stop(&rig).await;
                }
            }
            Step::Die { slot } => clients[slot] = None,
            Step::Pass { ms } => pass(ms).await,
            Step::Slow { ms } => rig.log.slow(ms),
            Step::Refuse(refuses) => {
                let refuses = refuses.then_some(ErrorCode::NotEnoughReplicasAfterAppend);
                rig.log.with(|shelf| shelf.refuses = refuses);
            }
            Step::TakeOver => rig.take_over().await,
        }
        check(&clients);
    }
    rig.log.with(|shelf| shelf.refuses = None);
    rig.log.slow(0);
    let read = settle(&rig, &mut clients).await;
    let lives = clients.iter().any(Option::is_some);
    assert_eq!(read, if lives { rig.all() } else { BTreeSet::new() });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_partition_is_read_by_two_and_every_one_is_in_the_end(
        policy in 0..4usize, steps in proptest::collection::vec(any_step(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(play(MigrationPolicy::ALL[policy], steps));
    }
}
