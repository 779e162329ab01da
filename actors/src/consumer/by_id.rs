//! A consumer as the crate's own use it: by the ids of partitions. A topic that was made anew is not the one that had its name
//! before.

use std::collections::BTreeSet;

use super::{Consumer, SeekTo, unknown};
use crate::client::{ClientError, TopicPartition};
use crate::ids::{Offset, PartitionId};

impl Consumer {
    /// As [`Consumer::assign`], for a partition whose id is known. An error where its name is another's by now, or is still
    /// another's as far as this client knows: that is worth trying again.
    pub(crate) async fn assign_id(
        &self,
        id: PartitionId,
        name: TopicPartition,
        from: SeekTo,
    ) -> Result<(), ClientError> {
        let topic = self.client.metadata.topic(&name.topic, self.client.settings.api_timeout).await?;
        if topic.partition(name.partition) != Some(id) {
            self.client.metadata.refresh();
            return Err(unknown(&name));
        }
        self.shared.state().add(vec![(id, name, from)], false);
        self.shared.to_driver.notify_one();
        Ok(())
    }

    /// As [`Consumer::unassign`].
    pub(crate) fn unassign_ids(&self, ids: &BTreeSet<PartitionId>) {
        drop(self.shared.state().take(ids));
        self.shared.to_driver.notify_one();
    }

    /// As [`Consumer::seek`]; false where the partition is not read here.
    pub(crate) fn seek_id(&self, id: PartitionId, to: SeekTo) -> bool {
        let is_read = self.shared.state().seek(id, to);
        self.shared.to_driver.notify_one();
        is_read
    }

    /// Whether it is read here.
    pub(crate) fn reads(&self, id: PartitionId) -> bool {
        self.shared.state().reading(id).is_some()
    }

    /// As [`Consumer::positions`].
    pub(crate) fn positions_of_ids(&self) -> Vec<(PartitionId, TopicPartition, Offset)> {
        let state = self.shared.state();
        let known =
            state.readings().filter_map(|(id, reading)| Some((id, reading.name.clone(), reading.position?)));
        known.collect()
    }

    /// Partitions that were told by an error, and are not read before they are sought.
    pub(crate) fn failed_ids(&self) -> Vec<PartitionId> {
        let state = self.shared.state();
        state.readings().filter(|(_, reading)| reading.failed).map(|(id, _)| id).collect()
    }
}
