//! The one list of APIs: what is served, in which versions, to whom, by whom. ApiVersions is answered from it alone.
//!
//! A row without a rule does not compile; a handler is granted nothing that its row does not name
//! ([`Rights::may`](crate::security::authorize::Rights::may)); and a test below sees that it asks for all that is named.

use std::ops::RangeInclusive;
use std::sync::Arc;

use Operation::{
    Alter, AlterConfigs, ClusterAction, Create, Delete, Describe, DescribeConfigs, IdempotentWrite, Read,
    Write,
};
use ResourceType::{Cluster, Group, Topic, TransactionalId};
use millstream_actors::access::{Operation, ResourceType};
use millstream_transport::kafka::ApiKey;

use super::api;
use super::call::Call;
use super::service::Service;
use crate::security::authorize::{Need, Rule};

/// Carries a request out: it answers the call now or later.
type Serve = fn(&Arc<Service>, Call);

/// An API that is served.
pub(super) struct Entry {
    /// Which one.
    pub(super) key: ApiKey,
    /// Its versions.
    pub(super) versions: RangeInclusive<i16>,
    /// What its handler asks of who sends it: all that it can be granted.
    pub(super) rule: Rule,
    /// Its handler.
    pub(super) serve: Serve,
}

const fn entry_of(key: ApiKey, versions: RangeInclusive<i16>, rule: Rule, serve: Serve) -> Entry {
    Entry { key, versions, rule, serve }
}

/// Everybody may ask it.
const OPEN: Rule = Rule::Open;

/// Who asks it needs some of these, by what the request names.
const fn needs(needs: &'static [Need]) -> Rule {
    Rule::Needs(needs)
}

