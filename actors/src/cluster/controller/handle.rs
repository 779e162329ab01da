//! The controller as others see it: a bounded way in.

use std::sync::{Arc, PoisonError, RwLock};

use ractor::{Actor, ActorCell, ActorRef, SpawnErr};

use super::{Controller, ControllerMessage, ControllerParts};
use crate::cluster::request::{Places, Reply, ToController};
use crate::error::{ErrorCode, Refusal};
use crate::kinds::CONTROLLER;
use crate::supervision::roster::Entry;

/// The controller of this node. Cheap to clone; outlives a restart of the actor.
#[derive(Clone, Debug)]
pub struct ControllerHandle {
    parts: ControllerParts,
    actor: Arc<RwLock<ActorRef<ControllerMessage>>>,
    of_clients: Places,
    of_nodes: Places,
}

impl ControllerHandle {
    /// Starts the controller, under `supervisor` where there is one. To be called on the control thread.
    pub async fn start(parts: ControllerParts, supervisor: Option<ActorCell>) -> Result<Self, SpawnErr> {
        let places = || Places::new(parts.settings.open_requests_max);
        let (of_clients, of_nodes) = (places(), places());
        let actor = spawn(parts.clone(), entry(&of_clients, &of_nodes), supervisor).await?;
        Ok(Self { parts, actor: Arc::new(RwLock::new(actor)), of_clients, of_nodes })
    }

    /// Starts it anew after its death. What it had not answered was refused when it died.
    pub async fn restart(&self, supervisor: Option<ActorCell>) -> Result<(), SpawnErr> {
        let entry = entry(&self.of_clients, &self.of_nodes);
        let actor = spawn(self.parts.clone(), entry, supervisor).await?;
        *self.actor.write().unwrap_or_else(PoisonError::into_inner) = actor;
        Ok(())
    }

    /// The actor, to be supervised or stopped.
    #[must_use]
    pub fn actor(&self) -> ActorCell {
        self.actor.read().unwrap_or_else(PoisonError::into_inner).get_cell()
    }

    /// Hands a message in; `reply` is called once, perhaps before this returns.
    pub fn ask<M: ToController>(&self, message: M, reply: Reply<M::Granted>) {
        let places = if M::IS_OF_CLIENTS { &self.of_clients } else { &self.of_nodes };
        let request = match places.take() {
            Ok(place) => message.request(reply.holding(place)),
            Err(refusal) => return reply.send(Err(refusal)),
        };
        let actor = self.actor.read().unwrap_or_else(PoisonError::into_inner).clone();
        // A request that cannot be sent is dropped, and its reply refuses.
        drop(actor.send_message(ControllerMessage::Request(request)));
    }

    /// Hands a message in and waits for the answer.
    pub async fn call<M: ToController>(&self, message: M) -> Result<M::Granted, Refusal> {
        let (reply, answer) = Reply::channel();
        self.ask(message, reply);
        answer.await.unwrap_or_else(|_| Err(Refusal::new(ErrorCode::NotController, "the controller stopped")))
    }
}

fn entry(of_clients: &Places, of_nodes: &Places) -> Entry {
    let (of_clients, of_nodes) = (of_clients.clone(), of_nodes.clone());
    Entry::new(CONTROLLER, "").waiting(move || of_clients.taken() + of_nodes.taken())
}

async fn spawn(
    parts: ControllerParts,
    entry: Entry,
    supervisor: Option<ActorCell>,
) -> Result<ActorRef<ControllerMessage>, SpawnErr> {
    let spawned = match supervisor {
        Some(supervisor) => Actor::spawn_linked(None, Controller, (parts, entry), supervisor).await,
        None => Actor::spawn(None, Controller, (parts, entry)).await,
    };
    spawned.map(|(actor, _)| actor)
}
