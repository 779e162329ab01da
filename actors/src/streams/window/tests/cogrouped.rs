//! Several streams under windows that go into one aggregate.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::super::{Grouped, GroupedStream, Stream, Table};
use super::*;

/// How many words were said, and the sum of what was bought.
type Both = (i64, i64);
type Finals = Vec<(String, i64, i64, Option<Both>)>;

const fn bought(_: &String, value: i64, (said, sum): Both) -> Both {
    (said, sum + value)
}

fn said(_: &String, _: String, (said, sum): Both) -> Both {
    (said + 1, sum)
}

const fn merged(_: &String, one: Both, other: Both) -> Both {
    (one.0 + other.0, one.1 + other.1)
}

fn streams(builder: &StreamBuilder) -> (GroupedStream<String, i64>, GroupedStream<String, String>) {
    let bought = builder.stream::<String, i64>("bought").group_by_key("bought");
    (bought, builder.stream::<String, String>("said").group_by_key("said"))
}

fn buy(driver: &mut TopologyDriver, key: &str, value: i64, at_ms: i64) {
    driver.send("bought", &key.to_owned(), &value, at_ms).unwrap();
}

fn talk(driver: &mut TopologyDriver, key: &str, at_ms: i64) {
    driver.send("said", &key.to_owned(), &"word".to_owned(), at_ms).unwrap();
}

fn sent(driver: &mut TopologyDriver) -> Finals {
    let events = driver.read::<Windowed<String>, Option<Both>>("out").unwrap();
    let each = events.into_iter().map(|event| {
        let Windowed { key, window: Window { start_ms, end_ms } } = event.key;
        (key, start_ms, end_ms, event.value)
    });
    each.collect()
}

fn of(wanted: &[(i64, i64, Both)]) -> Finals {
    wanted.iter().map(|(start_ms, end_ms, both)| ("a".to_owned(), *start_ms, *end_ms, Some(*both))).collect()
}

fn tumbling(grace_ms: u64, emit: Emit) -> TopologyDriver {
    driver(|builder| {
        let (purchases, words) = streams(builder);
        let both = purchases.cogroup(bought).and(&words, said);
        let windows = both.windowed_by(Tumbling::of(ms(10)).grace(ms(grace_ms))).emit(emit);
        let windows = windows.late_to(&purchases, "late-bought").late_to(&words, "late-said");
        windows.aggregate(|_| (0, 0), "both").changes().to("out");
    })
}

#[test]
fn records_of_all_streams_are_put_into_the_windows_of_their_key() {
    let mut driver = tumbling(0, Emit::OnUpdate);
    buy(&mut driver, "a", 5, 1);
    talk(&mut driver, "a", 9);
    talk(&mut driver, "a", 10);
    buy(&mut driver, "a", 7, 11);
    let wanted = [(0, 10, (0, 5)), (0, 10, (1, 5)), (10, 20, (1, 0)), (10, 20, (1, 7))];
    assert_eq!(sent(&mut driver), of(&wanted));
}

#[test]
fn a_window_closes_when_the_slowest_of_the_streams_has_passed_its_end_and_grace() {
    let mut driver = tumbling(5, Emit::OnClose);
    buy(&mut driver, "a", 5, 1);
    buy(&mut driver, "a", 7, 30);
    assert_eq!(sent(&mut driver), []);
    talk(&mut driver, "a", 2);
    talk(&mut driver, "a", 14);
    assert_eq!(sent(&mut driver), []);
    talk(&mut driver, "a", 15);
    assert_eq!(sent(&mut driver), of(&[(0, 10, (1, 5))]));
    driver.end().unwrap();
    assert_eq!(sent(&mut driver), of(&[(10, 20, (2, 0)), (30, 40, (0, 7))]));
}

#[test]
fn late_records_of_each_stream_are_counted_and_go_to_its_own_topic() {
    let mut driver = tumbling(5, Emit::OnUpdate);
    buy(&mut driver, "a", 5, 15);
    talk(&mut driver, "a", 15);
    sent(&mut driver);
    buy(&mut driver, "a", 7, 9);
    talk(&mut driver, "a", 8);
    assert_eq!(sent(&mut driver), []);
    assert_eq!(driver.counts().late, 2);
    assert_eq!(driver.read::<String, i64>("late-bought").unwrap(), [Event::new("a".to_owned(), 7, 9)]);
    let late = driver.read::<String, String>("late-said").unwrap();
    assert_eq!(late, [Event::new("a".to_owned(), "word".to_owned(), 8)]);
}

