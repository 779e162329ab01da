//! Copies of a task's stores, kept near to their changelogs, for whoever is to run it here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::super::graph::Changelog;
use super::super::query::{Asked, QueryRefusal, StoreAnswered, View, read};
use super::super::task::TaskId;
use super::StreamsError;
use super::cancel::{Cancel, Cancelled};
use super::ground::Ground;
use super::host::Application;
use super::positions::committed;
use super::restore::Until;
use super::stores::{BringUp, Stores, StoresOf};
use super::worker::AtStore;
use crate::ids::Offset;

/// How often what is new is taken over.
const EVERY: Duration = Duration::from_millis(500);

/// Questions that may wait for one copy.
const ASKED_MAX: usize = 64;

/// The pause after a failure.
const AGAIN: Duration = Duration::from_secs(2);

/// The lag of a copy that has not come to the end of its changelogs yet.
const UNKNOWN_LAG: u64 = u64::MAX;

/// A copy.
pub(super) struct Standby {
    stops: oneshot::Sender<oneshot::Sender<Option<Stores>>>,
    lag: Arc<AtomicU64>,
    cancel: Cancel,
    asks: mpsc::Sender<(Asked, AtStore)>,
}

impl Standby {
    /// Begins with what was kept, or is on disk.
    pub(super) fn begin(
        application: Arc<Application>,
        ground: Arc<Ground>,
        id: TaskId,
        kept: Option<Stores>,
    ) -> Self {
        let (stops, stopped) = oneshot::channel();
        let lag = Arc::new(AtomicU64::new(UNKNOWN_LAG));
        let cancel = Cancel::default();
        let copying = Copying { application, ground, id, lag: Arc::clone(&lag), cancelled: cancel.sign() };
        let (asks, asked) = mpsc::channel(ASKED_MAX);
        tokio::spawn(copying.run(kept, stopped, asked));
        Self { stops, lag, cancel, asks }
    }

    /// How many records of the changelogs were missing when it was last looked.
    pub(super) fn lag(&self) -> u64 {
        self.lag.load(Ordering::Relaxed)
    }

    /// Asks one of the stores for what it has, which may be behind.
    pub(super) fn ask(&self, asked: Asked, at: AtStore) {
        if let Err(refused) = self.asks.try_send((asked, at)) {
            let (asked, _) = refused.into_inner();
            let text = format!("{ASKED_MAX} questions wait for a copy that is brought up; ask again");
            asked.answer(Err(QueryRefusal::Busy(text)));
        }
    }

    /// Ends it, and takes what it has; `None` where that is of no use.
    pub(super) async fn stop(self) -> Option<Stores> {
        self.cancel.cancel();
        let (hand, handed) = oneshot::channel();
        self.stops.send(hand).ok()?;
        handed.await.ok()?
    }
}

struct Copying {
    application: Arc<Application>,
    ground: Arc<Ground>,
    id: TaskId,
    lag: Arc<AtomicU64>,
    cancelled: Cancelled,
}

impl Copying {
    async fn run(
        self,
        mut stores: Option<Stores>,
        mut stopped: oneshot::Receiver<oneshot::Sender<Option<Stores>>>,
        mut asked: mpsc::Receiver<(Asked, AtStore)>,
    ) {
        loop {
            let pause = match self.bring_up(&mut stores).await {
                Ok(lag) => {
                    let lag = if self.cancelled.is_set() { UNKNOWN_LAG } else { lag };
                    self.lag.store(lag, Ordering::Relaxed);
                    EVERY
                }
                Err(error) => {
                    tracing::warn!(task = %self.id, %error, "a copy of a task's stores lags");
                    if stores.is_none() {
                        self.lag.store(UNKNOWN_LAG, Ordering::Relaxed);
                    }
                    AGAIN
                }
            };
            let again = tokio::time::sleep(pause);
            tokio::pin!(again);
            loop {
                tokio::select! {
                    biased;
                    hand = &mut stopped => {
                        if let Ok(hand) = hand {
                            // Who does not wait any more opens them anew.
                            let _ = hand.send(stores);
                        }
                        return;
                    }
                    () = &mut again => break,
                    Some((asked, at)) = asked.recv() => self.answer(asked, at, stores.as_ref()),
                }
            }
        }
    }

    fn answer(&self, asked: Asked, at: AtStore, stores: Option<&Stores>) {
        let page = match stores.and_then(|stores| stores.get(at.place)) {
            Some(store) => read(View::Committed(store.as_ref()), at.form, &[], &asked.query),
            None => Err(QueryRefusal::NotRunning("the copy is being opened; ask again".to_owned())),
        };
        let (partition, next_partition) = (self.id.partition, at.next_partition);
        let sealed = page.and_then(|page| page.sealed());
        asked.answer(sealed.map(|body| StoreAnswered { partition, next_partition, body }));
    }

    async fn bring_up(&self, stores: &mut Option<Stores>) -> Result<u64, StreamsError> {
        let of = StoresOf { application: &self.application, ground: &self.ground, id: self.id };
        let positions = self.positions().await?;
        let mut open = match stores.take() {
            Some(open) => open,
            None => of.open(None).await?,
        };
        let way = BringUp { positions: &positions, until: Until::Stable, cancelled: &self.cancelled };
        let lag = of.bring_up(&mut open, way).await;
        // What was read before the cluster did not answer is there; after all else they are opened again.
        if matches!(lag, Ok(_) | Err(StreamsError::Client(_))) {
            *stores = Some(open);
        }
        lag
    }

    /// Up to where those topics are read that are the changelogs of stores.
    async fn positions(&self) -> Result<BTreeMap<Arc<str>, Offset>, StreamsError> {
        let topology = &self.ground.topology;
        let stores = topology.parts.get(self.id.part).into_iter().flat_map(|part| &part.stores);
        let specs = stores.filter_map(|store| topology.graph.stores.get(store.0));
        let read = specs.filter_map(|spec| match &spec.changelog {
            Changelog::Source(topic) => Some(topic),
            Changelog::None | Changelog::Topic(_) => None,
        });
        let read: BTreeSet<&Arc<str>> = read.collect();
        if read.is_empty() {
            return Ok(BTreeMap::new());
        }
        let of = self.ground.partitions(self.id).into_values();
        let of: Vec<_> = of.filter(|of| read.contains(&of.topic)).collect();
        let committed = committed(&self.application.client, topology.application(), &of).await?;
        Ok(committed.into_iter().map(|(of, (next, _))| (of.topic, next)).collect())
    }
}
