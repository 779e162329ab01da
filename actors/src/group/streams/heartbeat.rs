//! A member's heartbeat: joining, going on, leaving.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::check::{LEAVING, invalid};
use super::record::{StreamsCurrent, StreamsMember, StreamsRecord};
use super::{Leaving, Notice, Turn};
use crate::error::{ErrorCode, Refusal};
use crate::group::message::streams::{
    StreamsHeartbeat, StreamsHeartbeatAnswer, StreamsTask, StreamsTasks, StreamsTopology,
};

impl Turn<'_> {
    pub(super) fn join(
        &mut self,
        host: &str,
        request: &StreamsHeartbeat,
    ) -> Result<StreamsHeartbeatAnswer, Refusal> {
        let member: Arc<str> = request.member.as_str().into();
        if self.state.members.contains_key(&member) {
            // The answer was lost: it joins again, and knows of nothing that it was told.
            self.touch(&member);
            return Ok(self.answer(&member));
        }
        let topology = request.topology.as_ref().ok_or_else(|| invalid(request, "it says no topology"))?;
        self.check_topology(request, topology)?;
        let earlier = self.earlier_lives(request);
        self.check_room(earlier.len())?;
        // Their transactions were ended by who joins, in the one way there is to get a producer under their id.
        for id in earlier {
            self.remove(&id, Leaving::Replaced);
            self.live.replace(&id);
        }
        if let Some(id) = request.transactional_id.as_deref().filter(|id| self.state.fences.contains_key(*id))
        {
            self.write(StreamsRecord::Fence { id: id.into(), tasks: None });
        }
        self.take_topology(topology);
        let joined_epoch = self.state.epoch.saturating_add(1);
        let metadata = StreamsMember {
            instance: request.instance.clone(),
            client_id: request.client_id.clone(),
            client_host: host.to_owned(),
            transactional_id: request.transactional_id.clone(),
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            joined_epoch,
            topology_epoch: topology.epoch,
        };
        self.write(StreamsRecord::Member { member: Arc::clone(&member), value: Some(metadata) });
        let nothing = StreamsCurrent { epoch: joined_epoch, ..StreamsCurrent::NOTHING };
        self.write(StreamsRecord::Current { member: Arc::clone(&member), value: Some(nothing) });
        self.touch(&member);
        self.live.says_running(&member, StreamsTasks::NOTHING);
        self.live.says_lags(&member, request.lags.iter().copied().collect());
        self.notices.push(Notice::Joined { member: Arc::clone(&member) });
        self.regroup();
        self.reconcile(&member);
        Ok(self.answer(&member))
    }

    pub(super) fn leave(&mut self, request: &StreamsHeartbeat) -> Result<StreamsHeartbeatAnswer, Refusal> {
        let member = self.known(request)?;
        self.remove(&member, Leaving::Left);
        self.regroup();
        Ok(StreamsHeartbeatAnswer { epoch: LEAVING, ..StreamsHeartbeatAnswer::default() })
    }

    pub(super) fn go_on(&mut self, request: &StreamsHeartbeat) -> Result<StreamsHeartbeatAnswer, Refusal> {
        let member = self.known(request)?;
        let told_epoch = self.state.current(&member).epoch;
        self.check_epoch(&member, request, told_epoch)?;
        if let Some(topology) = &request.topology {
            self.check_topology(request, topology)?;
        }
        let mut is_other =
            request.topology.as_ref().is_some_and(|topology| self.say_topology(&member, topology));
        if request.epoch == told_epoch {
            if let Some(running) = &request.running {
                self.acknowledge(&member, running);
            }
            let is_near_others = self.take_lags(&member, request);
            is_other = is_other || (is_near_others && self.is_dealt_otherwise());
        }
        if is_other {
            self.regroup();
        }
        self.reconcile(&member);
        self.touch(&member);
        Ok(self.answer(&member))
    }

    fn answer(&self, member: &Arc<str>) -> StreamsHeartbeatAnswer {
        let current = self.state.current(member);
        let waits = !self.state.target(member).active.is_subset(&current.tasks.active);
        let settings = self.settings;
        let heartbeat_interval_ms = if waits {
            settings.waiting_interval_ms.min(settings.heartbeat_interval_ms)
        } else {
            settings.heartbeat_interval_ms
        };
        let fences = self.state.fences.iter();
        let fences = fences.filter(|(_, tasks)| !tasks.is_disjoint(&current.tasks.active));
        StreamsHeartbeatAnswer {
            epoch: current.epoch,
            heartbeat_interval_ms,
            tasks: current.tasks.clone(),
            fence: fences.map(|(id, _)| id.to_string()).collect(),
        }
    }

    /// Members in whose place somebody joins: it has their transactional id, or without transactions the name of their process.
    fn earlier_lives(&self, request: &StreamsHeartbeat) -> Vec<Arc<str>> {
        let is_same = |metadata: &StreamsMember| match &request.transactional_id {
            None => metadata.transactional_id.is_none() && metadata.instance == request.instance,
            id => metadata.transactional_id == *id,
        };
        let same = self.state.members.iter().filter(|(_, metadata)| is_same(metadata));
        same.map(|(member, _)| Arc::clone(member)).collect()
    }

    fn check_room(&self, leaving: usize) -> Result<(), Refusal> {
        let (members, most) = (self.state.members.len() - leaving, self.settings.max_members);
        if members < most {
            return Ok(());
        }
        let text = format!(
            "application {} has {members} members, at most {most} it may have (group.streams.max.size)",
            self.id
        );
        Err(Refusal::new(ErrorCode::GroupMaxSizeReached, text))
    }

    fn known(&self, request: &StreamsHeartbeat) -> Result<Arc<str>, Refusal> {
        match self.state.members.get_key_value(request.member.as_str()) {
            Some((member, _)) => Ok(Arc::clone(member)),
            None if self.live.is_replaced(&request.member) => {
                let text = format!(
                    "another process of application {} has joined under the name of member {}: give each process a name \
                     (instance) and a state directory of its own",
                    request.group, request.member
                );
                Err(Refusal::new(ErrorCode::FencedInstanceId, text))
            }
            None => {
                let text = format!(
                    "application {} has no member {}: its session ended or it never joined; stop all tasks and join again",
                    request.group, request.member
                );
                Err(Refusal::new(ErrorCode::UnknownMemberId, text))
            }
        }
    }

    /// A member comes with an epoch that it was told.
    fn check_epoch(
        &self,
        member: &Arc<str>,
        request: &StreamsHeartbeat,
        told_epoch: i32,
    ) -> Result<(), Refusal> {
        let joined_epoch = self.state.members.get(member).map_or(0, |metadata| metadata.joined_epoch);
        if (joined_epoch..=told_epoch).contains(&request.epoch) {
            return Ok(());
        }
        let text = format!(
            "member {} of application {} came with epoch {}, it was told {joined_epoch} to {told_epoch}: stop all tasks and \
             join again under another id",
            request.member, request.group, request.epoch
        );
        Err(Refusal::new(ErrorCode::FencedMemberEpoch, text))
    }

    /// Whether a topology may take the place of the one that is there.
    fn check_topology(&self, request: &StreamsHeartbeat, said: &StreamsTopology) -> Result<(), Refusal> {
        let known = self.state.topology.as_ref();
        let is_run = |known: &&StreamsTopology| {
            self.state.members.values().any(|metadata| metadata.topology_epoch == known.epoch)
        };
        let Some(known) = known.filter(is_run) else { return Ok(()) };
        if said.epoch < known.epoch {
            let why = format!(
                "its topology is of epoch {}, others run that of epoch {} already; upgrade it, or stop them first",
                said.epoch, known.epoch
            );
            return Err(invalid(request, &why));
        }
        if said.epoch == known.epoch && said.fingerprint != known.fingerprint {
            let why = format!(
                "its topology is another than that of its group, in the same epoch {}; give the new one a higher epoch",
                said.epoch
            );
            return Err(invalid(request, &why));
        }
        Ok(())
    }

    /// Takes a topology in that was checked. True if it is not the one that was there.
    fn take_topology(&mut self, said: &StreamsTopology) -> bool {
        if self.state.topology.as_ref() == Some(said) {
            return false;
        }
        self.write(StreamsRecord::Topology(Some(said.clone())));
        true
    }

    /// The same, of a member.
    fn say_topology(&mut self, member: &Arc<str>, said: &StreamsTopology) -> bool {
        let mut is_other = self.take_topology(said);
        let metadata = self.state.members.get(member).cloned().unwrap_or_default();
        if metadata.topology_epoch != said.epoch {
            let value = Some(StreamsMember { topology_epoch: said.epoch, ..metadata });
            self.write(StreamsRecord::Member { member: Arc::clone(member), value });
            is_other = true;
        }
        is_other
    }

    /// Takes in what a member runs: what it is to give up and does not run is free, and where it runs a task, nothing of the
    /// task is left to be ended.
    fn acknowledge(&mut self, member: &Arc<str>, running: &StreamsTasks) {
        self.live.says_running(member, running.clone());
        let current = self.state.current(member);
        let begun: BTreeSet<StreamsTask> =
            current.tasks.active.intersection(&running.active).copied().collect();
        let revoking: BTreeSet<StreamsTask> =
            current.revoking.intersection(&running.active).copied().collect();
        if revoking != current.revoking {
            let value = Some(StreamsCurrent { revoking, ..current.clone() });
            self.write(StreamsRecord::Current { member: Arc::clone(member), value });
        }
        self.end_fences(&begun);
    }

    /// These tasks need nothing to be ended any more.
    pub(super) fn end_fences(&mut self, of: &BTreeSet<StreamsTask>) {
        let fences = self.state.fences.iter().filter(|(_, tasks)| !tasks.is_disjoint(of));
        let fewer: Vec<_> =
            fences.map(|(id, tasks)| (Arc::clone(id), tasks.difference(of).copied().collect())).collect();
        for (id, tasks) in fewer {
            let tasks = Some(tasks).filter(|tasks: &BTreeSet<StreamsTask>| !tasks.is_empty());
            self.write(StreamsRecord::Fence { id, tasks });
        }
    }
}