#[test]
fn a_record_of_one_stream_makes_two_sessions_of_another_one() {
    let mut driver = driver(|builder| {
        let (purchases, words) = streams(builder);
        let both = purchases.cogroup(bought).and(&words, said).windowed_by(Session::gap(ms(10)));
        both.aggregate(|_| (0, 0), merged, "both").changes().to("out");
    });
    buy(&mut driver, "a", 5, 0);
    buy(&mut driver, "a", 7, 20);
    talk(&mut driver, "a", 10);
    let gone = |start_ms, end_ms| ("a".to_owned(), start_ms, end_ms, None);
    let wanted = [of(&[(0, 0, (0, 5)), (20, 20, (0, 7))]), vec![gone(0, 0), gone(20, 20)]];
    assert_eq!(sent(&mut driver), [wanted.concat(), of(&[(0, 20, (1, 12))])].concat());
}

#[test]
fn sliding_windows_end_with_records_of_any_of_the_streams() {
    let mut driver = driver(|builder| {
        let (purchases, words) = streams(builder);
        let both = purchases.cogroup(bought).and(&words, said).windowed_by(Sliding::of(ms(10)));
        both.aggregate(|_| (0, 0), "both").changes().to("out");
    });
    buy(&mut driver, "a", 5, 100);
    talk(&mut driver, "a", 110);
    let wanted = [(90, 100, (0, 5)), (101, 111, (1, 0)), (100, 110, (1, 5))];
    assert_eq!(sent(&mut driver), of(&wanted));
}

#[test]
fn windows_are_looked_up_that_several_streams_are_put_into() {
    let mut driver = driver(|builder| {
        let (purchases, words) = streams(builder);
        let both = purchases.cogroup(bought).and(&words, said).windowed_by(Tumbling::of(ms(10)));
        let table = both.aggregate(|_| (0, 0), "both");
        table.to_stream().join_table(&table, |_, one, other| (one.0, other.1)).to("out");
    });
    buy(&mut driver, "a", 5, 1);
    assert_eq!(driver.read::<Windowed<String>, Both>("out").unwrap()[0].value, (0, 5));
}

#[test]
fn a_topic_for_late_records_is_of_a_stream_of_the_aggregate_and_streams_are_cut_alike() {
    let error = problems(|builder| {
        let (purchases, words) = streams(builder);
        let windows = purchases.cogroup(bought).windowed_by(Tumbling::of(ms(10)));
        windows.late_to(&words, "late").aggregate(|_| (0, 0), "both");
    });
    let wanted = "the topic \"late\" is for late records of a stream that is not put into the aggregate";
    assert!(error.contains(wanted), "{error}");
    let builder = StreamBuilder::new("app");
    let (purchases, words) = streams(&builder);
    let both = purchases.cogroup(bought).and(&words, said).windowed_by(Session::gap(ms(10)));
    both.aggregate(|_| (0, 0), merged, "both");
    let known = |topic: &str| Some(if topic == "said" { 1 } else { 2 });
    let counts = super::super::super::graph::PartitionCounts::new(&builder.build().unwrap(), known);
    let error = counts.unwrap_err().to_string();
    assert!(error.contains("\"bought\" has 2, \"said\" has 1"), "{error}");
}

/// Which windows, and how their results are sent.
#[derive(Clone, Copy, Debug)]
struct Case {
    windows: u8,
    grace: u64,
    emit: Emit,
    held: Option<usize>,
}

