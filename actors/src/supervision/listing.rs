//! The actors of a node as nodes and clients tell each other of them: kinds with their sums, and pages of actors. Kind 408
//! of messages; 407 listed the actors of users alone.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream_transport::message::{Answer, Message};
use serde::{Deserialize, Serialize};

use super::roster::{Roster, Seen};
use crate::ids::ActorId;

/// Actors of one answer at most.
pub const ACTORS_MAX: u32 = 1_000;

/// Bytes of the actors of one answer, about; at least one is told.
const ACTORS_BYTES_MAX: usize = 256 << 10;

/// A kind of which no more live is told one by one where no kind is asked for.
const FEW: usize = 20;

/// Groups of one actor that are told.
const GROUPS_MAX: usize = 16;

/// What else there is to say of an actor, in bytes at most.
const ABOUT_BYTES_MAX: usize = 256;

/// Asks for the actors that live on the receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListActors {
    /// Only this kind, or this type of users' actors, one by one; without, all kinds, and the actors of those of which only
    /// a few live.
    pub kind: Option<String>,
    /// Only actors with higher numbers.
    pub after: Option<u64>,
    /// Actors at most; never more than [`ACTORS_MAX`], and one where it is 0.
    pub most: u32,
}

/// A kind of actors on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindLine {
    /// Its name.
    pub kind: String,
    /// What its user calls actors of this type.
    pub type_name: Option<String>,
    /// The kind of who looks after it, or who else does.
    pub supervisor: String,
    /// So many live.
    pub alive: u64,
    /// Requests that they have not answered; `None` where nobody counts them.
    pub mailbox: Option<u64>,
    /// Messages that those alive have handled.
    pub handled: u64,
    /// How often those alive were begun anew.
    pub restarts: u64,
    /// For how long the longest handler of theirs has run that runs now, in milliseconds.
    pub running_ms: Option<u64>,
}

/// One actor, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorLine {
    /// Tells it from all others that have lived on its node in this life of that.
    pub number: u64,
    /// Its kind.
    pub kind: String,
    /// What its user calls actors of its type.
    pub type_name: Option<String>,
    /// What tells it from others of its kind.
    pub name: String,
    /// Its id, if it is a user's.
    pub actor: Option<ActorId>,
    /// Its groups, the first of them.
    pub groups: Vec<String>,
    /// Requests that it has not answered, of a user's actor the messages in its mailbox; `None` where nobody counts them.
    pub mailbox: Option<u64>,
    /// Messages it has handled.
    pub handled: u64,
    /// How often it was begun anew.
    pub restarts: u64,
    /// For how long it has lived, in milliseconds.
    pub age_ms: u64,
    /// For how long the handler has run that runs now, in milliseconds, as far as that is measured.
    pub running_ms: Option<u64>,
    /// What else is worth a look.
    pub about: String,
}

/// The answer to [`ListActors`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorPage {
    /// All kinds of which one lives.
    pub kinds: Vec<KindLine>,
    /// The actors asked for, in the order in which they began.
    pub actors: Vec<ActorLine>,
    /// There are more: those after this number.
    pub next: Option<u64>,
}

impl Message for ListActors {
    const KIND: u16 = 408;
    type Answer = ActorPage;
}

impl Answer for ActorPage {}

