//! What the controller has on its desk: requests, silences, elections; and the next entry made of them.
//!
//! One entry is under way at a time and holds all that came in meanwhile, so that each is planned on the image that it
//! will be applied to, a dead node costs one entry whatever it led, and the in-sync changes of many leaders are one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::ControllerSettings;
use super::raising::Raising;
use crate::cluster::election;
use crate::cluster::liveness::Liveness;
use crate::cluster::plan::{PlanSettings, Settle, plan};
use crate::cluster::reassignment;
use crate::cluster::request::Request;
use crate::error::Refusal;
use crate::events::{
    Events, InDoubtBecause, LeaderElectedInDoubt, LeadersElected, NodeDied, NodeLive, ReplicasReassigned,
};
use crate::ids::{Incarnation, NodeId, PartitionId};
use crate::image::{Alteration, Choice, Command, Election, Features, Image, Outcome, ReassignmentStep};

/// How much the requests of one entry may weigh, and so the heaviest request taken: a change of one in-sync set weighs 1
/// and has about 110 bytes. With the elections below an entry stays well under the quorum's limit of 1 MiB.
pub(super) const REQUEST_WEIGHT_MAX: usize = 4_000;

/// The most elections of one entry, of about 40 bytes each. More are made in the next.
const ELECTIONS_PER_ENTRY_MAX: usize = 10_000;

/// The most ends of reassignments of one entry, and about as many beginnings, of about 50 bytes each.
const ALTERATIONS_PER_ENTRY_MAX: usize = 1_000;

/// Requests and observations on their way into the quorum's log.
#[derive(Debug)]
pub(super) struct Desk {
    settings: ControllerSettings,
    queue: VecDeque<Request>,
    /// The image whose elections are all proposed; only what differs from it is looked at again.
    scanned: Option<Arc<Image>>,
    /// The same for reassignments that have reached their end.
    scanned_for_ends: Option<Arc<Image>>,
    /// Partitions whose members are waited for, and since when.
    waiting: BTreeMap<PartitionId, Instant>,
    /// Since when each node has been live in its life, as seen here.
    live_since: BTreeMap<NodeId, (Incarnation, Instant)>,
    raising: Raising,
    rebalance_at: Instant,
}

/// An entry to be proposed.
pub(super) struct Entry {
    /// Never empty.
    pub(super) commands: Vec<Command>,
    answers: Vec<(Outcomes, Settle)>,
    died: Vec<(NodeId, Duration)>,
    /// Partitions whose leader an operator chose.
    decided: BTreeSet<PartitionId>,
}

/// Where a request's outcomes are.
enum Outcomes {
    /// Among the entry's.
    At(Range<usize>),
    /// Known: it was refused on the state that the entry makes.
    Known(Vec<Outcome>),
}

impl fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answers = self.answers.len();
        formatter.debug_struct("Entry").field("commands", &self.commands).field("answers", &answers).finish()
    }
}

impl Desk {
    pub(super) fn new(settings: ControllerSettings, now: Instant) -> Self {
        Self {
            settings,
            queue: VecDeque::new(),
            scanned: None,
            scanned_for_ends: None,
            waiting: BTreeMap::new(),
            live_since: BTreeMap::new(),
            raising: Raising::default(),
            rebalance_at: now + settings.rebalance_interval,
        }
    }

    pub(super) fn put(&mut self, request: Request) {
        self.queue.push_back(request);
    }

    /// Refuses all that is on the desk: this node no longer leads.
    pub(super) fn clear(&mut self, refusal: &Refusal) {
        for request in self.queue.drain(..) {
            request.refuse(refusal.clone());
        }
        self.forget();
        self.live_since.clear();
        self.raising = Raising::default();
    }

    /// What was proposed did not come to be, as far as is known: everything is looked at again.
    pub(super) fn forget(&mut self) {
        self.scanned = None;
        self.scanned_for_ends = None;
        self.waiting.clear();
    }

