//! DescribeCluster: the nodes, from this node's image; those that are away where they are asked for (KIP-1073).

use std::sync::Arc;

use millstream_actors::access::acl::CLUSTER_NAME;
use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::image::NodeState;
use millstream_transport::kafka::ErrorCode;
use millstream_transport::kafka::messages::describe_cluster::DescribeClusterRequest;
use millstream_transport::kafka::messages::describe_cluster::response::{Broker, DescribeClusterResponse};

use super::super::call::Call;
use super::super::service::{Service, broker};
use crate::security::authorize::OPERATIONS_NOT_ASKED;

/// The endpoints of brokers, the only ones there are here.
const BROKERS: i8 = 1;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<DescribeClusterRequest>(&body) else { return };
    let image = service.image();
    if request.endpoint_type != BROKERS {
        return call.answer(&DescribeClusterResponse {
            error_code: ErrorCode::UnsupportedEndpointType.code(),
            error_message: Some("only the endpoints of brokers can be asked for".into()),
            endpoint_type: request.endpoint_type,
            ..Default::default()
        });
    }
    let cluster_id = image.cluster().map(|id| id.to_string()).unwrap_or_default();
    let rights = call.rights();
    let operations = request.include_cluster_authorized_operations.then(|| {
        let may = rights.may_with_cluster(Operation::Describe);
        if may { rights.operations(ResourceType::Cluster, CLUSTER_NAME) } else { 0 }
    });
    let entrance = Arc::clone(call.entrance());
    let is_wanted = |is_fenced: bool| !is_fenced || request.include_fenced_brokers;
    let nodes = image.nodes().iter().filter_map(|(id, known)| {
        let is_fenced = known.state == NodeState::Fenced;
        let broker = broker(&image, id, known, &entrance)?;
        is_wanted(is_fenced).then(|| Broker {
            broker_id: broker.id,
            host: broker.host.into(),
            port: broker.port,
            rack: broker.rack.map(Into::into),
            is_fenced,
        })
    });
    let nodes: Vec<Broker<'_>> = nodes.collect();
    call.answer(&DescribeClusterResponse {
        cluster_id: cluster_id.into(),
        controller_id: service.controller_id(&image, &entrance),
        brokers: nodes.into(),
        cluster_authorized_operations: operations.unwrap_or(OPERATIONS_NOT_ASKED),
        ..Default::default()
    });
}