impl Roster {
    /// The actors asked for. `groups` tells those of an actor of a user's.
    pub fn page(&self, asked: &ListActors, groups: impl Fn(ActorId) -> Vec<String>) -> ActorPage {
        let seen = self.look();
        let mut kinds: BTreeMap<(&str, Option<&str>), KindLine> = BTreeMap::new();
        for actor in &seen {
            add(kinds.entry((actor.kind.name, actor.type_name)).or_default(), actor);
        }
        let is_asked = |actor: &&Seen| match &asked.kind {
            Some(kind) => actor.kind.name == kind || actor.type_name == Some(kind),
            None => {
                kinds.get(&(actor.kind.name, actor.type_name)).is_some_and(|line| line.alive <= wide(FEW))
            }
        };
        let after = |actor: &&Seen| asked.after.is_none_or(|after| actor.number > after);
        let mut asked_for = seen.iter().filter(is_asked).filter(after).peekable();
        let (mut actors, mut bytes) = (Vec::new(), 0);
        let most = usize::try_from(asked.most.clamp(1, ACTORS_MAX)).unwrap_or(usize::MAX);
        let mut last = None;
        while actors.len() < most && bytes < ACTORS_BYTES_MAX {
            let Some(actor) = asked_for.next() else { break };
            let line = line(actor, actor.actor.map_or_else(Vec::new, &groups));
            bytes += bytes_of(&line);
            last = Some(actor.number);
            actors.push(line);
        }
        let has_more = asked_for.peek().is_some();
        let next = if has_more { last.or(asked.after) } else { None };
        ActorPage { kinds: kinds.into_values().collect(), actors, next }
    }
}

fn add(line: &mut KindLine, actor: &Seen) {
    if line.alive == 0 {
        actor.kind.name.clone_into(&mut line.kind);
        line.type_name = actor.type_name.map(ToOwned::to_owned);
        actor.kind.supervisor.clone_into(&mut line.supervisor);
    }
    line.alive += 1;
    line.mailbox =
        actor.waiting.map(|waiting| line.mailbox.unwrap_or(0).saturating_add(wide(waiting))).or(line.mailbox);
    line.handled = line.handled.saturating_add(actor.handled);
    line.restarts = line.restarts.saturating_add(actor.restarts);
    line.running_ms = line.running_ms.max(actor.running_for.map(millis));
}

fn line(actor: &Seen, mut groups: Vec<String>) -> ActorLine {
    groups.truncate(GROUPS_MAX);
    let mut about = actor.about();
    about.truncate(about.floor_char_boundary(ABOUT_BYTES_MAX));
    ActorLine {
        number: actor.number,
        kind: actor.kind.name.to_owned(),
        type_name: actor.type_name.map(ToOwned::to_owned),
        name: actor.name().to_owned(),
        actor: actor.actor,
        groups,
        mailbox: actor.waiting.map(wide),
        handled: actor.handled,
        restarts: actor.restarts,
        age_ms: millis(actor.age),
        running_ms: actor.running_for.map(millis),
        about,
    }
}

