//! The quorum, from outside.

use millstream_transport::message::Message;

use super::Admin;
use crate::client::{Asks, ClientError, Cluster, Target, Tries};
use crate::cluster::message::voters::{AddVoter, DescribeQuorum, QuorumDescription, RemoveVoter};
use crate::error::{ErrorCode, Refusal};
use crate::ids::NodeId;

impl Admin {
    /// The quorum as its leader sees it; as another node does, while nobody leads.
    pub async fn describe_quorum(&self) -> Result<QuorumDescription, ClientError> {
        let seen = self.client.ask_any("describing the quorum", DescribeQuorum {}).await?;
        let Some(leader) = seen.leader.filter(|leader| *leader != seen.node) else { return Ok(seen) };
        let deadline = self.client.settings.request_timeout.min(LEADER_WITHIN);
        let target = Target::Node(leader);
        let asking = Asks::<DescribeQuorum>::ask(&*self.client.link, &target, DescribeQuorum {}, deadline);
        Ok(asking.await.ok().and_then(Result::ok).unwrap_or(seen))
    }

    /// Makes a node a voter of the quorum; waits until it has nearly caught up.
    pub async fn add_voter(&self, node: NodeId) -> Result<(), ClientError> {
        self.ask_leader("making a node a voter", AddVoter { node }).await
    }

    /// Makes a voter a learner; with `forget` it is no member at all, until it runs again.
    pub async fn remove_voter(&self, node: NodeId, forget: bool) -> Result<(), ClientError> {
        self.ask_leader("making a voter a learner", RemoveVoter { node, forget }).await
    }

    /// Asks one node after the other until the one that leads the quorum has answered.
    async fn ask_leader<M>(&self, what: &str, message: M) -> Result<(), ClientError>
    where
        M: Message<Answer = Result<(), Refusal>> + Clone,
        dyn Cluster: Asks<M>,
    {
        let mut tries = Tries::begin(what, self.client.settings.api_timeout);
        loop {
            let view = self.client.metadata.ready(tries.left()).await?;
            let mut elsewhere = None;
            for node in view.nodes.keys() {
                let deadline = tries.left().min(self.client.settings.request_timeout);
                let asking =
                    Asks::<M>::ask(&*self.client.link, &Target::Node(*node), message.clone(), deadline);
                match asking.await {
                    Ok(Ok(())) => return Ok(()),
                    // Says less than what the leader itself says, if one does.
                    Ok(Err(refusal)) if refusal.code == ErrorCode::NotController => {
                        elsewhere = Some(refusal);
                    }
                    Ok(Err(refusal)) => tries.failed(refusal.into())?,
                    Err(error) => tries.failed(error.into())?,
                }
            }
            if let Some(refusal) = elsewhere.filter(|_| !tries.has_failed()) {
                tries.failed(refusal.into())?;
            }
            tries.pause().await?;
        }
    }
}

/// How long the leader may take to tell more than others can.
const LEADER_WITHIN: std::time::Duration = std::time::Duration::from_secs(2);
