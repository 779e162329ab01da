//! Every kind of actor on one page: where it runs, who looks after it, how often it may be begun anew, how much may
//! wait in its mailbox, and what its death means.

use std::time::Duration;

/// The actor system that runs it. Bytes travel on actix, decisions are taken on ractor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// On one core of the data plane.
    Actix,
    /// On the control thread.
    Ractor,
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

/// One partition's replica on one node.
pub const REPLICA: ActorKind = ActorKind {
    name: "replica",
    system: System::Actix,
    supervisor: "replica_supervisor",
    restarts: budget(5, 60, 100),
    mailbox_max: 4096,
    death: "its requests are refused, its leadership ends; it comes back as a follower after recovery of its log",
};

/// Starts the replicas of one core on its thread.
pub const CORE_HOST: ActorKind = ActorKind {
    name: "core_host",
    system: System::Actix,
    supervisor: "replica_supervisor",
    restarts: budget(1, 60, 0),
    mailbox_max: 1024,
    death: "no replica can be begun on this core any more; the node stops",
};

/// The leader's end of a fetch session.
pub const FEEDER: ActorKind = ActorKind {
    name: "feeder",
    system: System::Actix,
    supervisor: "the session's follower",
    restarts: budget(0, 60, 0),
    mailbox_max: 16,
    death: "the session ends, its replicas are told; the follower opens another",
};

/// The follower's end of a fetch session.
pub const FOLLOWER: ActorKind = ActorKind {
    name: "follower",
    system: System::Actix,
    supervisor: "its core's links",
    restarts: budget(0, 60, 0),
    mailbox_max: 16,
    death: "its replicas are told; the first of them that asks its leader again starts another",
};

/// Begins, moves and ends the replicas of a node.
pub const REPLICA_SUPERVISOR: ActorKind = ActorKind {
    name: "replica_supervisor",
    system: System::Ractor,
    supervisor: "node",
    restarts: budget(0, 60, 0),
    mailbox_max: 65_536,
    death: "nobody looks after the replicas; the node stops",
};

/// Decides for the cluster, on the quorum's leader.
pub const CONTROLLER: ActorKind = ActorKind {
    name: "controller",
    system: System::Ractor,
    supervisor: "node",
    restarts: budget(5, 60, 100),
    mailbox_max: 4096,
    death: "elections and changes wait until it is begun anew",
};

/// One consumer group.
pub const GROUP_COORDINATOR: ActorKind = ActorKind {
    name: "group_coordinator",
    system: System::Ractor,
    supervisor: "group_supervisor",
    restarts: budget(5, 60, 100),
    mailbox_max: 4096,
    death: "the group is read again from its partition; members ask again",
};

/// A client's producer.
pub const PRODUCER_ROUTER: ActorKind = ActorKind {
    name: "producer_router",
    system: System::Actix,
    supervisor: "client",
    restarts: budget(0, 60, 0),
    mailbox_max: 1024,
    death: "records not acknowledged fail; the client says so",
};

/// All of them.
pub const KINDS: [ActorKind; 8] = [
    REPLICA,
    CORE_HOST,
    FEEDER,
    FOLLOWER,
    REPLICA_SUPERVISOR,
    CONTROLLER,
    GROUP_COORDINATOR,
    PRODUCER_ROUTER,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own_and_a_bound() {
        let names: BTreeSet<_> = KINDS.iter().map(|kind| kind.name).collect();
        assert_eq!(names.len(), KINDS.len());
        assert!(KINDS.iter().all(|kind| kind.mailbox_max > 0));
    }
}
