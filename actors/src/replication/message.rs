//! What a fetch session carries between a follower's node and a leader's node.
//!
//! Kinds 150 to 179. A session is a channel, opened by the follower with [`OpenSession`]. Each side sends a *turn*
//! whenever it has something to say and its last turn is on its way: everything that came up meanwhile, for all
//! partitions, in one frame. Partitions go by numbers that the follower gives when it asks for them ([`Ask`]), each
//! greater than the one before and used once in the life of a session: a frame for a hundred partitions has a header of
//! about a kilobyte, and what is still under way for a subscription that has ended is told from the next one.

use bytes::Bytes;
use millstream_transport::message::{Answer, BodyMismatch, Message};
use serde::{Deserialize, Serialize};

use crate::ids::{Incarnation, LeaderEpoch, Member, NodeId, Offset, PartitionId};
use crate::partition::following::{FeedRefusal, FollowerEnds, FollowerLog, Opening};

/// Opens a fetch session between one core of the follower's node and one of the leader's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSession {
    /// The follower's node; the same as its certificate says.
    pub follower: NodeId,
    /// The life of its process.
    pub incarnation: Incarnation,
    /// The core on the follower's side.
    pub core: u32,
    /// The core on the leader's side.
    pub leader_core: u32,
    /// The leader sends a batch only while fewer bytes than these are sent and not taken in.
    pub window_bytes: u32,
    /// The same for each partition.
    pub partition_window_bytes: u32,
}

/// The leader's answer to [`OpenSession`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionOpened {
    /// Cores of the leader's node.
    pub cores: u32,
    /// The window in force: the smaller one of both sides.
    pub window_bytes: u32,
    /// The same for each partition.
    pub partition_window_bytes: u32,
}

impl Message for OpenSession {
    const KIND: u16 = 150;
    type Answer = SessionOpened;
}

impl Answer for SessionOpened {}

/// Follower to leader: everything since its last turn. Taken in this order: stops, asks, progress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowerTurn {
    /// Subscriptions that end. What was sent for them is thrown away on arrival; it counts as taken in.
    pub stops: Vec<u32>,
    /// Questions, each with a number of its own.
    pub asks: Vec<Ask>,
    /// What became of what was sent.
    pub progress: Vec<Progress>,
}

impl FollowerTurn {
    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stops.is_empty() && self.asks.is_empty() && self.progress.is_empty()
    }
}

impl Message for FollowerTurn {
    const KIND: u16 = 151;
    type Answer = ();
}

/// A question about one partition; answered exactly once, unless it is stopped before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// The number by which it goes from here on; greater than all before it in the session.
    pub slot: u32,
    /// The partition.
    pub partition: PartitionId,
    /// Who asks.
    pub member: Member,
    /// The epoch it follows in.
    pub epoch: LeaderEpoch,
    /// What it asks.
    pub question: Question,
}

/// What a follower asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// To be fed from the end of this log on. Ends an earlier subscription to the same partition.
    Subscribe(FollowerLog),
    /// To be let out of the in-sync set.
    Leave,
}

/// How far the follower is with one subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The subscription.
    pub slot: u32,
    /// Bytes taken in since this was last told: credit.
    pub taken_bytes: u32,
    /// What it has on disk, if that is news.
    pub ends: Option<FollowerEnds>,
}

/// Leader to follower: everything since its last turn. Taken in this order: answers, ended, parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderTurn {
    /// Answers to questions.
    pub answers: Vec<(u32, Reply)>,
    /// Subscriptions that the leader ends; nothing follows for them.
    pub ended: Vec<u32>,
    /// News of subscriptions.
    pub parts: Vec<FedPart>,
}

impl LeaderTurn {
    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty() && self.ended.is_empty() && self.parts.is_empty()
    }
}

/// An answer to an [`Ask`]. Only after `Opened(Opening::Accepted)` does the subscription go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// To [`Question::Subscribe`].
    Opened(Opening),
    /// The leader will not.
    Refused(FeedRefusal),
    /// The replica lives on this other core: ask in that core's session.
    Elsewhere {
        /// Which.
        core: u32,
    },
    /// To [`Question::Leave`]: whether every in-sync set that may be in force is without the member.
    Left(bool),
}

/// News of one subscription: batches as they stand in the leader's log, its high watermark and log start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FedPart {
    /// The subscription.
    pub slot: u32,
    /// The leader's high watermark.
    pub high_watermark: Offset,
    /// The leader's log start.
    pub log_start: Offset,
    /// Whole batches; none if only the two above are news.
    #[serde(skip)]
    pub batches: Bytes,
}

impl Message for LeaderTurn {
    const KIND: u16 = 152;
    type Answer = ();

    fn take_bodies(&mut self) -> Vec<Bytes> {
        self.parts.iter_mut().map(|part| std::mem::take(&mut part.batches)).collect()
    }

    fn put_bodies(&mut self, bodies: Vec<Bytes>) -> Result<(), BodyMismatch> {
        BodyMismatch::check(self.parts.len(), bodies.len())?;
        for (part, body) in self.parts.iter_mut().zip(bodies) {
            part.batches = body;
        }
        Ok(())
    }
}
