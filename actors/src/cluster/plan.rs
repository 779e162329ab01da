//! From a request to the commands that grant it. Pure: the image, the settings and the time are arguments.

mod access;
mod reassign;
mod topics;

use std::collections::BTreeMap;

use super::election;
use super::message::names::AlterNames;
use super::message::nodes::{ClientAnswer, ClientRequest, NodeEntities, NodeRack, RegisterNode, Resign};
use super::message::{AlterTopicConfig, ElectReplica, ElectionKind};
use super::request::{Reply, Request};
use crate::error::{ErrorCode, Refusal};
use crate::ids::PartitionId;
use crate::image::{
    Command, ENTITY_BATCH_BYTES, Features, Image, Outcome, Registration, Topic, type_of_topic,
};
use crate::topic_config::{TopicConfig, UNCLEAN_LEADER_ELECTION};

/// What a topic gets where its maker does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicDefaults {
    /// `num.partitions`.
    pub partitions: i32,
    /// `default.replication.factor`; fewer where fewer nodes are live.
    pub replication_factor: i16,
}

impl Default for TopicDefaults {
    fn default() -> Self {
        Self { partitions: 1, replication_factor: 3 }
    }
}

/// What requests are planned with.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlanSettings {
    /// What a topic gets where its maker does not say.
    pub(super) topics: TopicDefaults,
    /// `actors.names.max`.
    pub(super) names_max: u32,
}

/// Answers a request once the outcomes of its commands are known.
pub(super) type Settle = Box<dyn FnOnce(Result<&[Outcome], Refusal>) + Send>;

/// A request turned into commands.
pub(super) struct Planned {
    /// To be proposed, in this order; empty where the request needs none or is refused.
    pub(super) commands: Vec<Command>,
    /// The partition that an operator elects a leader for.
    pub(super) decided: Option<PartitionId>,
    /// Called once with their outcomes, after the entry is decided: a refusal, too, may rest on what is in it.
    pub(super) settle: Settle,
}

impl Planned {
    fn one<T: Send + 'static>(
        command: Command,
        reply: Reply<T>,
        answer: impl FnOnce(&Outcome) -> Result<T, Refusal> + Send + 'static,
    ) -> Self {
        Self::of(vec![command], reply, move |outcomes| outcomes.first().map_or_else(|| Err(lost()), answer))
    }

    fn of<T: Send + 'static>(
        commands: Vec<Command>,
        reply: Reply<T>,
        answer: impl FnOnce(&[Outcome]) -> Result<T, Refusal> + Send + 'static,
    ) -> Self {
        let settle =
            Box::new(move |outcomes: Result<&[Outcome], Refusal>| reply.send(outcomes.and_then(answer)));
        Self { commands, decided: None, settle }
    }

    fn answered<T: Send + 'static>(answer: Result<T, Refusal>, reply: Reply<T>) -> Self {
        Self::of(Vec::new(), reply, move |_| answer)
    }
}

/// Plans a request on `image`, the state that it will be applied to.
pub(super) fn plan(request: Request, image: &Image, settings: PlanSettings, now_ms: i64) -> Planned {
    match request {
        Request::Register(request, reply) => register(request, reply, image, now_ms),
        Request::RegisterListeners(request, reply) => access::register(request, reply, image, now_ms),
        Request::AlterInSync(request, reply) => {
            let (node, incarnation, changes) = (request.node, request.incarnation, request.changes);
            Planned::one(
                Command::AlterInSync { node, incarnation, changes },
                reply,
                |outcome| match outcome {
                    Outcome::InSync(results) => Ok(results.clone()),
                    other => Err(refusal(other)),
                },
            )
        }
        Request::ReportDoubts(request, reply) => {
            let (node, incarnation, doubts) = (request.node, request.incarnation, request.doubts);
            Planned::one(Command::ReportDoubts { node, incarnation, doubts }, reply, done)
        }
        Request::Resign(request, reply) => resign(&request, reply, image),
        Request::HandOver(request, reply) => {
            let (node, incarnation) = (request.node, request.incarnation);
            Planned::one(Command::HandOver { node, incarnation }, reply, done)
        }
        Request::Names(request, reply) => Planned::one(names(request, settings.names_max), reply, done),
        Request::Rack(request, reply) => match image.features().require(Features::ADMINISTRATION) {
            Ok(()) => {
                let NodeRack { node, incarnation, rack } = request;
                Planned::one(Command::SetRack { node, incarnation, rack }, reply, done)
            }
            Err(refusal) => Planned::answered(Err(refusal), reply),
        },
        Request::Entities(request, reply) => {
            let NodeEntities { node, incarnation, types } = request;
            Planned::one(Command::HostEntities { node, incarnation, types }, reply, done)
        }
        Request::Client(ClientRequest::ElectReplica(request), reply) => {
            match elect_replica(&request, image) {
                Ok((partition, commands)) => Planned {
                    decided: Some(partition),
                    ..Planned::of(commands, reply, |outcomes| all_done(outcomes).map(|()| ClientAnswer::Done))
                },
                Err(refusal) => Planned::answered(Err(refusal), reply),
            }
        }
        Request::Client(ClientRequest::ElectLeaders(partitions, kind), reply) => {
            elect_leaders(partitions, kind, reply, image)
        }
        Request::Client(ClientRequest::AlterScram(changes), reply) => {
            access::alter_scram(changes, reply, image)
        }
        Request::Client(ClientRequest::CreateAcls(acls), reply) => access::create_acls(acls, reply, image),
        Request::Client(ClientRequest::DeleteAcls(filters), reply) => {
            access::delete_acls(&filters, reply, image)
        }
        Request::Client(ClientRequest::Reassign(wishes, may_change_factor), reply) => {
            reassign::plan(wishes, may_change_factor, reply, image)
        }
        Request::Client(request, reply) => match client(request, image, settings.topics) {
            Ok((command, answer)) => Planned::one(command, reply, move |outcome| match outcome {
                Outcome::ProducerIds { first, count } => {
                    Ok(ClientAnswer::ProducerIds { first: *first, count: *count })
                }
                other => done(other).map(|()| answer),
            }),
            Err(answer) => Planned::answered(answer, reply),
        },
        // Answered when it comes in.
        Request::Heartbeat(_, reply) => Planned::answered(Err(lost()), reply),
    }
}

