//! The group of an application of streams: whoever joins it is to run all tasks of what it says the application consists of.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{FakeCluster, State};
use crate::client::{Asking, Asks, Target};
use crate::error::Refusal;
use crate::group::message::GroupState;
use crate::group::message::streams::{
    DescribeStreamsGroup, StreamsGroupDescription, StreamsHeartbeat, StreamsHeartbeatAnswer, StreamsPart,
    StreamsTask, StreamsTasks,
};
use crate::ids::NodeId;

fn all_tasks(parts: &[StreamsPart]) -> StreamsTasks {
    let of = |part: &StreamsPart| {
        let part = (part.part, part.tasks);
        (0..part.1).map(move |partition| StreamsTask { part: part.0, partition })
    };
    StreamsTasks { active: parts.iter().flat_map(of).collect(), ..StreamsTasks::default() }
}

impl State {
    fn streams_heartbeat(
        &mut self,
        node: NodeId,
        beat: &StreamsHeartbeat,
    ) -> Result<StreamsHeartbeatAnswer, Refusal> {
        let heartbeat_interval_ms = self.coordinating(node)?.heartbeat_interval_ms;
        let all = beat.topology.as_ref().map(|topology| all_tasks(&topology.parts));
        let tasks = all.or_else(|| beat.running.clone()).unwrap_or_default();
        let epoch = if beat.epoch < 0 { beat.epoch } else { 1 };
        Ok(StreamsHeartbeatAnswer { epoch, heartbeat_interval_ms, tasks, fence: Vec::new() })
    }
}

impl Asks<StreamsHeartbeat> for FakeCluster {
    fn ask(
        &self,
        to: &Target,
        message: StreamsHeartbeat,
        _: Duration,
    ) -> Asking<Result<StreamsHeartbeatAnswer, Refusal>> {
        self.answer(to, |state, node| Ok(state.streams_heartbeat(node, &message)))
    }
}

impl Asks<DescribeStreamsGroup> for FakeCluster {
    fn ask(
        &self,
        to: &Target,
        _: DescribeStreamsGroup,
        _: Duration,
    ) -> Asking<Result<StreamsGroupDescription, Refusal>> {
        self.answer(to, |state, node| {
            Ok(state.coordinating(node).map(|_| StreamsGroupDescription {
                state: GroupState::Stable,
                epoch: 1,
                topology: None,
                members: BTreeMap::new(),
            }))
        })
    }
}
