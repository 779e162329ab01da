//! Random histories of members that behave as clients do: answers get lost, partitions are given up late, processes
//! die, topics come and grow.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::group::topics::TopicsView;

const MEMBERS: usize = 5;
const TOPICS: [&str; 3] = ["t0", "t1", "t2"];

#[derive(Clone, Debug)]
pub(super) enum Step {
    Subscribe { member: usize, topics: Vec<usize>, is_static: bool },
    Beat { member: usize, gives_up: bool, answer_lost: bool },
    Leave { member: usize, comes_back: bool },
    Die { member: usize },
    Wait { ms: u64 },
    Topic { topic: usize, partitions: i32 },
    TakeOver,
}

pub(super) fn any_step() -> impl Strategy<Value = Step> {
    let member = 0..MEMBERS;
    prop_oneof![
        4 => (member.clone(), proptest::collection::vec(0..3usize, 1..3), any::<bool>())
            .prop_map(|(member, topics, is_static)| Step::Subscribe { member, topics, is_static }),
        20 => (member.clone(), any::<bool>(), proptest::bool::weighted(0.2))
            .prop_map(|(member, gives_up, answer_lost)| Step::Beat { member, gives_up, answer_lost }),
        1 => (member.clone(), any::<bool>()).prop_map(|(member, comes_back)| Step::Leave { member, comes_back }),
        1 => member.prop_map(|member| Step::Die { member }),
        4 => (1..4_000u64).prop_map(|ms| Step::Wait { ms }),
        2 => (0..3usize, 0..7i32).prop_map(|(topic, partitions)| Step::Topic { topic, partitions }),
        1 => Just(Step::TakeOver),
    ]
}

/// A client, as a member sees itself.
#[derive(Clone, Debug, Default)]
struct Client {
    lives: bool,
    id: String,
    instance: Option<String>,
    topics: Vec<String>,
    epoch: i32,
    /// What it reads.
    reads: BTreeSet<PartitionId>,
    /// What it was told to own.
    told: BTreeSet<PartitionId>,
    /// It has to say everything, because it does not know what was heard.
    unsure: bool,
    unsaid_topics: bool,
}

pub(super) struct Play {
    pub(super) bench: Bench,
    clients: Vec<Client>,
    lives: usize,
}

impl Play {
    pub(super) fn new() -> Self {
        let bench = Bench::new(&[("t0", 3), ("t1", 4)]);
        Self { bench, clients: vec![Client::default(); MEMBERS], lives: 0 }
    }

    pub(super) fn perform(&mut self, step: &Step) {
        match step {
            Step::Subscribe { member, topics, is_static } => self.subscribe(*member, topics, *is_static),
            Step::Beat { member, gives_up, answer_lost } => self.beat(*member, *gives_up, *answer_lost),
            Step::Leave { member, comes_back } => self.leave(*member, *comes_back),
            Step::Die { member } => self.clients[*member].lives = false,
            Step::Wait { ms } => self.bench.wait(*ms),
            Step::Topic { topic, partitions } => {
                let old = self.bench.topics.named(TOPICS[*topic]).map_or(0, |shape| shape.partitions);
                if *partitions == 0 || *partitions > old {
                    self.bench.topics.set(TOPICS[*topic], *partitions);
                    self.bench.decide(ConsumerGroup::topics_changed).unwrap();
                }
            }
            Step::TakeOver => self.bench.take_over(),
        }
        self.check();
    }

    fn subscribe(&mut self, member: usize, topics: &[usize], is_static: bool) {
        let client = &mut self.clients[member];
        if !client.lives {
            self.lives += 1;
            let id = format!("m{member}-{}", self.lives);
            let instance = is_static.then(|| format!("i{member}"));
            *client = Client { lives: true, id, instance, ..Client::default() };
        }
        client.topics = topics.iter().map(|topic| TOPICS[*topic].to_owned()).collect();
        client.unsaid_topics = true;
    }

