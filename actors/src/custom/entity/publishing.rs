//! What turns publish, on its way into the log of the partition and from there into topics.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::batch::Adds;
use super::behaviour::{Behaviour, Fault, PoisonPolicy};
use super::dead_letter::of_refused;
use super::partition::EntityPartition;
use super::publication::{Output, Publication, Publish, Stamp, Target, Together, Written, following};
use super::publisher::{Done, Errands, Then};
use super::records::{RecordKey, RecordValue};
use super::table::publication_bytes;
use super::topics::{KnownTopic, KnownTopics};
use crate::error::Refusal;
use crate::ids::{NodeId, PartitionId};
use crate::image::check_name;
use crate::record::HEADER_BYTES;
use crate::record::key_hash::partition_for_key;

/// So many records without a key go to one partition before the next has its turn: batches are fuller so.
const STICKY: u64 = 16;

/// What a record of the log takes beside a publication's own bytes, at most.
const RECORD_BYTES: usize = 96;

/// Who publishes, and to what.
#[derive(Clone, Debug)]
pub struct Publishing {
    /// The type of the entities.
    pub kind: Arc<str>,
    /// The node.
    pub node: NodeId,
    /// The topics.
    pub topics: Arc<dyn KnownTopics>,
}

/// Something about publications that is worth a line or a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// So many are in their topic.
    Published(u64),
    /// A topic will never take one: it is left out, or goes to the dead letters.
    Refused {
        /// Where it should have gone.
        target: PartitionId,
        /// Why.
        refusal: Refusal,
        /// Whether it is kept as a dead letter.
        is_kept: bool,
    },
    /// So many were on their way to a topic that was deleted.
    Gone(PartitionId, usize),
    /// A topic has lost what it had of this partition.
    Lost(PartitionId),
    /// Requests fail, so many in a row by now; of transactions there is no target.
    Delayed(Option<PartitionId>, u32, Refusal),
    /// A message went to the dead letters, or should have.
    DeadLetter {
        /// What was wrong with it.
        fault: Fault,
        /// Why it is not there.
        failed: Option<Fault>,
    },
}

/// A record that has its place in a topic.
pub(super) struct Placed {
    target: PartitionId,
    seen_in: u64,
    record: Written,
}

/// Records of a batch.
pub(super) type Puts = Vec<(RecordKey, Option<RecordValue>)>;

impl<B: Behaviour, T> EntityPartition<B, T> {
    /// Busy where a topic is not there that may be: what is known of the cluster may be old, or the topic be made later.
    pub(super) fn knows_topics(&self, published: &[Publish]) -> Result<(), Fault> {
        let may_come =
            |topic: &str| check_name(topic).is_ok() && self.publishing.topics.named(topic).is_none();
        match published.iter().find(|publish| may_come(&publish.topic)) {
            Some(Publish { topic, .. }) => {
                Err(Fault::Busy(format!("there is no topic {topic:?} to publish to yet, or no more")))
            }
            None => Ok(()),
        }
    }

    /// Gives records their places; a fault where one cannot be in its topic.
    pub(super) fn place(&self, now_ms: i64, published: Vec<Publish>) -> Result<Vec<Placed>, Fault> {
        let first = self.published_next();
        let place = |(number, Publish { topic, record }): (u64, Publish)| {
            let named = self.publishing.topics.named(&topic).filter(|(_, known)| !known.is_internal);
            let Some((seen_in, known)) = named else {
                return Err(Fault::Unpublishable(format!("there is no topic {topic:?} to publish to")));
            };
            let index = index_of(&known, record.partition, record.key.as_deref(), number)?;
            let headers = record.headers.into_iter().map(|header| (header.name, header.value));
            let record = Written {
                timestamp_ms: record.timestamp_ms.unwrap_or(now_ms),
                key: record.key,
                value: record.value,
                headers: headers.collect(),
            };
            check(&known, &record)?;
            Ok(Placed { target: PartitionId { topic: known.id, index }, seen_in, record })
        };
        (first..).zip(published).map(place).collect()
    }

