//! What openraft is instantiated with.

use std::fmt;
use std::future::Future;
use std::io::Cursor;
use std::time::Duration;

use openraft::async_runtime::TokioOneShotSender;
use openraft::{AsyncRuntime, OptionalSend, TokioInstant};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::NodeId;

/// A member of the quorum: a node together with the quorum directory that it speaks from.
///
/// A node whose directory was emptied is another member: what the lost one had promised (its vote, its log) cannot be
/// broken by it, and it has no voice until the others have put it in the lost one's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VoterId {
    /// The node.
    pub node: NodeId,
    /// The UUID that its quorum directory was given when it was made.
    pub directory: Uuid,
}

impl Default for VoterId {
    fn default() -> Self {
        Self { node: NodeId(0), directory: Uuid::nil() }
    }
}

impl fmt::Display for VoterId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directory = self.directory.simple().to_string();
        write!(formatter, "{}/{}", self.node, directory.get(..8).unwrap_or_default())
    }
}

/// What the membership says about a member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// `host:port` where its node is reached.
    pub address: String,
}

openraft::declare_raft_types!(
    pub(crate) TypeConfig:
        D = Vec<u8>,
        R = Vec<u8>,
        NodeId = VoterId,
        Node = Seat,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = Cursor<Vec<u8>>,
        AsyncRuntime = Runtime,
);

pub(crate) type Raft = openraft::Raft<TypeConfig>;
pub(crate) type Entry = openraft::Entry<TypeConfig>;
pub(crate) type LogId = openraft::LogId<VoterId>;
pub(crate) type Vote = openraft::Vote<VoterId>;
pub(crate) type Metrics = openraft::RaftMetrics<VoterId, Seat>;
pub(crate) type StoredMembership = openraft::StoredMembership<VoterId, Seat>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<VoterId, Seat>;
pub(crate) type Snapshot = openraft::Snapshot<TypeConfig>;
pub(crate) type StorageError = openraft::StorageError<VoterId>;
pub(crate) type StorageIoError = openraft::StorageIOError<VoterId>;

/// Tokio, but for randomness: what openraft draws (one election timeout per life) is not used, because elections are
/// started by our own pre-vote. So the draws are the same everywhere and a simulation repeats.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Runtime;

/// A fixed sequence (splitmix64).
#[derive(Debug, Default)]
pub(crate) struct FixedDraws(u64);

impl rand08::RngCore for FixedDraws {
    fn next_u32(&mut self) -> u32 {
        u32::try_from(self.next_u64() >> 32).unwrap_or_default()
    }

    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.next_u64().to_le_bytes().first().copied().unwrap_or_default();
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand08::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl AsyncRuntime for Runtime {
    type JoinError = tokio::task::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = tokio::task::JoinHandle<T>;
    type Sleep = tokio::time::Sleep;
    type Instant = TokioInstant;
    type TimeoutError = tokio::time::error::Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = tokio::time::Timeout<T>;
    type ThreadLocalRng = FixedDraws;
    type OneshotSender<T: OptionalSend> = TokioOneShotSender<T>;
    type OneshotReceiver<T: OptionalSend> = tokio::sync::oneshot::Receiver<T>;
    type OneshotReceiverError = tokio::sync::oneshot::error::RecvError;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        tokio::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        tokio::time::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        tokio::time::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        tokio::time::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        tokio::time::timeout_at(deadline, future)
    }

    fn is_panic(error: &Self::JoinError) -> bool {
        error.is_panic()
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        FixedDraws::default()
    }

    fn oneshot<T: OptionalSend>() -> (Self::OneshotSender<T>, Self::OneshotReceiver<T>) {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        (TokioOneShotSender(sender), receiver)
    }
}

/// For openraft's own test suite, which numbers its nodes.
#[cfg(test)]
impl From<u64> for VoterId {
    fn from(number: u64) -> Self {
        Self { node: NodeId(u32::try_from(number).unwrap()), directory: Uuid::nil() }
    }
}