/// About as many bytes as a line has on the wire.
fn bytes_of(line: &ActorLine) -> usize {
    let words = line.groups.iter().map(String::len).sum::<usize>() + line.name.len() + line.about.len();
    words + line.type_name.as_ref().map_or(0, String::len) + 64
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use metrics::Histogram;

    use super::super::roster::{Entry, Seat};
    use super::*;
    use crate::ids::{Incarnation, NodeId};
    use crate::kinds::{REPLICA, REPLICA_SUPERVISOR, USER_ACTOR};

    fn id(serial: u64) -> ActorId {
        ActorId { node: NodeId(2), incarnation: Incarnation(300), serial }
    }

    fn with_actors(replicas: usize) -> (Roster, Vec<Seat>) {
        let roster = Roster::default();
        let enter = |entry| roster.enter(entry, Histogram::noop());
        let mut seats = vec![
            enter(Entry::new(REPLICA_SUPERVISOR, "")),
            enter(Entry::new(USER_ACTOR, "a").of_type("till").with_id(id(7)).waiting(|| 2)),
        ];
        seats.extend((0..replicas).map(|index| enter(Entry::new(REPLICA, format!("flights-{index}")))));
        (roster, seats)
    }

    fn all() -> ListActors {
        ListActors { most: 100, ..ListActors::default() }
    }

    #[test]
    fn of_a_kind_of_which_many_live_only_the_sums_are_told() {
        let (roster, seats) = with_actors(FEW + 1);
        for seat in seats.iter().skip(2) {
            drop(seat.turn());
            seat.pulse().waits(3);
        }
        let page = roster.page(&all(), |_| vec!["g".to_owned()]);
        let names: Vec<_> = page.actors.iter().map(|line| (line.kind.as_str(), line.name.as_str())).collect();
        assert_eq!(names, [("replica_supervisor", ""), ("user_actor", "a")]);
        assert_eq!((page.actors[1].groups.as_slice(), page.next), (["g".to_owned()].as_slice(), None));
        let [replicas, supervisor, tills] = page.kinds.as_slice() else { panic!("{:?}", page.kinds) };
        assert_eq!((replicas.alive, replicas.mailbox, replicas.handled), (21, Some(63), 21));
        assert_eq!((supervisor.mailbox, supervisor.supervisor.as_str()), (None, "node"));
        assert_eq!((tills.type_name.as_deref(), tills.mailbox), (Some("till"), Some(2)));
        let (few, _seats) = with_actors(FEW);
        assert_eq!(few.page(&all(), |_| Vec::new()).actors.len(), FEW + 2);
    }

    #[test]
    fn a_kind_is_told_page_by_page_each_actor_once() {
        let (roster, seats) = with_actors(1_000);
        let mut asked = ListActors { kind: Some("replica".to_owned()), after: None, most: 300 };
        let mut names = Vec::new();
        loop {
            let page = roster.page(&asked, |_| Vec::new());
            assert!(page.actors.len() <= 300);
            names.extend(page.actors.into_iter().map(|line| line.name));
            if page.next.is_none() {
                break;
            }
            asked.after = page.next;
        }
        let expected: Vec<_> = (0..1_000).map(|index| format!("flights-{index}")).collect();
        assert_eq!(names, expected);
        drop(seats);
        assert_eq!(roster.page(&asked, |_| Vec::new()), ActorPage::default());
    }

    #[test]
    fn however_many_are_asked_for_a_page_has_a_bound() {
        let (roster, _seats) = with_actors(3_000);
        let many = ListActors { kind: Some("replica".to_owned()), after: None, most: u32::MAX };
        assert_eq!(roster.page(&many, |_| Vec::new()).actors.len(), 1_000);
        let none = ListActors { most: 0, ..all() };
        let page = roster.page(&none, |_| Vec::new());
        assert_eq!((page.actors.len(), page.next), (1, Some(0)), "whoever asks on gets on");
        let (roster, long) = (Roster::default(), "x".repeat(200 << 10));
        let enter = |_| roster.enter(Entry::new(REPLICA, long.clone()), Histogram::noop());
        let _seats: Vec<_> = (0..5).map(enter).collect();
        let page = roster.page(&all(), |_| Vec::new());
        assert_eq!((page.actors.len(), page.next.is_some()), (2, true));
    }

    #[test]
    fn the_bytes_of_messages_stay() {
        let asked = ListActors { kind: Some("k".to_owned()), after: Some(300), most: 2 };
        let kind = KindLine {
            kind: "k".to_owned(),
            type_name: Some("t".to_owned()),
            supervisor: "s".to_owned(),
            alive: 1,
            mailbox: Some(2),
            handled: 3,
            restarts: 4,
            running_ms: Some(5),
        };
        let actor = ActorLine {
            number: 1,
            kind: "k".to_owned(),
            type_name: None,
            name: "n".to_owned(),
            actor: Some(id(7)),
            groups: vec!["g".to_owned()],
            mailbox: None,
            handled: 3,
            restarts: 4,
            age_ms: 5,
            running_ms: Some(6),
            about: "a".to_owned(),
        };
        let page = ActorPage { kinds: vec![kind], actors: vec![actor], next: Some(9) };
        let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(postcard::to_stdvec(&asked).unwrap()), "01016b01ac0202");
        let golden = "01016b01017401730101020304010501\
                      01016b00016e0102ac020701016700030405010601610109";
        assert_eq!(hex(postcard::to_stdvec(&page).unwrap()), golden);
    }
}
