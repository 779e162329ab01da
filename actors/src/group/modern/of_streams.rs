//! The group of an application of streams, in the place of one of consumers.

use super::turn::Turn;
use super::{ConsumerGroup, Decision, Surroundings, commit};
use crate::error::{ErrorCode, Refusal};
use crate::group::message::streams::{StreamsGroupDescription, StreamsHeartbeat, StreamsHeartbeatAnswer};
use crate::group::records::GroupRecord;
use crate::group::streams;

impl ConsumerGroup {
    /// A heartbeat of a member of an application of streams, from `host`. A group without members of another type becomes one
    /// of the application, and keeps its offsets.
    pub fn streams_heartbeat(
        &mut self,
        around: &Surroundings<'_>,
        host: &str,
        request: &StreamsHeartbeat,
    ) -> Decision<StreamsHeartbeatAnswer> {
        self.decide(around, |turn| {
            let group = turn.group();
            if !group.members.is_empty() || group.has_classic_members() {
                return Err(turn.machine.in_use("consumers"));
            }
            let answer = turn.with_streams(|streams| streams.heartbeat(host, request))?;
            turn.leave_modern();
            turn.leave_classic();
            Ok(answer)
        })
    }

    /// Everything about the group of an application, if it is one.
    pub fn describe_streams(&self) -> Result<StreamsGroupDescription, Refusal> {
        if self.group.is_nothing() {
            return Err(commit::not_found(&self.id));
        }
        if !self.group.streams.is_there() {
            let text = format!("group {:?} is none of an application of streams", self.id);
            return Err(Refusal::new(ErrorCode::GroupIdNotFound, text));
        }
        Ok(streams::describe(&self.group.streams, &self.live))
    }

    /// Whether it is the group of an application of streams.
    #[must_use]
    pub fn is_of_streams(&self) -> bool {
        self.group.streams.is_there()
    }

    /// Refuses members and tools of groups of consumers in a group of an application.
    pub fn check_no_streams(&self) -> Result<(), Refusal> {
        if self.group.streams.is_there() { Err(self.in_use("an application of streams")) } else { Ok(()) }
    }

    /// The refusal of who is of another type than the group.
    pub fn in_use(&self, by: &str) -> Refusal {
        let text = format!(
            "group {:?} is one of {by}; take another name, or stop its members and delete it",
            self.id
        );
        Refusal::new(ErrorCode::GroupIdNotFound, text)
    }
}

impl Turn<'_> {
    /// Carries a step of the group of an application out.
    pub(super) fn with_streams<A>(&mut self, step: impl FnOnce(&mut streams::Turn<'_>) -> A) -> A {
        let ConsumerGroup { id, group, live, .. } = &mut *self.machine;
        let mut turn = streams::Turn {
            id,
            state: &mut group.streams,
            live,
            now: self.around.now,
            settings: &self.around.settings.streams,
            records: Vec::new(),
            notices: Vec::new(),
        };
        let answer = step(&mut turn);
        let streams::Turn { records, notices, .. } = turn;
        self.records.extend(records.into_iter().map(GroupRecord::Streams));
        self.notices.extend(notices);
        answer
    }
}
