//! The markers of decided outcomes.

use std::sync::Arc;
use std::time::Duration;

use super::{Coordinator, CoordinatorMessage};
use crate::record::EndMarker;
use crate::transaction::markers::{Outcome, mark};
use crate::transaction::state::{BUMPS_WITH_EVERY_END, ProducerEpoch};

/// The wait before the end of a transaction is written again whose record was not taken.
const COMPLETE_AGAIN: Duration = Duration::from_secs(1);

impl Coordinator {
    /// Writes the markers of a decided outcome.
    pub(super) fn mark(&mut self, id: &Arc<str>) {
        let known = self.transaction(id);
        let Some((transaction, commits)) = known.and_then(|known| Some((known, known.outcome()?))) else {
            return;
        };
        let producer = transaction.producer();
        let marker = EndMarker {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            coordinator_epoch: self.leadership.epoch.0,
            commits,
        };
        let outcome = Outcome { marker, bumps: transaction.client_version >= BUMPS_WITH_EVERY_END };
        let partitions = transaction.partitions.clone();
        let doors = self.leadership.doors.clone();
        let (myself, life, places) = (self.myself.clone(), self.life, Arc::clone(&self.marking_places));
        let told = Arc::clone(id);
        let task = tokio::spawn(async move {
            mark(doors.markers, places, outcome, partitions, doors.clock, doors.events).await;
            let _ended = myself.cast(CoordinatorMessage::Marked { life, id: told, producer });
        });
        let since = self.leadership.doors.clock.now();
        if let Some((_, old)) = self.marking.insert(Arc::clone(id), (since, task)) {
            old.abort();
        }
    }

    pub(super) fn marked(&mut self, id: &Arc<str>, producer: ProducerEpoch) {
        let marking = self.marking.remove(id);
        let known = self.transaction(id);
        let Some(known) = known.filter(|known| known.outcome().is_some() && known.producer() == producer)
        else {
            return;
        };
        let now_ms = self.now_ms();
        if let (Some((since, _)), Some(started_ms)) = (marking, known.started_ms) {
            let took = self.leadership.doors.clock.now().saturating_duration_since(since);
            let open_ms = u64::try_from(now_ms.saturating_sub(started_ms)).unwrap_or(0);
            self.metrics.marked(took, Duration::from_millis(open_ms));
        }
        let complete = known.complete(now_ms);
        self.write(id, Some(complete), Box::new(|_| ()));
        self.serve_waiting(id);
    }

    /// The markers of a transaction are written, and that could not be: it is written later, for nobody asks for it.
    pub(super) fn complete_later(&self, id: &Arc<str>) {
        let Some(known) = self.transaction(id).filter(|known| known.outcome().is_some()) else { return };
        let (producer, id, life, myself) = (known.producer(), Arc::clone(id), self.life, self.myself.clone());
        tokio::spawn(async move {
            tokio::time::sleep(COMPLETE_AGAIN).await;
            let _ended = myself.cast(CoordinatorMessage::Marked { life, id, producer });
        });
    }
}
