//! ListConfigResources: what has settings that can be asked for.

use std::sync::Arc;

use millstream_actors::access::Operation;
use millstream_transport::kafka::ErrorCode;
use millstream_transport::kafka::messages::list_config_resources::ListConfigResourcesRequest;
use millstream_transport::kafka::messages::list_config_resources::response::{
    ConfigResource, ListConfigResourcesResponse,
};

use super::super::call::Call;
use super::super::configs::{BROKER, TOPIC};
use super::super::error::number;
use super::super::service::{Service, is_there};

/// Subscriptions of client metrics: the only type of version 0. There are none here.
const CLIENT_METRICS: i8 = 16;

/// The types that may be asked for: topics, nodes, their loggers, client metrics, and groups. The last three have no
/// settings here.
const TYPES: [i8; 5] = [TOPIC, BROKER, 8, CLIENT_METRICS, 32];

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<ListConfigResourcesRequest<'_>>(&body) else { return };
    if let Err(refusal) = call.rights().demand_of_cluster(Operation::DescribeConfigs) {
        let error_code = number(refusal.code);
        return call.answer(&ListConfigResourcesResponse { error_code, ..Default::default() });
    }
    let known: &[i8] = if call.version == 0 { &[CLIENT_METRICS] } else { &TYPES };
    if request.resource_types.iter().any(|wanted| !known.contains(&wanted)) {
        let error_code = ErrorCode::UnsupportedVersion.code();
        return call.answer(&ListConfigResourcesResponse { error_code, ..Default::default() });
    }
    let is_wanted = |kind: i8| {
        let types = &request.resource_types;
        known.contains(&kind) && (types.is_empty() || types.iter().any(|wanted| wanted == kind))
    };
    let image = service.image();
    let mut found: Vec<(String, i8)> = Vec::new();
    if is_wanted(TOPIC) {
        found.extend(image.topics().by_name().map(|topic| (topic.name.to_string(), TOPIC)));
    }
    if is_wanted(BROKER) {
        let there = image.nodes().iter().filter(|(id, _)| is_there(&image, *id));
        found.extend(there.map(|(id, _)| (id.to_string(), BROKER)));
    }
    let found = found
        .into_iter()
        .map(|(name, resource_type)| ConfigResource { resource_name: name.into(), resource_type });
    call.answer(&ListConfigResourcesResponse { config_resources: found.collect(), ..Default::default() });
}
