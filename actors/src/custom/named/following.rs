//! What a node does about each new image: ends actors that the quorum has taken from it, begins singletons that it has
//! been given, stands for those that it may host.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::BoxFuture;
use millstream_transport::world::watch;

use super::actor::{ActorSettings, NamedActor};
use super::cell::Cell;
use super::host::{ALTER_WITHIN, Host, Table, refused};
use super::message::{ActorEnd, StopReason};
use super::runner::Factory;
use crate::custom::call::CallError;
use crate::image::{Image, NameAlteration, NodeState};

/// How soon something that was refused is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

type Begin = Arc<dyn Fn(Arc<Host>, u64) -> BoxFuture<'static, Result<Arc<Cell>, CallError>> + Send + Sync>;

/// An actor that exists once in the cluster, and may run here.
#[derive(Clone)]
pub(super) struct Singleton {
    kind: &'static str,
    begin: Begin,
    /// The actor that stands for the name or has it; `None` where none does.
    serial: Option<u64>,
    /// The quorum is being asked.
    is_asking: bool,
}

impl Table {
    /// A singleton's actor has ended: whether it is hosted here no longer. Where only the node was lost, it stands again.
    pub(super) fn forget_singleton(&mut self, name: &str, serial: u64, end: &ActorEnd) -> bool {
        let Some(singleton) = self.singletons.get_mut(name).filter(|one| one.serial == Some(serial)) else {
            return false;
        };
        if matches!(end, ActorEnd::NodeLost(_)) {
            singleton.serial = None;
            return false;
        }
        self.singletons.remove(name).is_some()
    }
}

/// Follows the images until the host is gone.
pub(super) async fn follow(host: Weak<Host>, mut images: watch::Receiver<Arc<Image>>) {
    let mut seen: Option<Arc<Image>> = None;
    loop {
        let Some(strong) = host.upgrade() else { return };
        if strong.is_closed() {
            return;
        }
        let image = Arc::clone(&images.borrow_and_update());
        let is_same = seen.as_ref().is_some_and(|seen| {
            Arc::ptr_eq(seen.names(), image.names()) && Arc::ptr_eq(seen.nodes(), image.nodes())
        });
        let is_settled = is_same || strong.reconcile(&image);
        drop(strong);
        // What is not settled is looked at again, whether the image changes or not.
        seen = is_settled.then_some(image);
        let changed = match is_settled {
            true => images.changed().await,
            false => tokio::time::timeout(AGAIN_AFTER, images.changed()).await.unwrap_or(Ok(())),
        };
        if changed.is_err() {
            return;
        }
    }
}

impl Host {
    /// Makes this node's actors what the image says; whether nothing is left to be done.
    fn reconcile(self: &Arc<Self>, image: &Image) -> bool {
        self.end_lost(image);
        let given = self.strays(image);
        for (name, serial) in given {
            self.begin_or_give_up(name, serial);
        }
        self.stand(image)
    }

    /// Ends actors whose names the quorum has taken.
    fn end_lost(&self, image: &Image) {
        for cell in self.cells().into_iter().filter(|cell| !cell.has_ended()) {
            if let Some(version) = image.names().lost(cell.actor, cell.since) {
                cell.stop(ActorEnd::NodeLost(version));
                continue;
            }
            let is_owner =
                |name: &Arc<str>| image.names().owner(name).is_some_and(|owner| owner.actor == cell.actor);
            if cell.name.as_ref().is_some_and(|name| !is_owner(name)) {
                cell.stop(ActorEnd::Stopped(StopReason::Asked));
            }
        }
    }

    /// Names that belong to actors of this life which are not there.
    fn strays(&self, image: &Image) -> Vec<(String, u64)> {
        let table = self.table();
        let is_stray = |serial: &u64| !table.cells.contains_key(serial) && !table.pending.contains(serial);
        let own = image.names().iter().filter(|(_, owner)| {
            owner.actor.node == self.parts.node && owner.actor.incarnation == self.parts.incarnation
        });
        own.filter(|(_, owner)| is_stray(&owner.actor.serial))
            .map(|(name, owner)| (name.to_owned(), owner.actor.serial))
            .collect()
    }

