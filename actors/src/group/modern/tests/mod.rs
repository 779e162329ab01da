mod compaction;
mod fencing;
mod histories;
mod offsets;
mod rights;
mod subscriptions;

use std::collections::BTreeSet;

use super::*;
use crate::error::ErrorCode;
use crate::group::fakes::{FakeRights, FakeTopics, beating, joining};
use crate::group::records::{CurrentAssignment, LogRecord, decode, encode};
use crate::ids::PartitionId;

/// A group, its surroundings, and everything it wrote.
pub(super) struct Bench {
    pub(super) machine: ConsumerGroup,
    pub(super) topics: FakeTopics,
    pub(super) settings: GroupSettings,
    pub(super) now_ms: u64,
    pub(super) written: usize,
    /// The records, as they go to the log.
    log: Vec<LogRecord>,
    /// The group as its records tell it, by way of their bytes.
    read_back: Group,
}

impl Bench {
    pub(super) fn new(topics: &[(&str, i32)]) -> Self {
        let topics = FakeTopics::of(topics);
        let settings = GroupSettings::default();
        let around =
            Surroundings { now: Now { monotonic_ms: 0, wall_ms: 0 }, topics: &topics, settings: &settings };
        let machine = ConsumerGroup::new("g".into(), Group::default(), &around);
        Self {
            machine,
            topics,
            settings,
            now_ms: 0,
            written: 0,
            log: Vec::new(),
            read_back: Group::default(),
        }
    }

    pub(super) fn decide<A>(
        &mut self,
        step: impl FnOnce(&mut ConsumerGroup, &Surroundings<'_>) -> Decision<A>,
    ) -> Result<A, ErrorCode> {
        let wall_ms = i64::try_from(self.now_ms).unwrap() + 1_000_000;
        let now = Now { monotonic_ms: self.now_ms, wall_ms };
        let around = Surroundings { now, topics: &self.topics, settings: &self.settings };
        let decision = step(&mut self.machine, &around);
        self.written += decision.records.len();
        for record in decision.records {
            let encoded = encode(wall_ms, "g", &record);
            let (_, read) = decode(&encoded.key, encoded.value.as_deref()).unwrap().unwrap();
            assert_eq!(read, record);
            self.read_back.replay(encoded.timestamp_ms, read);
            self.log.push(encoded);
        }
        decision.answer.map_err(|refusal| refusal.code)
    }

    pub(super) fn beat(&mut self, request: &GroupHeartbeat) -> Result<GroupHeartbeatAnswer, ErrorCode> {
        self.beat_with(request, None)
    }

    /// The same, of a member that may know only of what these rights show.
    fn beat_with(
        &mut self,
        request: &GroupHeartbeat,
        rights: Option<&Arc<FakeRights>>,
    ) -> Result<GroupHeartbeatAnswer, ErrorCode> {
        let rights = rights.map(|rights| Arc::clone(rights) as Arc<dyn TopicRights>);
        let sender = Sender { host: "127.0.0.1", rights };
        self.decide(|machine, around| machine.heartbeat(around, sender, request))
    }

    pub(super) fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
        self.decide(|machine, around| machine.tick(around, KeptFrom::Commit)).unwrap();
    }

    pub(super) fn replayed(&self) -> Group {
        self.read_back.clone()
    }

    fn take_over(&mut self) {
        let group = self.replayed();
        let now = Now { monotonic_ms: self.now_ms, wall_ms: 0 };
        let around = Surroundings { now, topics: &self.topics, settings: &self.settings };
        self.machine = ConsumerGroup::new("g".into(), group, &around);
    }
}

fn with_owned(request: GroupHeartbeat, owned: Vec<PartitionId>) -> GroupHeartbeat {
    GroupHeartbeat { owned: Some(owned), ..request }
}

fn static_joining(member: &str, instance: &str) -> GroupHeartbeat {
    GroupHeartbeat { instance: Some(instance.to_owned()), ..joining("g", member, &["t"]) }
}

#[test]
fn the_first_member_gets_everything_at_once() {
    let mut bench = Bench::new(&[("t", 3)]);
    let answer = bench.beat(&joining("g", "a", &["t"])).unwrap();
    assert_eq!(answer.member_epoch, 1);
    assert_eq!(answer.heartbeat_interval_ms, 500);
    assert_eq!(answer.assigned.unwrap().len(), 3);
    assert_eq!(bench.machine.state(), GroupState::Stable);
}

