//! Offsets: who may commit them, which may be deleted, and how long they are kept.

use super::message::Committer;
use super::{CONSUMER, ClassicGroup, ClassicState, refusal};
use crate::error::{ErrorCode, Refusal};

/// From this version of OffsetCommit, a group that there is not has a code of its own.
const TELLS_OF_NO_GROUP: i16 = 9;

/// From when on an offset's retention counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptFrom {
    /// From its commit; if members subscribe to the topic, it is kept.
    Commit,
    /// From when the group lost its last member, in milliseconds since 1970.
    Emptied(i64),
    /// It is kept.
    Forever,
}

impl ClassicGroup {
    /// Members commit in their generation, and not before it is assigned; others only while there are no members.
    pub(super) fn check_committer(&self, committer: &Committer, has_offsets: bool) -> Result<(), Refusal> {
        let Committer { version, member, generation, .. } = committer;
        self.check_alive()?;
        if *generation < 0 && self.state == ClassicState::Empty {
            return Ok(());
        }
        if self.is_nothing() && !has_offsets {
            return Err(match *version {
                TELLS_OF_NO_GROUP.. => refusal::not_found(&self.id),
                _ => refusal::generation(&self.id, member, *generation, self.generation),
            });
        }
        if !committer.is_named() {
            let text = format!(
                "group {} has {} members; offsets are set from outside only when it has none: stop them first",
                self.id,
                self.members.len()
            );
            return Err(Refusal::new(ErrorCode::UnknownMemberId, text));
        }
        self.check_named(committer)?;
        if self.state == ClassicState::CompletingRebalance {
            return Err(refusal::rebalancing(&self.id));
        }
        Ok(())
    }

    /// Whether offsets may be committed in a transaction (KIP-447). A producer that names no member may at any time,
    /// as producers older than that do; one that names its consumer is fenced by that one's generation. It is no sign
    /// of life.
    pub fn check_transactional_commit(
        &self,
        committer: &Committer,
        has_offsets: bool,
    ) -> Result<(), Refusal> {
        self.check_alive()?;
        let is_outside = committer.generation < 0;
        if is_outside && self.state == ClassicState::Empty {
            return Ok(());
        }
        if self.is_nothing() && !has_offsets {
            return Err(refusal::generation(
                &self.id,
                &committer.member,
                committer.generation,
                self.generation,
            ));
        }
        if committer.is_named() { self.check_named(committer) } else { Ok(()) }
    }

    fn check_named(&self, committer: &Committer) -> Result<(), Refusal> {
        self.check_member(&committer.member, committer.instance.as_deref())?;
        self.check_generation(&committer.member, committer.generation)
    }

    /// Whether any offsets may be deleted, or why not: of members that are no consumers nobody knows what they read, so
    /// that they have to be gone.
    pub fn check_offsets_delete(&self, has_offsets: bool) -> Result<(), Refusal> {
        let is_consumer = self.protocol_type.as_deref() == Some(CONSUMER);
        match self.state {
            ClassicState::Dead => Err(refusal::not_found(&self.id)),
            ClassicState::Empty if self.is_nothing() && !has_offsets => Err(refusal::not_found(&self.id)),
            ClassicState::Empty => Ok(()),
            _ if is_consumer => Ok(()),
            _ => {
                let text = format!("group {} has {} members; stop them first", self.id, self.members.len());
                Err(Refusal::new(ErrorCode::NonEmptyGroup, text))
            }
        }
    }

    /// Whether those of a topic may be.
    pub fn check_topic_delete(&self, topic: &str) -> Result<(), Refusal> {
        if self.is_subscribed_to(topic) {
            let text = format!("members of group {} subscribe to {topic}; stop them first", self.id);
            return Err(Refusal::new(ErrorCode::GroupSubscribedToTopic, text));
        }
        Ok(())
    }

    /// Whether members subscribe to the topic, or may: of consumers whose subscriptions cannot be read, to all.
    #[must_use]
    pub fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.topics {
            Some(topics) => topics.contains(topic),
            None => self.protocol_type.as_deref() == Some(CONSUMER),
        }
    }

    /// From when on the retention of an offset counts. Offsets of topics that [`Self::is_subscribed_to`] names are kept
    /// in any case.
    #[must_use]
    pub fn offsets_kept_from(&self) -> KeptFrom {
        match (self.protocol_type.as_deref(), self.state) {
            (None, _) => KeptFrom::Commit,
            (Some(_), ClassicState::Empty) => self.state_since_ms.map_or(KeptFrom::Commit, KeptFrom::Emptied),
            (Some(CONSUMER), ClassicState::Stable) if self.topics.is_some() => KeptFrom::Commit,
            (Some(_), _) => KeptFrom::Forever,
        }
    }
}
