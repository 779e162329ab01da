//! The supervisor of a node's readers: one that died is begun anew and asks the receivers how far they are.

use std::collections::BTreeMap;
use std::fmt;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::time::Instant;

use super::super::doors::EntityDoors;
use super::super::types::on_users_threads;
use super::actor::{ReaderMessage, TopicReader, Work};
use super::placed::{Assignment, ReaderKey};
use crate::events::ActorRestarted;
use crate::kinds::{ENTITY_READER, ENTITY_READER_SUPERVISOR};
use crate::supervision::roster::{Entry, Seat};
use crate::supervision::{Deaths, EarlyDeaths};

/// What the supervisor is told.
pub(in crate::custom::entity) enum ReadersMessage {
    /// This is read here from now on, in this way.
    Read { key: ReaderKey, assignment: Assignment },
    /// It is read here no more.
    Leave { key: ReaderKey },
    /// A reader was begun, or could not be.
    Begun { key: ReaderKey, begin: u64, result: Result<ActorRef<ReaderMessage>, String> },
    /// The wait after a death is over.
    Restart { key: ReaderKey, begin: u64 },
}

impl ractor::Message for ReadersMessage {}

impl fmt::Debug for ReadersMessage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ReadersMessage")
    }
}

/// The actor.
pub(in crate::custom::entity) struct ReaderSupervisor;

enum Run {
    /// It is being begun.
    Begins,
    Runs(ActorRef<ReaderMessage>),
    /// It rests after a death.
    Rests,
}

struct Reader {
    assignment: Assignment,
    /// Which beginning this is, of all of this supervisor.
    begin: u64,
    run: Run,
    deaths: Deaths,
}

/// The actor's state.
pub(in crate::custom::entity) struct Readers {
    doors: EntityDoors,
    origin: Instant,
    readers: BTreeMap<ReaderKey, Reader>,
    dead: EarlyDeaths,
    begins: u64,
    myself: ActorRef<ReadersMessage>,
    seat: Seat,
}

impl Actor for ReaderSupervisor {
    type Msg = ReadersMessage;
    type State = Readers;
    type Arguments = EntityDoors;

    async fn pre_start(
        &self,
        myself: ActorRef<ReadersMessage>,
        doors: EntityDoors,
    ) -> Result<Readers, ActorProcessingErr> {
        let origin = doors.clock.now();
        let seat = doors.events.seat(Entry::new(ENTITY_READER_SUPERVISOR, ""));
        let (readers, dead) = (BTreeMap::new(), EarlyDeaths::default());
        Ok(Readers { doors, origin, readers, dead, begins: 0, myself, seat })
    }

    async fn handle(
        &self,
        _myself: ActorRef<ReadersMessage>,
        message: ReadersMessage,
        readers: &mut Readers,
    ) -> Result<(), ActorProcessingErr> {
        let _turn = readers.seat.turn();
        match message {
            ReadersMessage::Read { key, assignment } => readers.read(key, assignment),
            ReadersMessage::Leave { key } => readers.leave(&key),
            ReadersMessage::Begun { key, begin, result } => readers.begun(&key, begin, result),
            ReadersMessage::Restart { key, begin } => {
                if readers.readers.get(&key).is_some_and(|reader| reader.begin == begin) {
                    readers.begin(&key);
                }
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<ReadersMessage>,
        event: SupervisionEvent,
        readers: &mut Readers,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(actor, cause) = event {
            readers.died(actor.get_id(), &cause.to_string());
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<ReadersMessage>,
        readers: &mut Readers,
    ) -> Result<(), ActorProcessingErr> {
        while let Some(key) = readers.readers.keys().next().cloned() {
            readers.leave(&key);
        }
        Ok(())
    }
}

impl Readers {
    fn read(&mut self, key: ReaderKey, assignment: Assignment) {
        self.leave(&key);
        let (run, deaths) = (Run::Begins, Deaths::default());
        self.readers.insert(key.clone(), Reader { assignment, begin: 0, run, deaths });
        self.begin(&key);
    }

    /// What it has sent is applied, or not: whoever reads next asks.
    fn leave(&mut self, key: &ReaderKey) {
        if let Some(Reader { run: Run::Runs(actor), .. }) = self.readers.remove(key) {
            actor.kill();
        }
    }

    fn begin(&mut self, key: &ReaderKey) {
        let Some(reader) = self.readers.get_mut(key) else { return };
        self.begins += 1;
        let begin = self.begins;
        (reader.begin, reader.run) = (begin, Run::Begins);
        let assignment = reader.assignment.clone();
        let work = Work { key: key.clone(), assignment, doors: self.doors.clone() };
        let (myself, key) = (self.myself.clone(), key.clone());
        let begun = on_users_threads(&self.doors.threads, TopicReader, work, myself.get_cell());
        tokio::spawn(async move {
            let result = begun.await;
            let _ended = myself.cast(ReadersMessage::Begun { key, begin, result });
        });
    }

    fn begun(&mut self, key: &ReaderKey, begin: u64, result: Result<ActorRef<ReaderMessage>, String>) {
        let reader = self.readers.get_mut(key).filter(|reader| reader.begin == begin);
        match (result, reader) {
            (Ok(actor), Some(reader)) => match self.dead.cause(actor.get_id()) {
                Some(cause) => self.rest(key, cause),
                None => reader.run = Run::Runs(actor),
            },
            (Ok(actor), None) => actor.kill(),
            (Err(error), Some(_)) => self.rest(key, error),
            (Err(_), None) => {}
        }
        if !self.are_begun() {
            self.dead = EarlyDeaths::default();
        }
    }

    /// Whether one is being begun.
    fn are_begun(&self) -> bool {
        self.readers.values().any(|reader| matches!(reader.run, Run::Begins))
    }

    fn died(&mut self, actor: ActorId, cause: &str) {
        let is_it = |reader: &Reader| matches!(&reader.run, Run::Runs(known) if known.get_id() == actor);
        let found = self.readers.iter().find(|(_, reader)| is_it(reader)).map(|(key, _)| key.clone());
        match found {
            Some(key) => self.rest(&key, cause.to_owned()),
            // One that begins, perhaps: it is looked for when it is heard that it has begun.
            None if self.are_begun() => self.dead.note(actor, cause),
            None => {}
        }
    }

    fn rest(&mut self, key: &ReaderKey, cause: String) {
        let now = self.doors.clock.now().saturating_duration_since(self.origin);
        let Some(reader) = self.readers.get_mut(key) else { return };
        reader.run = Run::Rests;
        let after = reader.deaths.rest(now, &ENTITY_READER.restarts);
        let name = reader.assignment.name(key);
        self.doors.events.emit(ActorRestarted { kind: ENTITY_READER.name, name: &name, cause, after });
        let (begin, key, myself) = (reader.begin, key.clone(), self.myself.clone());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let _ended = myself.cast(ReadersMessage::Restart { key, begin });
        });
    }
}