/// The streams in one aggregate, or one stream of what both have, aggregated.
fn aggregated(builder: &StreamBuilder, case: Case, is_cogrouped: bool) -> Table<Windowed<String>, Both> {
    let Case { grace, emit, .. } = case;
    let mut stored = crate::streams::Stored::from("both");
    stored.held_max = case.held;
    let (grace, size) = (ms(grace), ms(10));
    macro_rules! under {
        ($streams:expr, $($with:expr)?) => {
            match case.windows {
                0 => $streams.windowed_by(Tumbling::of(size).grace(grace)).emit(emit).aggregate(|_| (0, 0), $($with,)? stored),
                1 => $streams.windowed_by(Hopping::of(size, ms(4)).grace(grace)).emit(emit).aggregate(|_| (0, 0), $($with,)? stored),
                2 => $streams.windowed_by(Sliding::of(size).grace(grace)).emit(emit).aggregate(|_| (0, 0), $($with,)? stored),
                _ => $streams.windowed_by(Session::gap(size).grace(grace)).emit(emit).aggregate(|_| (0, 0), $($with,)? merged, stored),
            }
        };
    }
    if is_cogrouped {
        let (purchases, words) = streams(builder);
        let both = purchases.cogroup(bought).and(&words, said);
        return under!(both,);
    }
    let purchases: Stream<String, (i64, i64)> =
        builder.stream::<String, i64>("bought").map_values(|_, value| (0, value));
    let words = builder.stream::<String, String>("said").map_values(|_, _| (1, 0));
    let merged_streams = purchases.merge(&words).group_by_key(Grouped::from("both-streams"));
    under!(merged_streams, |_: &String, one: Both, so_far: Both| merged(&String::new(), one, so_far))
}

fn run(case: Case, is_cogrouped: bool, records: &[(bool, u8, i64, u8)]) -> (Finals, u64) {
    let builder = StreamBuilder::new("app");
    aggregated(&builder, case, is_cogrouped).changes().to("out");
    let mut driver = TopologyDriver::new(&builder.build().unwrap(), 2).unwrap();
    driver.hold_commits();
    for (is_bought, key, at_ms, then) in records {
        let key = format!("k{key}");
        match is_bought {
            true => buy(&mut driver, &key, *at_ms, *at_ms),
            false => talk(&mut driver, &key, *at_ms),
        }
        match then {
            0 => driver.commit().unwrap(),
            1 => driver.abort().unwrap(),
            2 => driver.lose_stores().unwrap(),
            _ => {}
        }
    }
    driver.commit().unwrap();
    let late = driver.counts().late;
    driver.end().unwrap();
    (sent(&mut driver), late)
}

fn case() -> impl Strategy<Value = Case> {
    let emit = prop_oneof![Just(Emit::OnUpdate), Just(Emit::OnClose)];
    let held = prop_oneof![Just(None), Just(Some(300_usize))];
    (0..4_u8, 0..20_u64, emit, held).prop_map(|(windows, grace, emit, held)| Case {
        windows,
        grace,
        emit,
        held,
    })
}

/// What each window has in the end.
fn finals(sent: Finals) -> BTreeMap<(String, i64, i64), Both> {
    let mut finals = BTreeMap::new();
    for (key, start_ms, end_ms, both) in sent {
        match both {
            Some(both) => finals.insert((key, start_ms, end_ms), both),
            None => finals.remove(&(key, start_ms, end_ms)),
        };
    }
    finals
}

proptest! {
    #[test]
    fn out_of_order_within_grace_several_streams_come_to_what_order_gives(
        case in case(),
        mut records in prop::collection::vec((any::<bool>(), 0..3_u8, -60..140_i64, 0..12_u8), 1..50),
        jitter in prop::collection::vec(0..20_i64, 50),
    ) {
        records.sort_by_key(|(_, _, at_ms, _)| *at_ms);
        let (ordered, none) = run(case, true, &records);
        let grace_ms = i64::try_from(case.grace).unwrap();
        let mut jittered: Vec<_> = records.into_iter().zip(jitter).collect();
        jittered.sort_by_key(|((_, _, at_ms, _), jitter)| at_ms + jitter % (grace_ms + 1));
        let (records, _): (Vec<_>, Vec<_>) = jittered.into_iter().unzip();
        let (out_of_order, late) = run(case, true, &records);
        prop_assert_eq!((late, none), (0, 0));
        prop_assert_eq!(finals(out_of_order), finals(ordered));
    }

    #[test]
    fn what_several_streams_are_put_into_is_what_one_that_has_all_their_records_is_put_into(
        case in case(),
        records in prop::collection::vec((any::<bool>(), 0..3_u8, -60..140_i64, 0..12_u8), 1..50),
    ) {
        prop_assert_eq!(run(case, true, &records), run(case, false, &records));
    }
}
