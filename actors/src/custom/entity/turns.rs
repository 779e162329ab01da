//! One turn: a message given to its entity, and all that comes of it put into a batch, or nothing.

use bytes::Bytes;

use super::batch::Adds;
use super::behaviour::{Behaviour, Change, Fault, Handled, Saved};
use super::dead_letter::again;
use super::message::Unread;
use super::partition::{Asked, CHORES_EVERY_MS, Delivery, EntityPartition};
use super::publishing::{Placed, weight};
use super::records::{Event, RecordKey, RecordValue, Remembered, Snapshot, Source, Timer};
use super::table::{outgoing_bytes, request_bytes, timer_bytes};
use crate::custom::RequestId;

/// What a record takes in a batch beside its bytes, at most.
const RECORD_BYTES: usize = 64;

/// What a turn writes beside what its handler asked for.
pub(super) enum Cause<'a> {
    Request(RequestId),
    Delivery(Source, u64),
    Timer(&'a str),
}

impl<B: Behaviour, T> EntityPartition<B, T> {
    /// The turn of somebody who waits for its answer.
    pub(super) fn turn_of_ask(&mut self, now_ms: i64, entity: &Bytes, asked: Asked<T>) {
        let Asked { request, message, reply } = asked;
        let key = (entity.clone(), request);
        if let Some((batch, answer)) = self.uncommitted.requests.get(&key).cloned() {
            return self.answer_behind(batch, reply, answer);
        }
        let known = self.table.as_ref().and_then(|table| table.remembered(entity, request));
        if let Some(answer) = known.map(|known| known.answer.clone()) {
            return self.answer_behind(0, reply, Ok(answer));
        }
        if let Some(failed) = self.table.as_ref().and_then(|table| table.failed(entity, request)) {
            let fault = again(failed);
            return self.answer_behind(0, reply, Err(fault));
        }
        let cause = Cause::Request(request);
        let result = self.turn(now_ms, entity, &cause, &message);
        let fault = result.as_ref().err();
        let buried = fault.and_then(|fault| self.unanswered(now_ms, entity, (&cause, &message), fault));
        let batch = self.live.get(entity).map_or(0, |live| live.batch);
        self.answer_behind(buried.unwrap_or(batch), reply, result);
    }

    /// The turn of a message of a source; the batch that it is in.
    pub(super) fn turn_of_delivery(
        &mut self,
        now_ms: i64,
        source: Source,
        delivery: &Delivery,
    ) -> Result<u64, Fault> {
        let cause = Cause::Delivery(source, delivery.sequence);
        match self.turn(now_ms, &delivery.entity, &cause, &delivery.message) {
            Ok(_) => {}
            Err(fault) => {
                self.unhandled(now_ms, &delivery.entity, (&cause, &delivery.message), fault)?;
            }
        }
        Ok(self.batch_of_position(source))
    }

    /// A record of a topic is for no entity: it was not understood.
    pub(super) fn unread(
        &mut self,
        now_ms: i64,
        source: Source,
        delivery: &Delivery,
        unread: Unread,
    ) -> Result<u64, Fault> {
        let cause = Cause::Delivery(source, delivery.sequence);
        let fault = Fault::Malformed(unread.why);
        self.unhandled(now_ms, &Bytes::new(), (&cause, &delivery.message), fault)?;
        Ok(self.batch_of_position(source))
    }

    /// Nothing of a source up to this sequence is missing here, though the last of it was for others; the batch that says
    /// so.
    pub(super) fn seen_through(&mut self, source: Source, sequence: u64) -> u64 {
        self.note(&Cause::Delivery(source, sequence), &Bytes::new());
        self.batch_of_position(source)
    }

    fn batch_of_position(&self, source: Source) -> u64 {
        self.uncommitted.positions.get(&source).map_or(0, |(_, batch)| *batch)
    }