#[test]
fn a_partition_goes_to_its_new_owner_only_when_the_old_one_gave_it_up() {
    let mut bench = Bench::new(&[("t", 2)]);
    let all = bench.beat(&joining("g", "a", &["t"])).unwrap().assigned.unwrap();
    let joined = bench.beat(&joining("g", "b", &["t"])).unwrap();
    assert_eq!((joined.member_epoch, joined.assigned), (2, Some(vec![])));
    assert_eq!(joined.heartbeat_interval_ms, 100, "who waits asks sooner");

    let told = bench.beat(&beating("g", "a", 1)).unwrap();
    assert_eq!(told.member_epoch, 1, "it stays in its epoch until it gave up");
    let kept = told.assigned.unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(bench.beat(&with_owned(beating("g", "a", 1), all)).unwrap().member_epoch, 1);
    assert_eq!(bench.beat(&beating("g", "b", 2)).unwrap().assigned, None);
    assert_eq!(bench.machine.state(), GroupState::Reconciling);

    assert_eq!(bench.beat(&with_owned(beating("g", "a", 1), kept.clone())).unwrap().member_epoch, 2);
    let got = bench.beat(&beating("g", "b", 2)).unwrap().assigned.unwrap();
    assert_eq!(got.len(), 1);
    assert_ne!(got, kept);
    assert_eq!(bench.machine.state(), GroupState::Stable);
}

#[test]
fn a_partition_that_another_has_is_held_back_whatever_was_decided() {
    let mut bench = Bench::new(&[("t", 2)]);
    let all = bench.beat(&joining("g", "a", &["t"])).unwrap().assigned.unwrap();
    bench.beat(&joining("g", "b", &["t"])).unwrap();
    let mut notices = Vec::new();
    bench
        .decide(|machine, around| {
            let assigned = all.iter().copied().collect();
            let value = CurrentAssignment { assigned, ..machine.group.current("b").clone() };
            let decision = machine.decide(around, |turn| {
                turn.write(GroupRecord::Current { member: "b".into(), value: Some(value) });
                Ok(())
            });
            notices.clone_from(&decision.notices);
            decision
        })
        .unwrap();
    assert!(bench.machine.group.current("b").assigned.is_empty());
    let found = notices.iter().filter_map(|notice| match notice {
        Notice::Broken(broken) => Some(broken.found.as_str()),
        _ => None,
    });
    assert_eq!(found.filter(|found| found.ends_with("was to be b's, and a has it")).count(), 2);
    assert!(all.iter().all(|partition| bench.machine.group.owner(partition).unwrap().as_ref() == "a"));
}

#[test]
fn who_is_not_affected_hears_of_a_new_epoch_and_nothing_else() {
    let mut bench = Bench::new(&[("t", 2), ("u", 2)]);
    bench.beat(&joining("g", "a", &["t"])).unwrap();
    bench.beat(&joining("g", "b", &["u"])).unwrap();
    let answer = bench.beat(&beating("g", "a", 1)).unwrap();
    assert_eq!((answer.member_epoch, answer.assigned), (2, None));
}

