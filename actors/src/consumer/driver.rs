//! The consumer's own task: keeps fetches and heartbeats under way, and ends with the consumer.

mod application;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use super::fetching::{Done, Fetcher, Results, Wanted};
use super::membership::{Membership, Reconciliation, Subscription};
use super::shared::Shared;
use super::state::SeekTo;
use crate::client::{ClientError, Coordinator, View};
use crate::error::ErrorCode;
use crate::group::message::GroupHeartbeatAnswer;
use crate::ids::{Offset, PartitionId};

/// The pause before a heartbeat that failed is tried again.
const HEARTBEAT_RETRY: Duration = Duration::from_millis(100);

/// The pause before a commit with an old member epoch is tried with a new one.
const STALE_RETRY: Duration = Duration::from_millis(50);

/// How long a member that leaves waits for the coordinator.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

type Work = Pin<Box<dyn Future<Output = Ended> + Send>>;

enum Ended {
    Requests(Results),
    Heartbeat(Result<GroupHeartbeatAnswer, ClientError>),
    Committed(Result<(), ClientError>),
    /// What was read of these partitions is committed, or could not be: now they may be given up.
    LetGo(BTreeSet<PartitionId>, Result<(), ClientError>),
    /// The group was told that this member leaves, or could not be told.
    Left,
}

pub(super) struct Driver {
    pub(super) shared: Arc<Shared>,
    pub(super) fetcher: Fetcher,
    pub(super) membership: Option<Membership>,
    work: FuturesUnordered<Work>,
    heartbeat_at: Instant,
    is_heartbeating: bool,
    /// Commits of this task that are under way.
    committing: usize,
    /// Another member has taken its instance's place: it is in the group no more.
    is_fenced: bool,
    /// Out of the group because the application takes no events.
    is_out: bool,
    commit_at: Option<Instant>,
    /// Assigned, and their names not known yet.
    nameless: BTreeSet<PartitionId>,
}

