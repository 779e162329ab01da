//! DescribeConfigs: the settings of topics, and of this node.

use std::collections::BTreeSet;
use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::image::Image;
use millstream_actors::topic_config::is_list;
use millstream_transport::kafka::messages::describe_configs::DescribeConfigsRequest;
use millstream_transport::kafka::messages::describe_configs::request::Resource;
use millstream_transport::kafka::messages::describe_configs::response::{
    Config, DescribeConfigsResponse, DescribeConfigsResult,
};

use super::super::call::Call;
use super::super::configs::{BROKER, OF_TOPIC, TOPIC, unknown_topic};
use super::super::error::number;
use super::super::service::Service;
use crate::config::catalogue;
use crate::security::authorize::Rights;

/// Further sources of a setting.
const OF_NODE: i8 = 4;
const DEFAULT: i8 = 5;

/// Types of a setting.
const BOOLEAN: i8 = 1;
const STRING: i8 = 2;
const LONG: i8 = 5;
const DOUBLE: i8 = 6;
const LIST: i8 = 7;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<DescribeConfigsRequest<'_>>(&body) else { return };
    let image = service.image();
    let mut seen = BTreeSet::new();
    let once = request
        .resources
        .iter()
        .filter(|resource| seen.insert((resource.resource_type, resource.resource_name.to_string())));
    let results = once.map(|resource| described(service, (&image, call.rights()), &resource));
    let response = DescribeConfigsResponse { results: results.collect(), ..Default::default() };
    call.answer(&response);
}

fn described(
    service: &Service,
    (image, rights): (&Image, &Rights),
    resource: &Resource<'_>,
) -> DescribeConfigsResult<'static> {
    let name = &*resource.resource_name;
    let found = match resource.resource_type {
        TOPIC => rights
            .demand(Operation::DescribeConfigs, ResourceType::Topic, name)
            .and_then(|()| of_topic(image, name)),
        BROKER => rights.demand_of_cluster(Operation::DescribeConfigs).and_then(|()| of_node(service, name)),
        other => Err(Refusal::new(
            ErrorCode::InvalidRequest,
            format!("resources of type {other} have no settings here"),
        )),
    };
    let wanted: Option<BTreeSet<String>> =
        resource.configuration_keys.as_ref().map(|keys| keys.iter().map(Into::into).collect());
    let is_wanted = |config: &Config<'_>| wanted.as_ref().is_none_or(|keys| keys.contains(&*config.name));
    let (resource_type, resource_name) = (resource.resource_type, resource.resource_name.to_string().into());
    match found {
        Ok(configs) => DescribeConfigsResult {
            error_code: 0,
            error_message: None,
            resource_type,
            resource_name,
            configs: configs.into_iter().filter(is_wanted).collect(),
        },
        Err(refusal) => DescribeConfigsResult {
            error_code: number(refusal.code),
            error_message: Some(refusal.text.into()),
            resource_type,
            resource_name,
            configs: Default::default(),
        },
    }
}

fn of_topic(image: &Image, name: &str) -> Result<Vec<Config<'static>>, Refusal> {
    let topic = image.topics().named(name).ok_or_else(|| unknown_topic(name))?;
    let told = |(name, value): (&'static str, String)| {
        let is_given = topic.overrides.contains_key(name);
        config(name, value, if is_given { OF_TOPIC } else { DEFAULT }, false)
    };
    Ok(topic.config.entries().into_iter().map(told).collect())
}

fn of_node(service: &Service, name: &str) -> Result<Vec<Config<'static>>, Refusal> {
    if name != service.me.to_string() {
        let text = format!("node {} tells its own settings only; ask node {name:?} itself", service.me);
        return Err(Refusal::new(ErrorCode::InvalidRequest, text));
    }
    let told = |(name, value): &(&'static str, String)| {
        let is_default = catalogue::find(name).is_some_and(|setting| setting.default == value);
        config(name, value.clone(), if is_default { DEFAULT } else { OF_NODE }, true)
    };
    Ok(service.settings.iter().map(told).collect())
}

fn config(name: &'static str, value: String, config_source: i8, read_only: bool) -> Config<'static> {
    let config_type = match value.as_str() {
        _ if is_list(name) => LIST,
        _ if name.ends_with(".ratio") => DOUBLE,
        "true" | "false" => BOOLEAN,
        number if number.parse::<i64>().is_ok() => LONG,
        _ => STRING,
    };
    Config {
        name: name.into(),
        value: Some(value.into()),
        read_only,
        config_source,
        config_type,
        ..Default::default()
    }
}
