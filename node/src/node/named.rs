//! Actors of users as the node puts them together: their threads, their way to the quorum and to other nodes.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use millstream_actors::cluster::front::ClusterFront;
use millstream_actors::cluster::message::names::AlterNames;
use millstream_actors::custom::named::message::{ActorEnd, AskActor, TellActor, WatchActor};
use millstream_actors::custom::named::{
    Answering, Mail, NameRegistry, NamedParts, NamedSettings, NoAnswer, NodeActors,
};
use millstream_actors::custom::{Answered, CallError, UserThreads, UserThreadsSettings};
use millstream_actors::error::Refusal;
use millstream_actors::events::Events;
use millstream_actors::ids::{Incarnation, NodeId};
use millstream_actors::image::NameAlteration;
use millstream_actors::supervision::listing::{ActorPage, ListActors};
use millstream_transport::message::Message;
use millstream_transport::peer::{AskError, Endpoint, FaultCode, Lane};
use millstream_transport::world::{Clock, World};

use super::coordination::CoordinatorParts;
use super::error::StartError;
use crate::config::NodeConfig;

/// The threads on which users' code runs. Their first use begins them.
pub(super) fn user_threads(world: &World, config: &NodeConfig, events: &Events) -> UserThreads {
    let settings =
        UserThreadsSettings { threads: config.actors.threads, slow_after: config.actors.slow_after };
    UserThreads::start(world, settings, events.clone())
}

/// Starts what looks after the actors of users.
pub(super) async fn start_actors(
    parts: &CoordinatorParts<'_>,
    threads: &UserThreads,
) -> Result<NodeActors, StartError> {
    let node = parts.config.node_id;
    let named = NamedParts {
        node,
        incarnation: parts.incarnation,
        settings: NamedSettings {
            actors_max: parts.config.actors.most,
            mailbox_max: parts.config.actors.mailbox_max,
            mailbox_bytes: parts.config.actors.mailbox_bytes,
            message_bytes_max: parts.config.actors.message_bytes_max,
        },
        images: parts.images.clone(),
        lease: parts.agent.lease().clone(),
        health: parts.agent.health(),
        registry: Arc::new(Registry {
            front: parts.front.clone(),
            node,
            incarnation: parts.incarnation,
            clock: parts.world.clock.clone(),
        }),
        mail: Arc::new(EndpointMail(parts.endpoint.clone())),
        threads: threads.clone(),
        clock: parts.world.clock.clone(),
        events: parts.events.clone(),
    };
    Ok(NodeActors::start(named, Some(parts.tree.cell())).await?)
}

/// Changes names by asking the controller, whoever it is.
#[derive(Debug)]
struct Registry {
    front: ClusterFront<Endpoint>,
    node: NodeId,
    incarnation: Incarnation,
    clock: Clock,
}

impl NameRegistry for Registry {
    fn alter(&self, alteration: NameAlteration, within: Duration) -> BoxFuture<'static, Result<(), Refusal>> {
        let message = AlterNames { node: self.node, incarnation: self.incarnation, alteration };
        let (front, deadline) = (self.front.clone(), self.clock.now() + within);
        async move { front.ask_controller(message, deadline).await }.boxed()
    }
}

/// Other nodes over QUIC, on the lane of data: how much users send is up to users.
#[derive(Debug)]
struct EndpointMail(Endpoint);

impl EndpointMail {
    fn send<M: Message>(&self, node: NodeId, message: M, within: Duration) -> Answering<M::Answer> {
        let asked = self.0.peer(node).ask(Lane::Data, message, within);
        async move { asked.await.map_err(no_answer) }.boxed()
    }
}

impl Mail for EndpointMail {
    fn ask(
        &self,
        node: NodeId,
        message: AskActor,
        within: Duration,
    ) -> Answering<Result<Answered, CallError>> {
        self.send(node, message, within)
    }

    fn tell(&self, node: NodeId, message: TellActor, within: Duration) -> Answering<Result<(), CallError>> {
        self.send(node, message, within)
    }

    fn watch(&self, node: NodeId, message: WatchActor, within: Duration) -> Answering<Option<ActorEnd>> {
        let watched = self.send(node, message, within);
        async move { Ok(watched.await?.end) }.boxed()
    }

