//! The types of entities that a node hosts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use ractor::{Actor, ActorCell, ActorRef};

use super::definition::Entity;
use super::host::{EntityHost, HostMessage, Leadership};
use super::typed::Typed;
use crate::image::{HostedType, is_type_name};

/// A type cannot be hosted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entity type {kind:?}: {reason}")]
pub struct InvalidType {
    kind: String,
    reason: &'static str,
}

type Spawned = BoxFuture<'static, Result<ActorRef<HostMessage>, String>>;

/// Begins the actor of a partition on the users' threads.
type Begin = Arc<dyn Fn(Leadership, ActorCell) -> Spawned + Send + Sync>;

/// The types of entities that a node hosts. Cheap to clone.
#[derive(Clone, Default)]
pub struct EntityTypes {
    types: BTreeMap<Arc<str>, (u16, Begin)>,
}

impl EntityTypes {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// These, and `E`.
    pub fn and<E: Entity>(mut self) -> Result<Self, InvalidType> {
        let invalid = |reason| InvalidType { kind: E::TYPE.to_owned(), reason };
        if !is_type_name(E::TYPE) {
            return Err(invalid("its name has not 1 to 200 letters, digits, - or _"));
        }
        let begin: Begin = Arc::new(|leadership, supervisor| begin::<E>(leadership, supervisor));
        if self.types.insert(Arc::from(E::TYPE), (E::VERSION, begin)).is_some() {
            return Err(invalid("it is hosted twice"));
        }
        Ok(self)
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.types.keys()
    }

    /// The types as a node registers them.
    #[must_use]
    pub fn hosted(&self) -> Vec<HostedType> {
        let each = self.types.iter();
        let each =
            each.map(|(kind, (version, _))| HostedType { kind: kind.to_string(), first: 1, last: *version });
        each.collect()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.types.is_empty()
    }

    /// Whether a type is among them.
    #[must_use]
    pub fn contains(&self, kind: &str) -> bool {
        self.types.contains_key(kind)
    }

    pub(super) fn begin(&self, leadership: Leadership, supervisor: ActorCell) -> Option<Spawned> {
        let (_, begin) = self.types.get(&leadership.kind)?;
        Some(begin(leadership, supervisor))
    }
}

impl fmt::Debug for EntityTypes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.types.keys()).finish()
    }
}

fn begin<E: Entity>(leadership: Leadership, supervisor: ActorCell) -> Spawned {
    let threads = leadership.doors.threads.clone();
    let message_max_bytes = leadership.doors.settings.borrow().turn_max_bytes;
    let behaviour = Typed::<E>::new(threads.clone(), message_max_bytes, &leadership.doors.events);
    // What an actor spawns runs where it was spawned: on the users' threads.
    let spawned = threads.spawn(async move {
        Actor::spawn_linked(None, EntityHost::new(), (leadership, behaviour), supervisor).await
    });
    async move {
        match spawned {
            Ok(task) => match task.await {
                Ok(Ok((actor, _))) => Ok(actor),
                Ok(Err(error)) => Err(error.to_string()),
                Err(error) => Err(error.to_string()),
            },
            Err(error) => Err(error.to_string()),
        }
    }
    .boxed()
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::super::definition::{Refused, Turn};
    use super::*;
    use crate::custom::ActorMessage;

    #[derive(Serialize, Deserialize)]
    struct Badly;

    #[derive(Serialize, Deserialize)]
    struct Nothing;

    impl ActorMessage for Nothing {
        const NAME: &'static str = "nothing";
        type Answer = ();
    }

    impl Entity for Badly {
        const TYPE: &'static str = "badly named";
        type Key = String;
        type Message = Nothing;

        fn new(_: &String) -> Self {
            Self
        }

        fn handle(&mut self, _: Nothing, _: &mut Turn<'_, Self>) -> Result<(), Refused> {
            Ok(())
        }
    }

    #[test]
    fn a_type_whose_name_is_no_name_of_a_topic_is_refused() {
        let error = EntityTypes::new().and::<Badly>().unwrap_err();
        assert!(error.to_string().starts_with("entity type \"badly named\""), "{error}");
    }
}
