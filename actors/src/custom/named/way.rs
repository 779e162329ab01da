//! The way of calls from a node: its own actors directly, others by its mail.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use tokio::time::timeout;

use super::doors::{Answering, NoAnswer, Way};
use super::host::Host;
use super::message::{ActorEnd, AskActor, FoundName, NameNews, TellActor, WatchActor, WatchName};
use crate::custom::call::CallError;
use crate::custom::envelope::Answered;
use crate::ids::{ActorId, NodeId};
use crate::image::NodeState;
use crate::supervision::listing::{ActorPage, ListActors};

/// After so long it is tried again, whether anything is known to have changed or not.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// The way of calls from a node.
#[derive(Debug)]
pub(super) struct NodeWay(pub(super) Weak<Host>);

impl NodeWay {
    /// Does something with the node, unless it is gone.
    fn with<T: Send + 'static>(&self, act: impl FnOnce(Arc<Host>) -> Answering<T>) -> Answering<T> {
        match self.0.upgrade().filter(|host| !host.is_closed()) {
            Some(host) => act(host),
            None => ready(Err(NoAnswer::Refused("the node has stopped".to_owned()))).boxed(),
        }
    }
}

impl Way for NodeWay {
    fn find(&self, name: &str, _: Duration) -> Answering<FoundName> {
        self.with(|host| ready(Ok(host.find(name))).boxed())
    }

    // A node looks into its image each time.
    fn forget(&self, _: &str) {}

    fn ask(
        &self,
        node: NodeId,
        message: AskActor,
        within: Duration,
    ) -> Answering<Result<Answered, CallError>> {
        self.with(|host| match node == host.parts.node {
            true => async move { Ok(host.asked(message).await) }.boxed(),
            false => host.parts.mail.ask(node, message, within),
        })
    }

    fn tell(&self, node: NodeId, message: TellActor, within: Duration) -> Answering<Result<(), CallError>> {
        self.with(|host| match node == host.parts.node {
            true => ready(Ok(host.told(message))).boxed(),
            false => host.parts.mail.tell(node, message, within),
        })
    }

    fn watch(&self, message: WatchActor) -> Answering<Option<ActorEnd>> {
        self.with(|host| async move { Ok(host.watch(message).await) }.boxed())
    }

    fn news(&self, message: WatchName) -> Answering<NameNews> {
        self.with(|host| async move { Ok(host.news(message).await) }.boxed())
    }

    fn members(&self, group: &str, _: Duration) -> Answering<Vec<ActorId>> {
        self.with(|host| ready(Ok(host.image().names().members(group).collect())).boxed())
    }

    fn nodes(&self, _: Duration) -> Answering<Vec<NodeId>> {
        self.with(|host| {
            let image = host.image();
            let there = image.nodes().iter().filter(|(_, known)| known.state != NodeState::Fenced);
            ready(Ok(there.map(|(node, _)| node).collect())).boxed()
        })
    }

    fn list(&self, node: NodeId, message: ListActors, within: Duration) -> Answering<ActorPage> {
        self.with(|host| match node == host.parts.node {
            true => ready(Ok(host.page(&message))).boxed(),
            false => host.parts.mail.list(node, message, within),
        })
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        let Some(host) = self.0.upgrade() else { return ready(()).boxed() };
        let mut images = host.parts.images.clone();
        // What is seen from now on counts: what came before was looked at.
        drop(images.borrow_and_update());
        async move { drop(timeout(AGAIN_AFTER, images.changed()).await) }.boxed()
    }

    fn message_bytes_max(&self) -> usize {
        self.0.upgrade().map_or(0, |host| host.parts.settings.message_bytes_max)
    }
}
