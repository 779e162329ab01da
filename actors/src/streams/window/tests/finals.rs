//! What is final is the same whatever the order, wherever commits fall and however often all is begun again; and it is what a
//! model makes of the list of records.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::super::{Table, Topology, TopologyDriver};
use super::*;

/// How many there were, and their sum.
type Sum = (i64, i64);
type Finals = BTreeMap<(String, i64, i64), Sum>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Tumbling,
    Hopping,
    Sliding,
    Session,
}

/// How results come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Updates,
    HeldBack(usize),
    OnClose,
    Suppressed,
    HeldBackAndSuppressed,
}

impl Way {
    const fn sends_once(self) -> bool {
        matches!(self, Self::OnClose | Self::Suppressed | Self::HeldBackAndSuppressed)
    }
}

/// Lengths are in units, so that times often meet bounds; how long a unit is decides over how many segments of a store they lie.
#[derive(Clone, Copy, Debug)]
struct Case {
    shape: Shape,
    way: Way,
    unit_ms: i64,
    grace: i64,
    is_scattered: bool,
}

const SIZE: i64 = 10;
const STEP: i64 = 4;

#[derive(Clone, Debug)]
struct Record {
    key: u8,
    at: i64,
    value: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Between {
    Nothing,
    Commit,
    Abort,
}

fn units(case: Case, count: i64) -> Duration {
    ms(u64::try_from(count * case.unit_ms).unwrap())
}

fn topology(case: Case) -> Topology {
    let builder = StreamBuilder::new("app");
    let stream = builder.stream::<String, (String, i64)>("in");
    let grouped = match case.is_scattered {
        true => stream.group_by(|_, (key, _)| key.clone(), "g"),
        false => stream.group_by_key("g"),
    };
    let mut stored = crate::streams::Stored::from("sums");
    match case.way {
        Way::HeldBack(bytes) => stored = stored.cached(bytes),
        Way::HeldBackAndSuppressed => stored = stored.cached(600),
        _ => {}
    }
    let emit = if case.way == Way::OnClose { Emit::OnClose } else { Emit::OnUpdate };
    let (size, grace) = (units(case, SIZE), units(case, case.grace));
    let add = |_: &String, (_, value): (String, i64), (count, sum): Sum| (count + 1, sum + value);
    let times = |form: super::super::TimeWindowed<String, (String, i64)>, stored| {
        form.emit(emit).aggregate(|_| (0, 0), add, stored)
    };
    let table: Table<Windowed<String>, Sum> = match case.shape {
        Shape::Tumbling => times(grouped.windowed_by(Tumbling::of(size).grace(grace)), stored),
        Shape::Hopping => {
            let windows = Hopping::of(size, units(case, STEP)).grace(grace);
            times(grouped.windowed_by(windows), stored)
        }
        Shape::Sliding => times(grouped.windowed_by(Sliding::of(size).grace(grace)), stored),
        Shape::Session => {
            let form = grouped.windowed_by(Session::gap(size).grace(grace)).emit(emit);
            form.aggregate(
                |_| (0, 0),
                add,
                |_, one: Sum, other: Sum| (one.0 + other.0, one.1 + other.1),
                stored,
            )
        }
    };
    let table = match case.way {
        Way::Suppressed | Way::HeldBackAndSuppressed => table.suppress_until_close("final"),
        _ => table,
    };
    table.changes().to("out");
    builder.build().unwrap()
}

/// Runs it; what was final, how often each result was sent, how many records were late.
fn run(
    case: Case,
    records: &[Record],
    between: &[Between],
) -> (Finals, BTreeMap<(String, i64, i64), usize>, u64) {
    let mut driver = TopologyDriver::new(&topology(case), 3).unwrap();
    driver.hold_commits();
    for (number, record) in records.iter().enumerate() {
        let key = format!("k{}", record.key);
        // Where records are scattered, those of a key come by several partitions.
        let from = if case.is_scattered { format!("from {}", record.value) } else { key.clone() };
        driver.send("in", &from, &(key, record.value), record.at * case.unit_ms).unwrap();
        match between.get(number) {
            Some(Between::Commit) => driver.commit().unwrap(),
            Some(Between::Abort) => driver.abort().unwrap(),
            Some(Between::Nothing) | None => {}
        }
    }
    driver.commit().unwrap();
    let late = driver.counts().late;
    driver.end().unwrap();
    let (mut finals, mut sent) = (Finals::new(), BTreeMap::new());
    for event in driver.read::<Windowed<String>, Option<Sum>>("out").unwrap() {
        let at = (event.key.key, event.key.window.start_ms, event.key.window.end_ms);
        *sent.entry(at.clone()).or_insert(0) += 1;
        match event.value {
            Some(value) => finals.insert(at, value),
            None => finals.remove(&at),
        };
    }
    (finals, sent, late)
}

/// Records as they came, each with whether it is in time for a window that ends (and closes) then.
struct Model {
    case: Case,
    finals: Finals,
    late: u64,
}

impl Model {
    fn put(&mut self, record: &Record, start: i64, end: i64) {
        let unit = self.case.unit_ms;
        let sum = self.finals.entry((format!("k{}", record.key), start * unit, end * unit)).or_insert((0, 0));
        *sum = (sum.0 + 1, sum.1 + record.value);
    }

