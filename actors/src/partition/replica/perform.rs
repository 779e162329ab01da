//! Performs what the state decides. Decides nothing.

use super::super::following::FollowerLog;
use super::super::state::{Effect, Failure, Input, LogFacts, ResignReason};
use super::Replica;
use crate::error::Refusal;
use crate::events::InvariantBroken;
use crate::events::partition::{DamageFound, EpochOpened, Resigned, SteppedDown, Truncated, WentOffline};
use crate::ids::Offset;
use crate::image::assignment::Assignment;
use crate::invariant::{Broken, Consequence};
use crate::kinds::REPLICA;
use crate::log::LogError;
use crate::supervision::roster::Entry;
use crate::topic_config::FlushPolicy;

impl Replica {
    pub(super) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Opened(epoch, start) => {
                self.feeds.clear();
                self.trims.forget_followers();
                self.upkeep.confirmed = false;
                if let Err(error) = self.log.begin_epoch(epoch) {
                    return self.log_failed(&error);
                }
                // What earlier leaders have promised is on this disk: they waited for it.
                self.step(Input::Promised(epoch, self.trims.kept()));
                let (topic, partition) = (self.topic.as_ref(), self.partition);
                self.shared.events.emit(EpochOpened { topic, partition, epoch, start });
            }
            Effect::SteppedDown(epoch) => {
                let (topic, partition) = (self.topic.as_ref(), self.partition);
                self.shared.events.emit(SteppedDown { topic, partition, epoch });
                self.refuse_waiting(&self.check_leads(None).err().unwrap_or_else(|| self.not_leader()));
            }
            Effect::HighWatermark(_) => self.high_watermark_moved(),
            Effect::Sync => self.request_sync(),
            Effect::Propose(change) => self.shared.warden.propose(self.partition, change),
            Effect::AnswerLeave(_, gone) => self.left_set = gone,
            Effect::Open { leader, epoch, log } => {
                self.links.open(leader, self.partition, self.me, epoch, follower_log(log));
            }
            Effect::Leave { leader, epoch } => self.links.leave(leader, self.partition, self.me, epoch),
            Effect::Close => {
                self.links.close(self.partition);
                self.refuse_nearby();
            }
            Effect::Report(epoch, durable_end) => {
                self.links.report(self.partition, epoch, self.ends(durable_end));
            }
            Effect::Truncate(to) => self.cut(to, false),
            Effect::Reset(to) => self.cut(to, true),
            Effect::AdvanceStart(to) => {
                if let Err(error) = self.log.advance_start(to) {
                    return self.log_failed(&error);
                }
                self.step(Input::LogChanged(self.facts()));
            }
            Effect::Resign { epoch, reason } => {
                let (partition, text) = (self.partition, describe(&reason));
                self.shared.events.emit(Resigned { partition, epoch, reason: label(&reason), text: &text });
                self.shared.warden.resign(partition, epoch, reason);
            }
            Effect::Broken(broken) => self.tell_broken(&broken),
            Effect::Offline(failure) => {
                let (topic, partition, reason) = (self.topic.as_ref(), self.partition, failure.to_string());
                self.shared.events.emit(WentOffline { topic, partition, reason: &reason });
                self.refuse_waiting(&self.check_leads(None).err().unwrap_or_else(|| self.not_leader()));
            }
        }
    }

    fn tell_broken(&self, broken: &Broken) {
        let found = format!("{}: {}", self.partition, broken.found);
        self.shared.events.emit(InvariantBroken { invariant: broken.invariant, found: &found });
    }

    /// A promise was found broken where the state does not see it.
    pub(super) fn broke(&mut self, broken: &Broken) {
        self.tell_broken(broken);
        match broken.invariant.consequence() {
            Consequence::Resign => self.step(Input::Failed(Failure::Invariant)),
            Consequence::Count => {}
        }
    }

    /// The image says something of this partition.
    pub(super) fn assigned(&mut self, assignment: Assignment) {
        self.topic = assignment.topic.clone();
        if self.seat.is_none() {
            let name = format!("{}-{}", self.topic, self.partition.index);
            self.seat = Some(self.shared.events.seat(Entry::new(REPLICA, name)));
        }
        if let Some(found) = self.untold.take() {
            self.tell_damage(self.log.end(), &found.to_string());
        }
        let policy = assignment.config.flush_policy;
        if self.state.assignment().is_none_or(|known| known.config != assignment.config) {
            self.log.reconfigure(&assignment.config);
            self.upkeep.configured();
        }
        let tightened = self.policy == FlushPolicy::Os && policy == FlushPolicy::Sync;
        if std::mem::replace(&mut self.policy, policy) != policy {
            // A topic changed to `sync` counts nothing as durable that was not synced: whole files are, before the
            // first acknowledgement (rule 5).
            self.step(Input::LogChanged(self.facts()));
            if tightened {
                self.request_sync();
            }
        }
        if self.log.in_doubt() && assignment.in_sync.contains(&self.me) {
            // Elected as it is, or let in again by a leader: nobody named it in this life before.
            self.log.settle_doubt();
        }
        self.step(Input::Assigned(assignment));
    }

    /// Cuts the log to what it shares with the leader's, and the producers with it.
    fn cut(&mut self, to: Offset, whole: bool) {
        let (from, high_watermark) = (self.log.end(), self.state.high_watermark().value());
        self.upkeep.cuts += 1;
        let cut = if whole { self.log.reset_to(to) } else { self.log.truncate_to(to).map(drop) };
        if let Err(error) = cut {
            self.log_failed(&error);
            // Where it failed for want of space, say, it is asked for and tried again after a pause.
            return self.step(Input::Interrupted(self.state.epoch()));
        }
        self.trims.restart(self.log.start());
        let (topic, partition) = (self.topic.as_ref(), self.partition);
        self.shared.events.emit(Truncated { topic, partition, from, to, high_watermark });
        self.rebuild_producers();
        self.step(Input::LogChanged(self.facts()));
    }

    pub(super) fn damage_found(&mut self, from: Offset, found: &str) {
        if self.state.damaged_from().is_none_or(|known| from < known) {
            self.tell_damage(from, found);
        }
        self.step(Input::Damaged(from));
    }

    fn tell_damage(&self, from: Offset, found: &str) {
        let (topic, partition) = (self.topic.as_ref(), self.partition);
        self.shared.events.emit(DamageFound { topic, partition, from, found });
    }

    fn high_watermark_moved(&mut self) {
        let (now, mark) = (self.now(), self.state.high_watermark().value());
        self.uncommitted.committed(mark, now, &self.shared.series.commit_seconds);
        self.upkeep.high_watermark_moved(now);
        self.wake_fetches();
        self.wake_feeds();
    }

    /// Everybody who waits for this leader is told that it is none.
    pub(super) fn refuse_waiting(&mut self, refusal: &Refusal) {
        self.gathered.refuse_all(refusal);
        self.unlooked.refuse_all(refusal);
        self.unverified.refuse_all(refusal);
        self.uncommitted.forget();
        self.acks.refuse_all(refusal);
        self.trims.refuse_all(refusal);
        for parked in self.deliveries.take_all() {
            parked.place.refuse(refusal.clone());
        }
        // A feeder that is woken now finds that the epoch is over.
        self.wake_feeds();
        self.feeds.clear();
    }

    pub(super) fn request_sync(&mut self) {
        let inbox = self.inbox.clone();
        self.upkeep.sync_requested();
        self.log.sync(Box::new(move |result| inbox.synced(result.map(drop))));
    }

    pub(super) fn synced(&mut self, result: Result<(), LogError>) {
        match result {
            Ok(()) if self.policy == FlushPolicy::Sync => self.step(Input::Durable(self.log.durable_end())),
            Ok(()) => {}
            Err(_) => self.step(Input::Failed(Failure::Directory)),
        }
    }
}

fn follower_log(log: LogFacts) -> FollowerLog {
    FollowerLog { end: log.end, durable_end: log.durable_end, last_epoch: log.last_epoch }
}

fn label(reason: &ResignReason) -> &'static str {
    match reason {
        ResignReason::NotOpened => "begun_anew",
        ResignReason::SyncLag(_) => "sync_lag",
        ResignReason::Damaged(_) => "damaged",
        ResignReason::Failed(_) => "failed",
    }
}

fn describe(reason: &ResignReason) -> String {
    match reason {
        ResignReason::NotOpened => "the replica was begun anew since it was elected".to_owned(),
        ResignReason::SyncLag(lag) => {
            format!("its disk is {} ms behind those of its followers", lag.as_millis())
        }
        ResignReason::Damaged(from) => format!("its log is damaged from offset {from} on"),
        ResignReason::Failed(failure) => failure.to_string(),
    }
}