    /// The turn of a timer that is due.
    pub(super) fn turn_of_timer(&mut self, now_ms: i64, entity: &Bytes, name: &str) {
        let timer = self.table.as_ref().and_then(|table| table.timer(entity, name));
        let Some(message) = timer.map(|timer| timer.message.clone()) else { return };
        let cause = Cause::Timer(name);
        let turned = self.turn(now_ms, entity, &cause, &message);
        let unhandled = turned.err().map(|fault| self.unhandled(now_ms, entity, (&cause, &message), fault));
        match unhandled {
            None | Some(Ok(())) => {}
            // What it needs is not there now: it need not be tried at each look.
            Some(Err(Fault::Busy(_) | Fault::Retry(_))) => {
                self.timers_rest_until_ms = now_ms.saturating_add(CHORES_EVERY_MS);
            }
            Some(Err(_)) => {
                self.blocked_timers.insert((entity.clone(), name.to_owned()));
            }
        }
    }

    fn turn(
        &mut self,
        now_ms: i64,
        entity: &Bytes,
        cause: &Cause<'_>,
        message: &[u8],
    ) -> Result<Bytes, Fault> {
        let handled = self.handle(now_ms, entity, message)?;
        match self.keep(now_ms, entity, cause, handled) {
            Ok(answer) => Ok(answer),
            Err(fault) => {
                self.throw_away(entity);
                Err(fault)
            }
        }
    }

    /// Runs the handler, again after a panic, as often as it may.
    fn handle(&mut self, now_ms: i64, entity: &Bytes, message: &[u8]) -> Result<Handled, Fault> {
        let mut panics = 0;
        loop {
            let Some(live) = self.live.get_mut(entity) else { return Err(super::partition::reading()) };
            let loaded = match live.entity.take() {
                Some(loaded) => Ok(loaded),
                None => self.behaviour.load(entity, &live.saved),
            };
            let result = loaded.and_then(|mut loaded| {
                let handled = self.behaviour.handle(&mut loaded, entity, now_ms, message)?;
                live.entity = Some(loaded);
                Ok(handled)
            });
            match result {
                Err(Fault::Panicked(text)) => {
                    panics += 1;
                    if panics >= self.settings.panics_max {
                        return Err(Fault::Panicked(text));
                    }
                }
                result => return result,
            }
        }
    }

    fn throw_away(&mut self, entity: &Bytes) {
        if let Some(live) = self.live.get_mut(entity) {
            live.entity = None;
        }
    }

    /// Puts what came of a turn into a batch, if there is room for it.
    fn keep(
        &mut self,
        now_ms: i64,
        entity: &Bytes,
        cause: &Cause<'_>,
        mut handled: Handled,
    ) -> Result<Bytes, Fault> {
        if handled.only_reads() {
            match cause {
                Cause::Request(_) => {}
                Cause::Delivery(..) | Cause::Timer(_) => self.note(cause, entity),
            }
            return Ok(handled.answer);
        }
        if !matches!(cause, Cause::Request(_)) {
            // Nobody is told who could send it again.
            self.knows_topics(&handled.published)?;
        }
        let placed = self.place(now_ms, std::mem::take(&mut handled.published))?;
        let (bytes, adds) = self.weigh(entity, cause, &handled, &placed)?;
        let (saved, snapshot) = self.next_saved(entity, &handled.change)?;
        let bytes = snapshot.as_ref().map_or(bytes, |snapshot| bytes + snapshot.state.len());
        let (answer, is_gone) = (handled.answer.clone(), handled.change == Change::Gone);
        self.write(now_ms, (entity, cause), (handled, snapshot, placed), (bytes, adds));
        if let Some(live) = self.live.get_mut(entity) {
            live.saved = saved;
        }
        if is_gone {
            // It begins anew.
            self.throw_away(entity);
        }
        Ok(answer)
    }

