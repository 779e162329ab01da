//! The quorum of the cluster in memory: the last node that is alive leads it.

use std::time::Duration;

use super::{FakeCluster, State};
use crate::client::{Asking, Asks, Target};
use crate::cluster::message::voters::{
    AddVoter, DescribeQuorum, QuorumDescription, QuorumMember, RemoveVoter,
};
use crate::error::{ErrorCode, Refusal};
use crate::ids::NodeId;

impl State {
    fn quorum_leader(&self) -> Option<NodeId> {
        self.nodes.iter().rfind(|(_, alive)| **alive).map(|(node, _)| *node)
    }

    fn leading(&mut self, node: NodeId) -> Result<(), Refusal> {
        if self.quorum_leader() != Some(node) {
            return Err(Refusal::new(ErrorCode::NotController, "another node leads"));
        }
        self.refusals.pop_front().map_or(Ok(()), |code| Err(Refusal::new(code, "by the test's wish")))
    }
}

impl Asks<DescribeQuorum> for FakeCluster {
    fn ask(&self, to: &Target, _: DescribeQuorum, _: Duration) -> Asking<Result<QuorumDescription, Refusal>> {
        self.answer(to, |state, node| {
            let leader = state.quorum_leader();
            let member = |member: &NodeId| QuorumMember {
                node: *member,
                directory: uuid::Uuid::nil(),
                address: format!("node-{}:9092", member.0),
                is_voter: state.voters.contains(member),
                behind: (leader == Some(node)).then_some(0),
            };
            let members = state.nodes.keys().map(member).collect();
            Ok(Ok(QuorumDescription { node, leader, term: 1, last_log_index: 1, last_applied: 1, members }))
        })
    }
}

impl Asks<AddVoter> for FakeCluster {
    fn ask(&self, to: &Target, message: AddVoter, _: Duration) -> Asking<Result<(), Refusal>> {
        self.answer(to, |state, node| {
            Ok(state.leading(node).map(|()| {
                state.voters.insert(message.node);
            }))
        })
    }
}

impl Asks<RemoveVoter> for FakeCluster {
    fn ask(&self, to: &Target, message: RemoveVoter, _: Duration) -> Asking<Result<(), Refusal>> {
        self.answer(to, |state, node| {
            Ok(state.leading(node).map(|()| {
                state.voters.remove(&message.node);
            }))
        })
    }
}
