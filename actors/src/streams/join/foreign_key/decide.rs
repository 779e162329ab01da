//! What becomes of a change of either table, of a subscription and of an answer.

use std::sync::Arc;

use bytes::Bytes;

use super::super::super::event::{Change, Data, Event};
use super::super::super::graph::StoreId;
use super::super::super::operator::{Outcome, Outlet};
use super::super::super::scope::{Outgoing, Scope, StreamError};
use super::super::super::table::{Get, Getter};
use super::Join;
use super::answers::{Answers, Entry, Known};
use super::message::{Answer, AnswerCodec, Ask, Subscription};
use super::subscriptions::Subscriptions;

impl<K: Data, L: Data, F: Data, R: Data, W: Data> Join<K, L, F, R, W> {
    pub(super) fn change(
        &self,
        answers: &Answers<K, R, W>,
        outlet: &Outlet<K, Change<W>>,
        event: Event<K, Change<L>>,
        scope: &mut Scope,
    ) -> Outcome {
        let Event { key, value: Change { new, old }, timestamp_ms } = event;
        let at = answers.at(&key)?;
        let known = answers.get(scope, &at)?;
        let (was, is) = (self.foreign_of(&key, old.as_ref())?, self.foreign_of(&key, new.as_ref())?);
        let (new, old) = match (known, is) {
            (Some((_, Known::Waiting(_))), Some(foreign)) if was.as_ref() == Some(&foreign) => return Ok(()),
            (Some((_, Known::Answered(value))), Some(foreign)) if was.as_ref() == Some(&foreign) => {
                ((self.with)(&key, new, value.clone()), (self.with)(&key, old, value))
            }
            (known, is) => {
                if let (Some((version, _)), Some(foreign)) = (&known, was) {
                    self.ask(scope, foreign, (Ask::End, *version), &at, timestamp_ms);
                }
                let old = self.result(&key, old, known);
                let Some(foreign) = is else {
                    answers.put(scope, at, None)?;
                    let change = Change { new: (self.with)(&key, new, None), old };
                    return outlet.give_change(Event { key, value: change, timestamp_ms }, scope);
                };
                let ask = if self.is_left || old.is_some() { Ask::Always } else { Ask::IfThere };
                let version = answers.next_version(scope)?;
                self.ask(scope, foreign, (ask, version), &at, timestamp_ms);
                return answers.put(scope, at, Some((version, &Known::Waiting(old))));
            }
        };
        outlet.give_change(Event { key, value: Change { new, old }, timestamp_ms }, scope)
    }

    pub(super) fn answered(
        &self,
        answers: &Answers<K, R, W>,
        left: &dyn Get<K, L>,
        outlet: &Outlet<K, Change<W>>,
        event: Event<K, Answer<R>>,
        scope: &mut Scope,
    ) -> Outcome {
        let Event { key, value: Answer { version, value }, timestamp_ms } = event;
        let at = answers.at(&key)?;
        // Another version is an answer to what is no longer asked.
        let Some((_, known)) = answers.get(scope, &at)?.filter(|(newest, _)| *newest == version) else {
            return Ok(());
        };
        let left = left.get(scope, &key)?;
        let old = self.result(&key, left.clone(), Some((version, known)));
        let known = Known::Answered(value);
        answers.put(scope, at, Some((version, &known)))?;
        let new = self.result(&key, left, Some((version, known)));
        outlet.give_change(Event { key, value: Change { new, old }, timestamp_ms }, scope)
    }

    /// What the joined table has of a key.
    fn result(&self, key: &K, left: Option<L>, known: Option<Entry<R, W>>) -> Option<W> {
        match known.map(|(_, known)| known) {
            None => (self.with)(key, left, None),
            Some(Known::Answered(value)) => (self.with)(key, left, value),
            Some(Known::Waiting(result)) => result,
        }
    }