    /// The next entry, if there is anything to decide. Requests that need none are answered here.
    pub(super) fn next_entry(
        &mut self,
        now: Instant,
        now_ms: i64,
        image: &Arc<Image>,
        liveness: &Liveness,
    ) -> Option<Entry> {
        let mut draft = Draft::new(image);
        if image.cluster().is_none() {
            draft.push(Command::Found { cluster: self.settings.cluster });
        }
        for (node, incarnation, silence) in liveness.silent(now, image.nodes()) {
            draft.push(Command::FenceNode { node, incarnation });
            draft.died.push((node, silence));
        }
        for (node, incarnation) in liveness.ready(now, image.nodes()) {
            draft.push(Command::UnfenceNode { node, incarnation });
        }
        let mut room = REQUEST_WEIGHT_MAX;
        while let Some(request) = self.queue.pop_front_if(|request| request.weight() <= room) {
            room -= request.weight();
            draft.add(request, &self.settings, now_ms);
        }
        if let Some(level) = draft.scratch.features().next(draft.scratch.nodes()) {
            draft.push(Command::SetFeatureLevel { level });
        }
        self.note_live(now, &draft.scratch);
        let raises = self.raises(now, &draft.scratch);
        let elections = self.elections(now, image, &draft.scratch);
        if !elections.is_empty() {
            draft.push(Command::ElectLeaders { elections });
        }
        for alterations in [self.ends(image, &draft.scratch), raises] {
            if !alterations.is_empty() {
                draft.push(Command::AlterReassignments { alterations });
            }
        }
        draft.finish()
    }

    fn note_live(&mut self, now: Instant, image: &Image) {
        let nodes = image.nodes();
        self.live_since.retain(|node, (incarnation, _)| nodes.is_live(*node, *incarnation));
        for (node, known) in nodes.live() {
            self.live_since.entry(node).or_insert((known.incarnation, now));
        }
        self.raising.note(now, image);
    }

    /// All elections that `scratch` asks for, the state after the commands so far.
    fn elections(&mut self, now: Instant, image: &Arc<Image>, scratch: &Image) -> Vec<Election> {
        let wait = self.settings.timing.doubt_wait;
        let over = self.waiting.iter().filter(|(_, since)| now.saturating_duration_since(**since) >= wait);
        let waited_out: BTreeSet<PartitionId> = over.map(|(id, _)| *id).collect();
        let all = !self.waiting.is_empty();
        let since = self.scanned.as_deref().filter(|_| !all);
        let same = |since: &Image| {
            Arc::ptr_eq(since.nodes(), scratch.nodes()) && Arc::ptr_eq(since.topics(), scratch.topics())
        };
        if since.is_some_and(same) && now < self.rebalance_at {
            return Vec::new();
        }
        let mut due = election::due(scratch, since, &waited_out);
        self.scanned = Some(Arc::clone(image));
        if all {
            self.waiting.retain(|id, _| due.waiting.contains(id));
        }
        for id in due.waiting {
            self.waiting.entry(id).or_insert(now);
        }
        if due.elections.len() > ELECTIONS_PER_ENTRY_MAX {
            due.elections.truncate(ELECTIONS_PER_ENTRY_MAX);
            self.scanned = None;
        }
        if due.elections.is_empty() && now >= self.rebalance_at {
            self.rebalance_at = now + self.settings.rebalance_interval;
            return self.rebalance(now, scratch);
        }
        due.elections
    }

    /// All reassignments that end with `scratch`, the state after the commands so far.
    fn ends(&mut self, image: &Arc<Image>, scratch: &Image) -> Vec<Alteration> {
        let since = self.scanned_for_ends.as_deref();
        let ends = reassignment::due(scratch, since, ALTERATIONS_PER_ENTRY_MAX);
        let is_all = ends.len() < ALTERATIONS_PER_ENTRY_MAX;
        self.scanned_for_ends = is_all.then(|| Arc::clone(image));
        ends
    }

    /// Topics of the system get replicas on nodes that have joined, as often as leaderships are given back.
    fn raises(&mut self, now: Instant, image: &Image) -> Vec<Alteration> {
        if now < self.rebalance_at || image.features().require(Features::ADMINISTRATION).is_err() {
            return Vec::new();
        }
        let settled = self.live_since.iter().filter(|(node, _)| self.is_settled(now, **node));
        let settled = settled.map(|(node, (incarnation, _))| (*node, *incarnation)).collect();
        let mut raises = self.raising.due(now, image, settled);
        raises.truncate(ALTERATIONS_PER_ENTRY_MAX);
        raises
    }

    fn is_settled(&self, now: Instant, node: NodeId) -> bool {
        let since = self.live_since.get(&node).map(|(_, since)| *since);
        since.is_some_and(|since| now.saturating_duration_since(since) >= self.settings.rebalance_after)
    }

    fn rebalance(&self, now: Instant, image: &Image) -> Vec<Election> {
        let settled = |node: NodeId| self.is_settled(now, node);
        let partitions: usize = image.topics().iter().map(|topic| topic.partitions.len()).sum();
        election::rebalance(image, settled, (partitions / 10).max(1))
    }
}

