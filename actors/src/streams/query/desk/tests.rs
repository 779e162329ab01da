use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::streams::query::StoreAsk;
use crate::streams::query::message::{PolledAnswer, StoreShape, TaskShape};

type Tested = Desk<u32, u32>;

fn now() -> Instant {
    static BEGAN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *BEGAN.get_or_init(|| Instant::from_std(millstream_transport::world::Clock::real().now().into_std()))
}

fn at(ms: u64) -> Instant {
    now() + Duration::from_millis(ms)
}

fn poll(member: &str, partitions: &[i32], answers: Vec<PolledAnswer>) -> StreamsPoll {
    let task = |partition: &i32| TaskShape { part: 1, partition: *partition, is_standby: false };
    StreamsPoll {
        application: "app".to_owned(),
        member: member.to_owned(),
        instance: "0".to_owned(),
        wait_ms: 1_000,
        tasks: partitions.iter().map(task).collect(),
        stores: vec![StoreShape { name: "counts".to_owned(), part: Some(1), partitions: 2 }],
        answers,
    }
}

fn query(partition: i32) -> StoreQuery {
    StoreQuery {
        store: "counts".to_owned(),
        partition: Some(partition),
        ask: StoreAsk::FetchAll { from_ms: 0, to_ms: 1 },
        is_uncommitted: false,
        allows_standby: false,
        after: None,
        entries_max: 1,
        bytes_max: 1,
    }
}

fn answered(partition: i32) -> StoreAnswered {
    StoreAnswered { partition, next_partition: None, body: "page".into() }
}

/// The numbers of the questions that were handed to whoever left this slot.
fn handed(effects: &Effects<u32, u32>, slot: u32) -> Vec<u64> {
    let to = effects.iter().filter_map(|effect| match effect {
        Effect::Hand(to, queries) if *to == slot => Some(queries.queries.iter().map(|(number, _)| *number)),
        _ => None,
    });
    to.flatten().collect()
}

#[test]
fn a_question_goes_to_the_member_that_has_the_task_and_its_answer_back() {
    let mut desk = Tested::default();
    desk.poll(at(0), (poll("a", &[0], vec![]), "h"), 1);
    desk.poll(at(0), (poll("b", &[1], vec![]), "h"), 2);
    let (_, effects) = desk.ask(at(1), "app", query(1), 10);
    let numbers = handed(&effects, 2);
    let answers = vec![PolledAnswer { number: numbers[0], result: Ok(answered(1)) }];
    let (_, effects) = desk.poll(at(2), (poll("b", &[1], answers), "h"), 3);
    assert_eq!(effects, [Effect::Answer(10, Ok(answered(1)))]);
    let (_, effects) = desk.ask(at(3), "app", query(0), 11);
    let answers = vec![PolledAnswer { number: handed(&effects, 1)[0], result: Ok(answered(0)) }];
    let (_, effects) = desk.poll(at(4), (poll("a", &[0], answers), "h"), 4);
    let both = StoreAnswered { next_partition: Some(1), ..answered(0) };
    assert_eq!(effects, [Effect::Answer(11, Ok(both))], "the other partition can be asked for, too");
}

#[test]
fn questions_wait_until_their_member_fetches_them() {
    let mut desk = Tested::default();
    let (number, _) = desk.poll(at(0), (poll("a", &[0, 1], vec![]), "h"), 1);
    assert_eq!(desk.wait_over(at(1_000), "app", "a", number), [Effect::Hand(1, StreamsQueries::default())]);
    assert_eq!(desk.ask(at(1_001), "app", query(0), 10).1, []);
    let (_, effects) = desk.poll(at(1_002), (poll("a", &[0, 1], vec![]), "h"), 2);
    assert_eq!(handed(&effects, 2).len(), 1);
    assert_eq!(desk.wait_over(at(2_000), "app", "a", number), [], "that wait was over before");
}

#[test]
fn who_asks_a_member_that_dies_is_told_to_ask_again() {
    let mut desk = Tested::default();
    let (number, _) = desk.poll(at(0), (poll("a", &[0, 1], vec![]), "h"), 1);
    desk.ask(at(900), "app", query(0), 10);
    desk.ask(at(901), "app", query(1), 11);
    assert_eq!(desk.wait_over(at(1_000), "app", "a", number), [], "it was handed a question before that");
    assert_eq!(desk.expire(at(1_800)), [], "it may be silent for a while after that");
    let effects = desk.expire(at(1_901));
    let retried: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Answer(slot, Err(QueryRefusal::Retry(_))) => Some(*slot),
            _ => None,
        })
        .collect();
    assert_eq!(retried, [10, 11]);
    let (_, effects) = desk.ask(at(1_902), "app", query(0), 12);
    assert!(matches!(effects[..], [Effect::Answer(12, Err(QueryRefusal::NotRunning(_)))]));
}

