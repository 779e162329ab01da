//! What the coordinator does for members of an application of streams. The state machine decides; here it is carried out.

use super::super::classic::{ClassicGroup, ClassicState};
use super::super::message::streams::{StreamsGroupDescription, StreamsHeartbeat, StreamsHeartbeatAnswer};
use super::super::request::{ClassicRequest, Reply};
use super::{Coordinator, from_memory};
use crate::error::{ErrorCode, Refusal};

impl Coordinator {
    /// A heartbeat of a member. A group without members is one of whoever comes.
    pub(super) fn streams_heartbeat(
        &mut self,
        request: &StreamsHeartbeat,
        host: &str,
        reply: Reply<Result<StreamsHeartbeatAnswer, Refusal>>,
    ) {
        let populated = self.classic.as_ref().filter(|classic| classic.group.state() != ClassicState::Empty);
        if populated.is_some() {
            return reply.give(Err(self.machine.in_use("the classic protocol")));
        }
        self.decide(Some(reply), |machine, around| machine.streams_heartbeat(around, host, request));
        if self.machine.is_of_streams() && self.classic.is_some() {
            self.decide_classic(ClassicGroup::moved_over);
            self.classic = None;
        }
    }

    pub(super) fn describe_streams(&mut self, reply: Reply<Result<StreamsGroupDescription, Refusal>>) {
        if self.classic.as_ref().is_some_and(|classic| !classic.is_nothing()) {
            return reply.give(Err(self.machine.in_use("the classic protocol")));
        }
        self.decide(Some(reply), |machine, _| from_memory(machine.describe_streams()));
    }

    /// Refuses a member or a tool of the classic protocol, in the words that this has for it.
    pub(super) fn refuse_classic(&self, request: ClassicRequest) {
        let in_use = self.machine.in_use("an application of streams");
        let code = match &request {
            ClassicRequest::Join { .. } => ErrorCode::InconsistentGroupProtocol,
            ClassicRequest::Describe { .. } => ErrorCode::GroupIdNotFound,
            ClassicRequest::Sync { .. } | ClassicRequest::Heartbeat { .. } | ClassicRequest::Leave { .. } => {
                ErrorCode::UnknownMemberId
            }
        };
        request.refuse(Refusal { code, ..in_use });
    }
}
