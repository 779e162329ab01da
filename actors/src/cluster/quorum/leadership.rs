//! Stands for election, says who leads, and lets go of a leadership that no majority confirms.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::raft::VoteRequest;
use openraft::{CommittedLeaderId, ServerState};
use tokio::time::Instant;
use uuid::Uuid;

use super::prevote::{Effect, Input, Standing};
use super::storage::lock;
use super::types::{LogId, Metrics, Vote, VoterId};
use super::wire::{Reply, Request};
use super::{Shared, came};
use crate::events::{QuorumFailed, QuorumLeaderChanged, QuorumLeaderSlow};
use crate::ids::NodeId;

/// How often the log is looked after.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// A leader whose write takes longer does not hold on to its leadership.
const STUCK: Duration = Duration::from_secs(1);

impl Shared {
    /// Until when a majority keeps this leadership; `None` for who does not lead or was never confirmed.
    pub(super) fn lease_until(&self, now: Instant) -> Option<Instant> {
        let metrics = self.metrics.borrow();
        let confirmed = self.confirmed_at(&metrics, now)?;
        self.check_running().ok()?;
        Some(confirmed + self.settings.timings.lease())
    }

    /// When a majority last confirmed this leadership.
    fn confirmed_at(&self, metrics: &Metrics, now: Instant) -> Option<Instant> {
        if metrics.state != ServerState::Leader {
            return None;
        }
        self.network.majority_at(
            metrics.membership_config.membership().get_joint_config(),
            &metrics.vote,
            now,
        )
    }

    /// Feeds the pre-vote.
    pub(super) fn step(&self, input: Input) -> Option<Effect> {
        let now = self.world.clock.now();
        let leading = self.lease_until(now).is_some_and(|until| now < until);
        let metrics = self.metrics.borrow();
        let voters: &[BTreeSet<VoterId>] = metrics.membership_config.membership().get_joint_config();
        let standing = Standing { leading, voters, last_log: self.log.last_log_id() };
        lock(&self.prevote).step(now, &standing, input)
    }

    /// A leader spoke and was accepted.
    pub(super) fn heard(&self) {
        self.step(Input::Heard);
        self.wake.notify_one();
    }
}

/// Runs until the quorum is stopped: pre-votes, elections, and who leads.
pub(super) async fn lead(shared: Arc<Shared>) {
    let mut stop = shared.stop.subscribe();
    let mut failure = shared.latch.subscribe();
    let mut metrics = shared.metrics.clone();
    let mut term = Term::default();
    if is_single(&shared) {
        let _asked = shared.raft.trigger().elect().await;
    }
    loop {
        let now = shared.world.clock.now();
        perform(&shared, shared.step(Input::Tick));
        let next = look(&shared, &mut term, now).min(shared.prevote(|prevote| prevote.wake_at()));
        tokio::select! {
            biased;
            () = came(&mut stop, |stop| *stop) => return,
            () = came(&mut failure, Option::is_some) => {
                fail(&shared).await;
                return;
            }
            changed = metrics.changed() => {
                if changed.is_err() || metrics.borrow_and_update().running_state.is_err() {
                    shared.leader.send_if_modified(|leader| leader.take().is_some());
                    return;
                }
            }
            () = shared.wake.notified() => {}
            () = tokio::time::sleep_until(next) => {}
        }
    }
}

/// The leadership of this node, if it has one.
#[derive(Debug, Default)]
struct Term {
    /// The vote that made it leader, and since when.
    won: Option<(Vote, Instant)>,
    /// When it was last let go because this node does not vote any more. Not heeded within a lease of its election.
    resigned: Option<Instant>,
}

