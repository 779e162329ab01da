//! openraft's network, over the wire; and what acknowledgements say about this node's leadership.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::repeat;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::error::{
    InstallSnapshotError, RPCError, RaftError, RemoteError, SnapshotMismatch, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{EntryPayload, SnapshotSegmentId};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::pace::Pace;
use super::storage::lock;
use super::types::{Entry, LogId, Seat, TypeConfig, Vote, VoterId};
use super::wire::{Question, QuorumWire, Reply, Request, Unanswered};

type Failure<E = RaftError<VoterId>> = RPCError<VoterId, Seat, E>;

/// How long openraft leaves an unreachable member alone (its own default, 500 ms, is longer than a fail-over).
const BACKOFF: Duration = Duration::from_millis(50);
/// Entries up to this size are sent again when their answer does not come in a heartbeat's time.
const SMALL_BYTES: usize = 32 << 10;

/// Questions of one member, and when the others last accepted its leadership.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    me: VoterId,
    wire: Arc<dyn QuorumWire>,
    acknowledged: Arc<Mutex<BTreeMap<VoterId, Acknowledged>>>,
    pace: Arc<Mutex<Pace>>,
}

/// The latest acknowledgement of one member, dated by the moment its request was sent.
#[derive(Clone, Copy, Debug)]
struct Acknowledged {
    vote: Vote,
    at: Instant,
}

impl Network {
    pub(crate) fn new(me: VoterId, wire: Arc<dyn QuorumWire>, pace: Arc<Mutex<Pace>>) -> Self {
        Self { me, wire, acknowledged: Arc::default(), pace }
    }

    /// An error where the leadership by this vote was let go: nobody hears of it any more, whatever openraft has still to
    /// write, so that another is elected.
    fn check_held(&self, vote: Vote) -> Result<(), Unanswered> {
        let let_go = lock(&self.pace).has_let_go(vote);
        if let_go { Err(Unanswered("this leadership was let go".into())) } else { Ok(()) }
    }

    /// Asks the member; an answer of another one is none.
    pub(crate) async fn ask(
        &self,
        to: VoterId,
        request: Request,
        deadline: Duration,
    ) -> Result<Reply, Unanswered> {
        let question = Question { from: self.me, to: Some(to), request };
        match self.wire.ask(to.node, question, deadline).await? {
            Reply::NotMe(other) => Err(Unanswered(format!("{to} is gone, {other} is there instead"))),
            Reply::Silent(why) => Err(Unanswered(why)),
            reply => Ok(reply),
        }
    }

    /// Says to a voter that this member still leads; notes it if the voter agrees.
    pub(crate) async fn say_alive(&self, to: VoterId, vote: Vote, deadline: Duration) {
        if self.check_held(vote).is_err() {
            return;
        }
        let sent = Instant::now();
        let asked = self.ask(to, Request::Alive(vote), deadline);
        if let Ok(Ok(Reply::Alive(true))) = tokio::time::timeout(deadline, asked).await {
            self.note(to, vote, sent);
        }
    }

    fn note(&self, by: VoterId, vote: Vote, at: Instant) {
        let mut acknowledged = lock(&self.acknowledged);
        let latest = acknowledged.entry(by).or_insert(Acknowledged { vote, at });
        if (latest.vote, latest.at) != (vote, at) && latest.at <= at {
            *latest = Acknowledged { vote, at };
        }
    }

    /// The members that were led by `vote` at this moment or later, for all they know.
    pub(crate) fn led_since(&self, moment: Instant, vote: &Vote) -> BTreeSet<VoterId> {
        let acknowledged = lock(&self.acknowledged);
        let led = acknowledged.iter().filter(|(_, latest)| latest.vote == *vote && latest.at >= moment);
        led.map(|(voter, _)| *voter).collect()
    }

    /// The latest moment at which a majority of each of these sets was, for all they know, led by `vote`. `now` where this
    /// member alone is a majority, `None` where no majority has ever answered.
    pub(crate) fn majority_at(
        &self,
        sets: &[BTreeSet<VoterId>],
        vote: &Vote,
        now: Instant,
    ) -> Option<Instant> {
        let acknowledged = lock(&self.acknowledged);
        let of = |voter: &VoterId| {
            let theirs =
                acknowledged.get(voter).filter(|latest| latest.vote == *vote).map(|latest| latest.at);
            if *voter == self.me { Some(now) } else { theirs }
        };
        let mut earliest = Some(now);
        for set in sets {
            let mut moments: Vec<Instant> = set.iter().filter_map(of).collect();
            moments.sort_unstable_by(|a, b| b.cmp(a));
            earliest = earliest.min(moments.get(set.len() / 2).copied());
        }
        earliest
    }
}

