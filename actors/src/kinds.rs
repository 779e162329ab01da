//! Every kind of actor on one page: where it runs, who looks after it, how often it may be begun anew, how much may
//! wait in its mailbox, and what its death means.
//!
//! Requests may be refused, completions never. For each kind a test beside it floods it and sees that every request gets
//! its one answer and nothing hangs.

use std::time::Duration;

/// The actor system that runs it. Bytes travel on actix, decisions are taken on ractor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// On one core of the data plane.
    Actix,
    /// On the control thread.
    Ractor,
    /// Tasks of a library on the control thread.
    Tokio,
}

/// How often an actor may die before its supervisor gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartBudget {
    /// So many deaths.
    pub deaths: u32,
    /// Within this time.
    pub within: Duration,
    /// The wait before the first restart; it doubles with each death that follows within the time.
    pub first_wait: Duration,
}

/// One kind of actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActorKind {
    /// Its name in metrics and logs.
    pub name: &'static str,
    /// Where it runs.
    pub system: System,
    /// Who hears of its death.
    pub supervisor: &'static str,
    /// How often it is begun anew.
    pub restarts: RestartBudget,
    /// Requests that may wait for it; one more is refused. Completions are not among them.
    pub mailbox_max: usize,
    /// What keeps to that bound. The mailboxes themselves have none (ractor), or one that completions pass (actix).
    pub bound: &'static str,
    /// What its death means, for whoever reads the log.
    pub death: &'static str,
}

const fn budget(deaths: u32, within_s: u64, first_wait_ms: u64) -> RestartBudget {
    RestartBudget {
        deaths,
        within: Duration::from_secs(within_s),
        first_wait: Duration::from_millis(first_wait_ms),
    }
}

/// The root of a node's control plane.
pub const NODE: ActorKind = ActorKind {
    name: "node",
    system: System::Ractor,
    supervisor: "the process",
    restarts: budget(0, 60, 0),
    mailbox_max: 16,
    bound: "it hears of ends only, one for each actor under it, and of the controller's restarts",
    death: "the node stops",
};

/// The metadata quorum's part on this node: openraft, which is no actor here, but is looked at as one.
pub const QUORUM: ActorKind = ActorKind {
    name: "quorum",
    system: System::Tokio,
    supervisor: "node",
    restarts: budget(0, 60, 0),
    mailbox_max: 1_024,
    bound: "places for proposals; one append and one vote of each voter at a time",
    death: "nothing of the cluster is decided or heard of here any more; the node stops",
};

/// One partition's replica on one node.
pub const REPLICA: ActorKind = ActorKind {
    name: "replica",
    system: System::Actix,
    supervisor: "replica_supervisor",
    restarts: budget(5, 60, 100),
    mailbox_max: 4096,
    bound: "requests are tried, and refused where its mailbox is full; completions lie in its inbox, the latest of each",
    death: "its requests are refused, its leadership ends; it comes back as a follower after recovery of its log",
};

/// Starts the replicas of one core on its thread.
pub const CORE_HOST: ActorKind = ActorKind {
    name: "core_host",
    system: System::Actix,
    supervisor: "replica_supervisor",
    restarts: budget(1, 60, 0),
    mailbox_max: 1024,
    bound: "one beginning for each replica that the image has on its core",
    death: "no replica can be begun on this core any more; the node stops",
};

/// The leader's end of a fetch session.
pub const FEEDER: ActorKind = ActorKind {
    name: "feeder",
    system: System::Actix,
    supervisor: "the session's follower",
    restarts: budget(0, 60, 0),
    mailbox_max: 16,
    bound: "one turn of its follower, read on when it has room for more; one wake-up of all its replicas together",
    death: "the session ends, its replicas are told; the follower opens another",
};

