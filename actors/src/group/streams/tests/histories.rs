//! Random lives of members and coordinators.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Event {
    Join,
    /// One says what it runs, hears the answer and does as it is told.
    Step(usize),
    /// One says what it runs, and does not hear the answer.
    LostAnswer(usize),
    /// What one said some time ago comes once more.
    Again(usize),
    /// One lets go of everything and leaves.
    Leave(usize),
    /// One is never heard of again.
    Die(usize),
    CatchUp(usize),
    Pass(u64),
    ReadBack,
}

fn event() -> impl Strategy<Value = Event> {
    let who = 0..8usize;
    prop_oneof![
        3 => Just(Event::Join),
        12 => who.clone().prop_map(Event::Step),
        2 => who.clone().prop_map(Event::LostAnswer),
        2 => who.clone().prop_map(Event::Again),
        1 => who.clone().prop_map(Event::Leave),
        1 => who.clone().prop_map(Event::Die),
        3 => who.prop_map(Event::CatchUp),
        3 => (100..6_000u64).prop_map(Event::Pass),
        1 => Just(Event::ReadBack),
    ]
}

/// A group, and the processes at it.
struct Story {
    bench: Bench,
    topology: StreamsTopology,
    workers: Vec<Worker>,
    dead: Vec<Worker>,
    said: Vec<StreamsHeartbeat>,
    /// Transactions that members that are out left open, by the tasks that are in them.
    open: BTreeMap<StreamsTask, BTreeSet<String>>,
    joined: usize,
}

impl Story {
    fn tell(&mut self, event: &Event) {
        match *event {
            Event::Join if self.workers.len() < 5 => {
                self.joined += 1;
                self.workers.push(Worker::new(&format!("m{}", self.joined), &self.topology));
                self.step(self.workers.len() - 1);
            }
            Event::Join => {}
            Event::Pass(ms) => self.bench.pass(ms),
            Event::ReadBack => self.bench.read_back(self.bench.log.len()),
            Event::Step(who)
            | Event::LostAnswer(who)
            | Event::Again(who)
            | Event::Leave(who)
            | Event::Die(who)
            | Event::CatchUp(who)
                if !self.workers.is_empty() =>
            {
                self.tell_one(event, who % self.workers.len())
            }
            _ => {}
        }
        self.notice_deaths();
    }

    fn tell_one(&mut self, event: &Event, who: usize) {
        match event {
            Event::Step(_) => self.step(who),
            Event::LostAnswer(_) => {
                let _lost = self.bench.beat(&self.workers[who].heartbeat());
            }
            Event::Again(_) => {
                let old = self.said.iter().rev().filter(|said| said.member == self.workers[who].id).nth(1);
                if let Some(old) = old.cloned() {
                    let _unheard = self.bench.beat(&old);
                }
            }
            Event::Leave(_) => {
                let mut worker = self.workers.remove(who);
                worker.epoch = -1;
                let _known = self.bench.beat(&worker.heartbeat());
            }
            Event::Die(_) => {
                let worker = self.workers.remove(who);
                self.dead.push(worker);
            }
            _ => self.workers[who].catch_up(),
        }
    }

    fn step(&mut self, who: usize) {
        let heartbeat = self.workers[who].heartbeat();
        self.said.push(heartbeat.clone());
        match self.bench.beat(&heartbeat) {
            Ok(answer) => {
                let before = &self.workers[who].running.active;
                for task in answer.tasks.active.difference(before) {
                    let open = self.open.remove(task).unwrap_or_default();
                    assert!(
                        open.iter().all(|id| answer.fence.contains(id)),
                        "{task:?}: {open:?} not in {answer:?}"
                    );
                }
                self.workers[who].follow(answer);
            }
            Err(ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch) => {
                let worker = self.workers.remove(who);
                self.dead.push(worker);
            }
            Err(other) => panic!("{other:?}"),
        }
        self.check();
    }

    /// What members that are out had begun, their heirs have to end first.
    fn notice_deaths(&mut self) {
        let (out, dead) =
            std::mem::take(&mut self.dead).into_iter().partition(|dead| !self.bench.is_member(dead));
        self.dead = dead;
        let gone: Vec<Worker> = out;
        let silent: Vec<_> =
            self.workers.iter().filter(|worker| !self.bench.is_member(worker)).cloned().collect();
        self.workers.retain(|worker| self.bench.is_member(worker));
        for worker in gone.into_iter().chain(silent) {
            for task in worker.running.active {
                self.open.entry(task).or_default().insert(worker.transactional_id.clone());
            }
        }
    }

    /// Of all that may run one task as active, one is a member.
    fn check(&self) {
        let mut active = BTreeMap::new();
        let members = self.workers.iter().chain(&self.dead).filter(|worker| self.bench.is_member(worker));
        for worker in members {
            for task in &worker.running.active {
                let other = active.insert(*task, &worker.id);
                assert_eq!(other, None, "{task:?} runs at two: {}", worker.id);
            }
        }
        assert!(!self.bench.notices.iter().any(|notice| matches!(notice, Notice::Broken(_))));
    }
}

proptest! {
    #[test]
    fn a_task_is_active_at_one_at_most_and_in_the_end_at_one(
        stateful in 0..5u32,
        stateless in 0..5u32,
        standbys in 0..2u16,
        events in proptest::collection::vec(event(), 1..80),
    ) {
        let mut topology = topology(stateful, stateless);
        topology.terms.standbys = standbys;
        let mut story = Story {
            bench: Bench::new(),
            topology,
            workers: Vec::new(),
            dead: Vec::new(),
            said: Vec::new(),
            open: BTreeMap::new(),
            joined: 0,
        };
        for event in &events {
            story.tell(event);
        }
        story.tell(&Event::Join);
        // The dead are out by their sessions, while the others go on.
        for _ in 0..120 {
            story.bench.pass(200);
            // Before others are told of their tasks.
            story.notice_deaths();
            for who in (0..story.workers.len()).rev() {
                story.workers[who].catch_up();
                story.step(who);
            }
        }
        prop_assert_eq!(story.bench.describe().state, GroupState::Stable, "{:?}", story.bench.describe());
        let tasks = usize::try_from(stateful + stateless).unwrap();
        prop_assert_eq!(active(&story.bench).len(), tasks);
        let counts = story.workers.iter().map(|worker| worker.running.active.len());
        prop_assert!(counts.clone().max().unwrap() - counts.min().unwrap() <= 1);
        prop_assert!(story.workers.iter().all(|worker| worker.told.fence.is_empty()));
        let written = story.bench.log.len();
        (0..story.workers.len()).for_each(|who| story.step(who));
        prop_assert_eq!(story.bench.log.len(), written, "nothing changed, nothing moves");
    }
}