/// Says who leads, lets go of a lost leadership; returns when to look again.
fn look(shared: &Arc<Shared>, term: &mut Term, now: Instant) -> Instant {
    let timings = &shared.settings.timings;
    let (state, vote, confirmed, caught_up, named) = {
        let metrics = shared.metrics.borrow();
        let own = metrics.last_applied.is_some_and(|applied| applied.leader_id == metrics.vote.leader_id);
        (metrics.state, metrics.vote, shared.confirmed_at(&metrics, now), own, metrics.current_leader)
    };
    let idle = now + KEEP_EVERY;
    if state != ServerState::Leader {
        *term = Term::default();
        let heard_until = shared.prevote(|prevote| prevote.heard()).map(|at| at + timings.silent());
        let heard = heard_until.is_some_and(|until| now < until);
        tell(shared, named.map(|id| id.node).filter(|node| heard && *node != shared.me.node));
        return heard_until.filter(|until| now < *until).unwrap_or(idle);
    }
    let since = match term.won {
        Some((won, since)) if won == vote => since,
        _ => {
            term.won = Some((vote, now));
            now
        }
    };
    if is_outvoted(&shared.metrics.borrow(), shared.me)
        && term.resigned.is_none_or(|at| at + timings.lease() <= now)
    {
        term.resigned = Some(now);
        tokio::spawn(let_go(shared.clone(), vote));
    }
    let lease_until = confirmed.map(|at| at + timings.lease()).filter(|until| now < *until);
    tell(shared, lease_until.filter(|_| caught_up).map(|_| shared.me.node));
    if let Some(until) = lease_until {
        return until;
    }
    let let_go_at = confirmed.map_or(since, |at| at.max(since)) + 2 * timings.lease();
    if now < let_go_at {
        return let_go_at;
    }
    term.won = Some((vote, now));
    tokio::spawn(let_go(shared.clone(), vote));
    now + 2 * timings.lease()
}

/// Whether the membership without this leader among its voters is committed: openraft's leader would stay.
fn is_outvoted(metrics: &Metrics, me: VoterId) -> bool {
    let membership = &metrics.membership_config;
    membership.membership().voter_ids().all(|id| id != me) && metrics.last_applied >= *membership.log_id()
}

/// Ends a leadership that no majority confirms, or is to confirm: openraft's leader would go on for ever, and while its heartbeats reach
/// others whose answers do not reach it, nobody else would be elected. It is shown a vote of its own term for nobody,
/// which is greater than its own and less than any other's.
async fn let_go(shared: Arc<Shared>, vote: Vote) {
    let nobody = VoterId { node: shared.me.node, directory: Uuid::max() };
    let term = vote.leader_id.term;
    let last_log_id = LogId::new(CommittedLeaderId::new(term, nobody), u64::MAX);
    let _answer = shared.raft.vote(VoteRequest::new(Vote::new(term, nobody), Some(last_log_id))).await;
}

fn tell(shared: &Shared, leader: Option<NodeId>) {
    if shared.check_running().is_err() {
        return;
    }
    let changed = shared.leader.send_if_modified(|present| {
        let changed = *present != leader;
        *present = leader;
        changed
    });
    if changed {
        let term = shared.metrics.borrow().current_term;
        shared.events.emit(QuorumLeaderChanged { leader, term });
    }
}

/// Carries out what the pre-vote wants.
fn perform(shared: &Arc<Shared>, effect: Option<Effect>) {
    match effect {
        Some(Effect::Ask { round, voters }) => {
            for voter in voters {
                tokio::spawn(ask(shared.clone(), round, voter));
            }
        }
        Some(Effect::Elect) => {
            shared.voted(Vote::new(shared.metrics.borrow().current_term + 1, shared.me));
            let shared = shared.clone();
            tokio::spawn(async move {
                let _asked = shared.raft.trigger().elect().await;
            });
        }
        Some(Effect::Answer(_)) | None => {}
    }
}

async fn ask(shared: Arc<Shared>, round: u64, voter: VoterId) {
    let deadline = shared.settings.timings.ask();
    let asked = shared.network.ask(voter, Request::PreVote(shared.log.last_log_id()), deadline);
    let yes = match tokio::time::timeout(deadline, asked).await {
        Ok(Ok(Reply::PreVote(yes))) => Some(yes),
        _ => None,
    };
    if shared.check_running().is_ok() {
        perform(&shared, shared.step(Input::Answered { round, by: voter, yes }));
        shared.wake.notify_one();
    }
}

