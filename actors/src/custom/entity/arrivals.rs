//! How messages meet their entities: what is not in memory is read first, what is not used is put to rest, and messages of
//! a source are applied in their order.

use std::collections::VecDeque;

use bytes::Bytes;

use super::batch::Batch;
use super::behaviour::{Behaviour, Fault, Saved};
use super::input::{Delivery, Effect};
use super::message::Unread;
use super::partition::{Asked, CHORES_EVERY_MS, EntityPartition, Live, Stream, reading};
use super::records::Source;

impl<B: Behaviour, T> EntityPartition<B, T> {
    pub(super) fn ask(&mut self, now_ms: i64, entity: Bytes, asked: Asked<T>) {
        if self.table.is_none() {
            return self.answer(asked.reply, Err(reading()));
        }
        if self.waiting_bytes() >= self.settings.waiting_max_bytes {
            let text = "as much as may waits here to be committed; ask again later".to_owned();
            return self.answer(asked.reply, Err(Fault::Busy(text)));
        }
        if !self.loading.contains_key(&entity) && self.begin(now_ms, &entity) {
            self.turn_of_ask(now_ms, &entity, asked);
            self.used(now_ms, &entity);
        } else {
            self.loading_bytes = self.loading_bytes.saturating_add(asked.message.len());
            self.loading.entry(entity).or_default().push_back(asked);
        }
    }

    /// Bytes that wait for their entity or for the log.
    pub(super) fn waiting_bytes(&self) -> usize {
        let batches = self.in_flight.iter().chain(&self.pending).map(Batch::bytes);
        batches.sum::<usize>().saturating_add(self.loading_bytes)
    }

    /// Whether an entity is in memory; where not, it is asked for.
    pub(super) fn begin(&mut self, now_ms: i64, entity: &Bytes) -> bool {
        if self.live.contains_key(entity) {
            return true;
        }
        let Some(table) = &self.table else { return false };
        let Some(stored) = table.stored(entity) else {
            let (saved, batch) = (Saved::default(), 0);
            self.live.insert(entity.clone(), Live { entity: None, saved, batch, used_ms: now_ms });
            self.by_use.insert((now_ms, entity.clone()));
            return true;
        };
        if !self.loading.contains_key(entity) {
            let offsets = stored.snapshot.into_iter().chain(stored.events.values().copied()).collect();
            self.effects.push(Effect::Load { life: self.life, entity: entity.clone(), offsets });
            self.loading.insert(entity.clone(), VecDeque::new());
        }
        false
    }

    pub(super) fn loaded(&mut self, now_ms: i64, entity: &Bytes, values: Result<Vec<Bytes>, Fault>) {
        let Some(waiting) = self.loading.remove(entity) else { return };
        let bytes: usize = waiting.iter().map(|asked| asked.message.len()).sum();
        self.loading_bytes = self.loading_bytes.saturating_sub(bytes);
        match values.and_then(|values| self.saved(entity, &values)) {
            Ok(saved) => {
                let live = Live { entity: None, saved, batch: 0, used_ms: now_ms };
                self.live.insert(entity.clone(), live);
                self.by_use.insert((now_ms, entity.clone()));
                for asked in waiting {
                    self.turn_of_ask(now_ms, entity, asked);
                }
                self.used(now_ms, entity);
            }
            Err(fault) => {
                for asked in waiting {
                    self.answer(asked.reply, Err(fault.clone()));
                }
                self.leave_timers(now_ms, entity, &fault);
                let waits =
                    |stream: &Stream<T>| stream.messages.front().is_some_and(|next| next.entity == *entity);
                let stopped: Vec<_> = self
                    .streams
                    .iter()
                    .filter(|(_, stream)| waits(stream))
                    .map(|(source, _)| *source)
                    .collect();
                for source in stopped {
                    self.end_stream(source, Some(fault.clone()));
                }
            }
        }
        self.go_on(now_ms);
    }

    /// Timers of an entity that could not be read do not make it be read again at each look.
    fn leave_timers(&mut self, now_ms: i64, entity: &Bytes, fault: &Fault) {
        let due = self.table.iter().flat_map(|table| table.timers_due(now_ms));
        let due: Vec<_> = due.filter(|(of, _)| *of == entity).map(|(_, name)| name.to_owned()).collect();
        if due.is_empty() {
            return;
        }
        if let Fault::Unreadable(_) = fault {
            self.blocked_timers.extend(due.into_iter().map(|name| (entity.clone(), name)));
        } else {
            self.timers_rest_until_ms = now_ms.saturating_add(CHORES_EVERY_MS);
        }
    }