/// By key.
pub(super) static TABLE: &[Entry] = &[
    entry_of(
        ApiKey::Produce,
        0..=13,
        needs(&[(Write, Topic), (Write, TransactionalId)]),
        api::produce::serve,
    ),
    entry_of(ApiKey::Fetch, 4..=18, needs(&[(Read, Topic)]), api::fetch::serve),
    entry_of(ApiKey::ListOffsets, 1..=11, needs(&[(Describe, Topic)]), api::list_offsets::serve),
    entry_of(
        ApiKey::Metadata,
        0..=13,
        needs(&[(Describe, Topic), (Create, Topic), (Create, Cluster), (Describe, Cluster)]),
        api::metadata::serve,
    ),
    entry_of(ApiKey::OffsetCommit, 2..=10, needs(&[(Read, Group), (Read, Topic)]), api::offset_commit::serve),
    entry_of(
        ApiKey::OffsetFetch,
        1..=10,
        needs(&[(Describe, Group), (Describe, Topic)]),
        api::offset_fetch::serve,
    ),
    entry_of(
        ApiKey::FindCoordinator,
        0..=6,
        needs(&[(Describe, Group), (Describe, TransactionalId)]),
        api::find_coordinator::serve,
    ),
    entry_of(ApiKey::JoinGroup, 0..=9, needs(&[(Read, Group)]), api::join_group::serve),
    entry_of(ApiKey::Heartbeat, 0..=4, needs(&[(Read, Group)]), api::heartbeat::serve),
    entry_of(ApiKey::LeaveGroup, 0..=5, needs(&[(Read, Group)]), api::leave_group::serve),
    entry_of(ApiKey::SyncGroup, 0..=5, needs(&[(Read, Group)]), api::sync_group::serve),
    entry_of(ApiKey::DescribeGroups, 0..=6, needs(&[(Describe, Group)]), api::describe_groups::serve),
    entry_of(
        ApiKey::ListGroups,
        0..=5,
        needs(&[(Describe, Cluster), (Describe, Group)]),
        api::list_groups::serve,
    ),
    entry_of(ApiKey::SaslHandshake, 0..=1, OPEN, api::sasl_handshake::serve),
    entry_of(ApiKey::ApiVersions, 0..=5, OPEN, api::api_versions::serve),
    entry_of(
        ApiKey::CreateTopics,
        2..=7,
        needs(&[(Create, Cluster), (Create, Topic), (DescribeConfigs, Topic)]),
        api::create_topics::serve,
    ),
    entry_of(
        ApiKey::DeleteTopics,
        1..=6,
        needs(&[(Delete, Topic), (Describe, Topic)]),
        api::delete_topics::serve,
    ),
    entry_of(ApiKey::DeleteRecords, 0..=2, needs(&[(Delete, Topic)]), api::delete_records::serve),
    entry_of(
        ApiKey::InitProducerId,
        0..=5,
        needs(&[(Write, TransactionalId), (IdempotentWrite, Cluster), (Write, Topic)]),
        api::init_producer_id::serve,
    ),
    entry_of(
        ApiKey::OffsetForLeaderEpoch,
        2..=4,
        needs(&[(Describe, Topic)]),
        api::offset_for_leader_epoch::serve,
    ),
    entry_of(
        ApiKey::AddPartitionsToTxn,
        0..=5,
        needs(&[(Write, TransactionalId), (Write, Topic), (ClusterAction, Cluster)]),
        api::add_partitions_to_txn::serve,
    ),
    entry_of(
        ApiKey::AddOffsetsToTxn,
        0..=4,
        needs(&[(Write, TransactionalId), (Read, Group)]),
        api::add_offsets_to_txn::serve,
    ),
    entry_of(ApiKey::EndTxn, 0..=5, needs(&[(Write, TransactionalId)]), api::end_txn::serve),
    entry_of(
        ApiKey::WriteTxnMarkers,
        1..=2,
        needs(&[(ClusterAction, Cluster), (Alter, Cluster)]),
        api::write_txn_markers::serve,
    ),
    entry_of(
        ApiKey::TxnOffsetCommit,
        0..=5,
        needs(&[(Write, TransactionalId), (Read, Group), (Read, Topic)]),
        api::txn_offset_commit::serve,
    ),
    entry_of(ApiKey::DescribeAcls, 1..=3, needs(&[(Describe, Cluster)]), api::describe_acls::serve),
    entry_of(ApiKey::CreateAcls, 1..=3, needs(&[(Alter, Cluster)]), api::create_acls::serve),
    entry_of(ApiKey::DeleteAcls, 1..=3, needs(&[(Alter, Cluster)]), api::delete_acls::serve),
    entry_of(
        ApiKey::DescribeConfigs,
        1..=4,
        needs(&[(DescribeConfigs, Topic), (DescribeConfigs, Cluster)]),
        api::describe_configs::serve,
    ),
    entry_of(
        ApiKey::AlterConfigs,
        0..=2,
        needs(&[(AlterConfigs, Topic), (AlterConfigs, Cluster)]),
        api::alter_configs::serve,
    ),
    entry_of(
        ApiKey::AlterReplicaLogDirs,
        1..=2,
        needs(&[(Alter, Cluster)]),
        api::alter_replica_log_dirs::serve,
    ),
    entry_of(ApiKey::DescribeLogDirs, 1..=5, needs(&[(Describe, Cluster)]), api::describe_log_dirs::serve),
    entry_of(ApiKey::SaslAuthenticate, 0..=2, OPEN, api::sasl_authenticate::serve),
    entry_of(ApiKey::CreatePartitions, 0..=3, needs(&[(Alter, Topic)]), api::create_partitions::serve),
    entry_of(ApiKey::DeleteGroups, 0..=3, needs(&[(Delete, Group)]), api::delete_groups::serve),
    entry_of(ApiKey::ElectLeaders, 0..=2, needs(&[(Alter, Cluster)]), api::elect_leaders::serve),
    entry_of(
        ApiKey::IncrementalAlterConfigs,
        0..=1,
        needs(&[(AlterConfigs, Topic), (AlterConfigs, Cluster)]),
        api::incremental_alter_configs::serve,
    ),
    entry_of(
        ApiKey::AlterPartitionReassignments,
        0..=1,
        needs(&[(Alter, Cluster)]),
        api::alter_partition_reassignments::serve,
    ),
    entry_of(
        ApiKey::ListPartitionReassignments,
        0..=0,
        needs(&[(Describe, Cluster)]),
        api::list_partition_reassignments::serve,
    ),
    entry_of(
        ApiKey::OffsetDelete,
        0..=0,
        needs(&[(Delete, Group), (Read, Topic)]),
        api::offset_delete::serve,
    ),
    entry_of(
        ApiKey::DescribeClientQuotas,
        0..=1,
        needs(&[(DescribeConfigs, Cluster)]),
        api::describe_client_quotas::serve,
    ),
    entry_of(
        ApiKey::AlterClientQuotas,
        0..=1,
        needs(&[(AlterConfigs, Cluster)]),
        api::alter_client_quotas::serve,
    ),
    entry_of(
        ApiKey::DescribeUserScramCredentials,
        0..=0,
        needs(&[(Describe, Cluster)]),
        api::describe_user_scram_credentials::serve,
    ),
    entry_of(
        ApiKey::AlterUserScramCredentials,
        0..=0,
        needs(&[(Alter, Cluster)]),
        api::alter_user_scram_credentials::serve,
    ),
    entry_of(ApiKey::DescribeQuorum, 0..=2, needs(&[(Describe, Cluster)]), api::describe_quorum::serve),
    entry_of(ApiKey::UpdateFeatures, 0..=2, needs(&[(Alter, Cluster)]), api::update_features::serve),
    entry_of(ApiKey::DescribeCluster, 0..=2, needs(&[(Describe, Cluster)]), api::describe_cluster::serve),
    entry_of(ApiKey::DescribeProducers, 0..=0, needs(&[(Read, Topic)]), api::describe_producers::serve),
    entry_of(ApiKey::UnregisterBroker, 0..=0, needs(&[(Alter, Cluster)]), api::unregister_broker::serve),
    entry_of(
        ApiKey::DescribeTransactions,
        0..=0,
        needs(&[(Describe, TransactionalId), (Describe, Topic)]),
        api::describe_transactions::serve,
    ),
    entry_of(
        ApiKey::ListTransactions,
        0..=2,
        needs(&[(Describe, TransactionalId)]),
        api::list_transactions::serve,
    ),
    entry_of(
        ApiKey::ConsumerGroupHeartbeat,
        0..=1,
        needs(&[(Read, Group), (Describe, Topic)]),
        api::consumer_group_heartbeat::serve,
    ),
    entry_of(
        ApiKey::ConsumerGroupDescribe,
        0..=1,
        needs(&[(Describe, Group), (Describe, Topic)]),
        api::consumer_group_describe::serve,
    ),
    entry_of(
        ApiKey::ListConfigResources,
        0..=1,
        needs(&[(DescribeConfigs, Cluster)]),
        api::list_config_resources::serve,
    ),
    entry_of(
        ApiKey::DescribeTopicPartitions,
        0..=0,
        needs(&[(Describe, Topic)]),
        api::describe_topic_partitions::serve,
    ),
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

    /// The files of the handlers; an API that shares a file with another stands beside its name.
    fn source(key: ApiKey) -> String {
        let mut name = String::new();
        for letter in key.api().name.chars() {
            if letter.is_ascii_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.push(letter.to_ascii_lowercase());
        }
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kafka");
        let read = |path: &str| std::fs::read_to_string(folder.join(path)).unwrap();
        let shared = match name.as_str() {
            name if name.ends_with("alter_configs") => read("configs.rs"),
            name if name.ends_with("_acls") => read("acls.rs"),
            name if name.ends_with("offset_commit") => read("commits.rs"),
            name if name.ends_with("offset_commit") => read("commits.rs"),
            _ => String::new(),
        };
        read(&format!("api/{name}.rs")) + &shared
    }

    #[test]
    fn every_handler_asks_for_what_its_row_names_and_open_ones_are_few() {
        let open: Vec<ApiKey> =
            TABLE.iter().filter(|entry| entry.rule == OPEN).map(|entry| entry.key).collect();
        assert_eq!(open, [ApiKey::SaslHandshake, ApiKey::ApiVersions, ApiKey::SaslAuthenticate]);
        for entry in TABLE {
            let Rule::Needs(needs) = entry.rule else { continue };
            assert!(!needs.is_empty(), "{:?}", entry.key);
            let source = source(entry.key);
            assert!(
                source.contains("rights()") || source.contains("rights."),
                "{:?} asks for no rights",
                entry.key
            );
            for (operation, resource) in needs {
                let operation = format!("Operation::{operation:?}");
                let resource = format!("ResourceType::{resource:?}");
                let asks = source.contains(&operation)
                    && (source.contains(&resource)
                        || (resource == "ResourceType::Cluster" && source.contains("cluster(")));
                assert!(asks, "{:?} does not ask for {operation} of {resource}", entry.key);
            }
        }
    }

    /// The table as README has it.
    fn told() -> String {
        let mut told = "| API | versions | who may ask, where lists are on |\n|---|---|---|\n".to_owned();
        for entry in TABLE {
            let name = entry.key.api().name;
            let (first, last) = (entry.versions.start(), entry.versions.end());
            let versions = if first == last { first.to_string() } else { format!("{first} to {last}") };
            let needs = match entry.rule {
                Rule::Open => "everybody".to_owned(),
                Rule::Needs(needs) => {
                    let each: Vec<String> = needs
                        .iter()
                        .map(|(operation, resource)| format!("{operation:?} of {resource:?}"))
                        .collect();
                    each.join(", ")
                }
            };
            told += &format!("| {name} | {versions} | {needs} |\n");
        }
        told
    }

    #[test]
    fn readme_has_the_table_of_apis_that_is_served() {
        let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
        assert!(readme.contains(&told()), "README is to have this table of APIs:\n{}", told());
    }
}