    fn published_next(&self) -> u64 {
        let committed = self.table.as_ref().map_or(1, super::table::Table::published_next);
        self.uncommitted.published_next.unwrap_or(committed)
    }

    fn target(&self, id: PartitionId) -> Target {
        let committed = self.table.as_ref().and_then(|table| table.target(id));
        let uncommitted = self.uncommitted.targets.get(&id).map(|(target, _)| *target);
        uncommitted.or(committed).unwrap_or_default()
    }

    /// The records of these publications, with their numbers and sequences, and how their targets are written to behind them:
    /// for [`Self::publishes`].
    pub(super) fn publications(&self, placed: Vec<Placed>) -> (Puts, BTreeMap<PartitionId, Target>) {
        let (mut puts, mut targets) = (Puts::new(), BTreeMap::new());
        let mut number = self.published_next();
        let (output, count) = (self.behaviour.output(), placed.len());
        for (place, Placed { target: id, seen_in, record }) in (1..).zip(placed) {
            let target = targets.entry(id).or_insert_with(|| self.target(id));
            let together = match output {
                Output::EachTopic => Together::Alone,
                Output::Transactional if place == count => Together::AsLast,
                Output::Transactional => Together::WithNext,
            };
            let publication = Publication { target: id, sequence: target.next, together, record };
            if together == Together::Alone {
                target.next = following(target.next);
            }
            target.seen_in = target.seen_in.max(seen_in);
            puts.push((RecordKey::Publication { number }, Some(RecordValue::Publication(publication))));
            number = number.saturating_add(1);
        }
        if !puts.is_empty() {
            puts.push((RecordKey::PublishedNext, Some(RecordValue::PublishedNext(number))));
        }
        puts.extend(targets.iter().map(|(target, is)| of_target(*target, *is)));
        (puts, targets)
    }

    /// The records of these publications were put into this batch.
    pub(super) fn publishes(&mut self, batch: u64, count: usize, targets: BTreeMap<PartitionId, Target>) {
        if count == 0 {
            return;
        }
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.uncommitted.published_next = Some(self.published_next().saturating_add(count));
        self.uncommitted.targets.extend(targets.into_iter().map(|(id, target)| (id, (target, batch))));
    }

    /// What is to be done now for publications that are committed; [`Self::published`] tells what became of each.
    pub fn publications_due(&mut self, now_ms: i64) -> Vec<Errands> {
        let Some(table) = &self.table else { return Vec::new() };
        let (due, gone) = self.publisher.due(table, now_ms, &*self.publishing.topics);
        self.notes.extend(gone.into_iter().map(|(target, count)| Note::Gone(target, count)));
        due
    }

    /// What [`Self::publications_due`] gave is done, or failed.
    pub fn published(&mut self, now_ms: i64, target: Option<PartitionId>, number: u64, done: Done) {
        match target {
            Some(target) => self.published_to(now_ms, target, number, done),
            None => self.published_together(now_ms, number, done),
        }
    }

    fn published_to(&mut self, now_ms: i64, id: PartitionId, number: u64, done: Done) {
        let Some(target) = self.table.as_ref().and_then(|table| table.target(id)) else { return };
        match self.publisher.answered((id, target), number, now_ms, done) {
            Then::Nothing | Then::RefusedTurn(..) => {}
            Then::There(count) => self.notes.push(Note::Published(count)),
            Then::Named(producer, base) => {
                let producer = Some(Stamp { id: producer, epoch: 0 });
                self.rewrite(id, Target { producer, base, ..self.target(id) }, Puts::new());
            }
            Then::Lost(first) => {
                self.notes.push(Note::Lost(id));
                self.rewrite(id, self.target(id).renumbered(first), Puts::new());
            }
            Then::Refused(publication, refusal) => self.refused(now_ms, id, publication, refusal),
            Then::Delayed(failures, refusal) => self.notes.push(Note::Delayed(Some(id), failures, refusal)),
        }
    }