#[test]
fn of_two_members_that_say_they_have_a_task_the_later_one_is_asked_and_a_standby_only_if_allowed() {
    let mut desk = Tested::default();
    desk.poll(at(0), (poll("b", &[0], vec![]), "h"), 1);
    desk.poll(at(1), (poll("a", &[0], vec![]), "h"), 2);
    let (_, effects) = desk.ask(at(2), "app", query(0), 10);
    assert_eq!(handed(&effects, 2).len(), 1);
    let mut standby = poll("c", &[1], vec![]);
    standby.tasks[0].is_standby = true;
    desk.poll(at(3), (standby, "h"), 3);
    let (_, effects) = desk.ask(at(4), "app", query(1), 11);
    assert!(matches!(effects[..], [Effect::Answer(11, Err(QueryRefusal::NotRunning(_)))]));
    let (_, effects) = desk.ask(at(4), "app", StoreQuery { allows_standby: true, ..query(1) }, 12);
    assert_eq!(handed(&effects, 3).len(), 1);
}

#[test]
fn who_runs_an_earlier_topology_without_tasks_keeps_no_question_from_who_has_the_task() {
    let mut desk = Tested::default();
    let earlier = StoreShape { name: "counts".to_owned(), part: Some(0), partitions: 1 };
    desk.poll(at(0), (StreamsPoll { stores: vec![earlier], ..poll("a", &[], vec![]) }, "h"), 1);
    desk.poll(at(0), (poll("b", &[1], vec![]), "h"), 2);
    let (_, effects) = desk.ask(at(1), "app", query(1), 10);
    assert_eq!(handed(&effects, 2).len(), 1);
}

#[test]
fn stores_and_partitions_that_are_not_there_are_told_of_at_once() {
    let mut desk = Tested::default();
    let refusal = |desk: &mut Tested, query: StoreQuery| match desk.ask(at(0), "app", query, 9).1.pop() {
        Some(Effect::Answer(9, Err(refusal))) => refusal,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refusal(&mut desk, query(0)), QueryRefusal::NotRunning(_)));
    desk.poll(at(0), (StreamsPoll { stores: vec![], ..poll("a", &[], vec![]) }, "h"), 1);
    assert!(matches!(refusal(&mut desk, query(0)), QueryRefusal::NotRunning(_)));
    desk.poll(at(0), (poll("a", &[0], vec![]), "h"), 2);
    let other = StoreQuery { store: "other".to_owned(), ..query(0) };
    assert!(matches!(refusal(&mut desk, other), QueryRefusal::UnknownStore(_)));
    assert!(matches!(refusal(&mut desk, query(2)), QueryRefusal::WrongType(_)));
    let long = StoreQuery { after: Some(vec![0; QUERY_BYTES_MAX].into()), ..query(0) };
    assert!(matches!(refusal(&mut desk, long), QueryRefusal::WrongType(_)));
}

#[test]
fn a_member_that_leaves_and_a_desk_that_is_another_ones_leave_nobody_waiting() {
    let mut desk = Tested::default();
    desk.poll(at(0), (poll("a", &[0], vec![]), "h"), 1);
    desk.poll(at(0), (poll("b", &[1], vec![]), "h"), 2);
    desk.ask(at(1), "app", query(0), 10);
    let (_, effects) = desk.poll(at(2), (StreamsPoll { wait_ms: 0, ..poll("a", &[], vec![]) }, "h"), 3);
    assert!(effects.iter().any(|it| matches!(it, Effect::Answer(10, Err(QueryRefusal::Retry(_))))));
    let (_, effects) = desk.ask(at(3), "app", query(1), 11);
    assert_eq!(handed(&effects, 2).len(), 1);
    let effects = desk.forget("app");
    assert!(matches!(effects[..], [Effect::Answer(11, Err(QueryRefusal::Retry(_)))]));
    assert_eq!(desk.shown(at(3), None), []);
}

