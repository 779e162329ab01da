//! What a node does about each new image: ends actors that the quorum has taken from it, begins singletons that it has
//! been given, stands for those that it may host, gives back what belongs to actors that are gone.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::BoxFuture;
use millstream_transport::world::watch;
use tokio::time::Instant;

use super::actor::{ActorSettings, NamedActor};
use super::cell::Cell;
use super::host::{ALTER_WITHIN, Host, Table, refused};
use super::message::{ActorEnd, StopReason};
use super::runner::Factory;
use crate::custom::call::CallError;
use crate::image::{Image, NameAlteration, NodeState};

/// How soon something that is not as it should be is looked at again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// How long a singleton that could not be begun here is left to others, at first; it doubles up to [`LEFT_MOST`].
const LEFT_FOR: Duration = Duration::from_secs(1);
const LEFT_MOST: Duration = Duration::from_secs(60);

type Begin = Arc<dyn Fn(Arc<Host>, u64) -> BoxFuture<'static, Result<Arc<Cell>, CallError>> + Send + Sync>;

/// Something of an actor's that the quorum is asked to take back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum GivenUp {
    /// A name that it has or waits for.
    Name(String, u64),
    /// Its membership in a group.
    Membership(String, u64),
}

impl GivenUp {
    /// What a change gives up; `None` where it gives up nothing.
    pub(super) fn by(alteration: &NameAlteration) -> Option<Self> {
        match alteration {
            NameAlteration::Release { name, serial } | NameAlteration::Withdraw { name, serial } => {
                Some(Self::Name(name.clone(), *serial))
            }
            NameAlteration::Leave { group, serial } => Some(Self::Membership(group.clone(), *serial)),
            NameAlteration::Register { .. }
            | NameAlteration::Confirm { .. }
            | NameAlteration::Stand { .. }
            | NameAlteration::Join { .. } => None,
        }
    }
}

/// An actor that exists once in the cluster, and may run here.
#[derive(Clone)]
pub(super) struct Singleton {
    kind: &'static str,
    begin: Begin,
    /// The first actor that was to stand for the name: tells who asked for it to be hosted.
    first: u64,
    /// The actor that stands for the name or has it; `None` where none does.
    serial: Option<u64>,
    /// The quorum is being asked.
    is_asking: bool,
    /// How often in a row it could not be begun here, and until when it is left to others for that.
    failures: u32,
    not_before: Option<Instant>,
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

    /// Whether an actor of this life is neither there nor being begun.
    fn is_gone(&self, serial: u64) -> bool {
        !self.cells.contains_key(&serial) && !self.pending.contains(&serial)
    }

    /// Whether this very actor stands for a singleton's name, or has it.
    fn hosts(&self, name: &str, serial: u64) -> bool {
        self.singletons.get(name).is_some_and(|one| one.serial == Some(serial))
    }

    /// A singleton could not be begun: it is left to others until then.
    fn leave_to_others(&mut self, name: &str, serial: u64, now: Instant) {
        if let Some(singleton) = self.singletons.get_mut(name).filter(|one| one.serial == Some(serial)) {
            let wait = LEFT_FOR.saturating_mul(1 << singleton.failures.min(10)).min(LEFT_MOST);
            singleton.failures = singleton.failures.saturating_add(1);
            singleton.not_before = Some(now + wait);
            singleton.serial = None;
        }
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
        // What is not settled is looked at again, whether the image changes or not.
        seen = is_settled.then_some(image);
        let look_again = Arc::clone(&strong.look_again);
        drop(strong);
        let changed = match is_settled {
            true => tokio::select! {
                biased;
                changed = images.changed() => changed,
                () = look_again.notified() => {
                    seen = None;
                    Ok(())
                }
            },
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
        let names = self.stray_names(image);
        let others = self.strays(image);
        let is_settled = names.is_empty() && others.is_empty();
        for (name, serial) in names {
            self.begin_or_give_up(name, serial);
        }
        for stray in others {
            self.give_up(stray);
        }
        self.stand(image) && is_settled
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
    fn stray_names(&self, image: &Image) -> Vec<(String, u64)> {
        let table = self.table();
        let own = image.names().iter().filter(|(_, owner)| {
            owner.actor.node == self.parts.node && owner.actor.incarnation == self.parts.incarnation
        });
        own.filter(|(_, owner)| table.is_gone(owner.actor.serial))
            .map(|(name, owner)| (name.to_owned(), owner.actor.serial))
            .collect()
    }

    /// What else belongs to actors of this life which are not there: memberships, and places among those who wait for a
    /// name.
    fn strays(&self, image: &Image) -> Vec<NameAlteration> {
        let table = self.table();
        let (node, incarnation) = (self.parts.node, self.parts.incarnation);
        let memberships = image.names().memberships_of(node, incarnation);
        let memberships = memberships.filter(|(_, actor)| table.is_gone(actor.serial));
        let waiting = image.names().waiting_of(node, incarnation);
        let waiting = waiting.filter(|(name, actor)| !table.hosts(name, actor.serial));
        let leave = |(group, serial): (&str, u64)| NameAlteration::Leave { group: group.to_owned(), serial };
        let withdraw =
            |(name, serial): (&str, u64)| NameAlteration::Withdraw { name: name.to_owned(), serial };
        let memberships = memberships.map(|(group, actor)| leave((group, actor.serial)));
        memberships.chain(waiting.map(|(name, actor)| withdraw((name, actor.serial)))).collect()
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
            host.singleton_begun(name, serial, begun);
        });
    }