impl Driver {
    pub(super) fn new(shared: Arc<Shared>, fetcher: Fetcher, membership: Option<Membership>) -> Self {
        let commit_at = fetcher.settings.auto_commit.map(|interval| Instant::now() + interval);
        Self {
            shared,
            commit_at: commit_at.filter(|_| fetcher.coordinator.is_some()),
            fetcher,
            membership,
            work: FuturesUnordered::new(),
            heartbeat_at: Instant::now(),
            is_heartbeating: false,
            committing: 0,
            is_fenced: false,
            is_out: false,
            nameless: BTreeSet::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let mut views = self.fetcher.client.metadata.subscribe();
        while !self.shared.is_closed() {
            self.follow_subscription();
            self.give_up();
            self.name_assigned(&views.borrow_and_update().clone());
            self.follow_application();
            self.start_requests();
            self.start_heartbeat();
            self.start_commit();
            let wake_at = self.wake_at();
            tokio::select! {
                biased;
                () = self.shared.to_driver.notified() => {}
                Some(ended) = self.work.next(), if !self.work.is_empty() => self.ended(ended),
                changed = views.changed() => if changed.is_err() { break },
                () = tokio::time::sleep_until(wake_at) => {}
            }
        }
        self.leave().await;
        self.shared.driver_ended();
    }

    fn wake_at(&self) -> Instant {
        let far = Instant::now() + Duration::from_secs(3600);
        // While a heartbeat is under way nothing is done about it, so there is nothing to wake for.
        let overdue = self.application_overdue_at().filter(|_| !self.is_heartbeating);
        [self.heartbeat_due(), overdue, self.commit_at].into_iter().flatten().min().unwrap_or(far)
    }

    /// When the next heartbeat is due, if one is. Who has a group for its offsets alone, and assigns partitions itself, is no
    /// member.
    fn heartbeat_due(&self) -> Option<Instant> {
        let membership = self.membership.as_ref()?;
        let is_idle = membership.epoch() == 0 && membership.subscription() == &Subscription::default();
        let is_silent = self.is_heartbeating || self.is_out || self.is_fenced;
        (!is_idle && !is_silent).then_some(self.heartbeat_at)
    }

    fn follow_subscription(&mut self) {
        let Some(subscription) = self.shared.take_subscription() else { return };
        let metadata = &self.fetcher.client.metadata;
        if !subscription.pattern.is_empty() {
            metadata.want_all();
        }
        for topic in &subscription.topics {
            metadata.want(topic);
        }
        if let Some(membership) = &mut self.membership
            && membership.subscribe(subscription)
        {
            self.heartbeat_at = Instant::now();
        }
    }

    /// Gives up what the application has let go: commits it first where that is automatic.
    fn give_up(&mut self) {
        let let_go = self.shared.state().take_revoked();
        let Some(membership) = &mut self.membership else { return };
        if let_go.is_empty() {
            return;
        }
        let processed: Vec<_> =
            let_go.iter().filter_map(|(partition, offset)| Some((*partition, (*offset)?))).collect();
        if self.commit_at.is_some() && !processed.is_empty() {
            // Who reads on begins where this commit says: the partitions are given up only when it has ended.
            let partitions = let_go.into_keys().collect();
            let commit = self.commit(processed);
            return self.work.push(Box::pin(async move { Ended::LetGo(partitions, commit.await) }));
        }
        membership.gave_up(let_go.into_keys());
        self.heartbeat_at = Instant::now();
    }

    /// A commit that this task starts by itself; what is committed is not committed again.
    fn commit(
        &mut self,
        offsets: Vec<(PartitionId, Offset)>,
    ) -> impl Future<Output = Result<(), ClientError>> + Send + use<> {
        self.committing += 1;
        let (coordinator, shared) = (self.fetcher.coordinator.clone(), Arc::clone(&self.shared));
        let within = self.fetcher.client.settings.request_timeout;
        async move {
            let Some(coordinator) = coordinator else { return Ok(()) };
            let committed = commit(&coordinator, &shared, offsets.clone(), within).await;
            if committed.is_ok() {
                shared.note_committed(offsets);
            }
            committed
        }
    }

    fn name_assigned(&mut self, view: &View) {
        let mut named = Vec::new();
        self.nameless.retain(|partition| match view.name(*partition) {
            Some(name) => {
                named.push((*partition, name, SeekTo::Committed));
                false
            }
            None => true,
        });
        if !named.is_empty() {
            self.shared.state().add(named, true);
            self.shared.to_application.notify_one();
        }
    }

    fn start_requests(&mut self) {
        let settings = Arc::clone(&self.fetcher.settings);
        let partition_bytes = usize::try_from(settings.partition_fetch_bytes).unwrap_or(usize::MAX);
        let mut state = self.shared.state();
        let due = state.due(partition_bytes, settings.prefetch_bytes);
        if due.is_empty() {
            return;
        }
        let view = self.fetcher.client.metadata.view();
        let mut look_ups = Vec::new();
        let mut fetches: BTreeMap<_, Vec<Wanted>> = BTreeMap::new();
        for (partition, generation, seek) in due {
            let SeekTo::Offset(offset) = seek else {
                look_ups.push((partition, generation, seek));
                continue;
            };
            match (view.leader(partition), state.reading(partition)) {
                (Some((node, _)), Some(reading)) => {
                    let name = reading.name.clone();
                    fetches.entry(node).or_default().push(Wanted { partition, name, generation, offset });
                }
                // A new view wakes this task; until then there is nobody to ask.
                _ => state.idle(partition, generation),
            }
        }
        drop(state);
        if !look_ups.is_empty() {
            let fetcher = self.fetcher.clone();
            self.work.push(Box::pin(async move { Ended::Requests(fetcher.look_up(look_ups).await) }));
        }
        for (node, wanted) in fetches {
            let fetcher = self.fetcher.clone();
            self.work.push(Box::pin(async move { Ended::Requests(fetcher.fetch(node, wanted).await) }));
        }
    }

    fn start_heartbeat(&mut self) {
        if self.heartbeat_due().is_none_or(|at| Instant::now() < at) {
            return;
        }
        let Some(membership) = &mut self.membership else { return };
        self.is_heartbeating = true;
        let message = membership.heartbeat();
        let Some(coordinator) = self.fetcher.coordinator.clone() else { return };
        let within = membership.interval().max(Duration::from_secs(1));
        self.work
            .push(Box::pin(async move { Ended::Heartbeat(coordinator.ask_once(message, within).await) }));
    }

    fn start_commit(&mut self) {
        let (Some(at), Some(interval)) = (self.commit_at, self.fetcher.settings.auto_commit) else { return };
        if Instant::now() < at {
            return;
        }
        self.commit_at = Some(Instant::now() + interval);
        // What is under way is committed already, or with the next interval.
        if self.committing > 0 {
            return;
        }
        let processed = self.shared.processed_not_committed();
        if !processed.is_empty() {
            let commit = self.commit(processed);
            self.work.push(Box::pin(async move { Ended::Committed(commit.await) }));
        }
    }

    fn ended(&mut self, ended: Ended) {
        match ended {
            Ended::Requests(results) => self.requests_ended(results),
            Ended::Heartbeat(result) => self.heartbeat_ended(result),
            Ended::Committed(result) => self.committed(&result),
            Ended::LetGo(partitions, result) => {
                self.committed(&result);
                if let Some(membership) = &mut self.membership {
                    membership.gave_up(partitions);
                    self.heartbeat_at = Instant::now();
                }
            }
            Ended::Left => self.is_heartbeating = false,
        }
    }

    fn committed(&mut self, result: &Result<(), ClientError>) {
        self.committing -= 1;
        if let Err(error) = result {
            // Tried again with the next interval; a lost membership is told by the heartbeat.
            tracing::warn!(%error, "offsets were not committed");
        }
    }

    fn requests_ended(&self, results: Results) {
        let mut state = self.shared.state();
        let mut failed = None;
        for (partition, generation, done) in results {
            match done {
                Done::Found(offset) => state.found(partition, generation, offset),
                Done::LookUp(seek) => state.reset(partition, generation, seek),
                Done::Fetched(fetched) => state.fetched(partition, generation, fetched),
                Done::Again => state.idle(partition, generation),
                Done::Failed(error) => {
                    state.failed(partition, generation);
                    failed = Some(error);
                }
            }
        }
        drop(state);
        if let Some(error) = failed {
            self.shared.fail(error);
        }
        self.shared.to_application.notify_one();
    }

    fn heartbeat_ended(&mut self, result: Result<GroupHeartbeatAnswer, ClientError>) {
        self.is_heartbeating = false;
        let Some(membership) = &mut self.membership else { return };
        match result {
            Ok(answer) => {
                let todo = membership.answered(answer);
                let soon = if membership.is_urgent() { Duration::ZERO } else { membership.interval() };
                self.heartbeat_at = Instant::now() + soon;
                self.shared.set_epoch(membership.epoch());
                self.reconcile(todo);
            }
            Err(error) => {
                self.heartbeat_at = Instant::now() + HEARTBEAT_RETRY;
                let Some(code) = error.code() else {
                    membership.unanswered();
                    return;
                };
                let is_lost = membership.refused(code);
                if code == ErrorCode::FencedInstanceId {
                    // Another has its place and reads its partitions; it would only be fenced again.
                    membership.begin_anew();
                    self.is_fenced = true;
                    self.nameless.clear();
                    self.shared.state().lose_all(true);
                    self.shared.fail(error);
                } else if is_lost {
                    self.nameless.clear();
                    self.shared.state().lose_all(true);
                    self.shared.to_application.notify_one();
                    self.heartbeat_at = Instant::now();
                } else if !error.is_retriable() {
                    self.heartbeat_at = Instant::now() + membership.interval();
                    self.shared.fail(error);
                }
            }
        }
    }

    fn reconcile(&mut self, todo: Reconciliation) {
        if !todo.revoke.is_empty() {
            let unnamed: Vec<_> = todo.revoke.intersection(&self.nameless).copied().collect();
            self.nameless.retain(|partition| !todo.revoke.contains(partition));
            if let Some(membership) = &mut self.membership
                && membership.gave_up(unnamed)
            {
                self.heartbeat_at = Instant::now();
            }
            self.shared.state().revoke(&todo.revoke);
            self.shared.to_application.notify_one();
        }
        self.nameless.extend(todo.add);
        if !self.nameless.is_empty() {
            let view = self.fetcher.client.metadata.view();
            self.name_assigned(&view);
            if !self.nameless.is_empty() {
                self.fetcher.client.metadata.refresh();
            }
        }
    }
}

/// Commits; an error of one partition is an error of all. A member whose epoch has just moved on commits with the new
/// one, once its heartbeat has learned it. One commit at a time: what is sent again never overtakes a later one.
pub(super) async fn commit(
    coordinator: &Coordinator,
    shared: &Shared,
    offsets: Vec<(PartitionId, Offset)>,
    within: Duration,
) -> Result<(), ClientError> {
    let until = Instant::now() + within;
    if offsets.is_empty() {
        return Ok(());
    }
    let what = "waiting for an earlier commit";
    let late = |_| ClientError::TimedOut { what: what.to_owned(), within, last: None };
    let _turn = tokio::time::timeout(within, shared.commits.lock()).await.map_err(late)?;
    loop {
        let Some(message) = shared.commit_message(offsets.clone()) else { return Ok(()) };
        let left = until.saturating_duration_since(Instant::now());
        let stale = match coordinator.ask("committing offsets", message, left).await {
            Ok(results) => {
                let failed = results.into_iter().find_map(|(_, result)| result.err());
                match failed {
                    None => return Ok(()),
                    Some(refusal) => ClientError::from(refusal),
                }
            }
            Err(error) => error,
        };
        let moves_on = stale.code() == Some(ErrorCode::StaleMemberEpoch);
        if !moves_on || Instant::now() + STALE_RETRY > until {
            return Err(stale);
        }
        tokio::time::sleep(STALE_RETRY).await;
    }
}
