//! IncrementalAlterConfigs: changes some settings of topics.
//!
//! Tools that reassign partitions take throttles of brokers back when they are done, whether they had set any or not:
//! nothing is throttled here, so that is done already. To set one is refused.

use std::sync::Arc;

use millstream_actors::access::Operation;
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::image::Image;
use millstream_actors::topic_config::is_list;
use millstream_transport::kafka::messages::incremental_alter_configs::IncrementalAlterConfigsRequest;
use millstream_transport::kafka::messages::incremental_alter_configs::request::{Config, Resource};
use millstream_transport::kafka::messages::incremental_alter_configs::response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};

use super::super::call::Call;
use super::super::configs::{BROKER, Changes, Wish, alter_each, only_topics, topic_to_alter};
use super::super::error::number_of;
use super::super::service::Service;
use crate::security::authorize::Rights;

/// What tools throttle brokers with.
const THROTTLES: [&str; 3] = [
    "leader.replication.throttled.rate",
    "follower.replication.throttled.rate",
    "replica.alter.log.dirs.io.max.bytes.per.second",
];

/// What is to be done with a setting.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<IncrementalAlterConfigsRequest<'_>>(&body) else { return };
    let image = service.image();
    let wishes: Vec<Wish> = request
        .resources
        .iter()
        .map(|resource| {
            let wish = wish((&image, call.rights()), &resource);
            (resource.resource_type, resource.resource_name.into_owned(), wish)
        })
        .collect();
    let (service, validate_only) = (Arc::clone(service), request.validate_only);
    actix_rt::spawn(async move {
        let done = alter_each(&service, wishes, validate_only).await.into_iter();
        let responses = done.map(|(resource_type, name, done)| AlterConfigsResourceResponse {
            error_code: number_of(&done),
            error_message: done.err().map(|refusal| refusal.text.into()),
            resource_type,
            resource_name: name.into(),
        });
        call.answer(&IncrementalAlterConfigsResponse {
            responses: responses.collect(),
            ..Default::default()
        });
    });
}

fn wish(of: (&Image, &Rights), resource: &Resource<'_>) -> Result<Changes, Refusal> {
    if resource.resource_type == BROKER {
        return unthrottled(of.1, resource);
    }
    let topic = topic_to_alter(of, resource.resource_type, &resource.resource_name)?;
    let present = topic.config.entries();
    let present = |name: &str| {
        let entry = present.iter().find(|(known, _)| *known == name);
        entry.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let mut changes = Changes::new();
    for config in &resource.configs {
        let value = changed(&config, present(&config.name))?;
        if changes.insert(config.name.to_string(), value).is_some() {
            let text = format!("{} stands twice in the request", config.name);
            return Err(Refusal::new(ErrorCode::InvalidRequest, text));
        }
    }
    Ok(changes)
}

/// Takes throttles of a broker back, of which there are none.
fn unthrottled(rights: &Rights, resource: &Resource<'_>) -> Result<Changes, Refusal> {
    rights.demand_of_cluster(Operation::AlterConfigs)?;
    for config in &resource.configs {
        let is_throttle = THROTTLES.contains(&&*config.name);
        match config.config_operation {
            DELETE if is_throttle => {}
            _ if is_throttle => {
                let text =
                    format!("{}: replication is not throttled; reassign without a throttle", config.name);
                return Err(Refusal::new(ErrorCode::InvalidConfig, text));
            }
            _ => return Err(only_topics(BROKER)),
        }
    }
    Ok(Changes::new())
}

fn changed(config: &Config<'_>, present: String) -> Result<Option<String>, Refusal> {
    let invalid = |text: String| Refusal::new(ErrorCode::InvalidConfig, text);
    let given = || config.value.as_deref().ok_or_else(|| invalid(format!("{} has no value", config.name)));
    let words = |text: &str| {
        text.split(',').filter(|word| !word.is_empty()).map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let present = words(&present);
    match config.config_operation {
        SET => given().map(|value| Some(value.to_owned())),
        DELETE => Ok(None),
        APPEND | SUBTRACT if !is_list(&config.name) => Err(invalid(format!("{} is no list", config.name))),
        APPEND => {
            let added = words(given()?).into_iter().filter(|word| !present.contains(word));
            Ok(Some(present.iter().cloned().chain(added).collect::<Vec<_>>().join(",")))
        }
        SUBTRACT => {
            let gone = words(given()?);
            let left = present.into_iter().filter(|word| !gone.contains(word));
            Ok(Some(left.collect::<Vec<_>>().join(",")))
        }
        other => Err(Refusal::new(ErrorCode::InvalidRequest, format!("there is no operation {other}"))),
    }
}