    /// A singleton was begun, or could not be: then it is left to others for a while.
    fn singleton_begun(self: &Arc<Self>, name: String, serial: u64, begun: Result<Arc<Cell>, CallError>) {
        let now = self.parts.clock.now();
        let mut table = self.table();
        table.pending.remove(&serial);
        let is_over = match begun {
            // Nobody hosts it here any more: its end gives up its name.
            Ok(cell) if !table.hosts(&name, serial) => {
                drop(table);
                return cell.stop(ActorEnd::Stopped(StopReason::Asked));
            }
            Ok(_) if table.cells.contains_key(&serial) => {
                if let Some(singleton) = table.singletons.get_mut(&name) {
                    (singleton.failures, singleton.not_before) = (0, None);
                }
                false
            }
            // It has ended already, which nobody has dealt with while it was being begun.
            Ok(cell) => {
                let end = cell.ended.borrow().clone().unwrap_or(ActorEnd::Stopped(StopReason::Forgotten));
                table.forget_singleton(&name, serial, &end)
            }
            Err(error) => {
                let node = self.parts.node;
                tracing::error!(%node, name, %error, "a singleton cannot be begun here, and is left to others for a while");
                table.leave_to_others(&name, serial, now);
                true
            }
        };
        drop(table);
        if is_over {
            self.give_up(NameAlteration::Withdraw { name, serial });
        }
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
        let (mut is_settled, now) = (true, self.parts.clock.now());
        let mut standing = Vec::new();
        for (name, singleton) in &mut self.table().singletons {
            if singleton.serial.is_some_and(|serial| has(name, serial)) {
                continue;
            }
            is_settled = false;
            let is_time = singleton.not_before.is_none_or(|until| until <= now);
            if is_live && is_time && !singleton.is_asking {
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
        let kind = A::KIND;
        let singleton = Singleton {
            kind,
            begin,
            first: serial,
            serial: Some(serial),
            is_asking: true,
            failures: 0,
            not_before: None,
        };
        {
            let mut table = self.table();
            if table.singletons.contains_key(name) {
                return Err(CallError::Refused(format!("this node hosts a singleton {name:?} already")));
            }
            table.singletons.insert(name.to_owned(), singleton);
        }
        let mut standing = Standing { host: Arc::clone(self), name: name.to_owned(), serial, stands: false };
        let stand = NameAlteration::Stand { name: name.to_owned(), kind: kind.to_owned(), serial };
        self.parts.registry.alter(stand, ALTER_WITHIN).await.map_err(refused)?;
        self.sees_itself_stand(name, serial).await;
        if let Some(singleton) = self.table().singletons.get_mut(name).filter(|one| one.first == serial) {
            singleton.is_asking = false;
        }
        standing.stands = true;
        Ok(())
    }
}

/// A node that is about to stand for a singleton's name. Dropped before it does, it does not: whoever wanted it may have
/// given up waiting.
struct Standing {
    host: Arc<Host>,
    name: String,
    serial: u64,
    stands: bool,
}

impl Drop for Standing {
    fn drop(&mut self) {
        if self.stands {
            return;
        }
        let mut table = self.host.table();
        // Whoever asked for it, whether its actor still stands or could not be begun meanwhile.
        if table.singletons.get(&self.name).is_some_and(|one| one.first == self.serial) {
            table.singletons.remove(&self.name);
        }
        let cell = table.cells.get(&self.serial).cloned();
        drop(table);
        if let Some(cell) = cell {
            cell.stop(ActorEnd::Stopped(StopReason::Asked));
        }
        self.host.give_up(NameAlteration::Withdraw { name: self.name.clone(), serial: self.serial });
    }
}