    pub(super) fn deliver(
        &mut self,
        now_ms: i64,
        source: Source,
        through: Option<u64>,
        messages: Vec<Delivery>,
        reply: T,
    ) {
        if self.table.is_none() {
            return self.answer(reply, Err(reading()));
        }
        let streams: usize = self.streams.values().map(|stream| stream.bytes).sum();
        if through.is_some()
            && self.waiting_bytes().saturating_add(streams) >= self.settings.waiting_max_bytes
        {
            let text = "as much as may waits here already; send these again later".to_owned();
            return self.answer(reply, Err(Fault::Busy(text)));
        }
        if self.streams.contains_key(&source) {
            let text = "messages of this source are being applied; send these again".to_owned();
            return self.answer(reply, Err(Fault::Retry(text)));
        }
        let batch = self.uncommitted.positions.get(&source).map_or(0, |(_, batch)| *batch);
        let bytes = messages.iter().map(|message| message.entity.len() + message.message.len()).sum();
        self.streams.insert(source, Stream { messages: messages.into(), bytes, through, reply, batch });
        self.advance(now_ms, source);
    }

    /// Streams whose next message may have waited for its entity.
    fn go_on(&mut self, now_ms: i64) {
        let sources: Vec<_> = self.streams.keys().copied().collect();
        for source in sources {
            self.advance(now_ms, source);
        }
    }

    /// Applies messages of a source, in order, until one has to wait.
    fn advance(&mut self, now_ms: i64, source: Source) {
        loop {
            let Some(stream) = self.streams.get_mut(&source) else { return };
            let Some(delivery) = stream.messages.pop_front() else { return self.end_of_stream(source) };
            if delivery.sequence <= self.position(source) {
                continue;
            }
            if let Some(unread) = Unread::of(&delivery.message) {
                match (self.unread(now_ms, source, &delivery, unread), self.streams.get_mut(&source)) {
                    (Ok(batch), Some(stream)) => stream.batch = batch,
                    (Ok(_), None) => return,
                    (Err(fault), _) => return self.end_stream(source, Some(fault)),
                }
                continue;
            }
            if !self.begin(now_ms, &delivery.entity) {
                if let Some(stream) = self.streams.get_mut(&source) {
                    stream.messages.push_front(delivery);
                }
                return;
            }
            let done = self.turn_of_delivery(now_ms, source, &delivery);
            self.used(now_ms, &delivery.entity);
            match (done, self.streams.get_mut(&source)) {
                (Ok(batch), Some(stream)) => stream.batch = batch,
                (Ok(_), None) => return,
                (Err(fault), _) => return self.end_stream(source, Some(fault)),
            }
        }
    }

    fn position(&self, source: Source) -> u64 {
        let committed = self.table.as_ref().map_or(0, |table| table.position(source));
        self.uncommitted.positions.get(&source).map_or(committed, |(sequence, _)| *sequence)
    }

    /// All messages of a stream are in batches.
    fn end_of_stream(&mut self, source: Source) {
        let through = self.streams.get(&source).and_then(|stream| stream.through);
        if let Some(through) = through.filter(|through| *through > self.position(source)) {
            let batch = self.seen_through(source, through);
            if let Some(stream) = self.streams.get_mut(&source) {
                stream.batch = batch;
            }
        }
        self.end_stream(source, None);
    }

    fn end_stream(&mut self, source: Source, fault: Option<Fault>) {
        let Some(stream) = self.streams.remove(&source) else { return };
        match fault {
            Some(fault) => self.answer(stream.reply, Err(fault)),
            None => self.answer_behind(stream.batch, stream.reply, Ok(Bytes::new())),
        }
    }

    /// The entity was used now; beyond the bound those that were not for longest are put to rest.
    fn used(&mut self, now_ms: i64, entity: &Bytes) {
        if let Some(live) = self.live.get_mut(entity) {
            self.by_use.remove(&(live.used_ms, entity.clone()));
            live.used_ms = now_ms;
            self.by_use.insert((now_ms, entity.clone()));
        }
        if self.live.len() > self.settings.live_max {
            self.rest(i64::MAX, self.live.len() - self.settings.live_max);
        }
    }

    /// Puts entities to rest that were not used since then, at most so many; those with turns under way stay.
    pub(super) fn rest(&mut self, before_ms: i64, most: usize) {
        let idle = self.by_use.iter().take_while(|(used_ms, _)| *used_ms < before_ms);
        let at_rest =
            idle.filter(|(_, entity)| self.live.get(entity).is_some_and(|live| live.batch <= self.committed));
        let resting: Vec<_> = at_rest.take(most).cloned().collect();
        for place in resting {
            self.live.remove(&place.1);
            self.by_use.remove(&place);
        }
    }
}