    fn foreign_of(&self, key: &K, value: Option<&L>) -> Result<Option<Bytes>, StreamError> {
        let foreign = value.and_then(|value| (self.foreign)(key, value));
        Ok(foreign.map(|foreign| self.of.foreign.encode(&foreign)).transpose()?.flatten())
    }

    fn ask(
        &self,
        scope: &mut Scope,
        foreign: Bytes,
        (ask, version): (Ask, u64),
        at: &Bytes,
        timestamp_ms: i64,
    ) {
        let partition = scope.origin.partition;
        let subscription = Subscription { ask, partition, version, key: at.slice(1..) };
        let headers = Arc::clone(&scope.origin.headers);
        scope.sent.push(Outgoing {
            topic: Arc::clone(&self.subscription_topic),
            partition: None,
            key: Some(foreign),
            value: Some(subscription.encode()),
            timestamp_ms,
            headers,
        });
    }

    pub(super) fn subscribe(
        &self,
        subscriptions: &Subscriptions,
        right: &dyn Get<F, R>,
        event: Event<F, Subscription>,
        scope: &mut Scope,
    ) -> Outcome {
        let Event { key, value: subscription, timestamp_ms } = event;
        let foreign = self.of.foreign.encode(&key)?.ok_or(StreamError::NoKey)?;
        subscriptions.put(scope, &foreign, &subscription, subscription.ask != Ask::End)?;
        let value = match subscription.ask {
            Ask::End => return Ok(()),
            Ask::IfThere | Ask::Always => right.get(scope, &key)?,
        };
        if value.is_none() && subscription.ask == Ask::IfThere {
            return Ok(());
        }
        let framed = AnswerCodec(Arc::clone(&self.of.other)).framed(value.as_ref())?;
        let Subscription { partition, version, key, .. } = subscription;
        self.answer(scope, (partition, version, key), &framed, timestamp_ms);
        Ok(())
    }

    pub(super) fn tell(
        &self,
        subscriptions: &Subscriptions,
        event: Event<F, Change<R>>,
        scope: &mut Scope,
    ) -> Outcome {
        let foreign = self.of.foreign.encode(&event.key)?.ok_or(StreamError::NoKey)?;
        let framed = AnswerCodec(Arc::clone(&self.of.other)).framed(event.value.new.as_ref())?;
        subscriptions.each(scope, &foreign, |subscriber, scope| {
            let to = (subscriber.partition, subscriber.version, subscriber.key);
            self.answer(scope, to, &framed, event.timestamp_ms);
        })
    }

    fn answer(
        &self,
        scope: &mut Scope,
        (partition, version, key): (i32, u64, Bytes),
        framed: &[u8],
        timestamp_ms: i64,
    ) {
        let headers = Arc::clone(&scope.origin.headers);
        scope.sent.push(Outgoing {
            topic: Arc::clone(&self.answer_topic),
            partition: Some(partition),
            key: Some(key),
            value: Some(AnswerCodec::<R>::answer(version, framed)),
            timestamp_ms,
            headers,
        });
    }

    pub(super) fn getter(self: &Arc<Self>, left: &Getter<K, L>, store: StoreId) -> Getter<K, W> {
        let (left, join) = (left.clone(), Arc::clone(self));
        Getter(Arc::new(move |assembly| {
            let answers = Answers::new(assembly.place(store)?, &join.of);
            Ok(Box::new(JoinedGet { left: left.make(assembly)?, answers, join: Arc::clone(&join) }))
        }))
    }
}

struct JoinedGet<K, L, F, R, W> {
    left: Box<dyn Get<K, L>>,
    answers: Answers<K, R, W>,
    join: Arc<Join<K, L, F, R, W>>,
}

impl<K: Data, L: Data, F: Data, R: Data, W: Data> Get<K, W> for JoinedGet<K, L, F, R, W> {
    fn get(&self, scope: &Scope, key: &K) -> Result<Option<W>, StreamError> {
        let (left, at) = (self.left.get(scope, key)?, self.answers.at(key)?);
        Ok(self.join.result(key, left, self.answers.get(scope, &at)?))
    }
}
