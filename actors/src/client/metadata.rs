//! Keeps a client's view of the cluster fresh: one request waits at some node until that node knows something newer.
//!
//! Nobody asks on a timer, but while no node knows a controller, and then ever less often. A node that is cut off from
//! the others lets go of who waits at it, who then asks another. When a node refuses with "not the leader", its refusal
//! may be ahead of the view, so [`MetadataCache::refresh`] asks another node at once, as the one that is waited at may
//! be cut off.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millstream_transport::world::World;
use millstream_transport::world::watch;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::error::ClientError;
use super::link::{Asks, Cluster, LinkError, Target};
use super::view::{TopicView, View};
use crate::cluster::message::{Metadata, MetadataAnswer};

/// How long a node may hold a request back while nothing is new.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// How much longer its answer may take.
const ANSWER_TIME: Duration = Duration::from_secs(3);

/// How long a node that was asked for what it knows now may take before another wish makes the next one be asked.
const PROMPT_TIME: Duration = Duration::from_millis(500);

/// The least time between two requests that somebody wished for, and after an error.
const LEAST_PAUSE: Duration = Duration::from_millis(50);

/// How long a topic that no node knows may still appear: it may just have been made.
const TOPIC_GRACE: Duration = Duration::from_secs(5);

/// A client's view of the cluster. Cheap to clone; all clones see the same.
#[derive(Clone, Debug)]
pub struct MetadataCache {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    view: watch::Sender<Arc<View>>,
    wanted: Mutex<Wanted>,
    changed: Notify,
    /// Why the last one asked did not answer, until one does.
    trouble: Mutex<Option<String>>,
}

#[derive(Clone, Debug, Default)]
struct Wanted {
    names: BTreeSet<String>,
    all: bool,
    refresh: bool,
    closed: bool,
}

impl Wanted {
    fn asked(&self) -> Option<BTreeSet<String>> {
        (!self.all).then(|| self.names.clone())
    }
}

impl MetadataCache {
    /// A cache that asks these addresses first, and then the nodes it hears of. Its task runs on the first core.
    pub(super) fn start(world: &World, link: Arc<dyn Cluster>, bootstrap: Vec<String>) -> Self {
        let shared = Arc::new(Shared {
            view: watch::Sender::new(Arc::default()),
            wanted: Mutex::default(),
            changed: Notify::new(),
            trouble: Mutex::default(),
        });
        let first = usize::try_from(world.random.range(0, 1 << 16)).unwrap_or(0);
        let mut poll = Poll {
            shared: Arc::clone(&shared),
            link,
            bootstrap,
            turn: first,
            told: None,
            last_asked: None,
            lonely: 0,
        };
        if let Some(core) = world.threads.cores().first() {
            core.spawn(move || async move { poll.run().await });
        }
        Self { shared }
    }

