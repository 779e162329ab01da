//! The types of entities that a node hosts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use ractor::{Actor, ActorCell, ActorRef};

use super::behaviour::PoisonPolicy;
use super::definition::Entity;
use super::host::{EntityHost, HostMessage, Leadership};
use super::reader::{Declared, TopicInput};
use super::standby::Handed;
use super::typed::Typed;
use crate::custom::UserThreads;
use crate::image::{HostedType, Topic, check_name, is_type_name};

/// A type cannot be hosted, or not in this way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entity type {kind:?}: {reason}")]
pub struct InvalidType {
    kind: String,
    reason: String,
}

type Spawned<M> = BoxFuture<'static, Result<ActorRef<M>, String>>;

/// Begins the actor of a partition on the users' threads.
type Begin = Arc<dyn Fn(Leadership, Handed, ActorCell) -> Spawned<HostMessage> + Send + Sync>;

/// The types of entities that a node hosts. Cheap to clone.
#[derive(Clone, Default)]
pub struct EntityTypes {
    types: BTreeMap<Arc<str>, (u16, Begin)>,
    /// What they read; of a type each topic once.
    inputs: Vec<(Arc<str>, Arc<Declared>)>,
}

impl EntityTypes {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// These, and `E`.
    pub fn and<E: Entity>(mut self) -> Result<Self, InvalidType> {
        let invalid = |reason: &str| InvalidType { kind: E::TYPE.to_owned(), reason: reason.to_owned() };
        if !is_type_name(E::TYPE) {
            return Err(invalid("its name has not 1 to 200 letters, digits, - or _"));
        }
        let begin: Begin = Arc::new(begin::<E>);
        if self.types.insert(Arc::from(E::TYPE), (E::VERSION, begin)).is_some() {
            return Err(invalid("it is hosted twice"));
        }
        Ok(self)
    }

    /// These, one of which reads a topic: each of its records, once, in the order of its partition. A type may read several.
    ///
    /// The reader of a partition of the topic lives beside the entities, on the node that leads their partition with its
    /// index. A topic that is not there yet is waited for; one that is deleted and made anew is read from its beginning.
    /// ```
    /// use millstream_actors::custom::ActorMessage;
    /// use millstream_actors::custom::entity::{Entity, EntityTypes, Refused, TopicInput, Turn};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Account {
    ///     cents: i64,
    /// }
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Pay(i64);
    ///
    /// impl ActorMessage for Pay {
    ///     const NAME: &'static str = "pay";
    ///     type Answer = i64;
    /// }
    ///
    /// impl Entity for Account {
    ///     const TYPE: &'static str = "account";
    ///     type Key = String;
    ///     type Message = Pay;
    ///
    ///     fn new(_: &String) -> Self {
    ///         Self { cents: 0 }
    ///     }
    ///
    ///     fn handle(&mut self, Pay(cents): Pay, _: &mut Turn<'_, Self>) -> Result<i64, Refused> {
    ///         self.cents += cents;
    ///         Ok(self.cents)
    ///     }
    /// }
    ///
    /// // Records like "alice" -> "250".
    /// let payments = TopicInput::<Account>::new("payments", |record| {
    ///     let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec());
    ///     let account = text(record.key()).map_err(|error| error.to_string())?;
    ///     let amount = text(record.value()).map_err(|error| error.to_string())?;
    ///     let cents = amount.parse::<i64>().map_err(|error| error.to_string())?;
    ///     Ok(Some((account, Pay(cents))))
    /// });
    /// let types = EntityTypes::new().and::<Account>()?.reading(payments)?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn reading<E: Entity>(mut self, input: TopicInput<E>) -> Result<Self, InvalidType> {
        let invalid = |reason: String| Err(InvalidType { kind: E::TYPE.to_owned(), reason });
        let declared = Declared::of(input);
        let topic = Arc::clone(&declared.topic);
        if let Err(refusal) = check_name(&topic) {
            return invalid(refusal.text);
        }
        if Topic::is_internal_name(&topic) {
            return invalid(format!("it cannot read {topic}, which is the system's own"));
        }
        if matches!(E::POISON, PoisonPolicy::DeadLetter { topic: dead } if *dead == *topic) {
            return invalid(format!(
                "it cannot read {topic}, where its own dead letters go: one that it does not understand would come again and again"
            ));
        }
        let Some((kind, _)) = self.types.get_key_value(E::TYPE) else {
            return invalid(format!("it reads {topic} and is not hosted"));
        };
        let kind = Arc::clone(kind);
        if self.inputs.iter().any(|(reader, known)| (reader, &known.topic) == (&kind, &topic)) {
            return invalid(format!("it reads {topic} twice"));
        }
        self.inputs.push((kind, Arc::new(declared)));
        Ok(self)
    }

    /// What they read.
    pub(super) fn inputs(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Declared>)> {
        self.inputs.iter().map(|(kind, input)| (kind, input))
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.types.keys()
    }

    /// The same with the versions of their states that are the latest here.
    pub(super) fn versions(&self) -> impl Iterator<Item = (&Arc<str>, u16)> {
        self.types.iter().map(|(kind, (version, _))| (kind, *version))
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

    /// Begins the actor of a partition with what is known of its log already.
    pub(super) fn begin(
        &self,
        leadership: Leadership,
        handed: Handed,
        supervisor: ActorCell,
    ) -> Option<Spawned<HostMessage>> {
        let (_, begin) = self.types.get(&leadership.kind)?;
        Some(begin(leadership, handed, supervisor))
    }
}

