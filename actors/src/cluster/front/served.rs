//! What a node serves of the cluster, by message.

use std::future::Future;

use millstream_transport::message::Message;
use millstream_transport::peer::{Answering, Fault, FaultCode, Handlers};

use super::ClusterFront;
use crate::cluster::message::access::{AlterScram, DescribeUsers, RegisterListeners};
use crate::cluster::message::names::AlterNames;
use crate::cluster::message::nodes::{
    AlterInSync, ClientRequest, HandOver, NodeEntities, NodeHeartbeat, NodeRack, RegisterNode, ReportDoubts,
    Resign,
};
use crate::cluster::message::reassignment::ReassignPartition;
use crate::cluster::message::{
    AlterTopicConfig, CreatePartitions, CreateTopic, DeleteTopic, ElectReplica, InitProducerId, Metadata,
};
use crate::cluster::peers::Peers;
use crate::cluster::request::{Reply, ToController};
use crate::ids::NodeId;

impl<P: Peers> ClusterFront<P> {
    /// Handlers of the kinds 200 to 207, 240 and 241 for clients and nodes, and of 250 to 256, 260, 275, 400 and 432 for nodes: a node
    /// speaks for itself only.
    #[must_use]
    pub fn handlers(&self) -> Handlers {
        let handlers = Handlers::new();
        let handlers =
            self.on(handlers, |front, request: Metadata| async move { front.metadata(request).await });
        let handlers =
            self.on(handlers, |front, request: CreateTopic| async move { front.create_topic(request).await });
        let handlers =
            self.on(handlers, |front, request: DeleteTopic| async move { front.delete_topic(request).await });
        let handlers = self.on(handlers, |front, request: CreatePartitions| async move {
            front.create_partitions(request).await
        });
        let handlers = self.on(handlers, |front, request: AlterTopicConfig| async move {
            front.alter_topic_config(request).await
        });
        let handlers =
            self.on(handlers, |front, _: InitProducerId| async move { front.init_producer_id().await });
        let handlers = self
            .on(handlers, |front, request: ElectReplica| async move { front.elect_replica(request).await });
        let front = self.clone();
        let handlers = handlers.on(move |caller, request: AlterScram, answering: Answering<AlterScram>| {
            let (front, by) = (front.clone(), caller.to_string());
            tokio::spawn(async move { answering.answer(front.alter_scram(request.changes, &by).await) });
        });
        let handlers = self.on(handlers, |front, _: DescribeUsers| async move { Ok(front.describe_users()) });
        let handlers = self.pass(handlers, |message: &RegisterListeners| Some(message.register.node));
        let handlers = self.on(handlers, |front, request: ReassignPartition| async move {
            front.reassign_partition(request).await
        });
        let handlers = self.pass(handlers, |message: &RegisterNode| Some(message.node));
        let handlers = self.pass(handlers, |message: &NodeHeartbeat| Some(message.node));
        let handlers = self.pass(handlers, |message: &AlterInSync| Some(message.node));
        let handlers = self.pass(handlers, |message: &ReportDoubts| Some(message.node));
        let handlers = self.pass(handlers, |message: &Resign| Some(message.node));
        let handlers = self.pass(handlers, |message: &AlterNames| Some(message.node));
        let handlers = self.pass(handlers, |message: &NodeRack| Some(message.node));
        let handlers = self.pass(handlers, |message: &NodeEntities| Some(message.node));
        let handlers = self.pass(handlers, |message: &HandOver| Some(message.node));
        self.pass(handlers, |_: &ClientRequest| None)
    }

    /// Serves what may take a while; how many are open at a time is bounded by their links.
    fn on<M: Message, F>(
        &self,
        handlers: Handlers,
        serve: impl Fn(Self, M) -> F + Send + Sync + 'static,
    ) -> Handlers
    where
        F: Future<Output = M::Answer> + Send + 'static,
    {
        let front = self.clone();
        handlers.on(move |_, message: M, answering: Answering<M>| {
            let served = serve(front.clone(), message);
            tokio::spawn(async move { answering.answer(served.await) });
        })
    }

    /// Passes what nodes send to this node's controller; `speaks_for` is the node it is about.
    fn pass<M: ToController>(
        &self,
        handlers: Handlers,
        speaks_for: impl Fn(&M) -> Option<NodeId> + Send + Sync + 'static,
    ) -> Handlers {
        let controller = self.parts().controller.clone();
        handlers.on_nodes(move |caller, message: M, answering: Answering<M>| {
            if speaks_for(&message).is_some_and(|node| caller.node != Some(node)) {
                let text = format!("{caller} cannot speak for another node");
                answering.refuse(Fault::new(FaultCode::NotAllowed, text));
                return;
            }
            controller.ask(message, Reply::new(move |answer| answering.answer(answer)));
        })
    }
}