    fn beat(&mut self, member: usize, gives_up: bool, answer_lost: bool) {
        let client = &mut self.clients[member];
        if !client.lives {
            return;
        }
        if gives_up {
            client.reads.retain(|partition| client.told.contains(partition));
        }
        let says_all = client.unsure || client.epoch == 0;
        let request = GroupHeartbeat {
            member_epoch: client.epoch,
            instance: client.instance.clone(),
            topics: (says_all || client.unsaid_topics).then(|| client.topics.clone()),
            owned: (says_all || client.reads != client.told || gives_up)
                .then(|| client.reads.iter().copied().collect()),
            ..joining("g", &client.id, &[])
        };
        let answer = self.bench.beat(&request);
        let client = &mut self.clients[member];
        if answer_lost {
            client.unsure = true;
            return;
        }
        match answer {
            Ok(answer) => {
                client.epoch = answer.member_epoch;
                (client.unsure, client.unsaid_topics) = (false, false);
                if let Some(assigned) = answer.assigned {
                    client.told = assigned.into_iter().collect();
                    client.reads.extend(&client.told);
                }
            }
            Err(ErrorCode::UnreleasedInstanceId) => {}
            Err(ErrorCode::FencedInstanceId) => client.lives = false,
            Err(ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch) => {
                client.epoch = 0;
                client.reads.clear();
                client.told.clear();
            }
            Err(other) => panic!("{other:?} to {request:?}"),
        }
    }

    fn leave(&mut self, member: usize, comes_back: bool) {
        let client = &mut self.clients[member];
        if std::mem::take(&mut client.lives) && client.epoch > 0 {
            let epoch = if comes_back && client.instance.is_some() { AWAY_EPOCH } else { -1 };
            let request =
                GroupHeartbeat { instance: client.instance.clone(), ..beating("g", &client.id, epoch) };
            let _may_be_out_already = self.bench.beat(&request);
        }
    }

    /// No partition has two owners: neither in what the coordinator wrote, nor in what living members read.
    fn check(&self) {
        let group = self.bench.machine.group();
        let mut owned = BTreeSet::new();
        for (member, current) in &group.currents {
            assert!(group.members.contains_key(member));
            for partition in current.assigned.iter().chain(&current.revoking) {
                assert!(owned.insert(*partition), "{partition} has two owners");
                assert_eq!(group.owner(partition), Some(member));
            }
        }
        let mut read = BTreeMap::new();
        for client in self.clients.iter().filter(|client| client.lives && client.epoch > 0) {
            if !group.members.contains_key(client.id.as_str()) {
                continue;
            }
            for partition in &client.reads {
                if let Some(other) = read.insert(*partition, &client.id) {
                    panic!("{partition} is read by {other} and {}", client.id);
                }
            }
        }
        assert_eq!(*group, self.bench.read_back);
    }

    fn settle(&mut self) {
        self.bench.wait(0);
        for _ in 0..14 {
            for member in 0..MEMBERS {
                self.beat(member, true, false);
                self.check();
            }
            self.bench.wait(1_000);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_partition_ever_has_two_owners_and_every_history_settles(steps in proptest::collection::vec(any_step(), 1..80)) {
        let mut play = Play::new();
        for step in &steps {
            play.perform(step);
        }
        play.settle();
        let group = play.bench.machine.group();
        let living: BTreeSet<&str> =
            play.clients.iter().filter(|client| client.lives).map(|client| client.id.as_str()).collect();
        prop_assert!(group.members.keys().map(|id| &**id).eq(living.iter().copied()));
        if living.is_empty() {
            return Ok(());
        }
        prop_assert_eq!(play.bench.machine.state(), GroupState::Stable);
        for client in play.clients.iter().filter(|client| client.lives) {
            prop_assert_eq!(&client.reads, group.target(&client.id));
            prop_assert_eq!(client.epoch, group.epoch);
        }
        let wanted: BTreeSet<PartitionId> = group
            .topics
            .values()
            .flat_map(|shape| (0..shape.partitions).map(|index| PartitionId { topic: shape.id, index }))
            .collect();
        let read: BTreeSet<PartitionId> =
            play.clients.iter().filter(|client| client.lives).flat_map(|client| client.reads.clone()).collect();
        prop_assert_eq!(read, wanted);
        if play.clients.iter().filter(|client| client.lives).all(|client| client.topics == play.clients[0].topics) {
            let loads: Vec<usize> = group.targets.values().map(BTreeSet::len).collect();
            prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1);
        }
    }
}