#[test]
fn a_silent_member_is_out_after_its_session_and_its_partitions_are_given_at_the_next_heartbeat() {
    let mut bench = Bench::new(&[("t", 2)]);
    let all = bench.beat(&joining("g", "a", &["t"])).unwrap().assigned.unwrap();
    bench.beat(&joining("g", "b", &["t"])).unwrap();
    bench.wait(3_000);
    assert_eq!(bench.beat(&beating("g", "b", 2)).unwrap().assigned, None);
    assert_eq!(bench.machine.next_deadline_ms(), 6_000);
    bench.wait(2_999);
    assert_eq!(bench.machine.group().members.len(), 2);
    bench.wait(1);
    assert_eq!(bench.machine.group().members.len(), 1);
    let answer = bench.beat(&beating("g", "b", 2)).unwrap();
    assert_eq!(answer.assigned.unwrap().len(), all.len());
    assert_eq!(bench.beat(&beating("g", "a", 1)), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn a_heartbeat_that_makes_no_sense_is_refused_and_changes_nothing() {
    let mut bench = Bench::new(&[("t", 1)]);
    bench.settings.max_members = 1;
    bench.settings.max_topics = 1;
    let good = joining("g", "a", &["t"]);
    let partition = bench.topics.partition("t", 0);
    let wrong = [
        (GroupHeartbeat { group: String::new(), ..good.clone() }, ErrorCode::InvalidGroupId),
        (GroupHeartbeat { member: String::new(), ..good.clone() }, ErrorCode::InvalidRequest),
        (GroupHeartbeat { member: "m".repeat(256), ..good.clone() }, ErrorCode::InvalidRequest),
        (GroupHeartbeat { instance: Some(String::new()), ..good.clone() }, ErrorCode::InvalidRequest),
        (GroupHeartbeat { member_epoch: -3, ..good.clone() }, ErrorCode::InvalidRequest),
        (GroupHeartbeat { member_epoch: -2, ..good.clone() }, ErrorCode::InvalidRequest),
        (GroupHeartbeat { topics: None, ..good.clone() }, ErrorCode::InvalidRequest),
        (GroupHeartbeat { owned: Some(vec![partition]), ..good.clone() }, ErrorCode::InvalidRequest),
        (joining("g", "a", &["t", "u"]), ErrorCode::InvalidRequest),
        (joining("g", "a", &[""]), ErrorCode::InvalidRequest),
        (GroupHeartbeat { member_epoch: -1, ..good.clone() }, ErrorCode::UnknownMemberId),
    ];
    for (request, code) in wrong {
        assert_eq!(bench.beat(&request), Err(code), "{request:?}");
    }
    assert_eq!(bench.written, 0);
    bench.beat(&good).unwrap();
    assert_eq!(bench.beat(&joining("g", "b", &["t"])), Err(ErrorCode::GroupMaxSizeReached));
    assert!(bench.beat(&good).is_ok(), "who is in may join again");
}

#[test]
fn who_takes_over_gives_everybody_a_session_and_knows_what_was_given() {
    let mut bench = Bench::new(&[("t", 2)]);
    bench.beat(&joining("g", "a", &["t"])).unwrap();
    bench.beat(&joining("g", "b", &["t"])).unwrap();
    bench.wait(5_999);
    bench.take_over();
    assert_eq!(bench.machine.next_deadline_ms(), 11_999);
    assert_eq!(bench.beat(&beating("g", "b", 2)).unwrap().assigned, None, "it is still another's");
    let answer = bench.beat(&beating("g", "a", 1)).unwrap();
    assert_eq!((answer.member_epoch, answer.assigned.unwrap().len()), (1, 1));
}

#[test]
fn an_empty_group_is_described_as_such() {
    let mut bench = Bench::new(&[("t", 2)]);
    bench.beat(&joining("g", "a", &["t"])).unwrap();
    let described = bench.machine.describe(&bench.settings).unwrap();
    assert_eq!(described.members["a"].assigned.len(), 2);
    assert_eq!(described.members["a"].target.len(), 2);
    bench.beat(&beating("g", "a", -1)).unwrap();
    let described = bench.machine.describe(&bench.settings).unwrap();
    assert_eq!((described.state, described.members.len()), (GroupState::Empty, 0));
    assert_eq!(bench.machine.group().targets.len() + bench.machine.group().currents.len(), 0);
}

#[test]
fn the_tombstones_of_a_group_leave_nothing() {
    let mut bench = Bench::new(&[("t", 2)]);
    bench.beat(&joining("g", "a", &["t"])).unwrap();
    bench.beat(&static_joining("b", "one")).unwrap();
    let mut group = bench.replayed();
    assert!(!group.is_nothing());
    for record in group.tombstones() {
        group.replay(0, record);
    }
    assert!(group.is_nothing(), "{group:?}");
}

#[test]
fn a_hundred_members_that_come_and_go_leave_everybody_else_alone() {
    let mut bench = Bench::new(&[("t", 200)]);
    let mut epochs = BTreeMap::new();
    for number in 0..20 {
        let member = format!("m{number:02}");
        epochs.insert(member.clone(), bench.beat(&joining("g", &member, &["t"])).unwrap().member_epoch);
    }
    for _ in 0..3 {
        for (member, epoch) in &mut epochs {
            let owned = bench.machine.group().current(member).assigned.iter().copied().collect();
            *epoch = bench.beat(&with_owned(beating("g", member, *epoch), owned)).unwrap().member_epoch;
        }
    }
    assert_eq!(bench.machine.state(), GroupState::Stable);
    let before: Vec<BTreeSet<_>> = bench.machine.group().targets.values().cloned().collect();
    assert!(before.iter().all(|target| target.len() == 10));
    bench.beat(&beating("g", "m19", -1)).unwrap();
    for (was, is) in before.iter().zip(bench.machine.group().targets.values()) {
        assert!(is.is_superset(was));
    }
}

#[test]
fn who_joins_says_that_it_owns_nothing() {
    let mut bench = Bench::new(&[("t", 2)]);
    let silent = GroupHeartbeat { owned: None, ..joining("g", "a", &["t"]) };
    assert_eq!(bench.beat(&silent).unwrap_err(), ErrorCode::InvalidRequest);
    let one = bench.topics.partition("t", 0);
    let owner = with_owned(joining("g", "a", &["t"]), vec![one]);
    assert_eq!(bench.beat(&owner).unwrap_err(), ErrorCode::InvalidRequest);
    assert_eq!(bench.written, 0);
    assert!(bench.beat(&joining("g", "a", &["t"])).is_ok());
}
