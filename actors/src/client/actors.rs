//! The way of calls to actors from a client: any node says where an actor is, and that node is asked directly.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use millstream_transport::message::Message;

use super::link::{Asks, Cluster, LinkError, Target};
use super::metadata::MetadataCache;
use super::{ClientError, RETRY_BACKOFF};
use crate::custom::named::message::{
    ActorEnd, AskActor, FindName, FoundName, GroupMembers, NameNews, TellActor, WatchActor, WatchName,
};
use crate::custom::named::{Answering, NoAnswer, Way};
use crate::custom::{Answered, CallError};
use crate::ids::{ActorId, NodeId};
use crate::supervision::listing::{ActorPage, ListActors};

/// Names whose place is remembered.
const KNOWN_MAX: usize = 1024;

/// How much longer an answer may take than what was waited for at the node.
const ANSWER_TIME: Duration = Duration::from_secs(3);

/// The longest message of a client; the node asked may take less.
const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// The way from a client.
#[derive(Debug)]
pub(super) struct ClientWay {
    link: Arc<dyn Cluster>,
    metadata: MetadataCache,
    request_timeout: Duration,
    /// Whose turn it is of those who can answer anything.
    turn: Arc<AtomicUsize>,
    known: Arc<Mutex<BTreeMap<String, FoundName>>>,
}

impl ClientWay {
    pub(super) fn new(link: Arc<dyn Cluster>, metadata: MetadataCache, request_timeout: Duration) -> Self {
        Self { link, metadata, request_timeout, turn: Arc::default(), known: Arc::default() }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, FoundName>> {
        lock(&self.known)
    }

    /// Asks this node.
    fn at<M: Message>(&self, node: NodeId, message: M, within: Duration) -> Answering<M::Answer>
    where
        dyn Cluster: Asks<M>,
    {
        if self.metadata.is_closed() {
            return std::future::ready(Err(unready(ClientError::Closed))).boxed();
        }
        let asked = Asks::<M>::ask(&*self.link, &Target::Node(node), message, within);
        async move { asked.await.map_err(no_answer) }.boxed()
    }

    /// Asks some node, another one after each that does not answer.
    fn any<M: Message>(&self, message: M, within: Duration) -> Answering<M::Answer>
    where
        dyn Cluster: Asks<M>,
    {
        let (link, metadata, turn) = (Arc::clone(&self.link), self.metadata.clone(), Arc::clone(&self.turn));
        async move {
            let view = metadata.ready(within).await.map_err(unready)?;
            let place = turn.load(Ordering::Relaxed).checked_rem(view.nodes.len()).unwrap_or(0);
            let Some(node) = view.nodes.keys().nth(place) else {
                return Err(NoAnswer::NotSent("the cluster shows no live node".to_owned()));
            };
            let asked = Asks::<M>::ask(&*link, &Target::Node(*node), message, within).await;
            if asked.is_err() {
                turn.fetch_add(1, Ordering::Relaxed);
                metadata.refresh();
            }
            asked.map_err(no_answer)
        }
        .boxed()
    }

    fn waiting(&self, within_ms: u32) -> Duration {
        Duration::from_millis(within_ms.into()) + ANSWER_TIME
    }
}

impl Way for ClientWay {
    fn find(&self, name: &str, within: Duration) -> Answering<FoundName> {
        if let Some(found) = self.known().get(name).copied() {
            return std::future::ready(Ok(found)).boxed();
        }
        let (known, name) = (Arc::clone(&self.known), name.to_owned());
        let asked = self.any(FindName { name: name.clone() }, within.min(self.request_timeout));
        async move {
            let found = asked.await?;
            if found.owner.is_some() {
                let mut known = lock(&known);
                if known.len() >= KNOWN_MAX {
                    known.clear();
                }
                known.insert(name, found);
            }
            Ok(found)
        }
        .boxed()
    }

    fn forget(&self, name: &str) {
        self.known().remove(name);
    }

    fn ask(
        &self,
        node: NodeId,
        message: AskActor,
        within: Duration,
    ) -> Answering<Result<Answered, CallError>> {
        self.at(node, message, within)
    }

    fn tell(&self, node: NodeId, message: TellActor, within: Duration) -> Answering<Result<(), CallError>> {
        self.at(node, message, within)
    }

    fn watch(&self, message: WatchActor) -> Answering<Option<ActorEnd>> {
        let asked = self.any(message, self.waiting(message.within_ms));
        async move { Ok(asked.await?.end) }.boxed()
    }

    fn news(&self, message: WatchName) -> Answering<NameNews> {
        let within = self.waiting(message.within_ms);
        self.any(message, within)
    }

    fn members(&self, group: &str, within: Duration) -> Answering<Vec<ActorId>> {
        self.any(GroupMembers { group: group.to_owned() }, within)
    }

    fn nodes(&self, within: Duration) -> Answering<Vec<NodeId>> {
        let metadata = self.metadata.clone();
        async move { Ok(metadata.ready(within).await.map_err(unready)?.nodes.keys().copied().collect()) }
            .boxed()
    }

    fn list(&self, node: NodeId, message: ListActors, within: Duration) -> Answering<ActorPage> {
        self.at(node, message, within)
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        // A node that could not be reached may be gone, and its address another.
        self.metadata.refresh();
        tokio::time::sleep(RETRY_BACKOFF).boxed()
    }

    fn message_bytes_max(&self) -> usize {
        MESSAGE_BYTES_MAX
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn no_answer(error: LinkError) -> NoAnswer {
    match error {
        LinkError::NotSent(reason) => NoAnswer::NotSent(reason),
        LinkError::NoAnswer(reason) => NoAnswer::Unknown(reason),
        LinkError::Refused(reason) => NoAnswer::Refused(reason),
    }
}

fn unready(error: ClientError) -> NoAnswer {
    match error {
        // For good: to try again is in vain.
        ClientError::Closed => NoAnswer::Refused("the client is closed".to_owned()),
        error => NoAnswer::NotSent(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use millstream_transport::world::simulation;
    use serde::{Deserialize, Serialize};
    use tokio::time::Instant;

    use super::*;
    use crate::client::fake::FakeCluster;
    use crate::custom::ActorMessage;
    use crate::ids::Incarnation;

    #[derive(Serialize, Deserialize)]
    struct Hello;

    impl ActorMessage for Hello {
        type Answer = ();
        const NAME: &'static str = "hello";
        const VERSION: u16 = 1;
    }

    #[test]
    fn who_asks_or_watches_by_a_closed_client_is_told_so_at_once() {
        simulation::run(1, |run| async move {
            let client = FakeCluster::new(1).client(&run);
            let calls = client.actors();
            client.close().await;
            let (began, within) = (Instant::now(), Duration::from_secs(60));
            let actor = ActorId { node: NodeId(1), incarnation: Incarnation(1), serial: 1 };
            let closed = || CallError::Refused("the client is closed".to_owned());
            assert_eq!(calls.ask("a", &Hello, within).await, Err(closed()));
            assert_eq!(calls.ask_actor(actor, &Hello, within).await, Err(closed()));
            assert_eq!(calls.watch("a").await, Err(closed()));
            assert_eq!(calls.watch_actor(actor).await, Err(closed()));
            assert_eq!(began.elapsed(), Duration::ZERO);
        });
    }
}