    fn published_together(&mut self, now_ms: i64, number: u64, done: Done) {
        if self.table.is_none() {
            return;
        }
        match self.publisher.answered_transaction(number, now_ms, done) {
            Then::There(count) => {
                let gone = self.publisher.transactions.take_gone();
                let dropped: usize = gone.values().sum();
                self.notes.extend(gone.into_iter().map(|(target, count)| Note::Gone(target, count)));
                let dropped = u64::try_from(dropped).unwrap_or(u64::MAX);
                self.notes.push(Note::Published(count.saturating_sub(dropped)));
            }
            Then::RefusedTurn(turn, refusal) => self.refused_turn(now_ms, &turn, &refusal),
            Then::Delayed(failures, refusal) => self.notes.push(Note::Delayed(None, failures, refusal)),
            Then::Nothing | Then::Named(..) | Then::Refused(..) | Then::Lost(_) => {}
        }
    }

    /// A topic will never take what a turn published: none of it is published, so that nobody sees a part.
    fn refused_turn(&mut self, now_ms: i64, turn: &[u64], refusal: &Refusal) {
        let Some(table) = &self.table else { return };
        let of_turn = turn.iter().filter_map(|number| {
            let (it, publication) = table.publications_from(*number).next()?;
            (it == *number).then(|| (publication.target, publication.record.clone()))
        });
        let refused: Vec<_> = of_turn.collect();
        let mut letters = Vec::new();
        for (id, record) in &refused {
            match self.letter_of(now_ms, *id, record, refusal) {
                Some(placed) => letters.push(placed),
                None => {
                    self.notes.push(no_letters(refusal));
                    return self.publisher.transactions.hold(now_ms);
                }
            }
        }
        // The log takes no more in one batch: those from the first on that has no room are not kept.
        let mut bytes = 0_usize;
        for letter in &mut letters {
            bytes = bytes.saturating_add(weight(letter).0);
            if bytes > self.settings.turn_max_bytes {
                letter.clear();
            }
        }
        for ((target, _), letter) in refused.iter().zip(&letters) {
            let (target, refusal, is_kept) = (*target, refusal.clone(), !letter.is_empty());
            self.notes.push(Note::Refused { target, refusal, is_kept });
        }
        let placed: Vec<_> = letters.into_iter().flatten().collect();
        let count = placed.len();
        let (mut puts, targets) = self.publications(placed);
        puts.extend(turn.iter().map(|number| (RecordKey::Publication { number: *number }, None)));
        let batch = self.put_all(&puts);
        self.publisher.transactions.leave_out(turn.len(), batch);
        self.publishes(batch, count, targets);
    }

    /// A record that its topic will never take, as a dead letter with its place: none where there is none for it, and nothing
    /// at all while there may be one later.
    fn letter_of(
        &self,
        now_ms: i64,
        id: PartitionId,
        record: &Written,
        refusal: &Refusal,
    ) -> Option<Vec<Placed>> {
        let PoisonPolicy::DeadLetter { topic } = self.behaviour.poison() else { return Some(Vec::new()) };
        let (_, known) = self.publishing.topics.named(topic)?;
        if known.id == id.topic {
            // What the dead letters themselves do not take is nobody's.
            return Some(Vec::new());
        }
        let letter = of_refused(&self.publishing, id, record, refusal);
        let letter = Publish { topic: topic.to_owned(), record: letter };
        let mut placed = self.place(now_ms, vec![letter]).unwrap_or_default();
        if weight(&placed).0 > self.settings.turn_max_bytes {
            placed.clear();
        }
        Some(placed)
    }

    /// A topic will never take a publication: those behind it are numbered anew without it.
    fn refused(&mut self, now_ms: i64, id: PartitionId, number: u64, refusal: Refusal) {
        let table = self.table.as_ref();
        let publication = table.and_then(|table| table.publications_from(number).next());
        let Some((_, publication)) = publication.filter(|(it, _)| *it == number) else { return };
        let (record, behind) = (publication.record.clone(), following(publication.sequence));
        let Some(placed) = self.letter_of(now_ms, id, &record, &refusal) else {
            self.notes.push(no_letters(&refusal));
            return self.publisher.hold(id, now_ms);
        };
        self.notes.push(Note::Refused { target: id, refusal, is_kept: !placed.is_empty() });
        let count = placed.len();
        let (mut puts, targets) = self.publications(placed);
        puts.push((RecordKey::Publication { number }, None));
        self.publisher.leave_out(id);
        let batch = self.rewrite(id, self.target(id).renumbered(behind), puts);
        self.publishes(batch, count, targets);
    }