/// The follower's end of a fetch session.
pub const FOLLOWER: ActorKind = ActorKind {
    name: "follower",
    system: System::Actix,
    supervisor: "its core's links",
    restarts: budget(0, 60, 0),
    mailbox_max: 16,
    bound: "one turn of its leader; one wake-up for all that its replicas leave on its desk",
    death: "its replicas are told; the first of them that asks its leader again starts another",
};

/// Begins, moves and ends the replicas of a node.
pub const REPLICA_SUPERVISOR: ActorKind = ActorKind {
    name: "replica_supervisor",
    system: System::Ractor,
    supervisor: "node",
    restarts: budget(0, 60, 0),
    mailbox_max: 65_536,
    bound: "one wake-up for all that its replicas say, the latest of each; one image; a beginning and an end a replica",
    death: "nobody looks after the replicas; the node stops",
};

/// Decides for the cluster, on the quorum's leader.
pub const CONTROLLER: ActorKind = ActorKind {
    name: "controller",
    system: System::Ractor,
    supervisor: "node",
    restarts: budget(5, 60, 100),
    mailbox_max: 4096,
    bound: "places that its handle gives, to nodes and to clients apart",
    death: "elections and changes wait until it is begun anew",
};

/// Registers the node, sends its heartbeats, keeps its lease.
pub const NODE_AGENT: ActorKind = ActorKind {
    name: "node_agent",
    system: System::Ractor,
    supervisor: "node",
    restarts: budget(0, 60, 0),
    mailbox_max: 16,
    bound: "a tick and an image at a time; so many heartbeats unanswered a voter; the latest directories",
    death: "the node would lose its lease and be taken for dead; it stops",
};

/// Reads groups from their partitions and looks after their coordinators.
pub const GROUP_SUPERVISOR: ActorKind = ActorKind {
    name: "group_supervisor",
    system: System::Ractor,
    supervisor: "node",
    restarts: budget(0, 60, 0),
    mailbox_max: 10_000,
    bound: "places that the front gives, for all groups of the node",
    death: "no group is coordinated here any more; the node stops",
};

/// One consumer group.
pub const GROUP_COORDINATOR: ActorKind = ActorKind {
    name: "group_coordinator",
    system: System::Ractor,
    supervisor: "group_supervisor",
    restarts: budget(5, 60, 100),
    mailbox_max: GROUP_SUPERVISOR.mailbox_max,
    bound: "the places of the group supervisor, which are those of all groups",
    death: "the group is read again from its partition; members ask again",
};

/// Looks after the transaction coordinators of a node.
pub const TRANSACTION_SUPERVISOR: ActorKind = ActorKind {
    name: "transaction_supervisor",
    system: System::Ractor,
    supervisor: "node",
    restarts: budget(0, 60, 0),
    mailbox_max: 10_000,
    bound: "places that the front gives, for all transactional ids of the node",
    death: "no transaction is coordinated here any more; the node stops",
};

/// The transactional ids of one partition of `__transaction_state`.
pub const TRANSACTION_COORDINATOR: ActorKind = ActorKind {
    name: "transaction_coordinator",
    system: System::Ractor,
    supervisor: "transaction_supervisor",
    restarts: budget(5, 60, 100),
    mailbox_max: TRANSACTION_SUPERVISOR.mailbox_max,
    bound: "the places of the transaction supervisor; one answer of the log for each; one message a transaction marked",
    death: "its ids are read again from their partition, and what was decided is gone on with; producers ask again",
};

/// Looks after the entities of a node.
pub const ENTITY_SUPERVISOR: ActorKind = ActorKind {
    name: "entity_supervisor",
    system: System::Ractor,
    supervisor: "node",
    restarts: budget(0, 60, 0),
    mailbox_max: 10_000,
    bound: "a beginning and an end a partition; requests go past it",
    death: "no entity can be asked here any more; the node stops",
};