fn names(request: AlterNames, most: u32) -> Command {
    let AlterNames { node, incarnation, alteration } = request;
    Command::AlterNames { node, incarnation, alteration, most }
}

fn all_done(outcomes: &[Outcome]) -> Result<(), Refusal> {
    for outcome in outcomes {
        match outcome {
            Outcome::Elected { refused } => {
                if let Some((_, refusal)) = refused.first() {
                    return Err(refusal.clone());
                }
            }
            other => done(other)?,
        }
    }
    Ok(())
}

fn done(outcome: &Outcome) -> Result<(), Refusal> {
    match outcome {
        Outcome::Done => Ok(()),
        other => Err(refusal(other)),
    }
}

fn refusal(outcome: &Outcome) -> Refusal {
    match outcome {
        Outcome::Refused(refusal) => refusal.clone(),
        _ => lost(),
    }
}

fn lost() -> Refusal {
    Refusal::new(ErrorCode::UnknownServerError, "the quorum gave another outcome than this request has")
}

fn register(request: RegisterNode, reply: Reply<()>, image: &Image, now_ms: i64) -> Planned {
    match registration(request, image, now_ms) {
        Some(command) => Planned::one(command, reply, done),
        None => Planned::answered(Ok(()), reply),
    }
}

/// The command that registers a node; `None` where the image says the same already.
fn registration(request: RegisterNode, image: &Image, now_ms: i64) -> Option<Command> {
    let known = image.nodes().get(request.node).is_some_and(|known| {
        known.incarnation == request.incarnation
            && known.address == request.address
            && known.directories == request.directories
    });
    if known {
        return None;
    }
    let registration = Registration {
        node: request.node,
        incarnation: request.incarnation,
        address: request.address,
        directories: request.directories,
        doubts: request.doubts,
        feature_level: request.feature_level,
        at_ms: now_ms,
    };
    Some(Command::RegisterNode(registration))
}

fn resign(request: &Resign, reply: Reply<()>, image: &Image) -> Planned {
    if let Err(refusal) = image.nodes().in_life(request.node, request.incarnation) {
        return Planned::answered(Err(refusal), reply);
    }
    let moved = request
        .partitions
        .iter()
        .filter_map(|given| election::moved(image, given.partition, request.node, given.epoch, given.again));
    let elections: Vec<_> = moved.collect();
    let commands = if elections.is_empty() { vec![] } else { vec![Command::ElectLeaders { elections }] };
    Planned::of(commands, reply, |_| Ok(()))
}

