//! What whoever joins a table of windows finds in it.

use std::sync::Arc;

use super::super::super::graph::{Role, Vertex, VertexId};
use super::super::super::operator::{Assembly, entered};
use super::super::super::scope::Scope;
use super::super::super::{Buffer, GroupedStream, Stored, Stream, Table};
use super::*;

type Count = Table<Windowed<String>, i64>;
type Way = fn(&GroupedStream<String, i64>) -> Count;

/// Answers what a table has of the keys of a stream.
fn ask(asked: &Stream<Windowed<String>, ()>, table: &Count) -> Stream<Windowed<String>, Option<i64>> {
    let mut graph = entered(&table.graph);
    let (name, from, getter) = (graph.name(None, "ask"), asked.vertex, table.getter.clone());
    let build = move |id: VertexId, assembly: &mut Assembly<'_>| {
        let (outlet, getter) = (assembly.outlet(id)?, getter.make(assembly)?);
        assembly.attach_operator(from, move |event: Event<Windowed<String>, ()>, scope: &mut Scope| {
            let found = getter.get(scope, &event.key)?;
            outlet.give(event.with_value(found), scope)
        });
        Ok(())
    };
    let vertex = graph.add(Vertex {
        name,
        role: Role::Operator,
        parents: vec![from],
        stores: table.stores.clone(),
        needs_copartitioned: false,
        build: Arc::new(build),
    });
    drop(graph);
    Stream::new(Arc::clone(&table.graph), vertex, false)
}

/// Counts `a` at 1 and 2, then looks a window up, before and after it has closed.
fn found(count: Way, window: (i64, i64)) -> (Option<i64>, Option<i64>) {
    let mut driver = driver(|builder| {
        let table = count(&builder.stream::<String, i64>("in").group_by_key("g"));
        ask(&builder.stream("ask"), &table).to("answers");
    });
    driver.hold_commits();
    let key = Windowed { key: "a".to_owned(), window: Window { start_ms: window.0, end_ms: window.1 } };
    let mut answers = Vec::new();
    for times in [[1, 2], [500, 501]] {
        for at_ms in times {
            say(&mut driver, if at_ms < 500 { "a" } else { "b" }, at_ms);
        }
        let last = Windowed { key: "none".to_owned(), ..key };
        driver.send("ask", &last, &(), times[1]).unwrap();
        driver.commit().unwrap();
        driver.send("ask", &key, &(), times[1]).unwrap();
        driver.commit().unwrap();
        let answered: Vec<Event<Windowed<String>, Option<i64>>> = driver.read("answers").unwrap();
        assert_eq!(answered[0].value, None);
        answers.push(answered[1].value);
    }
    (answers[0], answers[1])
}

const KEPT: Duration = Duration::from_secs(3);

#[test]
fn a_table_of_windows_is_looked_up_by_key_and_window() {
    let tumbling = |it: &GroupedStream<String, i64>| {
        it.windowed_by(Tumbling::of(ms(10)).retention(KEPT)).count("counts")
    };
    assert_eq!(found(tumbling, (0, 10)), (Some(2), Some(2)));
    assert_eq!(found(tumbling, (10, 20)), (None, None));
    let sliding =
        |it: &GroupedStream<String, i64>| it.windowed_by(Sliding::of(ms(10)).retention(KEPT)).count("counts");
    assert_eq!(found(sliding, (-8, 2)), (Some(2), Some(2)));
    let session = |it: &GroupedStream<String, i64>| {
        it.windowed_by(Session::gap(ms(10)).retention(KEPT)).count("counts")
    };
    assert_eq!(found(session, (1, 2)), (Some(2), Some(2)));
    assert_eq!(found(session, (1, 1)), (None, None));
}

#[test]
fn a_table_whose_results_are_sent_on_close_has_a_window_when_it_has_closed() {
    let on_close = |it: &GroupedStream<String, i64>| {
        let windows = Tumbling::of(ms(10)).retention(KEPT);
        it.windowed_by(windows).emit(Emit::OnClose).count("counts")
    };
    assert_eq!(found(on_close, (0, 10)), (None, Some(2)));
    let suppressed = |it: &GroupedStream<String, i64>| {
        let windows = Session::gap(ms(10)).retention(KEPT);
        it.windowed_by(windows).count("counts").suppress_until_close("final")
    };
    assert_eq!(found(suppressed, (1, 2)), (None, Some(2)));
}

#[test]
fn a_table_that_is_held_back_has_what_was_sent() {
    let held_back = |it: &GroupedStream<String, i64>| {
        let counts = it.windowed_by(Tumbling::of(ms(10)).retention(KEPT)).count("counts");
        counts.suppress(ms(100), Buffer::records(10), Stored::from("waiting"))
    };
    assert_eq!(found(held_back, (0, 10)), (None, Some(2)));
}

#[test]
fn the_windows_of_a_key_are_found_between_two_times() {
    let ways: [Way; 4] = [
        |it| it.windowed_by(Tumbling::of(ms(10)).retention(KEPT)).count("counts"),
        |it| it.windowed_by(Hopping::of(ms(10), ms(4)).retention(KEPT)).count("counts"),
        |it| it.windowed_by(Sliding::of(ms(10)).retention(KEPT)).count("counts"),
        |it| it.windowed_by(Session::gap(ms(10)).retention(KEPT)).count("counts"),
    ];
    let found = ways.map(|way| {
        let mut driver = driver(|builder| {
            way(&builder.stream::<String, i64>("in").group_by_key("g"));
        });
        for (key, at_ms) in [("a", -20), ("b", -5), ("a", 0), ("a", 5), ("c", 1_500), ("a", 1_900)] {
            say(&mut driver, key, at_ms);
        }
        let windows = |between_ms| {
            let found = driver.windows::<String, i64>("counts", &"a".to_owned(), between_ms).unwrap();
            found
                .into_iter()
                .map(|(window, count)| (window.start_ms, window.end_ms, count))
                .collect::<Vec<_>>()
        };
        assert_eq!(windows((i64::MIN, i64::MAX)).last().map(|it| it.1 >= 1_900), Some(true));
        assert_eq!(windows((6, 1_000)), []);
        windows((-4, 5))
    });
    assert_eq!(found[0], [(0, 10, 2)]);
    assert_eq!(found[1], [(-4, 6, 2), (0, 10, 2), (4, 14, 1)]);
    assert_eq!(found[2], [(1, 11, 1)]);
    assert_eq!(found[3], [(0, 5, 2)]);
}

#[test]
fn a_store_that_is_not_of_windows_has_none() {
    let driver = driver(|builder| {
        builder.stream::<String, i64>("in").group_by_key("g").count("plain");
    });
    for store in ["plain", "none"] {
        let error = driver.windows::<String, i64>(store, &"a".to_owned(), (0, 1)).unwrap_err();
        assert!(error.to_string().contains("of windows"), "{error}");
    }
}
