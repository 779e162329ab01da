//! Whether a partition is part of a producer's transaction, asked of the transaction's coordinator before the first
//! append (KIP-890): a batch that comes late would else open a transaction that nobody ends.

use std::fmt::Debug;
use std::sync::{Arc, OnceLock};

use crate::error::{ErrorCode, Refusal};
use crate::ids::{PartitionId, ProducerId};

/// The transaction that a request says its batches are part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InTransaction {
    /// The producer's `transactional.id`.
    pub id: Arc<str>,
    /// The coordinator adds the partition to the transaction where it is not part of it yet (KIP-890 part 2); else the
    /// producer has done so itself.
    pub adds: bool,
    /// The producer knows that a transaction can be refused so that it only has to be aborted (KIP-890 part 1).
    pub knows_abortable: bool,
    /// Written by a coordinator of this node, without sequence numbers.
    pub by_coordinator: bool,
}

/// What a coordinator is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// The transaction.
    pub transaction: InTransaction,
    /// Its producer.
    pub producer_id: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// The partition that is written to.
    pub partition: PartitionId,
}

/// What takes the answer. It must not block.
pub type VerificationAnswer = Box<dyn FnOnce(Result<(), Refusal>) + Send>;

/// Asks coordinators.
pub trait TransactionVerifier: Debug + Send + Sync {
    /// Asks the coordinator of the transaction, on whichever node it is. Answered once, in bounded time, on any thread.
    fn verify(&self, asked: Verification, answer: VerificationAnswer);
}

/// The place of the verifier: replicas are there before the coordinators that write through them.
#[derive(Clone, Debug, Default)]
pub struct VerifierDoor(Arc<OnceLock<Arc<dyn TransactionVerifier>>>);

impl VerifierDoor {
    /// From now on this one is asked. A second one is ignored.
    pub fn open(&self, verifier: Arc<dyn TransactionVerifier>) {
        let _second = self.0.set(verifier);
    }

    /// Asks, or says that it is too early.
    pub(super) fn verify(&self, asked: Verification, answer: VerificationAnswer) {
        match self.0.get() {
            Some(verifier) => verifier.verify(asked, answer),
            None => answer(Err(Refusal::new(
                ErrorCode::CoordinatorNotAvailable,
                "the node is starting; try again",
            ))),
        }
    }
}