    /// Writes how a target is written to from now on, with other records; the batch.
    fn rewrite(&mut self, id: PartitionId, target: Target, mut puts: Puts) -> u64 {
        puts.push(of_target(id, target));
        let batch = self.put_all(&puts);
        self.uncommitted.targets.insert(id, (target, batch));
        self.publisher.writes(id, batch);
        batch
    }

    fn put_all(&mut self, puts: &Puts) -> u64 {
        let bytes = puts.iter().map(|(_, value)| RECORD_BYTES + value.as_ref().map_or(0, value_bytes)).sum();
        self.put(bytes, |batch| {
            for (key, value) in puts {
                batch.put(key, value.as_ref());
            }
        })
    }

    /// Targets whose topics were deleted, with nothing on its way to them.
    pub(super) fn targets_gone(&self) -> Vec<PartitionId> {
        let Some(table) = &self.table else { return Vec::new() };
        let is_gone = |id: &PartitionId, target: Target| {
            let (version, topic) = self.publishing.topics.of(id.topic);
            topic.is_none() && version >= target.seen_in && !self.uncommitted.targets.contains_key(id)
        };
        let waits = |id: &PartitionId| table.publications_from(0).any(|(_, waiting)| waiting.target == *id);
        let gone = table.targets().filter(|(id, target)| is_gone(id, *target)).map(|(id, _)| id);
        gone.filter(|id| !waits(id)).collect()
    }

    /// What was to be told since the last call.
    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }
}

/// The bytes of publications in a batch, and what they add to what is bounded.
pub(super) fn weight(placed: &[Placed]) -> (usize, Adds) {
    let bytes: usize =
        placed.iter().map(|placed| placed.record.bytes().saturating_add(2 * RECORD_BYTES)).sum();
    (bytes, Adds { publications: bytes, ..Adds::default() })
}

/// What a topic refused waits until there is a topic of dead letters.
fn no_letters(refusal: &Refusal) -> Note {
    let failed = Fault::Unpublishable("the topic of dead letters is not there".to_owned());
    Note::DeadLetter { fault: Fault::Unpublishable(refusal.text.clone()), failed: Some(failed) }
}

fn value_bytes(value: &RecordValue) -> usize {
    if let RecordValue::Publication(publication) = value { publication_bytes(publication) } else { 0 }
}

fn of_target(target: PartitionId, is: Target) -> (RecordKey, Option<RecordValue>) {
    (RecordKey::Target { target }, Some(RecordValue::Target(is)))
}

fn index_of(known: &KnownTopic, chosen: Option<i32>, key: Option<&[u8]>, number: u64) -> Result<i32, Fault> {
    let count = known.partitions;
    let index = match (chosen, key) {
        (Some(index), _) => {
            let has = u32::try_from(index).is_ok_and(|index| index < count);
            let text =
                || format!("topic {:?} has {count} partitions, and none is number {index}", known.name);
            return if has { Ok(index) } else { Err(Fault::Unpublishable(text())) };
        }
        (None, Some(key)) => partition_for_key(key, count),
        (None, None) => {
            let turn = (number / STICKY).checked_rem(u64::from(count)).unwrap_or(0);
            u32::try_from(turn).unwrap_or(0)
        }
    };
    Ok(i32::try_from(index).unwrap_or(i32::MAX))
}

fn check(known: &KnownTopic, record: &Written) -> Result<(), Fault> {
    let (name, most) = (&known.name, known.message_max_bytes);
    if known.needs_keys && record.key.is_none() {
        let text = format!("topic {name:?} is compacted: its records need keys");
        return Err(Fault::Unpublishable(text));
    }
    let bytes = record.bytes().saturating_add(HEADER_BYTES);
    if bytes > most {
        let text = format!("a record of {bytes} bytes is too large for topic {name:?}, which takes {most}");
        return Err(Fault::Unpublishable(text));
    }
    Ok(())
}