/// Runs until the quorum is stopped: while this node leads, it says so to the other voters beside openraft, whose heartbeats
/// wait for every sync of the log. One write that takes too long ends it, or many that take long, so that another can lead.
pub(super) async fn stay(shared: Arc<Shared>) {
    let mut stop = shared.stop.subscribe();
    let every = Duration::from_millis(shared.settings.timings.heartbeat_ms * 3 / 2);
    loop {
        tokio::select! {
            biased;
            () = came(&mut stop, |stop| *stop) => return,
            () = tokio::time::sleep(every) => {}
        }
        let stuck = shared.log.writing_since().is_some_and(|since| since.elapsed() > STUCK);
        let (leads, vote, voters) = {
            let metrics = shared.metrics.borrow();
            let voters: BTreeSet<VoterId> = metrics.membership_config.membership().voter_ids().collect();
            (metrics.state == ServerState::Leader, metrics.vote, voters)
        };
        if leads {
            make_way(&shared, vote);
        }
        if leads && !stuck && voters.contains(&shared.me) && shared.check_running().is_ok() {
            for voter in voters.into_iter().filter(|voter| *voter != shared.me) {
                let network = shared.network.clone();
                tokio::spawn(async move { network.say_alive(voter, vote, every).await });
            }
        }
    }
}

/// Lets go of a leadership whose disk is much slower than the others'. Its openraft may be told of that only after many slow
/// writes; so nobody hears of it from now on, and the lease runs out.
fn make_way(shared: &Arc<Shared>, vote: Vote) {
    let now = shared.world.clock.now();
    let usual = {
        let metrics = shared.metrics.borrow();
        let sets = metrics.membership_config.membership().get_joint_config();
        let lease = shared.settings.timings.lease();
        let heard = now.checked_sub(lease).map(|since| shared.network.led_since(since, &vote));
        lock(&shared.pace).lets_go(now, shared.me, vote, sets, &heard.unwrap_or_default())
    };
    let Some(usual) = usual else { return };
    shared.events.emit(QuorumLeaderSlow { usual, term: vote.leader_id.term });
    shared.step(Input::LetGo);
    tokio::spawn(let_go(shared.clone(), vote));
}

fn is_single(shared: &Shared) -> bool {
    let metrics = shared.metrics.borrow();
    let mut voters = metrics.membership_config.membership().voter_ids();
    voters.next() == Some(shared.me) && voters.next().is_none()
}

/// The directory has failed: this voter is silent until the process ends.
async fn fail(shared: &Arc<Shared>) {
    let error = shared.latch.failed().unwrap_or_default();
    shared.halt();
    shared.events.emit(QuorumFailed { error: &error });
    shared.measures.failed();
    let _ended = shared.raft.shutdown().await;
}

/// Runs until the quorum is stopped: writes down what is committed, and has snapshots taken of a log that is large.
pub(super) async fn keep(shared: Arc<Shared>) {
    let mut stop = shared.stop.subscribe();
    loop {
        tokio::select! {
            biased;
            () = came(&mut stop, |stop| *stop) => return,
            () = tokio::time::sleep(KEEP_EVERY) => {}
        }
        // Its failure is latched.
        let _marked = shared.log.mark_committed().await;
        let bytes = shared.log.size_bytes();
        let (term, applied, snapshot, purged) = {
            let metrics = shared.metrics.borrow();
            (metrics.current_term, metrics.last_applied, metrics.snapshot, metrics.purged)
        };
        let index = |id: Option<LogId>| id.map_or(0, |id| id.index);
        shared.measures.look(term, bytes, index(applied));
        if bytes > shared.settings.limits.snapshot_bytes {
            if index(snapshot) > index(purged) {
                let _asked = shared.raft.trigger().purge_log(index(snapshot)).await;
            } else if index(applied) > index(snapshot) {
                let _asked = shared.raft.trigger().snapshot().await;
            }
        }
    }
}
