//! DescribeQuorum: who keeps the cluster's metadata, and how far each has come, as the quorum's leader sees it.

use std::sync::Arc;

use millstream_actors::access::Operation;
use millstream_actors::cluster::message::voters::{QuorumDescription, QuorumMember};
use millstream_transport::kafka::messages::describe_quorum::DescribeQuorumRequest;
use millstream_transport::kafka::messages::describe_quorum::response::{
    DescribeQuorumResponse, Listener, Node, Partition, ReplicaState, Topic,
};
use millstream_transport::kafka::{ErrorCode, Uuid};

use super::super::call::Call;
use super::super::error::{NONE, number};
use super::super::service::{Service, host_and_port, wire_id};

/// The topic as which Kafka shows its quorum's log; it has one partition.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// What listeners of the quorum are called.
const LISTENER: &str = "CONTROLLER";

/// An offset that is not known.
const UNKNOWN: i64 = -1;

/// The first version that tells where the nodes are.
const NODES_FROM: i16 = 2;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<DescribeQuorumRequest<'_>>(&body) else { return };
    if let Err(refusal) = call.rights().demand_of_cluster(Operation::Describe) {
        let error_code = number(refusal.code);
        return call.answer(&DescribeQuorumResponse { error_code, ..Default::default() });
    }
    let asked = request.topics.iter().map(|topic| {
        let indexes = topic.partitions.iter().map(|partition| partition.partition_index).collect();
        (topic.topic_name.to_string(), indexes)
    });
    let asked: Vec<(String, Vec<i32>)> = asked.collect();
    let service = Arc::clone(service);
    actix_rt::spawn(async move {
        let here = service.quorum.describe();
        let described =
            if here.leader == Some(service.me) { Ok(here) } else { service.cluster.describe_quorum().await };
        match described {
            Ok(quorum) => respond(call, asked, &quorum),
            Err(refusal) => call.answer(&DescribeQuorumResponse {
                error_code: number(refusal.code),
                error_message: Some(refusal.text.into()),
                ..Default::default()
            }),
        }
    });
}

fn respond(call: Call, asked: Vec<(String, Vec<i32>)>, quorum: &QuorumDescription) {
    let version = call.version;
    let topics = asked.into_iter().map(|(name, indexes)| {
        let is_quorum = name == METADATA_TOPIC;
        let partitions = indexes.into_iter().map(|index| match is_quorum && index == 0 {
            true => partition(quorum, version),
            false => Partition {
                partition_index: index,
                error_code: ErrorCode::UnknownTopicOrPartition.code(),
                ..Default::default()
            },
        });
        Topic { partitions: partitions.collect(), topic_name: name.into() }
    });
    let nodes = quorum.members.iter().filter_map(|member| {
        let (host, port) = host_and_port(&member.address)?;
        let listener = Listener { name: LISTENER.into(), host: host.into(), port };
        Some(Node { node_id: wire_id(member.node), listeners: vec![listener].into() })
    });
    let nodes = if version >= NODES_FROM { nodes.collect() } else { Default::default() };
    call.answer(&DescribeQuorumResponse { topics: topics.collect(), nodes, ..Default::default() });
}

fn partition(quorum: &QuorumDescription, version: i16) -> Partition<'static> {
    let states = |is_voter: bool| {
        let members = quorum.members.iter().filter(move |member| member.is_voter == is_voter);
        members.map(|member| state(quorum, member, version)).collect()
    };
    Partition {
        partition_index: 0,
        error_code: NONE,
        leader_id: quorum.leader.map_or(-1, wire_id),
        leader_epoch: i32::try_from(quorum.term).unwrap_or(i32::MAX),
        high_watermark: end(quorum.last_applied),
        current_voters: states(true),
        observers: states(false),
        ..Default::default()
    }
}

fn state(quorum: &QuorumDescription, member: &QuorumMember, version: i16) -> ReplicaState {
    let behind = if quorum.leader == Some(member.node) { Some(0) } else { member.behind };
    let log_end = behind.map_or(UNKNOWN, |behind| end(quorum.last_log_index.saturating_sub(behind)));
    ReplicaState {
        replica_id: wire_id(member.node),
        replica_directory_id: if version >= 2 { Uuid(member.directory.into_bytes()) } else { Uuid::ZERO },
        log_end_offset: log_end,
        ..Default::default()
    }
}

/// The offset behind an entry.
fn end(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX).saturating_add(1)
}
