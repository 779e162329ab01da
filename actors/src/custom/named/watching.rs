//! Waits for the end of actors and for changes of names.
//!
//! What the quorum says of a node is the same for all who watch; why an actor stopped, its own node says.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::host::Host;
use super::message::{ActorEnd, NameNews, OwnerChange, StopReason, WatchActor, WatchName};
use crate::ids::ActorId;
use crate::image::{Image, NameChange, NameEvent};

/// The longest wait for one answer.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// How long one question to the actor's own node waits there.
const ASK_WITHIN: Duration = Duration::from_secs(10);

/// The pause after a question that came to nothing.
const ASK_AGAIN: Duration = Duration::from_millis(100);

impl Host {
    /// Waits for the end of an actor; `None` if it has not ended in time.
    pub(super) async fn watch(self: Arc<Self>, message: WatchActor) -> Option<ActorEnd> {
        let WatchActor { actor, since, within_ms } = message;
        let within = Duration::from_millis(within_ms.into()).min(WAIT_MAX);
        let over = sleep_until(Instant::now() + within);
        tokio::select! {
            biased;
            // First: what is known of its end is not forgotten because this node ends, too.
            end = self.stopped(actor, since) => Some(end),
            end = self.lost(actor, since) => Some(end),
            () = self.without_quorum() => Some(ActorEnd::Unsure),
            () = over => None,
        }
    }

    /// Returns when the quorum has taken the actor's node for lost.
    async fn lost(&self, actor: ActorId, since: u64) -> ActorEnd {
        let mut images = self.parts.images.clone();
        loop {
            let lost = images.borrow_and_update().names().lost(actor, since);
            if let Some(version) = lost {
                return ActorEnd::NodeLost(version);
            }
            if images.changed().await.is_err() {
                // This node ends.
                return ActorEnd::Unsure;
            }
        }
    }

    /// Returns when the actor's own node says that it has stopped.
    async fn stopped(&self, actor: ActorId, since: u64) -> ActorEnd {
        if actor == self.id(actor.serial) {
            return self.stopped_here(actor.serial).await;
        }
        if actor.node == self.parts.node {
            // Of an earlier life of this node: that it is over is the quorum's to say.
            return std::future::pending().await;
        }
        loop {
            let within_ms = u32::try_from(ASK_WITHIN.as_millis()).unwrap_or(u32::MAX);
            let message = WatchActor { actor, since, within_ms };
            let most = ASK_WITHIN + Duration::from_secs(2);
            // Whether it is lost this node knows itself; that another is unsure says nothing here.
            let told = self.parts.mail.watch(actor.node, message, most).await;
            if let Ok(Some(end @ ActorEnd::Stopped(_))) = told {
                return end;
            }
            // Not at once: a node whose places for waits are taken says without waiting that it knows of no end.
            sleep(ASK_AGAIN).await;
        }
    }

    async fn stopped_here(&self, serial: u64) -> ActorEnd {
        let cell = self.table().cells.get(&serial).cloned();
        let Some(cell) = cell else {
            return self.end_of(serial).unwrap_or(ActorEnd::Stopped(StopReason::Forgotten));
        };
        let mut ended = cell.ended.subscribe();
        loop {
            let end = ended.borrow_and_update().clone();
            if let Some(end) = end {
                return end;
            }
            if ended.changed().await.is_err() {
                return ActorEnd::Stopped(StopReason::Forgotten);
            }
        }
    }

    /// Returns when this node has lost the quorum.
    async fn without_quorum(&self) {
        let mut health = self.parts.health.clone();
        // Where nobody tells any more, this node ends.
        drop(health.wait_for(|health| health.quorum_lost).await);
    }

    /// Waits for changes of a name's owner.
    pub(super) async fn news(self: Arc<Self>, message: WatchName) -> NameNews {
        let WatchName { name, seen, within_ms } = message;
        let until = Instant::now() + Duration::from_millis(within_ms.into()).min(WAIT_MAX);
        let mut images = self.parts.images.clone();
        let Some((next, owner)) = seen else { return now(&images.borrow(), &name, false) };
        loop {
            let news = since(&images.borrow_and_update(), &name, next, owner);
            if !news.changes.is_empty() {
                return news;
            }
            tokio::select! {
                biased;
                changed = images.changed() => if changed.is_err() { return news },
                () = sleep_until(until) => return news,
            }
        }
    }
}

