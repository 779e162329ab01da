//! Whether a history keeps the promises: acknowledged records all there, none twice, order kept, and no reader saw what
//! later vanished.

use std::collections::BTreeMap;
use std::fmt;

use millstream_actors::ids::{Offset, PartitionId};

use crate::history::{History, Sent, Tag};

/// A promise that a history breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// An acknowledged record is not where it was acknowledged.
    Lost {
        /// Where it should be.
        partition: PartitionId,
        /// At which offset.
        offset: Offset,
        /// Which record.
        tag: Tag,
        /// What is there instead.
        found: Option<Tag>,
    },
    /// A record is there twice.
    Doubled {
        /// The partition.
        partition: PartitionId,
        /// The record.
        tag: Tag,
        /// Where it stands.
        offsets: (Offset, Offset),
    },
    /// A later record of a producer stands before an earlier one.
    Reordered {
        /// The partition.
        partition: PartitionId,
        /// The record that stands before.
        first: Tag,
        /// The record that stands behind it, and should not.
        then: Tag,
    },
    /// A record that was refused is there.
    RefusedButThere {
        /// The partition.
        partition: PartitionId,
        /// The record.
        tag: Tag,
    },
    /// A record is there that nobody sent.
    NeverSent {
        /// The partition.
        partition: PartitionId,
        /// The record.
        tag: Tag,
    },
    /// A reader saw a record that is not there at the end.
    Vanished {
        /// The partition.
        partition: PartitionId,
        /// Where it was seen.
        offset: Offset,
        /// What was seen.
        tag: Tag,
        /// What is there at the end.
        found: Option<Tag>,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self:?}")
    }
}

/// Every promise that this history breaks; empty if it keeps them all.
#[must_use]
pub fn check(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    let nothing = Vec::new();
    let partitions: std::collections::BTreeSet<_> =
        history.sends.keys().chain(history.reads.keys()).chain(history.finals.keys()).collect();
    for partition in partitions {
        let held = history.finals.get(partition).unwrap_or(&nothing);
        let by_offset: BTreeMap<Offset, Tag> = held.iter().copied().collect();
        check_sends(history, *partition, &by_offset, &mut violations);
        check_order(*partition, held, &mut violations);
        for (offset, tag) in history.reads.get(partition).unwrap_or(&nothing) {
            let found = by_offset.get(offset).copied();
            if found != Some(*tag) {
                violations.push(Violation::Vanished {
                    partition: *partition,
                    offset: *offset,
                    tag: *tag,
                    found,
                });
            }
        }
    }
    violations
}

fn check_sends(
    history: &History,
    partition: PartitionId,
    held: &BTreeMap<Offset, Tag>,
    violations: &mut Vec<Violation>,
) {
    let nothing = Vec::new();
    let mut sends = BTreeMap::new();
    for (tag, sent) in history.sends.get(&partition).unwrap_or(&nothing) {
        sends.insert(*tag, *sent);
        if let Sent::Acknowledged(offset) = *sent {
            let found = held.get(&offset).copied();
            if found != Some(*tag) {
                violations.push(Violation::Lost { partition, offset, tag: *tag, found });
            }
        }
    }
    for tag in held.values() {
        match sends.get(tag) {
            None => violations.push(Violation::NeverSent { partition, tag: *tag }),
            Some(Sent::Refused) => violations.push(Violation::RefusedButThere { partition, tag: *tag }),
            Some(Sent::Acknowledged(_) | Sent::Unknown) => {}
        }
    }
}

fn check_order(partition: PartitionId, held: &[(Offset, Tag)], violations: &mut Vec<Violation>) {
    let mut seen: BTreeMap<Tag, Offset> = BTreeMap::new();
    let mut last: BTreeMap<u32, Tag> = BTreeMap::new();
    for (offset, tag) in held {
        if let Some(earlier) = seen.insert(*tag, *offset) {
            violations.push(Violation::Doubled { partition, tag: *tag, offsets: (earlier, *offset) });
        }
        if let Some(before) = last.insert(tag.producer, *tag)
            && before.number > tag.number
        {
            violations.push(Violation::Reordered { partition, first: before, then: *tag });
        }
    }
}

#[cfg(test)]
mod tests {
    use millstream_actors::ids::TopicId;

    use super::*;

    fn partition() -> PartitionId {
        PartitionId { topic: TopicId(Default::default()), index: 0 }
    }

    fn tag(number: u64) -> Tag {
        Tag { producer: 1, number }
    }

    fn history(sends: &[(u64, Sent)], finals: &[u64]) -> History {
        let mut history = History::default();
        for (number, sent) in sends {
            history.sent(partition(), tag(*number), *sent);
        }
        for (offset, number) in finals.iter().enumerate() {
            history.hold(partition(), Offset(offset as i64), tag(*number));
        }
        history
    }

    #[test]
    fn a_history_without_faults_passes() {
        let history = history(
            &[(0, Sent::Acknowledged(Offset(0))), (1, Sent::Unknown), (2, Sent::Acknowledged(Offset(1)))],
            &[0, 2],
        );
        assert_eq!(check(&history), []);
    }

    #[test]
    fn a_lost_record_is_found() {
        let history = history(&[(0, Sent::Acknowledged(Offset(0)))], &[]);
        assert!(matches!(check(&history)[..], [Violation::Lost { offset: Offset(0), found: None, .. }]));
    }

    #[test]
    fn a_doubled_record_is_found() {
        let history = history(&[(0, Sent::Acknowledged(Offset(0)))], &[0, 0]);
        assert!(matches!(check(&history)[..], [Violation::Doubled { .. }]));
    }

    #[test]
    fn a_reordered_record_is_found() {
        let history = history(&[(0, Sent::Unknown), (1, Sent::Acknowledged(Offset(0)))], &[1, 0]);
        assert!(matches!(check(&history)[..], [Violation::Reordered { .. }]));
    }

    #[test]
    fn a_refused_record_that_is_there_is_found() {
        let history = history(&[(0, Sent::Refused)], &[0]);
        assert!(matches!(check(&history)[..], [Violation::RefusedButThere { .. }]));
    }

    #[test]
    fn a_record_that_a_reader_saw_and_that_vanished_is_found() {
        let mut history = history(&[(0, Sent::Unknown), (1, Sent::Acknowledged(Offset(0)))], &[1]);
        history.read(partition(), Offset(0), tag(0));
        assert!(matches!(check(&history)[..], [Violation::Vanished { .. }]));
    }
}