    fn of(case: Case, records: &[Record]) -> Self {
        let mut model = Self { case, finals: Finals::new(), late: 0 };
        // What came is in time by a stream time of each partition's own; in a unit of 1 what is closed at the bound is told
        // from what is not.
        match case.shape {
            Shape::Tumbling => model.windows(records, SIZE),
            Shape::Hopping => model.windows(records, STEP),
            Shape::Sliding => model.sliding(records),
            Shape::Session => model.sessions(records),
        }
        model
    }

    fn windows(&mut self, records: &[Record], step: i64) {
        let mut now = BTreeMap::new();
        for record in records {
            let now = reached(&mut now, record);
            let starts = (-2_000..2_000).map(|number| number * step);
            let holding: Vec<i64> =
                starts.filter(|start| *start <= record.at && record.at < start + SIZE).collect();
            let open: Vec<i64> =
                holding.iter().copied().filter(|start| start + SIZE + self.case.grace > now).collect();
            self.late += u64::from(open.len() < holding.len());
            for start in open {
                self.put(record, start, start + SIZE);
            }
        }
    }

    /// The windows of the records that came in time: one that ends with each, one that begins a millisecond behind each that
    /// others follow.
    fn sliding(&mut self, records: &[Record]) {
        let unit = self.case.unit_ms;
        let mut now = BTreeMap::new();
        let (in_time, late): (Vec<&Record>, Vec<&Record>) =
            records.iter().partition(|record| record.at + self.case.grace >= reached(&mut now, record));
        self.late = u64::try_from(late.len()).unwrap();
        let mut starts = BTreeSet::new();
        for record in &in_time {
            starts.insert((record.key, (record.at - SIZE) * unit));
            starts.insert((record.key, record.at * unit + 1));
        }
        for (key, start_ms) in starts {
            let end_ms = start_ms + SIZE * unit;
            let is_in =
                |record: &&&Record| record.key == key && (start_ms..=end_ms).contains(&(record.at * unit));
            let inside: Vec<i64> = in_time.iter().filter(is_in).map(|record| record.value).collect();
            if !inside.is_empty() {
                let sum = (i64::try_from(inside.len()).unwrap(), inside.iter().sum());
                self.finals.insert((format!("k{key}"), start_ms, end_ms), sum);
            }
        }
    }

