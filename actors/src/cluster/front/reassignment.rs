//! Reassignments as every node offers them.

use std::collections::BTreeMap;

use super::{ClusterFront, unexpected};
use crate::cluster::message::nodes::{ClientAnswer, ClientRequest};
use crate::cluster::message::reassignment::{ReassignPartition, Wish};
use crate::cluster::peers::Peers;
use crate::error::{ErrorCode, Refusal};
use crate::ids::PartitionId;

/// Nodes named and partitions asked for in one request to the controller: together with what else it has to do, they fit
/// into one entry.
const NAMED_A_REQUEST: usize = 4000;

/// What became of each wish.
type Reassigned = Vec<(PartitionId, Result<(), Refusal>)>;

impl<P: Peers> ClusterFront<P> {
    /// Begins, changes or gives up reassignments; what became of each. Done means begun: they end by themselves. Many are
    /// asked for in several requests: once one of them is refused, so are those that it and the rest would have been for.
    pub async fn reassign(&self, wishes: Vec<Wish>, may_change_factor: bool) -> Result<Reassigned, Refusal> {
        let nodes = self.image().nodes().iter().count();
        let (mut done, mut open) = (Vec::with_capacity(wishes.len()), Vec::new());
        for wish in wishes {
            // More than there are nodes name one twice or one that is unknown, and would not fit into an entry.
            match wish.replicas.as_ref().filter(|replicas| replicas.len() > nodes) {
                Some(replicas) => done.push((wish.partition, Err(too_many(replicas.len(), nodes)))),
                None => open.push(wish),
            }
        }
        let mut open = open.into_iter().peekable();
        while open.peek().is_some() {
            let (mut some, mut named) = (Vec::new(), 0);
            while let Some(wish) = open.next_if(|_| named < NAMED_A_REQUEST) {
                named += 1 + wish.replicas.as_ref().map_or(0, Vec::len);
                some.push(wish);
            }
            match self.reassign_some(&some, may_change_factor).await {
                Ok(some) => done.extend(some),
                Err(refusal) if done.is_empty() => return Err(refusal),
                Err(refusal) => {
                    let left = some.into_iter().chain(open);
                    done.extend(left.map(|wish| (wish.partition, Err(refusal.clone()))));
                    break;
                }
            }
        }
        Ok(done)
    }

    async fn reassign_some(&self, wishes: &[Wish], may_change_factor: bool) -> Result<Reassigned, Refusal> {
        let before = self.image();
        let given_up: BTreeMap<PartitionId, bool> =
            wishes.iter().map(|wish| (wish.partition, wish.replicas.is_none())).collect();
        let request = ClientRequest::Reassign(wishes.to_vec(), may_change_factor);
        let answered = self.client(request).await;
        let repeated = answered.repeated;
        match answered.answer? {
            ClientAnswer::Reassigned(mut each) => {
                for (id, result) in &mut each {
                    // An earlier attempt, whose answer was lost, has given it up, if there was something to give up.
                    let was_under_way = given_up.get(id) == Some(&true)
                        && before.partition(*id).is_some_and(|state| state.reassignment.is_some());
                    let is_gone = |refusal: &Refusal| refusal.code == ErrorCode::NoReassignmentInProgress;
                    if repeated && was_under_way && result.as_ref().is_err_and(is_gone) {
                        *result = Ok(());
                    }
                }
                Ok(each)
            }
            other => Err(unexpected(&other)),
        }
    }

    /// The same for one partition by its topic's name.
    pub async fn reassign_partition(&self, request: ReassignPartition) -> Result<(), Refusal> {
        let image = self.image();
        let topic = image.topics().named(&request.topic).ok_or_else(|| {
            let shown: String = request.topic.chars().take(249).collect();
            Refusal::new(ErrorCode::UnknownTopicOrPartition, format!("there is no topic named {shown:?}"))
        })?;
        let partition = PartitionId { topic: topic.id, index: request.partition };
        let wishes = vec![Wish { partition, replicas: request.replicas }];
        let mut done = self.reassign(wishes, true).await?;
        done.pop().map_or_else(|| Err(unexpected(&"no outcome")), |(_, result)| result)
    }
}

fn too_many(replicas: usize, nodes: usize) -> Refusal {
    let text = format!("{replicas} replicas need {replicas} nodes, and {nodes} are registered");
    Refusal::new(ErrorCode::InvalidReplicaAssignment, text)
}
