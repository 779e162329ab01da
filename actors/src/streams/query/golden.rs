//! The bytes of the messages of version 1.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use millstream_transport::message::Message;
use serde::Serialize;

use super::message::{
    AskStore, ListStreams, MemberShown, PolledAnswer, StoreEntry, StorePage, StoreShape, StreamsPoll,
    StreamsQueries, StreamsShown, TaskShape,
};
use super::{QueryRefusal, StoreAnswered, StoreAsk, StoreQuery};

fn hex(value: &impl Serialize) -> String {
    postcard::to_stdvec(value).unwrap().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn query(ask: StoreAsk) -> StoreQuery {
    StoreQuery {
        store: "s".to_owned(),
        partition: Some(1),
        ask,
        is_uncommitted: false,
        allows_standby: true,
        after: Some(Bytes::from_static(b"z")),
        entries_max: 3,
        bytes_max: 300,
    }
}

fn answered() -> StoreAnswered {
    StoreAnswered { partition: 1, next_partition: Some(2), body: Bytes::from_static(b"page") }
}

#[test]
fn questions() {
    let key = Bytes::from_static(b"k");
    let (front, back) = ("01730102", "000101017a03ac02");
    let of = |ask: &str| format!("{front}{ask}{back}");
    assert_eq!(hex(&query(StoreAsk::Get { key: key.clone() })), of("00016b"));
    let (from, to) = (Bound::Included(key.clone()), Bound::Unbounded);
    assert_eq!(hex(&query(StoreAsk::Range { from, to })), of("0101016b00"));
    assert_eq!(hex(&query(StoreAsk::Fetch { key, from_ms: -1, to_ms: 1 })), of("02016b0102"));
    assert_eq!(hex(&query(StoreAsk::FetchAll { from_ms: 0, to_ms: 1 })), of("030002"));
    assert_eq!(hex(&query(StoreAsk::Size {})), of("04"));
    let query = query(StoreAsk::FetchAll { from_ms: 0, to_ms: 1 });
    let ask = AskStore { application: "a".to_owned(), within_ms: 1, query: query.clone() };
    assert_eq!(hex(&ask), format!("016101{}", of("030002")));
    let queries = StreamsQueries { queries: vec![(5, query)] };
    assert_eq!(hex(&queries), format!("0105{}", of("030002")));
    assert_eq!(hex(&ListStreams { application: Some("a".to_owned()) }), "010161");
}

#[test]
fn answers() {
    assert_eq!(hex(&answered()), "020104", "its page is a body of its own");
    let entries = vec![
        StoreEntry { key: "k".into(), window_ms: None, value: Some("v".into()) },
        StoreEntry { key: "k".into(), window_ms: Some((1, 2)), value: None },
    ];
    let page = StorePage { entries, next: Some("n".into()) };
    assert_eq!(hex(&page), "02016b00010176016b0102040001016e");
    assert_eq!(StorePage::opened(&page.sealed().unwrap()).unwrap(), page);
    let said = || "t".to_owned();
    let refusals = [
        QueryRefusal::NotRunning(said()),
        QueryRefusal::NotHere(said()),
        QueryRefusal::UnknownStore(said()),
        QueryRefusal::WrongType(said()),
        QueryRefusal::Retry(said()),
        QueryRefusal::Busy(said()),
        QueryRefusal::Failed(said()),
    ];
    let all: Vec<String> = refusals.iter().map(hex).collect();
    assert_eq!(all, ["000174", "010174", "020174", "030174", "040174", "050174", "060174"]);
}

#[test]
fn what_a_member_says() {
    let task = TaskShape { part: 1, partition: 2, is_standby: true };
    let store = StoreShape { name: "s".to_owned(), part: Some(1), partitions: 2 };
    let refused = PolledAnswer { number: 6, result: Err(QueryRefusal::NotHere("t".to_owned())) };
    let mut poll = StreamsPoll {
        application: "a".to_owned(),
        member: "m".to_owned(),
        instance: "i".to_owned(),
        wait_ms: 300,
        tasks: vec![task],
        stores: vec![store.clone()],
        answers: vec![PolledAnswer { number: 5, result: Ok(answered()) }, refused],
    };
    let whole = poll.clone();
    let bodies = poll.take_bodies();
    assert_eq!(hex(&poll), "0161016d0169ac02010104010101730101040205000201040601010174");
    assert_eq!(bodies, ["page"]);
    assert!(poll.clone().put_bodies(Vec::new()).is_err());
    poll.put_bodies(bodies).unwrap();
    assert_eq!(poll, whole);
    let member = MemberShown {
        instance: "i".to_owned(),
        host: "h".to_owned(),
        heard_ms: 1,
        tasks: vec![task],
        stores: vec![store],
        waiting: 7,
    };
    let shown =
        StreamsShown { application: "a".to_owned(), members: BTreeMap::from([("m".to_owned(), member)]) };
    assert_eq!(hex(&shown), "016101016d01690168010101040101017301010407");
}
