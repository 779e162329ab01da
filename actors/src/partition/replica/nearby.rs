//! Readers of the own rack (KIP-392): a leader names them a follower near them, and a follower serves them up to the high
//! watermark that it has heard.
//!
//! What is below that is committed, and while it streams its log is a beginning of the leader's: nothing else goes out. Who
//! wants committed transactions only is served by the leader alone.

use bytes::Bytes;

use super::super::join::{FetchPlace, Visit};
use super::super::message::{FetchPart, Fetched};
use super::super::state::{Leader, Phase, Role};
use super::Replica;
use super::fetch::Looked;
use crate::error::{ErrorCode, Refusal};
use crate::ids::{LeaderEpoch, NodeId};

impl Replica {
    /// The node that a reader is to ask instead of this leader: one of its rack, in sync, that has what is wanted.
    pub(super) fn nearer(&self, part: &FetchPart) -> Option<NodeId> {
        let Role::Leader(leader) = self.state.role() else { return None };
        let mut preferred = part.nearby.preferred.iter().copied().filter(|_| !part.stable_only);
        preferred.find(|node| self.has_nearby(leader, *node, part))
    }

    /// Whether the follower on a node may serve a part.
    fn has_nearby(&self, leader: &Leader, node: NodeId, part: &FetchPart) -> bool {
        let member = leader.in_sync().committed().iter().find(|member| member.node == node);
        // One that does not speak may not stream: it would send the reader back.
        let known = leader.follower(node).filter(|known| Some(&known.member) == member && known.speaks);
        let mark = self.state.high_watermark();
        // Beyond the high watermark the reader has to hear from the leader what is wrong.
        let has_it =
            known.is_some_and(|known| known.log_start <= part.offset && part.offset <= known.durable_end);
        mark.is_confirmed() && part.offset <= mark.value() && has_it
    }

    /// Whether this replica follows, and may serve this part.
    pub(super) fn may_serve_nearby(&self, part: &FetchPart) -> bool {
        let streams = match self.state.role() {
            Role::Follower(follower) => follower.phase() == Phase::Streaming,
            Role::Leader(_) | Role::Offline(_) => false,
        };
        let is_of_epoch = part.leader_epoch.is_none_or(|epoch| epoch == self.state.epoch());
        streams && is_of_epoch && part.nearby.from_follower && !part.stable_only
    }

    /// Looks for what a part wants, as a follower.
    pub(super) fn visit_nearby(&mut self, part: &FetchPart, place: &FetchPlace) -> Looked {
        let refuse = |refusal, waits| Looked::Now(Visit { now: Err(refusal), waits });
        let (start, mark) = (self.state.log().start, self.state.high_watermark().value());
        if part.offset < start {
            let text = format!("offset {} is before {start}, where the partition begins", part.offset);
            return refuse(Refusal::new(ErrorCode::OffsetOutOfRange, text), false);
        }
        if part.offset > mark {
            // Who catches up, with a log that was lost, say, is not about to have it: the leader does.
            let is_in_sync = self.state.assignment().is_some_and(|known| known.in_sync.contains(&self.me));
            if !is_in_sync || part.offset > self.state.log().end {
                return refuse(self.not_leader(), false);
            }
            return refuse(not_heard_yet(part), true);
        }
        match self.divergence(part) {
            Ok(None) => self.read_on(part, place),
            Ok(diverging) => {
                let now = Ok(Fetched { diverging, ..self.fetched(part, Bytes::new()) });
                Looked::Now(Visit { now, waits: false })
            }
            Err(refusal) => refuse(refusal, false),
        }
    }

    /// A refusal unless what was read for a part in this epoch may still go out.
    pub(super) fn check_serves(&self, part: &FetchPart, epoch: LeaderEpoch) -> Result<(), Refusal> {
        match self.check_leads(Some(epoch)) {
            Err(_) if self.state.epoch() == epoch && self.may_serve_nearby(part) => Ok(()),
            checked => checked.map(drop),
        }
    }

    /// The high watermark may have moved: those that wait for it here look again.
    pub(super) fn wake_nearby(&mut self) {
        if !self.deliveries.is_empty() {
            self.wake_fetches();
        }
    }

    /// What this replica follows has ended: those that wait here look for the leader.
    pub(super) fn refuse_nearby(&mut self) {
        if matches!(self.state.role(), Role::Leader(_)) {
            return;
        }
        let refusal = self.not_leader();
        for parked in self.deliveries.take_all() {
            parked.place.refuse(refusal.clone());
        }
    }
}

/// The follower has not heard that what is wanted is committed, which the reader has: it is so in a moment.
fn not_heard_yet(part: &FetchPart) -> Refusal {
    let text =
        format!("this follower has not heard yet that records up to offset {} are committed", part.offset);
    Refusal::new(ErrorCode::OffsetNotAvailable, text)
}