/// Who has a name now.
fn now(image: &Image, name: &str, is_after_gap: bool) -> NameNews {
    let owner = image.names().owner(name);
    let version = owner.map_or(image.version(), |owner| owner.since);
    let change = OwnerChange { owner: owner.map(|owner| owner.actor), version, is_after_gap };
    NameNews { changes: vec![change], next: image.names().next_change() }
}

/// What happened to a name from event `next` on, when it had this owner.
fn since(image: &Image, name: &str, next: u64, owner: Option<ActorId>) -> NameNews {
    let names = image.names();
    if names.next_change() <= next {
        // An image older than what was seen elsewhere.
        return NameNews { changes: Vec::new(), next };
    }
    let mut events = names.changes_from(next).peekable();
    if events.peek().is_none_or(|first| first.number > next) {
        return now(image, name, true);
    }
    let (mut owner, mut changes) = (owner, Vec::new());
    for NameChange { version, event, .. } in events {
        let changed = match event {
            NameEvent::Owner { name: of, owner } if of == name => *owner,
            NameEvent::NodeLost { node, incarnation }
                if owner.is_some_and(|known| known.node == *node && known.incarnation == *incarnation) =>
            {
                None
            }
            NameEvent::Owner { .. } | NameEvent::NodeLost { .. } => continue,
        };
        if changed != owner {
            owner = changed;
            changes.push(OwnerChange { owner, version: *version, is_after_gap: false });
        }
    }
    NameNews { changes, next: names.next_change() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::{Incarnation, NodeId};
    use crate::image::fixture::{fence, registration, unfence};
    use crate::image::{Command, Features, NameAlteration, Registration};

    const NAME: &str = "a";

    fn begin() -> Image {
        let mut image = Image::default();
        for node in [1, 2] {
            let registration = Registration { feature_level: Features::NAMES, ..registration(node, 1) };
            image.apply(image.version() + 1, &Command::RegisterNode(registration));
            image.apply(image.version() + 1, &unfence(node, 1));
        }
        image.apply(image.version() + 1, &Command::SetFeatureLevel { level: Features::NAMES });
        image
    }

    fn command(what: u8, node: u32, serial: u64) -> Command {
        // Now and then of another name.
        let (name, kind) = (if what >= 12 { "b" } else { NAME }.to_owned(), "k".to_owned());
        let alteration = match what % 4 {
            0 => NameAlteration::Register { name, kind, serial },
            1 => NameAlteration::Stand { name, kind, serial },
            2 => NameAlteration::Release { name, serial },
            _ => NameAlteration::Withdraw { name, serial },
        };
        match what {
            0 => fence(node, 1),
            1 | 2 => unfence(node, 1),
            _ => {
                Command::AlterNames { node: NodeId(node), incarnation: Incarnation(1), alteration, most: 100 }
            }
        }
    }

    proptest! {
        /// Who watches asks one node after the other, and each of them knows the cluster as of some time ago.
        #[test]
        fn every_change_of_a_names_owner_is_told_once_and_in_order(
            commands in prop::collection::vec((0_u8..16, 1_u32..=2, 0_u64..4), 0..120),
            lags in prop::collection::vec(0_usize..12, 1..40),
        ) {
            let (mut image, mut images) = (begin(), Vec::new());
            images.push(image.clone());
            for (what, node, serial) in commands {
                image.apply(image.version() + 1, &command(what, node, serial));
                images.push(image.clone());
            }
            // From the owners after each command: those between, where a name is passed on, are told beside them.
            let owner_of = |image: &Image| image.names().owner(NAME).map(|owner| owner.actor);
            let first = now(&images[0], NAME, false);
            let (mut next, mut owner) = (first.next, first.changes[0].owner);
            let mut told: Vec<OwnerChange> = Vec::new();
            for at in 0..images.len() {
                let lag = lags[at % lags.len()];
                let news = since(&images[at.saturating_sub(lag)], NAME, next, owner);
                prop_assert!(news.next >= next);
                next = news.next;
                owner = news.changes.last().map_or(owner, |change| change.owner);
                told.extend(news.changes);
            }
            told.extend(since(&image, NAME, next, owner).changes);
            prop_assert!(told.is_sorted_by_key(|change| change.version));
            prop_assert!(told.windows(2).all(|pair| pair[0].owner != pair[1].owner));
            for pair in images.windows(2) {
                let (before, after) = (owner_of(&pair[0]), owner_of(&pair[1]));
                let of_it: Vec<_> =
                    told.iter().filter(|change| change.version == pair[1].version()).collect();
                prop_assert_eq!(of_it.last().map_or(before, |change| change.owner), after);
                prop_assert!(of_it.iter().all(|change| !change.is_after_gap));
            }
        }
    }
}
