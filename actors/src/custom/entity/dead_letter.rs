//! Messages that could not be handled, and records that a topic does not take, as they go to the topic of dead letters.

use bytes::Bytes;

use super::behaviour::{Behaviour, Fault, PoisonPolicy};
use super::message::{Unread, truncate, unstored};
use super::partition::EntityPartition;
use super::publication::{OutputRecord, Publish, Written};
use super::publishing::{Note, Publishing, weight};
use super::records::{Failed, RecordKey, RecordValue};
use super::table::request_bytes;
use super::turns::{Cause, of_cause, of_timer};
use crate::custom::call::beginning;
use crate::error::Refusal;
use crate::ids::PartitionId;
use crate::image::type_of_topic;

/// Bytes of a text in a header, at most.
const TEXT_MAX: usize = 2_000;

impl<B: Behaviour, T> EntityPartition<B, T> {
    /// A message of nobody who waits was not applied: it is done with, or stays, with its fault.
    pub(super) fn unhandled(
        &mut self,
        now_ms: i64,
        entity: &Bytes,
        (cause, message): (&Cause<'_>, &[u8]),
        fault: Fault,
    ) -> Result<(), Fault> {
        match (&fault, self.behaviour.poison()) {
            // What this program cannot read another node can, or this one once it is upgraded.
            (Fault::Busy(_) | Fault::Retry(_) | Fault::Unreadable(_) | Fault::TooNew { .. }, _) => Err(fault),
            (_, PoisonPolicy::DeadLetter { topic }) => {
                match self.bury(now_ms, entity, (cause, message), (topic, &fault)) {
                    Ok(_) => Ok(()),
                    // That passes, so it is tried again.
                    Err(Fault::Busy(why)) => Err(Fault::Busy(format!(
                        "{}; and it cannot be a dead letter now: {why}",
                        text_of(&fault)
                    ))),
                    Err(_) => Err(fault),
                }
            }
            (Fault::Refused(_), _) | (_, PoisonPolicy::Skip) => {
                self.note(cause, entity);
                Ok(())
            }
            (_, PoisonPolicy::Fail) => Err(fault),
        }
    }

    /// An ask had this fault: the batch with which it goes to the dead letters, if it does. A no of the handler does not,
    /// who asked has heard it.
    pub(super) fn unanswered(
        &mut self,
        now_ms: i64,
        entity: &Bytes,
        (cause, message): (&Cause<'_>, &[u8]),
        fault: &Fault,
    ) -> Option<u64> {
        let PoisonPolicy::DeadLetter { topic } = self.behaviour.poison() else { return None };
        match fault {
            Fault::Panicked(_) | Fault::UnknownMessage { .. } | Fault::Malformed(_) => {
                self.bury(now_ms, entity, (cause, message), (topic, fault)).ok()
            }
            _ => None,
        }
    }

    /// Publishes a message to the dead letters, in the batch that says that it is done with; the batch. A fault where it
    /// cannot be there: busy, where it can later.
    fn bury(
        &mut self,
        now_ms: i64,
        entity: &Bytes,
        (cause, message): (&Cause<'_>, &[u8]),
        (topic, fault): (&str, &Fault),
    ) -> Result<u64, Fault> {
        let record = self.letter(entity, cause, message, fault);
        let letter = vec![Publish { topic: topic.to_owned(), record }];
        let placed =
            self.knows_topics(&letter).and_then(|()| self.place(now_ms, letter)).and_then(|placed| {
                let (bytes, mut adds) = weight(&placed);
                if let Cause::Request(_) = cause {
                    adds.requests = request_bytes(entity, TEXT_MAX);
                }
                let (total, most) = (bytes.saturating_add(adds.requests), self.settings.turn_max_bytes);
                if total > most {
                    // The log would not take it, and with it nothing of the partition.
                    return Err(Fault::TooLarge { bytes: total, most });
                }
                self.has_room(cause, adds)?;
                Ok((placed, bytes, adds))
            });
        let failed = placed.as_ref().err().cloned();
        self.notes.push(Note::DeadLetter { fault: fault.clone(), failed });
        let (placed, bytes, adds) = placed?;
        let count = placed.len();
        let (mut puts, targets) = self.publications(placed);
        match cause {
            Cause::Request(request) => {
                let key = RecordKey::Request { entity: entity.clone(), request: *request };
                puts.push((key, Some(RecordValue::Failed(failure(now_ms, fault)))));
            }
            Cause::Timer(name) => puts.push(of_timer(&(entity.clone(), (*name).to_owned()), None)),
            Cause::Delivery(..) => puts.extend(of_cause(now_ms, entity, cause, &Bytes::new())),
        }
        let bytes = bytes.saturating_add(adds.requests).saturating_add(entity.len());
        let number = self.put(bytes, |batch| {
            for (key, value) in &puts {
                batch.put(key, value.as_ref());
            }
            batch.adds = batch.adds.plus(adds);
        });
        self.publishes(number, count, targets);
        self.noted(number, entity, cause, Err(fault.clone()));
        if let Cause::Timer(name) = cause {
            self.uncommitted.timers.insert((entity.clone(), (*name).to_owned()), number);
        }
        Ok(number)
    }

    fn letter(&self, entity: &Bytes, cause: &Cause<'_>, message: &[u8], fault: &Fault) -> OutputRecord {
        let tries = if let Fault::Panicked(_) = fault { self.settings.panics_max } else { 1 };
        let why = (name_of(fault), text_of(fault));
        let of = |letter| of_publisher(letter, &self.publishing, (why.0, &why.1));
        let unread = Unread::of(message);
        let truncated = unread.as_ref().and_then(|unread| unread.truncated);
        let mut letter = match (unread, unstored(message)) {
            // With what it had in its topic.
            (Some(Unread { key, value, .. }), _) => of(OutputRecord { key, value, ..OutputRecord::new() }),
            (None, Ok(envelope)) => of(OutputRecord::new().key(entity.clone()).value(envelope.body))
                .header("millstream.entity.key", entity.clone())
                .header("millstream.message", envelope.name)
                .header("millstream.message.version", envelope.version.to_string()),
            (None, Err(_)) => {
                of(OutputRecord::new().key(entity.clone()).value(Bytes::copy_from_slice(message)))
                    .header("millstream.entity.key", entity.clone())
            }
        };
        // Headers and what is done with take their part of what a turn may write.
        let most = largest_letter(self.settings.turn_max_bytes);
        let now = truncate(&mut letter.key, &mut letter.value, most);
        let letter = match truncated.or(now) {
            Some(bytes) => letter.header("millstream.truncated", bytes.to_string()),
            None => letter,
        };
        let letter = letter.header("millstream.tries", tries.to_string());
        match cause {
            Cause::Request(request) => {
                letter.header("millstream.source", "ask").header("millstream.request", request.to_string())
            }
            Cause::Timer(name) => {
                letter.header("millstream.source", "timer").header("millstream.timer", (*name).to_owned())
            }
            Cause::Delivery(source, sequence) => {
                let topic = self.publishing.topics.of(source.topic).1;
                let name = topic.map_or_else(|| source.topic.to_string(), |topic| topic.name.to_string());
                let (what, place, at) = match type_of_topic(&name) {
                    Some(_) => ("entity", "millstream.source.sequence", *sequence),
                    // Sequences of topics count from 1, offsets from 0.
                    None => ("topic", "millstream.source.offset", sequence.saturating_sub(1)),
                };
                letter
                    .header("millstream.source", what)
                    .header("millstream.source.topic", name)
                    .header("millstream.source.partition", source.partition.to_string())
                    .header(place, at.to_string())
            }
        }
    }
}

/// Bytes of the key and the value of a dead letter, at most, where a turn may write so many.
pub(super) const fn largest_letter(turn_max_bytes: usize) -> usize {
    turn_max_bytes / 10 * 9
}

/// A record that its topic does not take, as a dead letter.
pub(super) fn of_refused(
    publishing: &Publishing,
    target: PartitionId,
    record: &Written,
    refusal: &Refusal,
) -> OutputRecord {
    let letter = OutputRecord {
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers(),
        timestamp_ms: Some(record.timestamp_ms),
        partition: None,
    };
    let topic = publishing.topics.of(target.topic).1;
    let name = topic.map_or_else(|| target.topic.to_string(), |topic| topic.name.to_string());
    of_publisher(letter, publishing, ("unpublishable", &refusal.text))
        .header("millstream.target.topic", name)
        .header("millstream.target.partition", target.index.to_string())
}

/// What all dead letters say.
fn of_publisher(letter: OutputRecord, publishing: &Publishing, (kind, text): (&str, &str)) -> OutputRecord {
    letter
        .header("millstream.error.kind", kind.to_owned())
        .header("millstream.error", beginning(text, TEXT_MAX).to_owned())
        .header("millstream.entity.type", publishing.kind.to_string())
        .header("millstream.node", publishing.node.to_string())
}

fn failure(now_ms: i64, fault: &Fault) -> Failed {
    Failed {
        applied_ms: now_ms,
        is_panic: matches!(fault, Fault::Panicked(_)),
        text: beginning(&text_of(fault), TEXT_MAX).to_owned(),
    }
}

/// What the sender of a request is told that went to the dead letters before.
pub(super) fn again(failed: &Failed) -> Fault {
    let text = failed.text.clone();
    if failed.is_panic { Fault::Panicked(text) } else { Fault::Malformed(text) }
}

/// One word for a fault.
pub(super) const fn name_of(fault: &Fault) -> &'static str {
    match fault {
        Fault::Retry(_) | Fault::Busy(_) => "busy",
        Fault::TooLarge { .. } => "too_large",
        Fault::Refused(_) => "refused",
        Fault::UnknownMessage { .. } | Fault::TooNew { .. } => "unknown",
        Fault::Malformed(_) => "malformed",
        Fault::Panicked(_) => "panic",
        Fault::Unreadable(_) => "unreadable",
        Fault::Unpublishable(_) => "unpublishable",
    }
}

fn text_of(fault: &Fault) -> String {
    match fault {
        Fault::Retry(text)
        | Fault::Busy(text)
        | Fault::Refused(text)
        | Fault::Malformed(text)
        | Fault::Panicked(text)
        | Fault::Unreadable(text)
        | Fault::Unpublishable(text) => text.clone(),
        Fault::TooLarge { bytes, most } => format!("its turn would write {bytes} bytes, of at most {most}"),
        Fault::UnknownMessage { name, version, expected } | Fault::TooNew { name, version, expected } => {
            format!("message {name:?} of version {version} is not known, {expected} is")
        }
    }
}
