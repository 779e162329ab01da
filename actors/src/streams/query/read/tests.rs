use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::streams::store::layout::Segments;
use crate::streams::store::{Checkpoint, MemoryStore};

fn query(ask: StoreAsk, entries_max: u32) -> StoreQuery {
    StoreQuery {
        store: "s".to_owned(),
        partition: None,
        ask,
        is_uncommitted: false,
        allows_standby: false,
        after: None,
        entries_max,
        bytes_max: BYTES_MAX,
    }
}

/// All pages, one after the other.
fn all(view: View<'_>, form: Form, mut query: StoreQuery) -> Vec<StoreEntry> {
    let mut entries = Vec::new();
    for _ in 0..10_000 {
        let page = read(view, form, &[], &query).unwrap();
        assert!(page.entries.len() <= usize::try_from(query.entries_max).unwrap());
        entries.extend(page.entries);
        query.after = page.next;
        if query.after.is_none() {
            return entries;
        }
    }
    panic!("no end of pages");
}

fn stored(entries: impl IntoIterator<Item = (Bytes, Bytes)>) -> MemoryStore {
    let entries: Vec<_> = entries.into_iter().collect();
    let mut store = MemoryStore::default();
    let mut changes = entries.iter().map(|(key, value)| (key, Some(value)));
    store.apply(&mut changes, &[], Checkpoint(0)).unwrap();
    store
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(2), Just(254), Just(255)], 0..4)
}

fn shape() -> impl Strategy<Value = Shape> {
    let retention_ms = i64::try_from(Duration::from_secs(2).as_millis()).unwrap();
    prop_oneof![
        Just(Shape::Hopping { size_ms: 10 }),
        Just(Shape::Sliding { difference_ms: 10, retention_ms }),
        Just(Shape::Session { retention_ms }),
    ]
}

/// How a window of a key lies in a store.
fn placed(shape: Shape, key: &[u8], (start_ms, end_ms): (i64, i64)) -> (Bytes, Bytes) {
    match shape {
        Shape::Hopping { .. } => (time_first(start_ms, key), Bytes::from_static(b"v")),
        Shape::Sliding { retention_ms, .. } => {
            let value = [&ordered(0)[..], &[1], b"v"].concat();
            (Segments::new(0, retention_ms).at(key, start_ms, &[]), value.into())
        }
        Shape::Session { retention_ms } => {
            let at = Segments::new(0, retention_ms).at(key, end_ms, &ordered(start_ms));
            (at, Bytes::from_static(b"v"))
        }
    }
}

proptest! {
    #[test]
    fn page_by_page_what_is_asked_of_windows_is_all_there_is_of_it(
        shape in shape(),
        windows in prop::collection::btree_set((key(), -5_000..5_000_i64), 0..60),
        wanted in key(),
        (from_ms, length_ms) in (-6_000..6_000_i64, 0..6_000_i64),
        entries_max in 1..5_u32,
    ) {
        let (to_ms, length) = (from_ms + length_ms, 10);
        let placed = windows.iter().map(|(key, start)| placed(shape, key, (*start, start + length)));
        let mut entries: Vec<_> = placed.collect();
        // What is no window, and the index, is not shown.
        entries.push(([&MARKS[..], b"mark"].concat().into(), Bytes::new()));
        if let Shape::Sliding { retention_ms, .. } | Shape::Session { retention_ms } = shape {
            entries.push((Segments::new(0, retention_ms).index_at(from_ms, b"k"), Bytes::new()));
        }
        let store = stored(entries);
        let is_meant = |start: i64| match shape {
            Shape::Session { .. } => start + length >= from_ms && start <= to_ms,
            _ => (from_ms..=to_ms).contains(&start),
        };
        let expected: BTreeMap<(Vec<u8>, i64), ()> = windows
            .iter()
            .filter(|(_, start)| is_meant(*start))
            .map(|window| (window.clone(), ()))
            .collect();
        let seen = |entries: Vec<StoreEntry>| -> Vec<(Vec<u8>, i64)> {
            let each = entries.into_iter().inspect(|entry| {
                assert_eq!(entry.value.as_deref(), Some(&b"v"[..]));
                assert_eq!(entry.window_ms.map(|(start, end)| end - start), Some(length));
            });
            each.map(|entry| (entry.key.to_vec(), entry.window_ms.unwrap().0)).collect()
        };
        let form = Form::Windows(shape);
        let ask = StoreAsk::FetchAll { from_ms, to_ms };
        let found = seen(all(View::Committed(&store), form, query(ask, entries_max)));
        prop_assert_eq!(found.len(), expected.len());
        prop_assert_eq!(&found.into_iter().map(|of| (of, ())).collect::<BTreeMap<_, _>>(), &expected);
        let ask = StoreAsk::Fetch { key: wanted.clone().into(), from_ms, to_ms };
        let found = seen(all(View::Committed(&store), form, query(ask, entries_max)));
        let of_key: Vec<_> = expected.into_keys().filter(|(key, _)| *key == wanted).collect();
        prop_assert_eq!(found, of_key);
    }

    #[test]
    fn page_by_page_a_range_is_that_of_a_map(
        keys in prop::collection::btree_set(key(), 0..60),
        (from, to) in (key(), key()),
        entries_max in 1..5_u32,
    ) {
        let store = stored(keys.iter().map(|key| (key.clone().into(), Bytes::from_static(b"v"))));
        let bounds = (Bound::Included(Bytes::from(from.clone())), Bound::Excluded(Bytes::from(to.clone())));
        let ask = StoreAsk::Range { from: bounds.0, to: bounds.1 };
        let found = all(View::Committed(&store), Form::Keys, query(ask, entries_max));
        let found: Vec<_> = found.into_iter().map(|entry| entry.key.to_vec()).collect();
        let expected: Vec<_> = keys.iter().filter(|key| **key >= from && **key < to).cloned().collect();
        prop_assert_eq!(found, expected);
        let ask = StoreAsk::Range { from: Bound::Unbounded, to: Bound::Unbounded };
        prop_assert_eq!(all(View::Committed(&store), Form::Keys, query(ask, entries_max)).len(), keys.len());
    }
}