    fn sessions(&mut self, records: &[Record]) {
        let mut now = BTreeMap::new();
        let mut sessions: Vec<(u8, i64, i64, Sum)> = Vec::new();
        for record in records {
            let now = reached(&mut now, record);
            let is_open = |end: i64| end + SIZE + self.case.grace >= now;
            let is_part = |(key, start, end, _): &(u8, i64, i64, Sum)| {
                *key == record.key && is_open(*end) && *start <= record.at + SIZE && *end >= record.at - SIZE
            };
            let (part, others): (Vec<_>, Vec<_>) = sessions.into_iter().partition(is_part);
            sessions = others;
            if part.is_empty() && !is_open(record.at) {
                self.late += 1;
                continue;
            }
            let mut one = (record.key, record.at, record.at, (1, record.value));
            for (_, start, end, sum) in part {
                one = (one.0, one.1.min(start), one.2.max(end), (one.3.0 + sum.0, one.3.1 + sum.1));
            }
            sessions.push(one);
        }
        let unit = self.case.unit_ms;
        let all = sessions.into_iter();
        self.finals =
            all.map(|(key, start, end, sum)| ((format!("k{key}"), start * unit, end * unit), sum)).collect();
    }
}

/// The stream time of the partition of a record's key, with it.
fn reached(now: &mut BTreeMap<u32, i64>, record: &Record) -> i64 {
    let partition = crate::record::key_hash::partition_for_key(format!("k{}", record.key).as_bytes(), 3);
    let now = now.entry(partition).or_insert(i64::MIN);
    *now = (*now).max(record.at);
    *now
}

fn case() -> impl Strategy<Value = Case> {
    let shape =
        prop_oneof![Just(Shape::Tumbling), Just(Shape::Hopping), Just(Shape::Sliding), Just(Shape::Session)];
    let way = prop_oneof![
        Just(Way::Updates),
        prop_oneof![Just(300_usize), Just(1_000_000)].prop_map(Way::HeldBack),
        Just(Way::OnClose),
        Just(Way::Suppressed),
        Just(Way::HeldBackAndSuppressed)
    ];
    (shape, way, prop_oneof![Just(1_i64), Just(700)], 0..20_i64, any::<bool>()).prop_map(
        |(shape, way, unit_ms, grace, is_scattered)| Case { shape, way, unit_ms, grace, is_scattered },
    )
}

fn records(max: usize) -> impl Strategy<Value = Vec<Record>> {
    let record = (0..4_u8, -60..140_i64, 1..1_000_i64).prop_map(|(key, at, value)| Record { key, at, value });
    prop::collection::vec(record, 1..max)
}

fn between(max: usize) -> impl Strategy<Value = Vec<Between>> {
    let between = prop_oneof![
        6 => Just(Between::Nothing),
        1 => Just(Between::Commit),
        1 => Just(Between::Abort),
    ];
    prop::collection::vec(between, max)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn out_of_order_within_grace_and_begun_again_at_any_place_gives_what_order_gives(
        case in case(),
        mut records in records(60),
        jitter in prop::collection::vec(0..20_i64, 60),
        between in between(60),
    ) {
        records.sort_by_key(|record| record.at);
        let ordered = records.clone();
        let mut jittered: Vec<(i64, Record)> =
            records.into_iter().zip(&jitter).map(|(record, jitter)| (record.at + jitter % (case.grace + 1), record)).collect();
        jittered.sort_by_key(|(at, _)| *at);
        let records: Vec<Record> = jittered.into_iter().map(|(_, record)| record).collect();
        let (finals, sent, late) = run(case, &records, &between);
        prop_assert_eq!(late, 0);
        prop_assert_eq!(&finals, &run(Case { way: Way::Updates, ..case }, &ordered, &[]).0);
        prop_assert_eq!(finals, Model::of(case, &ordered).finals);
        if case.way.sends_once() {
            prop_assert!(sent.values().all(|count| *count == 1), "{sent:?}");
        }
    }

    #[test]
    fn what_is_late_changes_nothing_that_is_closed_and_each_result_is_what_the_records_in_time_make(
        case in case(),
        records in records(60),
        between in between(60),
    ) {
        let case = Case { is_scattered: false, ..case };
        let (finals, sent, late) = run(case, &records, &between);
        let model = Model::of(case, &records);
        prop_assert_eq!(finals, model.finals);
        // What is counted is counted anew when it is processed anew.
        if !between.contains(&Between::Abort) {
            prop_assert_eq!(late, model.late);
        }
        if case.way.sends_once() {
            prop_assert!(sent.values().all(|count| *count == 1), "{sent:?}");
        }
    }
}