#[test]
fn what_waits_for_a_member_that_hangs_is_bounded() {
    let mut desk = Tested::default();
    desk.poll(at(0), (poll("a", &[0], vec![]), "h"), 1);
    let busy = (0..600_u32).filter(|slot| {
        let (_, effects) = desk.ask(at(1), "app", query(0), *slot);
        effects.iter().any(|effect| matches!(effect, Effect::Answer(_, Err(QueryRefusal::Busy(_)))))
    });
    assert_eq!(busy.count(), 600 - OPEN_MAX);
}

#[derive(Clone, Debug)]
enum Step {
    Poll { member: u8, partition: i32, answers: usize, wait_ms: u32 },
    Ask { partition: i32 },
    WaitOver { member: u8 },
    GiveUp { ticket: usize },
    Later { ms: u64 },
    Forget,
}

fn step() -> impl Strategy<Value = Step> {
    let wait_ms = prop_oneof![8 => Just(1_000_u32), 1 => Just(0)];
    prop_oneof![
        6 => (0..3_u8, 0..2_i32, 0..4_usize, wait_ms).prop_map(|(member, partition, answers, wait_ms)| {
            Step::Poll { member, partition, answers, wait_ms }
        }),
        6 => (0..3_i32).prop_map(|partition| Step::Ask { partition }),
        2 => (0..3_u8).prop_map(|member| Step::WaitOver { member }),
        1 => (0..20_usize).prop_map(|ticket| Step::GiveUp { ticket }),
        2 => (0..1_500_u64).prop_map(|ms| Step::Later { ms }),
        1 => Just(Step::Forget),
    ]
}

/// What has become of slots.
#[derive(Default)]
struct Seen {
    answered: BTreeSet<u32>,
    polled: BTreeSet<u32>,
    in_hand: Vec<u64>,
}

impl Seen {
    fn take(&mut self, effects: Effects<u32, u32>) {
        for effect in effects {
            match effect {
                Effect::Answer(slot, _) => assert!(self.answered.insert(slot), "one answer for {slot}"),
                Effect::Hand(slot, queries) => {
                    assert!(self.polled.insert(slot), "one answer for the poll {slot}");
                    self.in_hand.extend(queries.queries.into_iter().map(|(number, _)| number));
                }
                Effect::Refuse(slot, _) => assert!(self.polled.insert(slot)),
            }
        }
    }
}

proptest! {
    #[test]
    fn every_question_and_every_poll_has_one_answer(steps in prop::collection::vec(step(), 0..80)) {
        let (mut desk, mut seen, mut clock_ms) = (Tested::default(), Seen::default(), 0);
        let (mut asks, mut polls, mut tickets) = (0_u32, 0_u32, Vec::new());
        let mut numbers: BTreeMap<u8, u64> = BTreeMap::new();
        for step in steps {
            let now = at(clock_ms);
            let effects = match step {
                Step::Poll { member, partition, answers, wait_ms } => {
                    let count = answers.min(seen.in_hand.len());
                    let taken = seen.in_hand.drain(..count);
                    let answers =
                        taken.map(|number| PolledAnswer { number, result: Ok(answered(0)) }).collect();
                    let poll = StreamsPoll { wait_ms, ..poll(&member.to_string(), &[partition], answers) };
                    polls += 1;
                    let (number, effects) = desk.poll(now, (poll, "h"), polls);
                    numbers.insert(member, number);
                    effects
                }
                Step::Ask { partition } => {
                    asks += 1;
                    let (ticket, effects) = desk.ask(now, "app", query(partition), asks);
                    tickets.extend(ticket);
                    effects
                }
                Step::WaitOver { member } => {
                    let number = numbers.get(&member).copied().unwrap_or(0);
                    desk.wait_over(now, "app", &member.to_string(), number)
                }
                Step::GiveUp { ticket } => tickets.get(ticket).map_or_else(Vec::new, |it| desk.give_up(it)),
                Step::Later { ms } => {
                    clock_ms += ms;
                    desk.expire(at(clock_ms))
                }
                Step::Forget => desk.forget("app"),
            };
            seen.take(effects);
        }
        seen.take(desk.forget("app"));
        prop_assert_eq!(seen.answered.len(), usize::try_from(asks).unwrap());
        prop_assert_eq!(seen.polled.len(), usize::try_from(polls).unwrap());
        prop_assert_eq!((desk.asked, desk.members, desk.shapes), (Waiting::default(), 0, 0));
    }
}