/// openraft's way to one member.
#[derive(Debug)]
pub(crate) struct Client {
    network: Network,
    to: VoterId,
    large: Option<Large>,
    small: Option<Small>,
}

/// Few entries that were sent, perhaps several times, and not accepted yet.
#[derive(Debug)]
struct Small {
    vote: Vote,
    previous: Option<LogId>,
    /// For the first time.
    sent: Instant,
}

/// Many bytes on their way. openraft gives up after a heartbeat's time and asks the same again; they are not sent again
/// while they are under way, or they would pile up in front of everything else.
#[derive(Debug)]
struct Large {
    vote: Vote,
    previous: Option<LogId>,
    last: Option<LogId>,
    sent: Instant,
    reply: JoinHandle<Result<Reply, Unanswered>>,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Client;

    async fn new_client(&mut self, target: VoterId, seat: &Seat) -> Client {
        self.wire.learn(target.node, &seat.address);
        Client { network: self.clone(), to: target, large: None, small: None }
    }
}

impl RaftNetwork<TypeConfig> for Client {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<VoterId>, Failure> {
        let (vote, wanted) = (request.vote, request.entries.last().map(|entry| entry.log_id));
        self.network.check_held(vote).map_err(|why| unreachable(Err(why)))?;
        let bytes = payload_bytes(&request);
        let (reply, sent, last) = if bytes <= SMALL_BYTES {
            let sent = Instant::now();
            self.begin_small(&request, sent);
            (self.network.ask(self.to, Request::Append(request), option.hard_ttl()).await, sent, wanted)
        } else {
            self.append_large(request, bytes).await
        };
        match reply {
            Ok(Reply::Append(AppendEntriesResponse::Success)) if last < wanted => {
                self.network.note(self.to, vote, sent);
                self.small = None;
                Ok(AppendEntriesResponse::PartialSuccess(last))
            }
            Ok(Reply::Append(response)) => {
                if !matches!(response, AppendEntriesResponse::HigherVote(_)) {
                    self.network.note(self.to, vote, sent);
                }
                self.end_small(matches!(response, AppendEntriesResponse::Success));
                Ok(response)
            }
            other => Err(unreachable(other)),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<VoterId>,
        option: RPCOption,
    ) -> Result<VoteResponse<VoterId>, Failure> {
        match self.network.ask(self.to, Request::Vote(request), option.hard_ttl()).await {
            Ok(Reply::Vote(response)) => Ok(response),
            other => Err(unreachable(other)),
        }
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshotRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<InstallSnapshotResponse<VoterId>, Failure<RaftError<VoterId, InstallSnapshotError>>> {
        let (sent, vote) = (Instant::now(), request.vote);
        self.network.check_held(vote).map_err(|why| unreachable(Err(why)))?;
        let got = SnapshotSegmentId { id: request.meta.snapshot_id.clone(), offset: request.offset };
        match self.network.ask(self.to, Request::Snapshot(request), option.hard_ttl()).await {
            Ok(Reply::Snapshot(response)) => {
                if response.vote <= vote {
                    self.network.note(self.to, vote, sent);
                }
                Ok(response)
            }
            Ok(Reply::SnapshotMismatch) => {
                let expect = SnapshotSegmentId { offset: 0, ..got.clone() };
                let mismatch = InstallSnapshotError::SnapshotMismatch(SnapshotMismatch { expect, got });
                Err(RemoteError::new(self.to, RaftError::APIError(mismatch)).into())
            }
            other => Err(unreachable(other)),
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(repeat(BACKOFF))
    }
}

impl Client {
    /// Notes when these entries are sent, unless they were before: openraft asks again after a heartbeat's time.
    fn begin_small(&mut self, request: &AppendEntriesRequest<TypeConfig>, now: Instant) {
        let (vote, previous) = (request.vote, request.prev_log_id);
        let same = |small: &Small| small.vote == vote && small.previous == previous;
        if !request.entries.is_empty() && !self.small.as_ref().is_some_and(same) {
            self.small = Some(Small { vote, previous, sent: now });
        }
    }

    /// They were answered.
    fn end_small(&mut self, accepted: bool) {
        let Some(small) = self.small.take().filter(|_| accepted) else { return };
        let now = Instant::now();
        let took = now.duration_since(small.sent);
        lock(&self.network.pace).took(now, self.to, small.vote, took);
    }

    /// Sends the entries, or waits for those from the same place that are under way; also says when they were sent, and
    /// where they end.
    async fn append_large(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        bytes: usize,
    ) -> (Result<Reply, Unanswered>, Instant, Option<LogId>) {
        let same = |large: &Large| large.vote == request.vote && large.previous == request.prev_log_id;
        let large = match self.large.take().filter(same) {
            Some(large) => large,
            None => {
                let (network, to) = (self.network.clone(), self.to);
                // A second, and one more for each MiB.
                let deadline = Duration::from_secs(1 + u64::try_from(bytes >> 20).unwrap_or(u64::MAX));
                let (vote, previous) = (request.vote, request.prev_log_id);
                let last = request.entries.last().map(|entry| entry.log_id);
                let asked = async move { network.ask(to, Request::Append(request), deadline).await };
                Large { vote, previous, last, sent: Instant::now(), reply: tokio::spawn(asked) }
            }
        };
        let (sent, last) = (large.sent, large.last);
        // Kept while it is waited for: openraft may drop this future at any time.
        let large = self.large.insert(large);
        let reply = (&mut large.reply).await.unwrap_or_else(|error| Err(Unanswered(error.to_string())));
        self.large = None;
        (reply, sent, last)
    }
}

fn payload_bytes(request: &AppendEntriesRequest<TypeConfig>) -> usize {
    let of = |entry: &Entry| match &entry.payload {
        EntryPayload::Normal(bytes) => bytes.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    };
    request.entries.iter().map(of).sum()
}

fn unreachable<E: std::error::Error>(reply: Result<Reply, Unanswered>) -> Failure<E> {
    let why = match reply {
        Err(why) => why,
        Ok(other) => Unanswered(format!("an answer to another question: {other:?}")),
    };
    Unreachable::new(&why).into()
}

#[cfg(test)]
mod tests {
    use futures::future::BoxFuture;

    use super::*;
    use crate::ids::NodeId;

    #[derive(Debug)]
    struct NoWire;

    impl QuorumWire for NoWire {
        fn ask(&self, _: NodeId, _: Question, _: Duration) -> BoxFuture<'static, Result<Reply, Unanswered>> {
            Box::pin(std::future::pending())
        }

        fn learn(&self, _: NodeId, _: &str) {}
    }

    #[tokio::test(start_paused = true)]
    async fn a_majority_of_every_set_has_to_acknowledge_the_vote() {
        let network = Network::new(1.into(), Arc::new(NoWire), Arc::default());
        let vote = Vote::new_committed(2, 1.into());
        let set = |ids: &[u64]| ids.iter().map(|id| VoterId::from(*id)).collect::<BTreeSet<_>>();
        let start = Instant::now();
        let later = start + Duration::from_millis(40);
        let now = start + Duration::from_millis(100);
        assert_eq!(network.majority_at(&[set(&[1])], &vote, now), Some(now));
        assert_eq!(network.majority_at(&[set(&[1, 2, 3])], &vote, now), None);
        network.note(2.into(), Vote::new_committed(1, 1.into()), start);
        assert_eq!(network.majority_at(&[set(&[1, 2, 3])], &vote, now), None);
        network.note(2.into(), vote, start);
        assert_eq!(network.majority_at(&[set(&[1, 2, 3])], &vote, now), Some(start));
        network.note(3.into(), vote, later);
        assert_eq!(network.majority_at(&[set(&[1, 2, 3])], &vote, now), Some(later));
        assert_eq!(network.majority_at(&[set(&[1, 2, 3]), set(&[1, 2])], &vote, now), Some(start));
        assert_eq!(network.majority_at(&[set(&[1, 2, 3]), set(&[2, 3, 4])], &vote, now), Some(start));
        assert_eq!(network.majority_at(&[set(&[1, 2, 3]), set(&[4, 5, 1])], &vote, now), None);
        assert_eq!(network.led_since(start, &vote), set(&[2, 3]));
        assert_eq!(network.led_since(later, &vote), set(&[3]));
        assert_eq!(network.led_since(now, &vote), set(&[]));
        assert_eq!(network.led_since(start, &Vote::new_committed(1, 1.into())), set(&[]));
    }
}
