//! Tasks that begin again where less is known than before.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::super::super::operator::RawRecord;
use super::super::super::store::{ByteStore, Checkpoint, MemoryStore, StoreError, StoreSize};
use super::super::super::task::{Task, TaskId};
use super::super::super::time::TimeLeft;
use super::*;

#[test]
fn what_is_closed_stays_closed_after_a_kill_where_an_idle_input_was_left_out() {
    let mut driver = driver(|builder| {
        let stream = builder.stream::<String, i64>("in").merge(&builder.stream("silent"));
        let windows = Tumbling::of(ms(10));
        let table = stream.group_by_key("g").windowed_by(windows).emit(Emit::OnClose).count("counts");
        table.changes().to("out");
    });
    driver.idle_max(ms(100)).unwrap();
    say(&mut driver, "a", 1);
    say(&mut driver, "b", 30);
    assert_eq!(results(&mut driver), [], "the other input may have records of any time");
    driver.advance_clock(ms(100)).unwrap();
    say(&mut driver, "b", 31);
    assert_eq!(results(&mut driver), of_a(&[(0, 10, 1)]));
    driver.abort().unwrap();
    say(&mut driver, "a", 2);
    assert_eq!(driver.counts().late, 1);
    driver.end().unwrap();
    assert_eq!(results(&mut driver), [("b".to_owned(), 30, 40, Some(2))]);
}

/// A store as it is after it was built from a changelog that still has all that has expired.
#[derive(Default)]
struct Restored(MemoryStore);

impl ByteStore for Restored {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.0.get(key)
    }

    fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        max: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.0.scan(from, to, max)
    }

    fn apply(
        &mut self,
        changes: &mut dyn Iterator<Item = (&Bytes, Option<&Bytes>)>,
        _: &[u8],
        checkpoint: Checkpoint,
    ) -> Result<(), StoreError> {
        self.0.apply(changes, &[], checkpoint)
    }

    fn checkpoint(&self) -> Option<Checkpoint> {
        self.0.checkpoint()
    }

    fn size(&self) -> StoreSize {
        self.0.size()
    }

    fn floor(&self) -> Bytes {
        self.0.floor()
    }
}

fn process(task: &mut Task, key: &'static str, timestamp_ms: i64) {
    let value = Some(Bytes::copy_from_slice(&1_i64.to_be_bytes()));
    let record =
        RawRecord { offset: 0, timestamp_ms, key: Some(Bytes::from(key)), value, headers: Arc::from([]) };
    task.process(0, &record, timestamp_ms, true).unwrap();
}

fn commit(task: &mut Task) -> usize {
    task.flush().unwrap();
    task.seal();
    let stores = task.scope().stores().len();
    task.committed(&vec![Checkpoint(0); stores]).unwrap();
    task.take_sent().len()
}

#[test]
fn what_has_expired_and_comes_back_from_a_changelog_is_neither_sent_nor_counted_again() {
    let begin = |topology: &Topology, bases: Vec<Box<dyn ByteStore>>| {
        let left = TimeLeft::default().over([(0, -1, -1)], i64::MIN);
        Task::new(topology, TaskId { part: 0, partition: 0 }, bases, &Arc::from([]), &left, (0, None))
            .unwrap()
    };
    let write: [fn(super::super::super::GroupedStream<String, i64>); 4] = [
        |it| it.windowed_by(Tumbling::of(ms(10))).emit(Emit::OnClose).count("counts").changes().to("out"),
        |it| it.windowed_by(Sliding::of(ms(10))).emit(Emit::OnClose).count("counts").changes().to("out"),
        |it| it.windowed_by(Session::gap(ms(10))).emit(Emit::OnClose).count("counts").changes().to("out"),
        |it| {
            let counts = it.windowed_by(Tumbling::of(ms(10))).count("counts");
            counts.suppress_until_close("final").changes().to("out");
        },
    ];
    for write in write {
        let builder = StreamBuilder::new("app");
        write(builder.stream::<String, i64>("in").group_by_key("g"));
        let topology = builder.build().unwrap();
        let restored = topology.parts[0].stores.iter().map(|_| Box::new(Restored::default()) as _);
        let mut task = begin(&topology, restored.collect());
        process(&mut task, "a", 5);
        process(&mut task, "b", 10_000);
        assert_eq!(commit(&mut task), 1);
        let mut task = begin(&topology, task.take_bases());
        process(&mut task, "b", 10_000);
        assert_eq!(commit(&mut task), 0);
        process(&mut task, "a", 6);
        assert_eq!((commit(&mut task), task.counts().late), (0, 1));
        process(&mut task, "b", 20_000);
        assert_eq!(commit(&mut task), 1);
    }
}

#[test]
fn an_idle_input_that_was_left_out_does_not_hold_windows_open_when_a_task_begins_again() {
    let mut driver = driver(|builder| {
        let both = builder.stream::<String, i64>("in").merge(&builder.stream::<String, i64>("other"));
        let windows = both.group_by_key("g").windowed_by(Tumbling::of(ms(10))).emit(Emit::OnClose);
        windows.count("counts").changes().to("out");
    });
    driver.idle_max(ms(50)).unwrap();
    say(&mut driver, "a", 1);
    driver.advance_clock(ms(60)).unwrap();
    say(&mut driver, "a", 12);
    assert_eq!(results(&mut driver), of_a(&[(0, 10, 1)]));
    driver.abort().unwrap();
    say(&mut driver, "a", 25);
    assert_eq!(results(&mut driver), of_a(&[(10, 20, 1)]));
    driver.send("other", &"a".to_owned(), &1_i64, 26).unwrap();
    say(&mut driver, "a", 35);
    assert_eq!(results(&mut driver), [], "it counts again since it said something");
}
