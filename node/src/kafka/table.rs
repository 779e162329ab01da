//! The one list of APIs: what is served, in which versions, by whom. ApiVersions is answered from it alone.

use std::ops::RangeInclusive;
use std::sync::Arc;

use millstream_transport::kafka::ApiKey;

use super::api;
use super::call::Call;
use super::service::Service;

/// Carries a request out: it answers the call now or later.
type Serve = fn(&Arc<Service>, Call);

/// An API that is served.
pub(super) struct Entry {
    /// Which one.
    pub(super) key: ApiKey,
    /// Its versions.
    pub(super) versions: RangeInclusive<i16>,
    /// Its handler.
    pub(super) serve: Serve,
}

const fn entry_of(key: ApiKey, versions: RangeInclusive<i16>, serve: Serve) -> Entry {
    Entry { key, versions, serve }
}

/// By key.
pub(super) static TABLE: &[Entry] = &[
    entry_of(ApiKey::Produce, 0..=13, api::produce::serve),
    entry_of(ApiKey::Fetch, 4..=18, api::fetch::serve),
    entry_of(ApiKey::ListOffsets, 1..=11, api::list_offsets::serve),
    entry_of(ApiKey::Metadata, 0..=13, api::metadata::serve),
    entry_of(ApiKey::OffsetCommit, 2..=10, api::offset_commit::serve),
    entry_of(ApiKey::OffsetFetch, 1..=10, api::offset_fetch::serve),
    entry_of(ApiKey::FindCoordinator, 0..=6, api::find_coordinator::serve),
    entry_of(ApiKey::JoinGroup, 0..=9, api::join_group::serve),
    entry_of(ApiKey::Heartbeat, 0..=4, api::heartbeat::serve),
    entry_of(ApiKey::LeaveGroup, 0..=5, api::leave_group::serve),
    entry_of(ApiKey::SyncGroup, 0..=5, api::sync_group::serve),
    entry_of(ApiKey::DescribeGroups, 0..=6, api::describe_groups::serve),
    entry_of(ApiKey::ListGroups, 0..=5, api::list_groups::serve),
    entry_of(ApiKey::ApiVersions, 0..=4, api::api_versions::serve),
    entry_of(ApiKey::CreateTopics, 2..=7, api::create_topics::serve),
    entry_of(ApiKey::DeleteTopics, 1..=6, api::delete_topics::serve),
    entry_of(ApiKey::DeleteRecords, 0..=2, api::delete_records::serve),
    entry_of(ApiKey::InitProducerId, 0..=5, api::init_producer_id::serve),
    entry_of(ApiKey::OffsetForLeaderEpoch, 2..=4, api::offset_for_leader_epoch::serve),
    entry_of(ApiKey::AddPartitionsToTxn, 0..=5, api::add_partitions_to_txn::serve),
    entry_of(ApiKey::AddOffsetsToTxn, 0..=4, api::add_offsets_to_txn::serve),
    entry_of(ApiKey::EndTxn, 0..=5, api::end_txn::serve),
    entry_of(ApiKey::WriteTxnMarkers, 1..=2, api::write_txn_markers::serve),
    entry_of(ApiKey::TxnOffsetCommit, 0..=5, api::txn_offset_commit::serve),
    entry_of(ApiKey::DescribeConfigs, 1..=4, api::describe_configs::serve),
    entry_of(ApiKey::AlterConfigs, 0..=2, api::alter_configs::serve),
    entry_of(ApiKey::AlterReplicaLogDirs, 1..=2, api::alter_replica_log_dirs::serve),
    entry_of(ApiKey::DescribeLogDirs, 1..=5, api::describe_log_dirs::serve),
    entry_of(ApiKey::CreatePartitions, 0..=3, api::create_partitions::serve),
    entry_of(ApiKey::DeleteGroups, 0..=3, api::delete_groups::serve),
    entry_of(ApiKey::ElectLeaders, 0..=2, api::elect_leaders::serve),
    entry_of(ApiKey::IncrementalAlterConfigs, 0..=1, api::incremental_alter_configs::serve),
    entry_of(ApiKey::OffsetDelete, 0..=0, api::offset_delete::serve),
    entry_of(ApiKey::DescribeQuorum, 0..=2, api::describe_quorum::serve),
    entry_of(ApiKey::DescribeCluster, 0..=2, api::describe_cluster::serve),
    entry_of(ApiKey::DescribeProducers, 0..=0, api::describe_producers::serve),
    entry_of(ApiKey::DescribeTransactions, 0..=0, api::describe_transactions::serve),
    entry_of(ApiKey::ListTransactions, 0..=2, api::list_transactions::serve),
    entry_of(ApiKey::ConsumerGroupHeartbeat, 0..=1, api::consumer_group_heartbeat::serve),
    entry_of(ApiKey::ConsumerGroupDescribe, 0..=1, api::consumer_group_describe::serve),
    entry_of(ApiKey::ListConfigResources, 0..=1, api::list_config_resources::serve),
    entry_of(ApiKey::DescribeTopicPartitions, 0..=0, api::describe_topic_partitions::serve),
];

/// The entry of an API, if it is served.
pub(super) fn entry(key: ApiKey) -> Option<&'static Entry> {
    let place = TABLE.binary_search_by_key(&key.code(), |entry| entry.key.code()).ok()?;
    TABLE.get(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_api_is_found_by_its_key_and_no_other() {
        assert!(TABLE.is_sorted_by(|one, next| one.key.code() < next.key.code()), "by key, each once");
        for expected in TABLE {
            assert_eq!(entry(expected.key).map(|found| found.key), Some(expected.key));
        }
        assert!(entry(ApiKey::UnregisterController).is_none());
    }
}