impl fmt::Debug for EntityTypes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.types.keys()).finish()
    }
}

fn begin<E: Entity>(leadership: Leadership, handed: Handed, supervisor: ActorCell) -> Spawned<HostMessage> {
    let threads = leadership.doors.threads.clone();
    let message_max_bytes = leadership.doors.settings.borrow().turn_max_bytes;
    let formats = leadership.formats.clone();
    let behaviour = Typed::<E>::new(threads.clone(), message_max_bytes, formats, &leadership.doors.events);
    on_users_threads(&threads, EntityHost::new(), (leadership, handed, behaviour), supervisor)
}

/// Begins an actor on the users' threads. What it spawns runs there, too.
pub(super) fn on_users_threads<A: Actor>(
    threads: &UserThreads,
    actor: A,
    arguments: A::Arguments,
    supervisor: ActorCell,
) -> Spawned<A::Msg> {
    let spawned = threads.spawn(async move { Actor::spawn_linked(None, actor, arguments, supervisor).await });
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

    #[derive(Serialize, Deserialize)]
    struct Well;

    impl Entity for Well {
        const TYPE: &'static str = "well";
        const POISON: PoisonPolicy = PoisonPolicy::DeadLetter { topic: "dead" };
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
    fn a_type_reads_topics_of_users_each_once_and_only_where_it_is_hosted() {
        let input = |topic: &str| TopicInput::<Well>::new(topic, |_| Ok(None));
        let hosted = || EntityTypes::new().and::<Well>().unwrap().reading(input("in")).unwrap();
        assert_eq!(hosted().reading(input("other")).unwrap().inputs().count(), 2);
        let refused = |types: EntityTypes, topic| types.reading(input(topic)).unwrap_err().to_string();
        assert!(refused(hosted(), "in").contains("twice"));
        assert!(refused(hosted(), "dead").contains("its own dead letters"));
        assert!(refused(hosted(), "__entity_well").contains("the system's own"));
        assert!(refused(hosted(), "no topic").contains("no topic can be named"));
        assert!(refused(EntityTypes::new(), "in").contains("is not hosted"));
    }

    #[test]
    fn a_type_whose_name_is_no_name_of_a_topic_is_refused() {
        let error = EntityTypes::new().and::<Badly>().unwrap_err();
        assert!(error.to_string().starts_with("entity type \"badly named\""), "{error}");
    }
}
