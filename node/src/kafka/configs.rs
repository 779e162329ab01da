//! What the calls that read and change settings share.

use std::collections::BTreeMap;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::cluster::message::AlterTopicConfig;
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::image::{Image, Topic};
use millstream_actors::topic_config::{InvalidSetting, TopicConfig};

use super::service::Service;
use crate::security::authorize::Rights;

/// The types of resources that have settings.
pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;

/// The source of a setting that was made for this topic.
pub(super) const OF_TOPIC: i8 = 1;

/// A change of settings; without a value back to the default.
pub(super) type Changes = BTreeMap<String, Option<String>>;

pub(super) fn unknown_topic(name: &str) -> Refusal {
    Refusal::new(ErrorCode::UnknownTopicOrPartition, format!("there is no topic {name:?}"))
}

/// The topic whose settings a call is to change.
pub(super) fn topic_to_alter<'a>(
    (image, rights): (&'a Image, &Rights),
    resource_type: i8,
    name: &str,
) -> Result<&'a Topic, Refusal> {
    if resource_type != TOPIC {
        rights.demand_of_cluster(Operation::AlterConfigs)?;
        return Err(only_topics(resource_type));
    }
    rights.demand(Operation::AlterConfigs, ResourceType::Topic, name)?;
    image.topics().named(name).map(AsRef::as_ref).ok_or_else(|| unknown_topic(name))
}

/// The refusal of a setting; its text names it, its value and what is wrong.
pub(super) fn invalid_setting(wrong: InvalidSetting) -> Refusal {
    Refusal::new(ErrorCode::InvalidConfig, wrong.to_string())
}

/// A resource by type and name, and what is to change, or why nothing can.
pub(super) type Wish = (i8, String, Result<Changes, Refusal>);

/// Carries wishes out, or says only which can be.
pub(super) async fn alter_each(
    service: &Service,
    wishes: Vec<Wish>,
    validate_only: bool,
) -> Vec<(i8, String, Result<(), Refusal>)> {
    let mut done = Vec::with_capacity(wishes.len());
    for (resource_type, name, wish) in wishes {
        let outcome = match wish {
            // Of a broker only what is so already is granted.
            Ok(_) if resource_type == BROKER => Ok(()),
            Ok(changes) => alter(service, name.clone(), changes, validate_only).await,
            Err(refusal) => Err(refusal),
        };
        done.push((resource_type, name, outcome));
    }
    done
}

async fn alter(
    service: &Service,
    name: String,
    changes: Changes,
    validate_only: bool,
) -> Result<(), Refusal> {
    validate(service, &name, &changes)?;
    if validate_only {
        return Ok(());
    }
    service.cluster.alter_topic_config(AlterTopicConfig { name, changes }).await
}

fn validate(service: &Service, name: &str, changes: &Changes) -> Result<(), Refusal> {
    let image = service.image();
    let topic = image.topics().named(name).ok_or_else(|| unknown_topic(name))?;
    let mut overrides = topic.overrides.clone();
    for (name, value) in changes {
        match value {
            Some(value) => overrides.insert(name.clone(), value.clone()),
            None => overrides.remove(name),
        };
    }
    TopicConfig::parse(&overrides).map(drop).map_err(invalid_setting)
}

/// The refusal for resources whose settings cannot be changed by a call.
pub(super) fn only_topics(resource_type: i8) -> Refusal {
    let text = format!(
        "settings of resources of type {resource_type} cannot be changed by a call: those of a node are in its file and \
         take effect when it starts"
    );
    Refusal::new(ErrorCode::InvalidRequest, text)
}