/// The command for a client's request and its answer when that is done; or the answer where none is needed.
fn client(
    request: ClientRequest,
    image: &Image,
    defaults: TopicDefaults,
) -> Result<(Command, ClientAnswer), Result<ClientAnswer, Refusal>> {
    match request {
        ClientRequest::CreateTopic(id, request) => topics::create(id, request, None, image, defaults),
        ClientRequest::CreateTopicPlaced(id, request, given) => {
            topics::create(id, request, Some(&given), image, defaults)
        }
        ClientRequest::DeleteTopic(request) => {
            let topic = named(image, &request.name).map_err(Err)?;
            if topic.internal {
                let text = format!("topic {} is the system's own and cannot be deleted", topic.name);
                return Err(Err(Refusal::new(ErrorCode::InvalidRequest, text)));
            }
            Ok((Command::DeleteTopic { id: topic.id }, ClientAnswer::Done))
        }
        ClientRequest::CreatePartitions(request) => {
            topics::grow(&request, None, image).map(|command| (command, ClientAnswer::Done)).map_err(Err)
        }
        ClientRequest::CreatePartitionsPlaced(request, given) => topics::grow(&request, Some(given), image)
            .map(|command| (command, ClientAnswer::Done))
            .map_err(Err),
        ClientRequest::AlterTopicConfig(request) => {
            alter(request, image).map(|command| (command, ClientAnswer::Done)).map_err(Err)
        }
        ClientRequest::AllocateProducerIds(count) => {
            Ok((Command::AllocateProducerIds { count }, ClientAnswer::Done))
        }
        ClientRequest::AlterQuotas(alterations) => {
            image.features().require(Features::ADMINISTRATION).map_err(Err)?;
            Ok((Command::AlterQuotas { alterations }, ClientAnswer::Done))
        }
        ClientRequest::ForgetNode(node) => {
            image.features().require(Features::ADMINISTRATION).map_err(Err)?;
            Ok((Command::ForgetNode { node }, ClientAnswer::Done))
        }
        // They need several commands, or several answers.
        ClientRequest::ElectReplica(_)
        | ClientRequest::ElectLeaders(..)
        | ClientRequest::AlterScram(_)
        | ClientRequest::CreateAcls(_)
        | ClientRequest::DeleteAcls(_)
        | ClientRequest::Reassign(..) => Err(Err(lost())),
    }
}

/// The commands of an operator's election: the topic allows an unclean one for as long as the entry takes.
fn elect_replica(request: &ElectReplica, image: &Image) -> Result<(PartitionId, Vec<Command>), Refusal> {
    let topic = named(image, &request.topic)?;
    let partition = PartitionId { topic: topic.id, index: request.partition };
    let election = election::decided(image, partition, request.node, request.is_confirmed)?;
    let elect = Command::ElectLeaders { elections: vec![election] };
    if topic.config.unclean_leader_election {
        return Ok((partition, vec![elect]));
    }
    let allow = |value: Option<String>| {
        let changes = BTreeMap::from([(UNCLEAN_LEADER_ELECTION.to_owned(), value)]);
        Command::AlterTopicConfig { id: topic.id, changes }
    };
    let before = topic.overrides.get(UNCLEAN_LEADER_ELECTION).cloned();
    Ok((partition, vec![allow(Some("true".to_owned())), elect, allow(before)]))
}

/// Elections that a client asks for, each judged by itself, in one command.
fn elect_leaders(
    mut partitions: Vec<PartitionId>,
    kind: ElectionKind,
    reply: Reply<ClientAnswer>,
    image: &Image,
) -> Planned {
    let (mut elections, mut results) = (Vec::new(), Vec::new());
    partitions.sort_unstable();
    partitions.dedup();
    for partition in partitions {
        let asked = election::asked(image, partition, kind);
        results.push((partition, asked.map(|election| elections.push(election))));
    }
    let commands = if elections.is_empty() { vec![] } else { vec![Command::ElectLeaders { elections }] };
    Planned::of(commands, reply, move |outcomes| {
        if let Some(Outcome::Elected { refused }) = outcomes.first() {
            for (partition, result) in &mut results {
                if let Some((_, refusal)) = refused.iter().find(|(id, _)| id == partition) {
                    *result = Err(refusal.clone());
                }
            }
        }
        Ok(ClientAnswer::Elected(results))
    })
}

fn named<'a>(image: &'a Image, name: &str) -> Result<&'a Topic, Refusal> {
    let unknown = || {
        let shown: String = name.chars().take(249).collect();
        Refusal::new(ErrorCode::UnknownTopicOrPartition, format!("there is no topic named {shown:?}"))
    };
    image.topics().named(name).map(AsRef::as_ref).ok_or_else(unknown)
}

fn alter(request: AlterTopicConfig, image: &Image) -> Result<Command, Refusal> {
    let topic = named(image, &request.name)?;
    let mut overrides = topic.overrides.clone();
    for (name, value) in &request.changes {
        match value {
            Some(value) => overrides.insert(name.clone(), value.clone()),
            None => overrides.remove(name),
        };
    }
    check_config(&topic.name, &overrides)?;
    Ok(Command::AlterTopicConfig { id: topic.id, changes: request.changes })
}

fn check_config(name: &str, overrides: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let config = TopicConfig::parse(overrides)
        .map_err(|invalid| Refusal::new(ErrorCode::InvalidConfig, invalid.to_string()))?;
    let keeps_all = config.compact && !config.delete;
    if type_of_topic(name).is_some() && !(keeps_all && config.max_message_bytes >= ENTITY_BATCH_BYTES) {
        let text = format!(
            "topic {name} holds the states of entities: cleanup.policy stays compact, and max.message.bytes at least \
             {ENTITY_BATCH_BYTES}; name both where all settings are replaced"
        );
        return Err(Refusal::new(ErrorCode::InvalidConfig, text));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
