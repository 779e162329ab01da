//! Processors with state, called by records and by time.

use std::time::Duration;

use proptest::prelude::*;

use super::super::store::KeyValue;
use super::super::{Event, StreamBuilder, StreamError, TopologyDriver};
use super::{
    Access, Context, Processing, Processor, Punctuation, StateStore, Stores, ValueContext, ValueProcessor,
};
use crate::record::Header;

/// Sums values by key, and forwards all sums when it is called by time.
struct Sums(KeyValue<String, i64>);

impl Processor<String, i64> for Sums {
    type Key = String;
    type Value = (String, i64);

    fn process(
        &mut self,
        event: Event<String, i64>,
        context: &mut Context<'_, String, (String, i64)>,
    ) -> Result<(), StreamError> {
        let sum = context.get(&self.0, &event.key)?.unwrap_or(0) + event.value;
        match sum {
            0 => context.delete(&self.0, &event.key),
            sum => context.put(&self.0, &event.key, &sum),
        }
    }

    fn punctuate(
        &mut self,
        at: Punctuation,
        context: &mut Context<'_, String, (String, i64)>,
    ) -> Result<(), StreamError> {
        assert!(context.origin().is_none() && context.headers().is_empty());
        let (called, timestamp_ms) = match at {
            Punctuation::EventTime(at_ms) => ("event time", at_ms),
            Punctuation::Clock(at_ms) => ("clock", at_ms),
        };
        for (key, sum) in context.range(&self.0, .., 100)? {
            context.forward(Event { key, value: (called.to_owned(), sum), timestamp_ms })?;
        }
        Ok(())
    }
}

fn topology(with: impl FnOnce(Processing) -> Processing, partitions: i32) -> TopologyDriver {
    let builder = StreamBuilder::new("app");
    let sums: StateStore<String, i64> = builder.state_store("sums");
    let stream = builder.stream::<String, i64>("in");
    let processing = with(Processing::named("summing").with(&sums));
    stream.process(processing, move |stores| Ok(Sums(stores.open(&sums)?))).to("out");
    TopologyDriver::new(&builder.build().unwrap(), partitions).unwrap()
}

fn send(driver: &mut TopologyDriver, key: &str, value: i64, at_ms: i64) {
    driver.send("in", &key.to_owned(), &value, at_ms).unwrap();
}

fn read(driver: &mut TopologyDriver) -> Vec<(String, String, i64, i64)> {
    let events = driver.read::<String, (String, i64)>("out").unwrap();
    events.into_iter().map(|it| (it.key, it.value.0, it.value.1, it.timestamp_ms)).collect()
}

fn sum(key: &str, called: &str, sum: i64, at_ms: i64) -> (String, String, i64, i64) {
    (key.to_owned(), called.to_owned(), sum, at_ms)
}

#[test]
fn a_processor_is_called_when_event_time_comes_to_a_multiple_of_its_interval() {
    let mut driver = topology(|it| it.every_event_time(Duration::from_millis(10)), 1);
    send(&mut driver, "a", 1, 25);
    send(&mut driver, "b", 2, 29);
    assert_eq!(read(&mut driver), [], "what time first comes to is where it begins");
    send(&mut driver, "a", 4, 30);
    assert_eq!(read(&mut driver), [sum("a", "event time", 5, 30), sum("b", "event time", 2, 30)]);
    send(&mut driver, "b", -2, 20);
    send(&mut driver, "a", 1, 65);
    assert_eq!(read(&mut driver), [sum("a", "event time", 6, 60)], "once for all that has passed");
    driver.abort().unwrap();
    send(&mut driver, "a", 1, 69);
    assert_eq!(read(&mut driver), [], "a task that begins again knows where time was");
}