    /// What the log holds of an entity after a change, and the snapshot that goes with it where it has many events, or such
    /// that are large together: what has to be read to wake it is bounded.
    fn next_saved(&self, entity: &Bytes, change: &Change) -> Result<(Saved, Option<Snapshot>), Fault> {
        let Some(live) = self.live.get(entity) else { return Err(super::partition::reading()) };
        let mut saved = live.saved.clone();
        let mut snapshot = None;
        match change {
            Change::Nothing => {}
            Change::State { version, state } => saved.snapshot = Some((*version, state.clone())),
            Change::Events(events) => {
                let count = u64::try_from(events.len()).unwrap_or(u64::MAX);
                saved.sequence = saved.sequence.saturating_add(count);
                saved.events.extend(events.iter().cloned());
                let bytes: usize = saved.events.iter().map(|event| event.event.len()).sum();
                let are_many = saved.events.len() >= self.settings.snapshot_events;
                if (are_many || bytes >= self.settings.turn_max_bytes)
                    && let Some(entity) = &live.entity
                    && let Some((version, state)) = self.behaviour.snapshot(entity)?
                    // An earlier form may be larger than the latest, which was weighed.
                    && state.len() <= self.settings.turn_max_bytes
                {
                    saved.snapshot = Some((version, state.clone()));
                    saved.events.clear();
                    snapshot = Some(Snapshot { sequence: saved.sequence, version, state });
                }
            }
            Change::Gone if saved.sequence == 0 => saved.snapshot = None,
            Change::Gone => {
                let text = "an entity with events cannot be forgotten".to_owned();
                return Err(Fault::Refused(text));
            }
        }
        Ok((saved, snapshot))
    }

    /// The bytes of a turn's records, and what it adds to what is bounded; a fault where that is too much.
    fn weigh(
        &self,
        entity: &Bytes,
        cause: &Cause<'_>,
        handled: &Handled,
        placed: &[Placed],
    ) -> Result<(usize, Adds), Fault> {
        let change: usize = match &handled.change {
            Change::Nothing | Change::Gone => 0,
            Change::State { state, .. } => state.len(),
            // The key of each has the entity's.
            Change::Events(events) => {
                events.iter().map(|event| event.event.len() + entity.len() + RECORD_BYTES).sum()
            }
        };
        let ended = handled.timers.iter().filter(|(_, timer)| timer.is_none());
        let ended: usize = ended.map(|(name, _)| name.len() + entity.len() + RECORD_BYTES).sum();
        let timers = handled.timers.iter().filter_map(|(name, timer)| Some((name, timer.as_ref()?)));
        let (published, placed) = weight(placed);
        let adds = Adds {
            requests: match cause {
                Cause::Request(_) => request_bytes(entity, handled.answer.len()),
                Cause::Delivery(..) | Cause::Timer(_) => 0,
            },
            timers: timers.map(|(name, timer)| timer_bytes(entity, name, timer)).sum(),
            outbox: handled.outgoing.iter().map(outgoing_bytes).sum(),
            ..placed
        };
        let caused = entity.len() + 4 * RECORD_BYTES;
        let total = change + ended + adds.requests + adds.timers + adds.outbox + published + caused;
        let most = self.settings.turn_max_bytes;
        // A state that no snapshot could hold would have its events grow for ever.
        let is_by_events = matches!(handled.change, Change::Events(_));
        let state = if is_by_events { handled.state_bytes.saturating_add(caused) } else { 0 };
        let largest = total.max(state);
        if largest > most {
            return Err(Fault::TooLarge { bytes: largest, most });
        }
        self.has_room(cause, adds)?;
        Ok((total, adds))
    }

