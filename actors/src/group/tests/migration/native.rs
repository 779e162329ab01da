//! A client of our own: what the native consumer asks and makes of the answers, with its own code.

use super::*;
use crate::consumer::membership::{Identity, Membership, Subscription};

pub(super) struct Native {
    pub(super) reads: BTreeSet<PartitionId>,
    pub(super) heard: Instant,
    membership: Membership,
}

impl Native {
    pub(super) fn new(id: &str, instance: Option<String>) -> Self {
        let mut membership = Membership::new(Identity {
            group: "g".to_owned(),
            member: id.to_owned(),
            instance,
            client_id: "native".to_owned(),
            assignor: None,
            rebalance_timeout: Duration::from_secs(10),
        });
        membership.subscribe(Subscription { topics: vec!["t".to_owned()], pattern: String::new() });
        Self { reads: BTreeSet::new(), heard: Instant::now(), membership }
    }

    pub(super) async fn act(&mut self, rig: &Rig) {
        match rig.node.ask(self.membership.heartbeat()).await {
            Ok(answer) => {
                self.heard = Instant::now();
                let todo = self.membership.answered(answer);
                self.reads.extend(&todo.add);
                self.reads.retain(|partition| !todo.revoke.contains(partition));
                self.membership.gave_up(todo.revoke);
            }
            Err(refusal) if self.membership.refused(refusal.code) => self.reads.clear(),
            Err(_) => {}
        }
    }

    pub(super) async fn stop(mut self, rig: &Rig) {
        if self.membership.epoch() > 0 {
            let _coordinator_may_move = rig.node.ask(self.membership.leave()).await;
        }
    }
}
