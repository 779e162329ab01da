//! Topics and partitions that a client makes.

use super::{TopicDefaults, check_config, named};
use crate::cluster::message::nodes::ClientAnswer;
use crate::cluster::message::{CreatePartitions, CreateTopic};
use crate::cluster::{placed, placement};
use crate::error::{ErrorCode, Refusal};
use crate::ids::{NodeId, TopicId};
use crate::image::{Command, Features, Image, PARTITIONS_MAX, Topic, check_name, type_of_topic};

/// The command for a topic, with these replicas if its maker places them, and its answer when that is done; or the answer
/// where none is needed.
pub(super) fn create(
    id: TopicId,
    request: CreateTopic,
    given: Option<&[(i32, Vec<NodeId>)]>,
    image: &Image,
    defaults: TopicDefaults,
) -> Result<(Command, ClientAnswer), Result<ClientAnswer, Refusal>> {
    // Repeated because its first answer was lost.
    if image.topics().named(&request.name).is_some_and(|topic| topic.id == id) {
        return Err(Ok(ClientAnswer::Topic(id)));
    }
    let command = made(id, request, given, image, defaults).map_err(Err)?;
    Ok((command, ClientAnswer::Topic(id)))
}

fn made(
    id: TopicId,
    request: CreateTopic,
    given: Option<&[(i32, Vec<NodeId>)]>,
    image: &Image,
    defaults: TopicDefaults,
) -> Result<Command, Refusal> {
    check_name(&request.name)?;
    if image.topics().named(&request.name).is_some() {
        let text = format!("a topic named {} exists", request.name);
        return Err(Refusal::new(ErrorCode::TopicAlreadyExists, text));
    }
    check_config(&request.name, &request.config)?;
    let replicas = match given {
        Some(given) => {
            image.features().require(Features::PLACED)?;
            placed::of_topic(image, &request, given)?
        }
        None => chosen(&request, image, defaults)?,
    };
    let internal = Topic::is_internal_name(&request.name);
    Ok(Command::CreateTopic { id, name: request.name, config: request.config, internal, replicas })
}

/// Replicas as the cluster places them.
fn chosen(
    request: &CreateTopic,
    image: &Image,
    defaults: TopicDefaults,
) -> Result<Vec<Vec<NodeId>>, Refusal> {
    // Kafka's tools say -1 for the default.
    let count = request.partitions.filter(|count| *count != -1).unwrap_or(defaults.partitions);
    let count = usize::try_from(count).ok().filter(|count| (1..=PARTITIONS_MAX).contains(count)).ok_or_else(
        || {
            let text = format!(
                "topic {} cannot have {count} partitions, only from 1 to {PARTITIONS_MAX}",
                request.name
            );
            Refusal::new(ErrorCode::InvalidPartitions, text)
        },
    )?;
    let factor = match request.replication_factor.filter(|factor| *factor != -1) {
        Some(factor) => usize::try_from(factor).unwrap_or(0),
        None => {
            let wanted = usize::try_from(defaults.replication_factor).unwrap_or(1);
            let may = image.nodes().live().filter(|(node, _)| image.nodes().may_host(*node, &request.name));
            wanted.min(may.count()).max(1)
        }
    };
    placement::place(image, (&request.name, None), count, factor)
}

/// The command that gives a topic more partitions, with these replicas if who asks for them places them.
pub(super) fn grow(
    request: &CreatePartitions,
    given: Option<Vec<Vec<NodeId>>>,
    image: &Image,
) -> Result<Command, Refusal> {
    let topic = named(image, &request.name)?;
    if type_of_topic(&topic.name).is_some() {
        // A key's entity would be looked for in another partition than it is in.
        let text = format!("the partitions of {} are fixed for its life", topic.name);
        return Err(Refusal::new(ErrorCode::InvalidPartitions, text));
    }
    let from = topic.partitions.len();
    let total = usize::try_from(request.total).unwrap_or(0);
    if total <= from || total > PARTITIONS_MAX {
        let text = format!(
            "topic {} has {from} partitions; it can be raised to at most {PARTITIONS_MAX}, not to {}",
            topic.name, request.total
        );
        return Err(Refusal::new(ErrorCode::InvalidPartitions, text));
    }
    let replicas = match given {
        Some(given) => {
            image.features().require(Features::PLACED)?;
            placed::of_more(image, topic, total, &given)?;
            given
        }
        None => placement::place(image, (&topic.name, Some(topic)), total - from, placed::factor(topic))?,
    };
    Ok(Command::CreatePartitions { id: topic.id, from, replicas })
}