    /// A fault where a turn adds to what has as much as it may.
    pub(super) fn has_room(&self, cause: &Cause<'_>, adds: Adds) -> Result<(), Fault> {
        let settings = &self.settings;
        let table = self.table.as_ref().ok_or_else(super::partition::reading)?;
        let sum = self.adds().plus(adds);
        // What messages cause is let in where asks are not any more: two partitions whose outboxes are full of messages to
        // each other would else wait for ever.
        let times = match cause {
            Cause::Request(_) => 1,
            Cause::Delivery(..) | Cause::Timer(_) => 2_usize,
        };
        for (what, added, has, most) in [
            (
                "remembered requests",
                adds.requests,
                table.requests_bytes() + sum.requests,
                settings.dedupe_max_bytes,
            ),
            ("timers", adds.timers, table.timers_bytes() + sum.timers, settings.timers_max_bytes),
            (
                "undelivered messages",
                adds.outbox,
                table.outbox_bytes() + sum.outbox,
                settings.outbox_max_bytes.saturating_mul(times),
            ),
            (
                "records on their way to topics",
                adds.publications,
                table.publications_bytes() + sum.publications,
                settings.publications_max_bytes.saturating_mul(times),
            ),
        ] {
            if added > 0 && has > most {
                let text = format!("the {what} of this partition have {most} bytes, as many as they may");
                return Err(Fault::Busy(text));
            }
        }
        Ok(())
    }