#[test]
fn a_page_has_no_more_bytes_than_asked_for_unless_one_entry_alone_has() {
    let value = Bytes::from(vec![7; 1_000]);
    let store = stored((0..9_u8).map(|key| (Bytes::copy_from_slice(&[key]), value.clone())));
    let ask = StoreAsk::Range { from: Bound::Unbounded, to: Bound::Unbounded };
    let mut query = StoreQuery { bytes_max: 2_100, ..query(ask, 100) };
    assert_eq!(read(View::Committed(&store), Form::Keys, &[], &query).unwrap().entries.len(), 2);
    query.bytes_max = 1;
    assert_eq!(all(View::Committed(&store), Form::Keys, query).len(), 9);
}

#[test]
fn what_is_not_committed_is_seen_by_who_asks_for_it_alone() {
    let mut layered = Layered::new(Box::new(stored([(Bytes::from_static(b"a"), Bytes::from_static(b"1"))])));
    layered.put(Bytes::from_static(b"a"), Some(Bytes::from_static(b"2")));
    let query = query(StoreAsk::Get { key: Bytes::from_static(b"a") }, 1);
    let value = |view| read(view, Form::Keys, &[], &query).unwrap().entries[0].value.clone().unwrap();
    assert_eq!(value(View::Committed(layered.base())), "1");
    assert_eq!(value(View::Written(&layered)), "2");
}

#[test]
fn a_store_without_windows_has_none_to_fetch_and_one_of_windows_no_keys_alone() {
    let store = MemoryStore::default();
    let asked = |form, ask| read(View::Committed(&store), form, &[], &query(ask, 1)).unwrap_err();
    let fetch = asked(Form::Keys, StoreAsk::FetchAll { from_ms: 0, to_ms: 1 });
    let windows = Form::Windows(Shape::Hopping { size_ms: 1 });
    let get = asked(windows, StoreAsk::Get { key: Bytes::new() });
    assert!(matches!((fetch, get), (QueryRefusal::WrongType(_), QueryRefusal::WrongType(_))));
}

#[test]
fn what_is_looked_at_for_one_page_is_bounded_though_nothing_of_it_is_meant() {
    let shape = Shape::Session { retention_ms: i64::MAX };
    let windows = (0..50_000_i64).map(|at| placed(shape, b"k", (at + 10, at + 11)));
    let store = stored(windows);
    let ask = StoreAsk::Fetch { key: Bytes::from_static(b"k"), from_ms: 0, to_ms: 5 };
    let first = read(View::Committed(&store), Form::Windows(shape), &[], &query(ask.clone(), 10)).unwrap();
    assert!(first.entries.is_empty() && first.next.is_some());
    assert_eq!(all(View::Committed(&store), Form::Windows(shape), query(ask, 10)), []);
}