    fn list(&self, node: NodeId, message: ListActors, within: Duration) -> Answering<ActorPage> {
        self.send(node, message, within)
    }
}

fn no_answer(error: AskError) -> NoAnswer {
    let text = error.to_string();
    match error {
        AskError::Unreachable { .. } | AskError::Full { .. } => NoAnswer::NotSent(text),
        AskError::Closed { .. } | AskError::TimedOut { .. } | AskError::Dropped { .. } => {
            NoAnswer::Unknown(text)
        }
        AskError::Refused { fault, .. } if fault.code == FaultCode::Dropped => NoAnswer::Unknown(text),
        AskError::Refused { .. } | AskError::Unsendable(_) | AskError::Unreadable { .. } => {
            NoAnswer::Refused(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::certificates::LOCAL_CLIENT;
    use crate::node::looked_at::get;
    use crate::node::thread::at_any_ports;
    use crate::{
        ActorContext, ActorMessage, ActorSettings, Client, ClientSettings, Handled, NamedActor, StopReason,
    };

    #[derive(Serialize, Deserialize)]
    struct WhichThread;

    impl ActorMessage for WhichThread {
        const NAME: &'static str = "which_thread";
        type Answer = Option<String>;
    }

    struct Probe;

    impl NamedActor for Probe {
        const KIND: &'static str = "probe";
        type Message = WhichThread;

        async fn handle(&mut self, _: WhichThread, _: &ActorContext) -> Handled<WhichThread> {
            Ok(std::thread::current().name().map(ToOwned::to_owned))
        }
    }

    #[tokio::test]
    async fn an_actor_runs_on_the_users_threads_and_is_seen_by_client_http_and_metrics() {
        let directory = tempfile::tempdir().unwrap();
        let node = at_any_ports(&directory);
        assert!(node.wait_until_ready(Duration::from_secs(10)).await);
        node.actors().spawn("probe-1", ActorSettings::default(), || Probe).await.unwrap();

        let credentials = node.certificates().client(LOCAL_CLIENT).unwrap();
        let bootstrap = ClientSettings::new([node.quic_address().to_string()]);
        let client = Client::connect(credentials, bootstrap).await.unwrap();
        let within = Duration::from_secs(5);
        let thread = client.actors().ask("probe-1", &WhichThread, within).await.unwrap();
        assert_eq!(thread.as_deref(), Some("users"));

        let http = node.http_address().unwrap();
        let listed = get(http, "/actors");
        let expected =
            ["\"type\":\"probe\"", "\"name\":\"probe-1\"", "\"node\":1", "\"kind\":\"controller\""];
        assert!(expected.iter().all(|part| listed.contains(part)), "{listed}");
        let probes = get(http, "/actors?kind=probe&nodes=all&most=1");
        assert!(probes.contains("\"handled\":1") && probes.matches("\"number\"").count() == 1, "{probes}");
        assert!(get(http, "/actors?kinds=probe").starts_with("HTTP/1.1 400"));
        let metrics = get(http, "/metrics");
        let expected = [
            "millstream_actor_alive{kind=\"user_actor\"} 1",
            "millstream_actor_alive{kind=\"controller\"} 1",
            "millstream_actor_handler_seconds_count{kind=\"user_actor\"} 1",
            "millstream_user_actors{kind=\"probe\"} 1",
            "millstream_user_mailbox_messages{kind=\"probe\"} 0",
            "millstream_user_messages_handled_total{kind=\"probe\"} 1",
            "millstream_user_handler_seconds_count{kind=\"probe\"} 1",
        ];
        assert!(expected.iter().all(|line| metrics.contains(line)), "{metrics}");
        let asked = ListActors { kind: Some("probe".to_owned()), after: None, most: 9 };
        let listed = client.actors().list(&asked, within).await.unwrap();
        assert!(matches!(listed.as_slice(), [(_, Ok(page))] if page.actors.len() == 1), "{listed:?}");

        let watch = tokio::spawn({
            let calls = node.actors().calls().clone();
            async move { calls.watch("probe-1").await }
        });
        tokio::task::yield_now().await;
        client.close().await;
        node.stop().unwrap();
        let end = watch.await.unwrap().unwrap();
        assert_eq!(end, ActorEnd::Stopped(StopReason::NodeStopped));
    }
}