/// The entities of one partition of a type, on the users' threads.
pub const ENTITY_HOST: ActorKind = ActorKind {
    name: "entity_host",
    system: System::Ractor,
    supervisor: "entity_supervisor",
    restarts: budget(5, 60, 100),
    mailbox_max: 1_000,
    bound: "places of its own, which the front gives; one answer of the log for each batch and each entity read; one tick",
    death: "its entities are read again from the log; who waited asks again, and what was applied is applied once",
};

/// Looks after the readers of the topics that entities read.
pub const ENTITY_READER_SUPERVISOR: ActorKind = ActorKind {
    name: "entity_reader_supervisor",
    system: System::Ractor,
    supervisor: "node",
    restarts: budget(0, 60, 0),
    mailbox_max: 10_000,
    bound: "a beginning and an end a partition of a topic that is read here",
    death: "no topic is read for entities here any more; the node stops",
};

/// Reads a partition of a topic for the entities of a type, on the users' threads.
pub const ENTITY_READER: ActorKind = ActorKind {
    name: "entity_reader",
    system: System::Ractor,
    supervisor: "entity_reader_supervisor",
    restarts: budget(5, 60, 100),
    mailbox_max: 1_000,
    bound: "it is asked nothing: one answer of each partition of the entities, one of the topic, one tick",
    death: "it is begun anew and reads on where the entities are; what they have is not applied again",
};

/// The indexes of all partitions of entities that a node follows, on the users' threads.
pub const ENTITY_STANDBY: ActorKind = ActorKind {
    name: "entity_standby",
    system: System::Ractor,
    supervisor: "entity_supervisor",
    restarts: budget(5, 60, 100),
    mailbox_max: 10_000,
    bound: "a beginning and an end a partition; one answer of a replica for each; one tick",
    death: "the indexes are read again from the replicas; until then a new leader reads its log from the beginning",
};

/// A client's producer.
pub const PRODUCER_ROUTER: ActorKind = ActorKind {
    name: "producer_router",
    system: System::Actix,
    supervisor: "client",
    restarts: budget(0, 60, 0),
    mailbox_max: 16,
    bound: "one wake-up; records wait in buffer.memory",
    death: "records not acknowledged fail; the client says so",
};

/// Looks after the actors of users of a node.
pub const USER_SUPERVISOR: ActorKind = ActorKind {
    name: "user_supervisor",
    system: System::Ractor,
    supervisor: "node",
    restarts: budget(0, 60, 0),
    mailbox_max: 16,
    bound: "it hears of ends only, one for each actor",
    death: "nobody looks after the actors of users; the node stops",
};

/// An actor of a user's.
pub const USER_ACTOR: ActorKind = ActorKind {
    name: "user_actor",
    system: System::Ractor,
    supervisor: "user_supervisor",
    restarts: budget(5, 60, 100),
    mailbox_max: 1_000,
    bound: "places of its mailbox, and bytes of all mailboxes of the node; its user may set both bounds, and its restarts",
    death: "its state is gone, its mailbox is not: it is begun anew; given up, its name is free and watchers are told",
};

/// All of them.
pub const KINDS: [ActorKind; 21] = [
    NODE,
    QUORUM,
    REPLICA,
    CORE_HOST,
    FEEDER,
    FOLLOWER,
    REPLICA_SUPERVISOR,
    CONTROLLER,
    NODE_AGENT,
    GROUP_SUPERVISOR,
    GROUP_COORDINATOR,
    TRANSACTION_SUPERVISOR,
    TRANSACTION_COORDINATOR,
    ENTITY_SUPERVISOR,
    ENTITY_HOST,
    ENTITY_READER_SUPERVISOR,
    ENTITY_READER,
    ENTITY_STANDBY,
    PRODUCER_ROUTER,
    USER_SUPERVISOR,
    USER_ACTOR,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own_and_a_bound() {
        let names: BTreeSet<_> = KINDS.iter().map(|kind| kind.name).collect();
        assert_eq!(names.len(), KINDS.len());
        assert!(KINDS.iter().all(|kind| kind.mailbox_max > 0 && !kind.bound.is_empty()));
    }
}