    /// The view now.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.shared.view.borrow())
    }

    /// Hears of every new view.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<View>> {
        self.shared.view.subscribe()
    }

    /// From now on views show this topic.
    pub fn want(&self, topic: &str) {
        let mut wanted = self.wanted();
        if !wanted.names.contains(topic) {
            wanted.names.insert(topic.to_owned());
            drop(wanted);
            self.shared.changed.notify_one();
        }
    }

    /// From now on views show all topics.
    pub fn want_all(&self) {
        if !std::mem::replace(&mut self.wanted().all, true) {
            self.shared.changed.notify_one();
        }
    }

    /// Asks another node soon: the view seems to be old.
    pub fn refresh(&self) {
        if !std::mem::replace(&mut self.wanted().refresh, true) {
            self.shared.changed.notify_one();
        }
    }

    /// Waits for the first view.
    pub async fn ready(&self, within: Duration) -> Result<Arc<View>, ClientError> {
        self.wait("the first answer of the cluster", within, |view| {
            (view.version > 0).then(|| Arc::clone(view))
        })
        .await
    }

    /// Waits for a topic to be known, not much longer than some node has said that it is not.
    pub async fn topic(&self, name: &str, within: Duration) -> Result<Arc<TopicView>, ClientError> {
        self.want(name);
        let found = |view: &Arc<View>| view.topics.get(name).cloned();
        let soon = within.min(TOPIC_GRACE);
        match self.wait("looking a topic up", soon, found).await {
            Err(ClientError::TimedOut { .. }) if self.view().covers(name) => {
                Err(ClientError::UnknownTopic(name.to_owned()))
            }
            Err(ClientError::TimedOut { .. }) => {
                self.wait("looking a topic up", within.saturating_sub(soon), found).await
            }
            other => other,
        }
    }

    /// Waits for a view in which `find` finds something.
    pub async fn wait<T>(
        &self,
        what: &str,
        within: Duration,
        find: impl Fn(&Arc<View>) -> Option<T>,
    ) -> Result<T, ClientError> {
        let mut views = self.subscribe();
        let search = async {
            loop {
                // What a closed client still knows is of no use: nobody can be asked any more.
                if self.wanted().closed {
                    return Err(ClientError::Closed);
                }
                if let Some(found) = find(&views.borrow_and_update()) {
                    return Ok(found);
                }
                if views.changed().await.is_err() {
                    return Err(ClientError::Closed);
                }
            }
        };
        let late = || {
            let last = self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
            ClientError::TimedOut { what: what.to_owned(), within, last }
        };
        tokio::time::timeout(within, search).await.unwrap_or_else(|_| Err(late()))
    }

    /// Ends the task.
    pub(super) fn close(&self) {
        self.wanted().closed = true;
        self.shared.changed.notify_one();
        self.shared.view.send_modify(|_| ());
    }

    /// Whether the client is closed.
    pub(super) fn is_closed(&self) -> bool {
        self.wanted().closed
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.shared.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task.
struct Poll {
    shared: Arc<Shared>,
    link: Arc<dyn Cluster>,
    bootstrap: Vec<String>,
    /// Whose turn it is among those who can be asked.
    turn: usize,
    /// What the one whose turn it is has told already: it need not answer before it knows more.
    told: Option<(Option<BTreeSet<String>>, u64)>,
    last_asked: Option<Instant>,
    /// Nodes in a row that had no news and knew no controller.
    lonely: u32,
}

/// So often the pause is doubled at most while no node knows a controller: to a second and a half.
const DOUBLINGS_MAX: u32 = 5;

impl Poll {
    async fn run(&mut self) {
        loop {
            let wanted = self.take_wanted();
            if wanted.closed {
                return;
            }
            if wanted.refresh {
                self.next_node();
            }
            self.pause().await;
            let target = self.target();
            let asked = wanted.asked();
            if let Some(answer) = self.answer(&target, &asked).await {
                self.heard(answer, asked);
            }
        }
    }

    /// The answer of a node, unless something else is wanted before it comes.
    ///
    /// A node that does not hold its answer back is given time for it: those who wish for news in quick succession would
    /// else never get any.
    async fn answer(
        &self,
        target: &Target,
        asked: &Option<BTreeSet<String>>,
    ) -> Option<Result<MetadataAnswer, LinkError>> {
        let is_prompt = self.newer_than(asked).is_none();
        let patience = Instant::now() + if is_prompt { PROMPT_TIME } else { Duration::ZERO };
        let mut asking = self.ask(target, asked.clone());
        let mut wished_again = false;
        loop {
            tokio::select! {
                biased;
                answer = &mut asking => return Some(answer),
                () = self.shared.changed.notified() => {
                    let wanted = self.shared.wanted.lock().unwrap_or_else(PoisonError::into_inner);
                    if wanted.closed || wanted.asked() != *asked {
                        return None;
                    }
                    wished_again |= wanted.refresh;
                }
                () = tokio::time::sleep_until(patience), if wished_again => return None,
            }
        }
    }

    fn take_wanted(&self) -> Wanted {
        let mut wanted = self.shared.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = wanted.clone();
        wanted.refresh = false;
        taken
    }

    /// Not more often than is good for the nodes, unless the last answer told something new.
    async fn pause(&mut self) {
        if let Some(last) = self.last_asked {
            tokio::time::sleep_until(last + LEAST_PAUSE * (1 << self.lonely.min(DOUBLINGS_MAX))).await;
        }
        self.last_asked = Some(Instant::now());
    }

    fn next_node(&mut self) {
        self.turn = self.turn.wrapping_add(1);
        self.told = None;
    }

    /// Known nodes in turn; the bootstrap addresses when there are none, and once a round in case all have moved.
    fn target(&self) -> Target {
        let view = self.shared.view.borrow();
        let nodes = view.nodes.keys().map(|node| Target::Node(*node));
        let addresses = self.bootstrap.iter().map(|address| Target::Address(address.clone()));
        let known = view.nodes.len();
        let extra = if known == 0 { self.bootstrap.len() } else { 1 };
        let place = self.turn.checked_rem(known.saturating_add(extra)).unwrap_or(0);
        let skip =
            if known == 0 { 0 } else { (self.turn / known.saturating_add(1)) % self.bootstrap.len().max(1) };
        let nowhere = Target::Address(String::new());
        nodes.chain(addresses.skip(skip)).nth(place).unwrap_or(nowhere)
    }

    /// What the node whose turn it is has told already of what is asked.
    fn newer_than(&self, asked: &Option<BTreeSet<String>>) -> Option<u64> {
        self.told.as_ref().filter(|(told, _)| told == asked).map(|(_, version)| *version)
    }

    fn ask(&self, target: &Target, asked: Option<BTreeSet<String>>) -> super::link::Asking<MetadataAnswer> {
        let newer_than = self.newer_than(&asked);
        let max_wait = if newer_than.is_some() { MAX_WAIT } else { Duration::ZERO };
        let request = Metadata {
            topics: asked.map(|names| names.into_iter().collect()),
            newer_than,
            max_wait_ms: u32::try_from(max_wait.as_millis()).unwrap_or(u32::MAX),
        };
        Asks::<Metadata>::ask(&*self.link, target, request, max_wait.saturating_add(ANSWER_TIME))
    }

    fn heard(&mut self, answer: Result<MetadataAnswer, LinkError>, asked: Option<BTreeSet<String>>) {
        let (answer, trouble) = match answer {
            Ok(answer) => (Some(answer), None),
            Err(error) => (None, Some(error.to_string())),
        };
        *self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
        let Some(answer) = answer else {
            self.next_node();
            return;
        };
        if self.newer_than(&asked).is_some_and(|known| answer.version <= known) {
            // Nothing new in all the time, or a node that hears no controller and lets go of those who wait.
            self.next_node();
            self.lonely = self.lonely.saturating_add(1);
        } else {
            self.told = Some((asked.clone(), answer.version));
        }
        if answer.controller.is_some() {
            self.lonely = 0;
        }
        if answer.version > self.shared.view.borrow().version {
            self.last_asked = None;
        }
        for node in &answer.nodes {
            self.link.learn(node.id, &node.quic);
        }
        self.shared.view.send_if_modified(|view| {
            // A node that lags behind tells nothing, unless it is asked for topics never shown before.
            if answer.version < view.version && asked == view.asked {
                return false;
            }
            let new = View::new(answer, asked);
            let differs = **view != new;
            *view = Arc::new(new);
            differs
        });
    }
}

#[cfg(test)]
mod tests;
