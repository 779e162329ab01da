//! The consumer's requests: look up where to begin, and fetch. Each ends with a result that says for which generation
//! of a partition it was asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::event::Fetched;
use super::settings::{ConsumerSettings, IsolationLevel, OffsetReset};
use super::state::SeekTo;
use crate::client::{Asks, Client, ClientError, Coordinator, LinkError, Target, TopicPartition, View};
use crate::error::{ErrorCode, Refusal};
use crate::group::message::transactional::StableOffsetFetch;
use crate::ids::{NodeId, Offset, PartitionId};
use crate::partition::committed::committed_batches;
use crate::partition::message::transactional::FetchStable;
use crate::partition::message::{self, Fetch, FetchAnswer, FetchPart, ListOffsets, OffsetSpec};

/// The pause before something that failed is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// What became of one partition.
#[derive(Debug)]
pub(super) enum Done {
    /// Its offset is known.
    Found(Offset),
    /// It has to be looked up in this way.
    LookUp(SeekTo),
    /// Records, or none.
    Fetched(Fetched),
    /// Nothing; try again.
    Again,
    /// Nothing, and it will not get better by itself.
    Failed(ClientError),
}

/// Results, each for one generation of one partition.
pub(super) type Results = Vec<(PartitionId, u64, Done)>;

/// What requests are made with.
#[derive(Clone, Debug)]
pub(super) struct Fetcher {
    pub(super) client: Client,
    pub(super) settings: Arc<ConsumerSettings>,
    pub(super) coordinator: Option<Arc<Coordinator>>,
}

/// One partition in a fetch.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) partition: PartitionId,
    pub(super) name: TopicPartition,
    pub(super) generation: u64,
    pub(super) offset: Offset,
}

impl Fetcher {
    /// Looks up where to begin: what is committed for some, offsets by kind for others.
    pub(super) async fn look_up(self, due: Vec<(PartitionId, u64, SeekTo)>) -> Results {
        let (committed, listed): (Vec<_>, Vec<_>) =
            due.into_iter().partition(|(_, _, seek)| *seek == SeekTo::Committed);
        let mut results = self.look_up_committed(&committed).await;
        results.extend(self.list(&listed).await);
        if results.iter().any(|(_, _, done)| matches!(done, Done::Again)) {
            tokio::time::sleep(PAUSE).await;
        }
        results
    }

    async fn look_up_committed(&self, due: &[(PartitionId, u64, SeekTo)]) -> Results {
        let reset = || reset_to(self.settings.offset_reset);
        let (Some(coordinator), Some(group), false) =
            (&self.coordinator, &self.settings.group, due.is_empty())
        else {
            return due.iter().map(|(partition, generation, _)| (*partition, *generation, reset())).collect();
        };
        let partitions = due.iter().map(|(partition, ..)| *partition).collect();
        let ask = StableOffsetFetch { group: group.clone(), partitions };
        let found = match coordinator.ask_once(ask, self.client.settings.request_timeout).await {
            Ok(found) => found.into_iter().collect::<BTreeMap<_, _>>(),
            Err(error) => {
                let done = || if error.is_retriable() { Done::Again } else { Done::Failed(error.clone()) };
                return due
                    .iter()
                    .map(|(partition, generation, _)| (*partition, *generation, done()))
                    .collect();
            }
        };
        let result = |partition| match found.get(partition) {
            Some(Ok(committed)) => Done::Found(committed.offset),
            Some(Err(refusal)) if refusal.code.is_retriable() => Done::Again,
            Some(Err(refusal)) => Done::Failed(refusal.clone().into()),
            None => reset(),
        };
        due.iter().map(|(partition, generation, _)| (*partition, *generation, result(partition))).collect()
    }

    async fn list(&self, due: &[(PartitionId, u64, SeekTo)]) -> Results {
        let view = self.client.metadata.view();
        let mut results = Results::new();
        let mut by_node: BTreeMap<NodeId, Vec<(PartitionId, u64, SeekTo)>> = BTreeMap::new();
        for (partition, generation, seek) in due {
            match view.leader(*partition) {
                Some((node, _)) => by_node.entry(node).or_default().push((*partition, *generation, *seek)),
                None => results.push((*partition, *generation, self.leaderless(&view, *partition))),
            }
        }
        for (node, due) in by_node {
            results.extend(self.list_from(node, due).await);
        }
        results
    }

    async fn list_from(&self, node: NodeId, due: Vec<(PartitionId, u64, SeekTo)>) -> Results {
        let parts = due
            .iter()
            .map(|(partition, _, seek)| (*partition, spec(*seek, self.settings.isolation)))
            .collect();
        let deadline = self.client.settings.request_timeout;
        let asking = Asks::<ListOffsets>::ask(
            &*self.client.link,
            &Target::Node(node),
            ListOffsets { parts },
            deadline,
        );
        let answer: BTreeMap<_, _> = match asking.await {
            Ok(answer) => answer.parts.into_iter().collect(),
            Err(error) => {
                return self.unanswered(&error, due.into_iter().map(|(id, generation, _)| (id, generation)));
            }
        };
        let mut results = Results::new();
        for (partition, generation, seek) in due {
            let done = match answer.get(&partition) {
                Some(Ok(listed)) => match listed.offset {
                    Some(offset) => Done::Found(offset),
                    // No record is that late: go on behind the last one.
                    None if seek != SeekTo::End => Done::LookUp(SeekTo::End),
                    None => Done::Again,
                },
                Some(Err(refusal)) => self.refused(refusal.clone()),
                None => Done::Again,
            };
            results.push((partition, generation, done));
        }
        results
    }

