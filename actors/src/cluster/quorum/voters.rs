//! What operators are served: who belongs to the quorum, and changes of who votes.

use millstream_transport::message::Message;
use millstream_transport::peer::{Answering, Handlers};

use super::membership::members;
use super::peers::QuorumDoor;
use super::{ChangeError, Quorum, Role};
use crate::cluster::message::voters::{
    AddVoter, DescribeQuorum, QuorumDescription, QuorumMember, RemoveVoter,
};
use crate::error::{ErrorCode, Refusal};

impl QuorumDoor {
    /// What the endpoint is to serve: questions of nodes, and what operators ask.
    #[must_use]
    pub fn handlers(&self) -> Handlers {
        self.questions().and(of_operators(self))
    }
}

/// Handlers of the kinds 257 to 259, for clients and nodes.
fn of_operators(door: &QuorumDoor) -> Handlers {
    let handlers = Handlers::new();
    let handlers = on(handlers, door, |quorum, _: DescribeQuorum| async move { Ok(quorum.describe()) });
    let handlers = on(handlers, door, |quorum, asked: AddVoter| async move {
        quorum.add_voter(asked.node).await.map_err(refusal)
    });
    on(handlers, door, |quorum, asked: RemoveVoter| async move { remove(&quorum, asked).await })
}

fn on<M, T, F>(
    handlers: Handlers,
    door: &QuorumDoor,
    serve: impl Fn(Quorum, M) -> F + Send + Sync + 'static,
) -> Handlers
where
    M: Message<Answer = Result<T, Refusal>>,
    F: Future<Output = Result<T, Refusal>> + Send + 'static,
{
    let door = door.clone();
    handlers.on(move |_, message: M, answering: Answering<M>| {
        let Some(quorum) = door.behind() else {
            let text = "the quorum of this node is not there yet; ask again";
            return answering.answer(Err(Refusal::new(ErrorCode::NotController, text)));
        };
        let served = serve(quorum, message);
        tokio::spawn(async move { answering.answer(served.await) });
    })
}

/// Asked again after an answer was lost, it finds nothing left to do, and that is no error.
async fn remove(quorum: &Quorum, asked: RemoveVoter) -> Result<(), Refusal> {
    if quorum.health().voters == [asked.node] {
        let text = format!("node {} is the only voter: make another one first", asked.node);
        return Err(Refusal::new(ErrorCode::InvalidRequest, text));
    }
    let unless_unknown = |done: Result<(), ChangeError>| match done {
        Err(ChangeError::NoMember(_)) => Ok(()),
        other => other.map_err(refusal),
    };
    unless_unknown(quorum.remove_voter(asked.node).await)?;
    if asked.forget {
        unless_unknown(quorum.forget(asked.node).await)?;
    }
    Ok(())
}

fn refusal(error: ChangeError) -> Refusal {
    let code = match &error {
        ChangeError::NotLeader(_) => ErrorCode::NotController,
        ChangeError::NoMember(_) => ErrorCode::InvalidRequest,
        // Both pass by themselves.
        ChangeError::Behind(_) => ErrorCode::ThrottlingQuotaExceeded,
        ChangeError::Refused(_) => ErrorCode::RequestTimedOut,
    };
    Refusal::new(code, error.to_string())
}

impl Quorum {
    /// The quorum as this node sees it.
    #[must_use]
    pub fn describe(&self) -> QuorumDescription {
        let health = self.health();
        let metrics = self.shared.metrics.borrow();
        let seated = members(&metrics).into_iter().map(|member| {
            let matched = metrics.replication.as_ref().and_then(|all| all.get(&member.id).copied());
            let matched = matched.map(|matched| matched.map_or(0, |log_id| log_id.index));
            QuorumMember {
                node: member.id.node,
                directory: member.id.directory,
                address: member.address,
                is_voter: member.role == Role::Voter,
                behind: matched.map(|matched| health.last_log_index.saturating_sub(matched)),
            }
        });
        let mut members: Vec<QuorumMember> = seated.collect();
        members.sort_by_key(|member| (member.node, member.directory));
        QuorumDescription {
            node: self.me().node,
            leader: health.leader,
            term: health.term,
            last_log_index: health.last_log_index,
            last_applied: health.last_applied,
            members,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::NodeId;

    #[test]
    fn what_passes_by_itself_may_be_asked_again() {
        let code = |error| refusal(error).code;
        assert!(code(ChangeError::Behind(NodeId(3))).is_retriable());
        assert!(code(ChangeError::NotLeader(None)).is_retriable());
        assert!(!code(ChangeError::NoMember(NodeId(3))).is_retriable());
        assert!(refusal(ChangeError::NotLeader(Some(NodeId(2)))).text.contains("node 2 does"));
    }
}