/// An entry in the making, and the state it makes.
struct Draft {
    scratch: Image,
    commands: Vec<Command>,
    answers: Vec<(Outcomes, Settle)>,
    died: Vec<(NodeId, Duration)>,
    decided: BTreeSet<PartitionId>,
}

impl Draft {
    fn new(image: &Image) -> Self {
        Self {
            scratch: image.clone(),
            commands: Vec::new(),
            answers: Vec::new(),
            died: Vec::new(),
            decided: BTreeSet::new(),
        }
    }

    fn push(&mut self, command: Command) {
        self.scratch.apply(self.scratch.version(), &command);
        self.commands.push(command);
    }

    fn add(&mut self, request: Request, settings: &ControllerSettings, now_ms: i64) {
        let with = PlanSettings { topics: settings.topics, names_max: settings.names_max };
        let planned = plan(request, &self.scratch, with, now_ms);
        let version = self.scratch.version();
        let outcomes: Vec<Outcome> =
            planned.commands.iter().map(|command| self.scratch.apply(version, command)).collect();
        let refused = outcomes.iter().all(|outcome| matches!(outcome, Outcome::Refused(_)));
        if refused {
            self.answers.push((Outcomes::Known(outcomes), planned.settle));
            return;
        }
        let start = self.commands.len();
        self.decided.extend(planned.decided);
        self.commands.extend(planned.commands);
        self.answers.push((Outcomes::At(start..self.commands.len()), planned.settle));
    }

    /// An empty entry is not proposed: what it would answer rests on nothing undecided.
    fn finish(self) -> Option<Entry> {
        let Self { commands, answers, died, decided, .. } = self;
        let entry = Entry { commands, answers, died, decided };
        if entry.commands.is_empty() {
            entry.settle(&[]);
            return None;
        }
        Some(entry)
    }
}

impl Entry {
    /// Answers the requests of an entry that was decided.
    pub(super) fn settle(self, outcomes: &[Outcome]) {
        for (of, settle) in self.answers {
            match of {
                Outcomes::At(range) => settle(Ok(outcomes.get(range).unwrap_or_default())),
                Outcomes::Known(outcomes) => settle(Ok(&outcomes)),
            }
        }
    }

    /// Answers the requests of an entry that came to nothing, or of which nothing is known.
    pub(super) fn refuse(self, refusal: &Refusal) {
        for (_, settle) in self.answers {
            settle(Err(refusal.clone()));
        }
    }

    /// Tells what a decided entry means.
    pub(super) fn tell(&self, outcomes: &[Outcome], events: &Events) {
        for (died, silent) in &self.died {
            events.emit(NodeDied { died: *died, silent: *silent });
        }
        let mut elected = LeadersElected::default();
        for (command, outcome) in self.commands.iter().zip(outcomes) {
            match (command, outcome) {
                (Command::UnfenceNode { node, .. }, Outcome::Done) => events.emit(NodeLive { live: *node }),
                (Command::ElectLeaders { elections }, Outcome::Elected { refused }) => {
                    for election in elections {
                        let stale = refused.iter().any(|(id, _)| *id == election.partition);
                        let decided = self.decided.contains(&election.partition);
                        tell_election(election, (stale, decided), &mut elected, events);
                    }
                }
                (Command::AlterReassignments { alterations }, Outcome::Reassigned { refused }) => {
                    events.emit(reassigned(alterations, refused.len()));
                }
                _ => {}
            }
        }
        events.emit(elected);
    }
}

fn reassigned(alterations: &[Alteration], stale: usize) -> ReplicasReassigned {
    let mut told = ReplicasReassigned { stale, ..ReplicasReassigned::default() };
    for alteration in alterations {
        match alteration.step {
            ReassignmentStep::Begin { .. } | ReassignmentStep::Raise { .. } => told.begun += 1,
            ReassignmentStep::Complete { .. } => told.completed += 1,
            ReassignmentStep::Cancel { .. } => told.cancelled += 1,
        }
    }
    told
}

fn tell_election(
    election: &Election,
    (stale, decided): (bool, bool),
    elected: &mut LeadersElected,
    events: &Events,
) {
    match &election.choice {
        _ if stale => elected.stale += 1,
        Choice::Keep { .. } => {}
        Choice::Lead { .. } => elected.clean += 1,
        Choice::Nobody => elected.nobody += 1,
        Choice::Alone { leader, unclean } => events.emit(LeaderElectedInDoubt {
            partition: election.partition,
            leader: leader.node,
            why: match unclean {
                true if decided => InDoubtBecause::Operator,
                true => InDoubtBecause::Unclean,
                false => InDoubtBecause::Greatest,
            },
        }),
    }
}