    /// Fetches from one leader.
    pub(super) async fn fetch(self, node: NodeId, wanted: Vec<Wanted>) -> Results {
        let view = self.client.metadata.view();
        let settings = &self.settings;
        let part = |wanted: &Wanted| FetchPart {
            partition: wanted.partition,
            leader_epoch: view.leader(wanted.partition).map(|(_, epoch)| epoch),
            last_fetched_epoch: None,
            offset: wanted.offset,
            max_bytes: settings.partition_fetch_bytes,
            stable_only: false,
            nearby: Default::default(),
        };
        let message = Fetch {
            max_wait_ms: u32::try_from(settings.fetch_max_wait.as_millis()).unwrap_or(u32::MAX),
            min_bytes: settings.fetch_min_bytes,
            max_bytes: settings.fetch_max_bytes,
            parts: wanted.iter().map(part).collect(),
        };
        let mut answer: BTreeMap<_, _> = match self.ask(node, message).await {
            Ok(answer) => answer.parts.into_iter().collect(),
            Err(error) => {
                let results = wanted.iter().map(|wanted| (wanted.partition, wanted.generation));
                let results = self.unanswered(&error, results);
                tokio::time::sleep(PAUSE).await;
                return results;
            }
        };
        let mut results = Results::new();
        let mut pauses = false;
        for wanted in wanted {
            let done = match answer.remove(&wanted.partition) {
                Some(Ok(fetched)) => take_batches(&wanted, &fetched, settings.check_crcs),
                Some(Err(refusal)) if refusal.code == ErrorCode::OffsetOutOfRange => {
                    let (partition, reset) = (&wanted.name, settings.offset_reset);
                    tracing::warn!(%partition, %refusal, ?reset, "what was to be read next is not there any more");
                    reset_to(reset)
                }
                Some(Err(refusal)) => self.refused(refusal),
                None => Done::Again,
            };
            pauses |= matches!(done, Done::Again);
            results.push((wanted.partition, wanted.generation, done));
        }
        if pauses {
            tokio::time::sleep(PAUSE).await;
        }
        results
    }

    async fn ask(&self, node: NodeId, message: Fetch) -> Result<FetchAnswer, LinkError> {
        let deadline = self.settings.fetch_max_wait + self.client.settings.request_timeout;
        let (link, target) = (&*self.client.link, Target::Node(node));
        match self.settings.isolation {
            IsolationLevel::ReadUncommitted => Asks::<Fetch>::ask(link, &target, message, deadline).await,
            IsolationLevel::ReadCommitted => {
                let asking = Asks::<FetchStable>::ask(link, &target, FetchStable(message), deadline);
                asking.await.map(FetchAnswer::from)
            }
        }
    }

    fn unanswered(&self, error: &LinkError, due: impl Iterator<Item = (PartitionId, u64)>) -> Results {
        self.client.metadata.refresh();
        let done = || match error {
            LinkError::Refused(_) => Done::Failed(error.clone().into()),
            LinkError::NotSent(_) | LinkError::NoAnswer(_) => Done::Again,
        };
        due.map(|(partition, generation)| (partition, generation, done())).collect()
    }

    fn refused(&self, refusal: Refusal) -> Done {
        if refusal.code.is_retriable() {
            self.client.metadata.refresh();
            return Done::Again;
        }
        Done::Failed(refusal.into())
    }

    /// Nobody leads the partition, or it is not there: a new view tells.
    fn leaderless(&self, view: &View, partition: PartitionId) -> Done {
        if view.partition(partition).is_none() {
            self.client.metadata.refresh();
        }
        Done::Again
    }
}

fn reset_to(reset: OffsetReset) -> Done {
    match reset {
        OffsetReset::Earliest => Done::LookUp(SeekTo::Beginning),
        OffsetReset::Latest => Done::LookUp(SeekTo::End),
        OffsetReset::None => Done::Failed(
            Refusal::new(
                ErrorCode::OffsetOutOfRange,
                "no offset is committed, or the one wanted is not there any more, and auto.offset.reset is none: \
                 seek to an offset",
            )
            .into(),
        ),
    }
}

fn spec(seek: SeekTo, isolation: IsolationLevel) -> OffsetSpec {
    match (seek, isolation) {
        (SeekTo::Beginning, _) => OffsetSpec::Earliest,
        (SeekTo::Timestamp(ms), IsolationLevel::ReadUncommitted) => OffsetSpec::Timestamp(ms),
        (SeekTo::Timestamp(ms), IsolationLevel::ReadCommitted) => OffsetSpec::StableTimestamp(ms),
        // An offset and a committed one are never listed.
        (SeekTo::End | SeekTo::Offset(_) | SeekTo::Committed, IsolationLevel::ReadUncommitted) => {
            OffsetSpec::Latest
        }
        (SeekTo::End | SeekTo::Offset(_) | SeekTo::Committed, IsolationLevel::ReadCommitted) => {
            OffsetSpec::LastStable
        }
    }
}

fn take_batches(wanted: &Wanted, fetched: &message::Fetched, check: bool) -> Done {
    match committed_batches(fetched, wanted.offset, check) {
        Ok((batches, next)) => Done::Fetched(Fetched {
            topic_id: wanted.partition.topic,
            partition: wanted.name.clone(),
            high_watermark: fetched.high_watermark,
            batches,
            from: wanted.offset,
            next,
        }),
        Err((error, next)) => {
            let text = format!("{} from offset {}: {error}; fetch it again", wanted.name, next);
            Done::Failed(Refusal::new(ErrorCode::CorruptMessage, text).into())
        }
    }
}
