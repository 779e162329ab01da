//! What waits for the end of a transaction: its producer has begun the next one before all markers of the last are written.

use std::sync::Arc;
use std::time::Duration;

use super::{Coordinator, CoordinatorMessage};
use crate::error::{ErrorCode, Refusal};
use crate::transaction::request::TransactionRequest;
use crate::transaction::state::still_ending;

/// How long a request waits at most. Producers that are told to try again do so no sooner than after 20 ms.
const WAITS: Duration = Duration::from_millis(200);

/// How many requests of one transactional id may wait: one for each partition that its producer sends to, and some more.
const WAITING_MAX: usize = 64;

/// The same of all ids of a coordinator: so many that a link, which is not read while too many of its requests have no answer,
/// has room for others beside those of some coordinators.
const ALL_WAITING_MAX: usize = 256;

/// What waits for the end of one transaction.
pub(super) struct Waiting {
    /// Of those that waited, for whatever id, the how manieth this is: a timer speaks of one of them.
    number: u64,
    requests: Vec<TransactionRequest>,
}

impl Coordinator {
    /// Whether a request that was refused with this can be answered once the markers under way are written.
    pub(super) fn may_wait(&self, id: &Arc<str>, refusal: &Refusal) -> bool {
        refusal.code == ErrorCode::ConcurrentTransactions
            && self.transaction(id).is_some_and(|known| known.outcome().is_some())
            && self.waiting.get(id).is_none_or(|waiting| waiting.requests.len() < WAITING_MAX)
            && self.all_waiting() < ALL_WAITING_MAX
    }

    /// How many requests wait. Cheap: they are few.
    fn all_waiting(&self) -> usize {
        self.waiting.values().map(|waiting| waiting.requests.len()).sum()
    }

    /// Keeps a request until the transaction has ended, or for [`WAITS`].
    pub(super) fn wait_for_end(&mut self, id: &Arc<str>, request: TransactionRequest) {
        if let Some(waiting) = self.waiting.get_mut(id) {
            return waiting.requests.push(request);
        }
        self.waits += 1;
        let (myself, id, number) = (self.myself.clone(), Arc::clone(id), self.waits);
        self.waiting.insert(Arc::clone(&id), Waiting { number, requests: vec![request] });
        tokio::spawn(async move {
            tokio::time::sleep(WAITS).await;
            let _ended = myself.cast(CoordinatorMessage::WaitedLong { id, number });
        });
    }

    /// The transaction has ended: what waited for that is served.
    pub(super) fn serve_waiting(&mut self, id: &Arc<str>) {
        for request in self.waiting.remove(id).into_iter().flat_map(|waiting| waiting.requests) {
            self.serve(id, request);
        }
    }

    /// Those that began to wait with this number have waited for long enough; others came later.
    pub(super) fn waited_long(&mut self, id: &Arc<str>, number: u64) {
        if self.waiting.get(id).is_none_or(|waiting| waiting.number != number) {
            return;
        }
        for request in self.waiting.remove(id).into_iter().flat_map(|waiting| waiting.requests) {
            request.refuse(still_ending());
        }
    }

    /// Nothing is known any more: all that waits is told so.
    pub(super) fn refuse_waiting(&mut self) {
        for request in std::mem::take(&mut self.waiting).into_values().flat_map(|waiting| waiting.requests) {
            request.refuse(self.reading());
        }
    }
}