    fn begin_or_give_up(self: &Arc<Self>, name: String, serial: u64) {
        let mut table = self.table();
        let singleton = table.singletons.get(&name).filter(|one| one.serial == Some(serial)).cloned();
        let Some(singleton) = singleton else {
            drop(table);
            self.give_up(NameAlteration::Release { name, serial });
            return;
        };
        table.pending.insert(serial);
        drop(table);
        let host = Arc::clone(self);
        self.control.spawn(async move {
            let begun = (singleton.begin)(Arc::clone(&host), serial).await;
            let mut table = host.table();
            table.pending.remove(&serial);
            if let Err(error) = begun {
                tracing::error!(node = %host.parts.node, name, %error, "a singleton cannot be begun here, and is left to others");
                table.singletons.remove(&name);
                drop(table);
                host.give_up(NameAlteration::Withdraw { name, serial });
            }
        });
    }

    /// Stands for the names of singletons for which this node does not; whether there is none.
    fn stand(self: &Arc<Self>, image: &Image) -> bool {
        let me = self.parts.node;
        let is_live = image.nodes().get(me).is_some_and(|known| {
            known.incarnation == self.parts.incarnation && known.state == NodeState::Live
        });
        let names = image.names();
        let has = |name: &str, serial: u64| {
            let actor = self.id(serial);
            names.stands(name, actor) || names.owner(name).is_some_and(|owner| owner.actor == actor)
        };
        let mut is_settled = true;
        let mut standing = Vec::new();
        for (name, singleton) in &mut self.table().singletons {
            if singleton.serial.is_some_and(|serial| has(name, serial)) {
                continue;
            }
            is_settled = false;
            if is_live && !singleton.is_asking {
                singleton.is_asking = true;
                let serial = self.next_serial();
                singleton.serial = Some(serial);
                standing.push((name.clone(), singleton.kind, serial));
            }
        }
        for (name, kind, serial) in standing {
            let stand = NameAlteration::Stand { name: name.clone(), kind: kind.to_owned(), serial };
            let (asked, host) = (self.parts.registry.alter(stand, ALTER_WITHIN), Arc::clone(self));
            self.control.spawn(async move {
                if asked.await.is_ok() {
                    host.sees_itself_stand(&name, serial).await;
                }
                // What was refused is tried again: the image does not show it.
                if let Some(singleton) = host.table().singletons.get_mut(&name) {
                    singleton.is_asking = false;
                }
            });
        }
        is_settled
    }

    /// Waits, bounded, until this node's image shows an actor as the owner of a name, or as waiting for it.
    async fn sees_itself_stand(&self, name: &str, serial: u64) {
        let (actor, mut images) = (self.id(serial), self.parts.images.clone());
        let stands = images.wait_for(|image| {
            let names = image.names();
            names.stands(name, actor) || names.owner(name).is_some_and(|owner| owner.actor == actor)
        });
        // If not, it stands again.
        drop(tokio::time::timeout(ALTER_WITHIN, stands).await);
    }

    /// From now on this node stands for the name of a singleton.
    pub(super) async fn stand_for<A: NamedActor>(
        self: &Arc<Self>,
        name: &str,
        settings: ActorSettings,
        factory: Factory<A>,
    ) -> Result<(), CallError> {
        let serial = self.next_serial();
        let own: Arc<str> = Arc::from(name);
        let begin: Begin = Arc::new(move |host, serial| {
            let (own, factory) = (Arc::clone(&own), Arc::clone(&factory));
            Box::pin(async move { host.begin(serial, Some(own), settings, factory).await })
        });
        let singleton = Singleton { kind: A::KIND, begin, serial: Some(serial), is_asking: true };
        {
            let mut table = self.table();
            if table.singletons.contains_key(name) {
                return Err(CallError::Refused(format!("this node hosts a singleton {name:?} already")));
            }
            table.singletons.insert(name.to_owned(), singleton);
        }
        let stand = NameAlteration::Stand { name: name.to_owned(), kind: A::KIND.to_owned(), serial };
        let asked = self.parts.registry.alter(stand, ALTER_WITHIN).await.map_err(refused);
        if asked.is_ok() {
            self.sees_itself_stand(name, serial).await;
        }
        let mut table = self.table();
        match &asked {
            Ok(()) => {
                if let Some(singleton) = table.singletons.get_mut(name) {
                    singleton.is_asking = false;
                }
            }
            Err(_) => {
                table.singletons.remove(name);
                drop(table);
                self.give_up(NameAlteration::Withdraw { name: name.to_owned(), serial });
            }
        }
        asked
    }
}
