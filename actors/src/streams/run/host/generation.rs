//! Generations: each begins from the last commit, and ends where something fails.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use ractor::RpcReplyPort;
use tokio::time::Instant;

use super::super::super::task::TaskId;
use super::super::assembly::Workers;
use super::super::ground::Ground;
use super::super::identity::Identity;
use super::super::member::{Member, topology_of};
use super::super::standby::Standby;
use super::super::stores::{Kept, find_all};
use super::super::{StreamsError, StreamsState};
use super::tasks::end;
use super::{HostMessage, Hosting};
use crate::events::{StreamsBeginAgain, StreamsBegunAgain};
use crate::group::message::streams::StreamsTopology;

/// The pause before the first new beginning after a failure; it doubles up to [`AGAIN_MOST`].
const AGAIN: Duration = Duration::from_millis(100);
const AGAIN_MOST: Duration = Duration::from_secs(10);

/// The pause after so many failures in a row.
pub(super) fn pause_after(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        failures => AGAIN.saturating_mul(1 << (failures - 1).min(10)).min(AGAIN_MOST),
    }
}

impl Hosting {
    /// Finds out who the process is.
    pub(super) fn identify(&self) {
        let (application, myself, pause) = (Arc::clone(&self.application), self.myself.clone(), self.pause());
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            let (client, name) = (&application.client, application.topology.application());
            let taken = Identity::take(client, name, &application.settings).await;
            let _ended = myself.cast(HostMessage::Identified(taken.map(Arc::new)));
        });
    }

    pub(super) const fn is_ending(&self) -> bool {
        self.endings > 0
    }

    /// The next generation, once nothing of the one before is left.
    pub(super) fn next_generation(&mut self) {
        if self.is_ending() || self.is_laying || self.tasks.are_beginning() {
            return;
        }
        if self.is_to_end() {
            return self.leave();
        }
        let Some(identity) = self.identity.clone() else { return self.identify() };
        self.generation += 1;
        self.is_laying = true;
        let (application, myself, generation) =
            (Arc::clone(&self.application), self.myself.clone(), self.generation);
        let (feeding, pause) = (self.feeding.clone(), self.pause());
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            let ground = Ground::lay(&application, &identity, feeding, &myself, generation).await;
            let _ended = myself.cast(HostMessage::Grounded { generation, result: Box::new(ground) });
        });
    }

    fn pause(&self) -> Duration {
        pause_after(self.failures)
    }

    pub(super) fn grounded(&mut self, ground: Ground) {
        if self.is_to_end() {
            return self.leave();
        }
        let ground = Arc::new(ground);
        match &self.member {
            None => self.find_state(&ground),
            Some(member) => {
                member.has_topology(self.topology(&ground));
                if std::mem::take(&mut self.is_out) {
                    member.join_again();
                }
            }
        }
        self.feeding = Some(Arc::clone(&ground.feeding));
        self.ground = Some(ground);
        self.looked = Instant::now();
        self.tick_later();
        self.reconcile();
    }

    fn topology(&self, ground: &Ground) -> StreamsTopology {
        let there = (&ground.topology, &ground.counts);
        topology_of(&self.application.topology, there, &self.application.settings)
    }

    /// Looks for what an earlier life of the process has left: the group is told, so that its tasks come here again.
    fn find_state(&self, ground: &Arc<Ground>) {
        let (application, ground, myself) =
            (Arc::clone(&self.application), Arc::clone(ground), self.myself.clone());
        tokio::spawn(async move {
            let (kept, lags) = find_all(&application, &ground).await;
            let _ended = myself.cast(HostMessage::Found { generation: ground.generation, kept, lags });
        });
    }

    pub(super) fn found(&mut self, generation: u64, kept: Kept, lags: Vec<(TaskId, u64)>) {
        let Some(ground) = self.ground.clone().filter(|_| generation == self.generation) else { return };
        let (Some(identity), None) = (self.identity.clone(), &self.member) else { return };
        self.tasks.keep(kept);
        let client = &self.application.client;
        let member = Member::join(client, identity, (self.topology(&ground), lags), self.myself.clone());
        self.member = Some(member);
        self.is_out = false;
    }

    pub(super) fn tick_later(&self) {
        let (myself, generation) = (self.myself.clone(), self.generation);
        let interval = self.application.settings.commit_interval;
        tokio::spawn(async move {
            tokio::time::sleep(interval).await;
            let _ended = myself.cast(HostMessage::Tick { generation });
        });
    }

    pub(super) fn begins_again(&self, because: StreamsBeginAgain, error: &str) {
        let application = self.application.topology.application();
        self.application.client.events.emit(StreamsBegunAgain { application, because, error });
    }

    /// All begins again from the last commit, after a pause.
    pub(super) fn fail(&mut self, error: &str) {
        if self.has_given_up {
            return;
        }
        if self.closing.is_some() {
            let why = format!("closed without a last commit, what was not committed is done again: {error}");
            return self.give_up(&StreamsError::Failed(why));
        }
        self.begins_again(StreamsBeginAgain::Failure, error);
        self.failures += 1;
        if self.gives_up_after(self.failures, error) {
            return;
        }
        self.state.send_replace(StreamsState::Restarting { error: error.to_owned() });
        self.end_generation();
    }

    /// Gives up after so many failures in a row; whether it did.
    pub(super) fn gives_up_after(&mut self, failures: u32, error: &str) -> bool {
        let gives_up = failures > self.application.settings.retries_max;
        if gives_up {
            let error = StreamsError::Failed(format!("given up after {failures} failures: {error}"));
            self.give_up(&error);
        }
        gives_up
    }

    /// Takes the stores from all workers; [`HostMessage::Ended`] tells when they have ended. Nothing that was not committed
    /// counts.
    pub(super) fn end_generation(&mut self) {
        self.commit = None;
        self.ground = None;
        // What they still say counts no more.
        self.generation += 1;
        let (workers, copies) = (self.tasks.take_workers(), self.tasks.take_copies());
        self.end_all(workers, copies);
    }

    /// Ends what was put together for an earlier generation.
    pub(super) fn end_late(&mut self, workers: Workers) {
        self.end_all(workers, BTreeMap::new());
    }

    fn end_all(&mut self, workers: Workers, copies: BTreeMap<TaskId, Standby>) {
        self.endings += 1;
        let myself = self.myself.clone();
        tokio::spawn(async move {
            let mut kept = end(workers).await;
            let stopped = copies.into_iter().map(|(id, copy)| async move { Some((id, copy.stop().await?)) });
            kept.extend(join_all(stopped).await.into_iter().flatten());
            let _ended = myself.cast(HostMessage::Ended { kept });
        });
    }

    pub(super) fn ended(&mut self, kept: Kept) {
        self.tasks.keep(kept);
        self.endings = self.endings.saturating_sub(1);
        self.next_generation();
    }

    pub(super) fn close(&mut self, reply: RpcReplyPort<Result<(), StreamsError>>) {
        self.closing = Some(reply);
        // What is being put together now has done nothing yet.
        self.reconcile();
    }

    /// Nothing runs any more.
    pub(super) fn leave(&mut self) {
        if std::mem::replace(&mut self.is_leaving, true) {
            return;
        }
        // Whoever waits for the end may open what is on disk then.
        self.tasks.forget_kept();
        let Some(member) = self.member.take() else { return self.closed() };
        let myself = self.myself.clone();
        tokio::spawn(async move {
            member.leave().await;
            let _ended = myself.cast(HostMessage::Left);
        });
    }

    pub(super) fn closed(&mut self) {
        if !self.has_given_up {
            self.state.send_replace(StreamsState::Closed);
        }
        if let Some(reply) = self.closing.take() {
            // Who does not wait any more needs no answer.
            let _ = reply.send(Ok(()));
        }
        self.myself.stop(None);
    }

    /// Whether it ends, when nothing runs any more.
    pub(super) const fn is_to_end(&self) -> bool {
        self.closing.is_some() || self.has_given_up
    }

    /// Ends without a last commit, and leaves its tasks to others.
    pub(super) fn give_up(&mut self, error: &StreamsError) {
        self.has_given_up = true;
        self.state.send_replace(StreamsState::Failed { error: error.to_string() });
        if let Some(reply) = self.closing.take() {
            // Who does not wait any more needs no answer.
            let _ = reply.send(Err(error.clone()));
        }
        self.end_generation();
    }
}