#[test]
fn a_processor_is_called_when_its_interval_has_gone_by_on_the_clock() {
    let mut driver = topology(|it| it.every_clock_time(Duration::from_millis(100)), 1);
    send(&mut driver, "a", 1, 0);
    driver.advance_clock(Duration::from_millis(99)).unwrap();
    assert_eq!(read(&mut driver), []);
    driver.advance_clock(Duration::from_millis(1)).unwrap();
    assert_eq!(read(&mut driver), [sum("a", "clock", 1, 100)]);
    driver.advance_clock(Duration::from_millis(350)).unwrap();
    driver.advance_clock(Duration::from_millis(99)).unwrap();
    assert_eq!(read(&mut driver), [sum("a", "clock", 1, 450)]);
}

#[test]
fn a_store_that_a_processor_was_not_given_is_not_opened() {
    let builder = StreamBuilder::new("app");
    let sums: StateStore<String, i64> = builder.state_store("sums");
    let make = move |stores: &Stores<'_, '_>| Ok(Sums(stores.open(&sums)?));
    builder.stream::<String, i64>("in").process("summing", make).to("out");
    let error = TopologyDriver::new(&builder.build().unwrap(), 1).unwrap_err().to_string();
    assert!(error.contains("\"summing\" opens the store \"sums\"") && error.contains("with()"), "{error}");
}

/// Gives what it forwards a header that says from where it is.
struct Marks;

impl ValueProcessor<String, i64> for Marks {
    type Value = i64;

    fn process(
        &mut self,
        value: i64,
        context: &mut ValueContext<'_, String, i64>,
    ) -> Result<(), StreamError> {
        let origin = context.origin().ok_or_else(|| StreamError::Failed("no origin".to_owned()))?;
        let mark = format!("{}/{}", origin.topic, origin.offset);
        context.set_headers([Header::new("from", mark)]);
        if context.key() == "refused" {
            return Err(StreamError::Failed(format!("{value} is refused")));
        }
        context.forward(value + 1)
    }

    fn punctuate(&mut self, _: Punctuation, _: &mut Access<'_>) -> Result<(), StreamError> {
        Ok(())
    }
}

#[test]
fn a_processor_may_change_headers_of_what_it_forwards_and_of_nothing_else() {
    let builder = StreamBuilder::new("app");
    let stream = builder.stream::<String, i64>("in");
    let table = builder.table::<String, i64>("table", "kept");
    let marked = stream.process_values("marks", |_| Ok(Marks));
    // Its keys are as they were: it can be joined.
    marked.join_table(&table, |_, left, right| left + right).to("marked");
    stream.to("plain");
    let mut driver = TopologyDriver::new(&builder.build().unwrap(), 2).unwrap();
    driver.send("table", &"k".to_owned(), &10_i64, 0).unwrap();
    send(&mut driver, "k", 1, 0);
    assert_eq!(driver.headers("marked"), [vec![Header::new("from", "in/0")]]);
    assert_eq!(driver.headers("plain"), [vec![]]);
    assert_eq!(driver.read::<String, i64>("marked").unwrap()[0].value, 12);
    let error = driver.send("in", &"refused".to_owned(), &3_i64, 0).unwrap_err().to_string();
    assert_eq!(error, "3 is refused");
}

proptest! {
    #[test]
    fn what_a_processor_keeps_and_sends_is_the_same_whoever_was_killed(
        sent in prop::collection::vec((0..3_u8, -2..3_i64, 0..100_i64, 0..10_u8), 1..50),
    ) {
        let every = |it: Processing| it.every_event_time(Duration::from_millis(10));
        let (mut calm, mut killed) = (topology(every, 2), topology(every, 2));
        killed.hold_commits();
        for (key, value, at_ms, then) in sent {
            send(&mut calm, &key.to_string(), value, at_ms);
            send(&mut killed, &key.to_string(), value, at_ms);
            match then {
                0 => killed.abort().unwrap(),
                1 => killed.commit().unwrap(),
                2 => killed.lose_stores().unwrap(),
                _ => {}
            }
        }
        killed.commit().unwrap();
        prop_assert_eq!(calm.all::<String, i64>("sums").unwrap(), killed.all::<String, i64>("sums").unwrap());
        prop_assert_eq!(read(&mut calm), read(&mut killed));
    }
}