    fn write(
        &mut self,
        now_ms: i64,
        (entity, cause): (&Bytes, &Cause<'_>),
        (handled, snapshot, placed): (Handled, Option<Snapshot>, Vec<Placed>),
        (bytes, adds): (usize, Adds),
    ) {
        let sequence = self.live.get(entity).map_or(0, |live| live.saved.sequence);
        let mut records = of_change(entity, sequence, handled.change);
        // It covers the events that it goes with.
        let key = RecordKey::Snapshot { entity: entity.clone() };
        records.extend(snapshot.map(|snapshot| (key, Some(RecordValue::Snapshot(snapshot)))));
        let timer_key = |name: &str| (entity.clone(), name.to_owned());
        let mut timers = Vec::new();
        if let Cause::Timer(name) = cause {
            timers.push((timer_key(name), None));
        }
        timers.extend(handled.timers.into_iter().map(|(name, timer)| (timer_key(&name), timer)));
        let committed_next = self.table.as_ref().map_or(1, super::table::Table::outbox_next);
        let mut next = self.uncommitted.outbox_next.unwrap_or(committed_next);
        if !handled.outgoing.is_empty() {
            for outgoing in handled.outgoing {
                let key = RecordKey::Outgoing { sequence: next };
                records.push((key, Some(RecordValue::Outgoing(outgoing))));
                next += 1;
            }
            records.push((RecordKey::OutboxNext, Some(RecordValue::OutboxNext(next))));
            self.uncommitted.outbox_next = Some(next);
        }
        let published = placed.len();
        let (publications, targets) = self.publications(placed);
        records.extend(publications);
        records.extend(timers.iter().map(|(key, timer)| of_timer(key, timer.clone())));
        records.extend(of_cause(now_ms, entity, cause, &handled.answer));
        let number = self.put(bytes, |batch| {
            for (key, value) in &records {
                batch.put(key, value.as_ref());
            }
            batch.adds = batch.adds.plus(adds);
        });
        self.publishes(number, published, targets);
        self.noted(number, entity, cause, Ok(handled.answer));
        for (key, _) in timers {
            // One that was set anew may ring, whatever the last one did.
            self.blocked_timers.remove(&key);
            self.uncommitted.timers.insert(key, number);
        }
        if let Some(live) = self.live.get_mut(entity) {
            live.batch = number;
        }
    }

    /// A message is done with that changed nothing.
    pub(super) fn note(&mut self, cause: &Cause<'_>, entity: &Bytes) {
        let record = match cause {
            Cause::Request(_) => return,
            Cause::Delivery(source, sequence) => {
                (RecordKey::Position { source: *source }, Some(RecordValue::Position(*sequence)))
            }
            Cause::Timer(name) => of_timer(&(entity.clone(), (*name).to_owned()), None),
        };
        let number = self.put(RECORD_BYTES + entity.len(), |batch| batch.put(&record.0, record.1.as_ref()));
        self.noted(number, entity, cause, Ok(Bytes::new()));
        if let Cause::Timer(name) = cause {
            self.uncommitted.timers.insert((entity.clone(), (*name).to_owned()), number);
        }
    }

    pub(super) fn noted(
        &mut self,
        number: u64,
        entity: &Bytes,
        cause: &Cause<'_>,
        answer: Result<Bytes, Fault>,
    ) {
        match cause {
            Cause::Request(request) => {
                self.uncommitted.requests.insert((entity.clone(), *request), (number, answer));
            }
            Cause::Delivery(source, sequence) => {
                self.uncommitted.positions.insert(*source, (*sequence, number));
            }
            Cause::Timer(_) => {}
        }
    }

    /// What the log holds of an entity, from the values of its records.
    pub(super) fn saved(&self, entity: &Bytes, values: &[Bytes]) -> Result<Saved, Fault> {
        let stored = self.table.as_ref().and_then(|table| table.stored(entity));
        let unreadable = || {
            let text = "what the log holds of the entity is not of this program; upgrade it".to_owned();
            Fault::Unreadable(text)
        };
        let stored = stored.filter(|stored| !stored.is_unreadable).ok_or_else(unreadable)?;
        let mut saved = Saved { sequence: stored.covered, ..Saved::default() };
        let keys = stored.snapshot.iter().map(|_| RecordKey::Snapshot { entity: entity.clone() });
        let events = stored.events.keys();
        let keys = keys
            .chain(events.map(|sequence| RecordKey::Event { entity: entity.clone(), sequence: *sequence }));
        for (key, value) in keys.zip(values) {
            match key.decode_value(value).map_err(|_| unreadable())? {
                RecordValue::Snapshot(snapshot) => saved.snapshot = Some((snapshot.version, snapshot.state)),
                RecordValue::Event(event) => saved.events.push(event),
                _ => return Err(unreadable()),
            }
        }
        saved.sequence = stored.events.keys().last().copied().unwrap_or(saved.sequence);
        Ok(saved)
    }
}

fn of_change(entity: &Bytes, sequence: u64, change: Change) -> Vec<(RecordKey, Option<RecordValue>)> {
    let snapshot = RecordKey::Snapshot { entity: entity.clone() };
    match change {
        Change::Nothing => Vec::new(),
        Change::State { version, state } => {
            vec![(snapshot, Some(RecordValue::Snapshot(Snapshot { sequence, version, state })))]
        }
        Change::Gone => vec![(snapshot, None)],
        Change::Events(events) => {
            let of_event = |(place, event): (u64, Event)| {
                let sequence = sequence.saturating_add(place);
                (RecordKey::Event { entity: entity.clone(), sequence }, Some(RecordValue::Event(event)))
            };
            (1..).zip(events).map(of_event).collect()
        }
    }
}

pub(super) fn of_timer(key: &(Bytes, String), timer: Option<Timer>) -> (RecordKey, Option<RecordValue>) {
    let (entity, name) = key.clone();
    (RecordKey::Timer { entity, name }, timer.map(RecordValue::Timer))
}

pub(super) fn of_cause(
    now_ms: i64,
    entity: &Bytes,
    cause: &Cause<'_>,
    answer: &Bytes,
) -> Option<(RecordKey, Option<RecordValue>)> {
    match cause {
        Cause::Request(request) => {
            let remembered = Remembered { applied_ms: now_ms, answer: answer.clone() };
            let key = RecordKey::Request { entity: entity.clone(), request: *request };
            Some((key, Some(RecordValue::Request(remembered))))
        }
        Cause::Delivery(source, sequence) => {
            Some((RecordKey::Position { source: *source }, Some(RecordValue::Position(*sequence))))
        }
        Cause::Timer(_) => None,
    }
}
