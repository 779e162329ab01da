//! The bytes of version 1 of every message, for ever.

use std::fmt::Write;

use bytes::Bytes;
use millstream_transport::message::Message;

use super::fakes::{EPOCH, FOLLOWER, LIFE, member, partition};
use crate::ids::Offset;
use crate::partition::following::{FeedRefusal, FollowerEnds, FollowerLog, Opening};
use crate::replication::message::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

fn header<M: Message>(message: &M) -> String {
    hex(&postcard::to_allocvec(message).unwrap())
}

#[test]
fn openings_have_their_bytes() {
    let opening = OpenSession {
        follower: FOLLOWER,
        incarnation: LIFE,
        core: 1,
        leader_core: 3,
        window_bytes: 1 << 24,
        partition_window_bytes: 1 << 20,
    };
    assert_eq!((OpenSession::KIND, OpenSession::VERSION), (150, 1));
    assert_eq!(header(&opening), "024d010380808008808040");
    let opened = SessionOpened { cores: 4, window_bytes: 300, partition_window_bytes: 5 };
    assert_eq!(hex(&postcard::to_allocvec(&opened).unwrap()), "04ac0205");
}

#[test]
fn turns_of_followers_have_their_bytes() {
    let log = FollowerLog { end: Offset(70), durable_end: Offset(64), last_epoch: Some(EPOCH) };
    let ask =
        |slot, question| Ask { slot, partition: partition(3), member: member(), epoch: EPOCH, question };
    let turn = FollowerTurn {
        stops: vec![2],
        asks: vec![ask(300, Question::Subscribe(log)), ask(301, Question::Leave)],
        progress: vec![
            Progress {
                slot: 1,
                taken_bytes: 1000,
                ends: Some(FollowerEnds { durable_end: Offset(65), log_start: Offset(3) }),
            },
            Progress { slot: 9, taken_bytes: 1, ends: None },
        ],
    };
    assert_eq!((FollowerTurn::KIND, FollowerTurn::VERSION), (151, 1));
    assert_eq!(
        header(&turn),
        concat!(
            "0102",
            "02",
            "ac02100000000000000000000000000000000906",
            "0210000000000000000000000000000000044d0a",
            "008c018001010a",
            "ad02100000000000000000000000000000000906",
            "0210000000000000000000000000000000044d0a",
            "01",
            "02",
            "01e80701820106",
            "090100",
        )
    );
}

#[test]
fn turns_of_leaders_have_their_bytes() {
    let accepted = Opening::Accepted { end: Offset(70), high_watermark: Offset(60), log_start: Offset(1) };
    let part = |slot, batches| FedPart {
        slot,
        high_watermark: Offset(61),
        log_start: Offset(1),
        batches: Bytes::from_static(batches),
    };
    let mut turn = LeaderTurn {
        answers: vec![
            (300, Reply::Opened(accepted)),
            (301, Reply::Opened(Opening::Diverged { epoch: Some(EPOCH), end: Offset(50) })),
            (302, Reply::Opened(Opening::OutOfRange { start: Offset(9) })),
            (303, Reply::Refused(FeedRefusal::NotLeading)),
            (304, Reply::Elsewhere { core: 2 }),
            (305, Reply::Left(true)),
        ],
        ended: vec![7],
        parts: vec![part(1, b"batches"), part(9, b"")],
    };
    assert_eq!((LeaderTurn::KIND, LeaderTurn::VERSION), (152, 1));
    assert_eq!(
        header(&turn),
        concat!(
            "06",
            "ac0200008c017802",
            "ad020001010a64",
            "ae02000212",
            "af020100",
            "b0020202",
            "b1020301",
            "0107",
            "02",
            "017a02",
            "097a02",
        )
    );
    let whole = turn.clone();
    let bodies = turn.take_bodies();
    assert_eq!(bodies, [Bytes::from_static(b"batches"), Bytes::new()]);
    turn.put_bodies(bodies).unwrap();
    assert_eq!(turn, whole);
    turn.put_bodies(vec![Bytes::new()]).unwrap_err();
}
