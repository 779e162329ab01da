//! The bytes of version 1 of everything that the quorum keeps or sends, so that a change of them is never an accident.

use std::collections::{BTreeMap, BTreeSet};

use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, VoteRequest};
use openraft::{CommittedLeaderId, EntryPayload, Membership, StoredMembership};
use serde::Serialize;
use uuid::Uuid;

use super::types::{Entry, LogId, Seat, SnapshotMeta, Vote, VoterId};
use super::wire::{Question, Reply, Request};
use crate::ids::NodeId;

fn voter(node: u32) -> VoterId {
    VoterId { node: NodeId(node), directory: Uuid::from_u128(0xA0 + u128::from(node)) }
}

fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term, voter(1)), index)
}

fn membership() -> Membership<VoterId, Seat> {
    let nodes = BTreeMap::from([
        (voter(1), Seat { address: "a:1".into() }),
        (voter(2), Seat { address: "b:2".into() }),
    ]);
    Membership::new(vec![BTreeSet::from([voter(1)])], nodes)
}

fn entry(payload: EntryPayload<super::types::TypeConfig>) -> Entry {
    Entry { log_id: log_id(3, 300), payload }
}

#[track_caller]
fn assert_golden<T: Serialize>(value: &T, golden: &str) {
    let bytes = postcard::to_stdvec(value).unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    // A directory's UUID: its length, then fifteen zeros.
    let short = hex.replace("10000000000000000000000000000000", "~");
    assert_eq!(short, golden);
}

#[test]
fn entries_keep_their_bytes() {
    assert_golden(&entry(EntryPayload::Blank), "0301~a1ac0200");
    assert_golden(&entry(EntryPayload::Normal(vec![1, 2, 3])), "0301~a1ac020103010203");
    assert_golden(
        &entry(EntryPayload::Membership(membership())),
        "0301~a1ac0202010101~a10201~a103613a3102~a203623a32",
    );
}

#[test]
fn votes_and_snapshots_keep_their_bytes() {
    assert_golden(&Vote::new_committed(7, voter(2)), "0702~a201");
    let meta = SnapshotMeta {
        last_log_id: Some(log_id(3, 300)),
        last_membership: StoredMembership::new(Some(log_id(0, 0)), membership()),
        snapshot_id: "3-300-deadbeef".into(),
    };
    assert_golden(
        &meta,
        "010301~a1ac02010001~a100010101~a10201~a103613a3102~a203623a320e332d3330302d6465616462656566",
    );
}

#[test]
fn questions_keep_their_bytes() {
    let ask = |request| Question { from: voter(1), to: Some(voter(2)), request };
    let append = AppendEntriesRequest {
        vote: Vote::new_committed(3, voter(1)),
        prev_log_id: Some(log_id(2, 299)),
        entries: vec![entry(EntryPayload::Normal(vec![9]))],
        leader_commit: None,
    };
    assert_golden(&ask(Request::Append(append)), "01~a10102~a2000301~a101010201~a1ab02010301~a1ac0201010900");
    let vote = VoteRequest::new(Vote::new(4, voter(1)), Some(log_id(3, 300)));
    assert_golden(&ask(Request::Vote(vote)), "01~a10102~a2010401~a100010301~a1ac02");
    assert_golden(&ask(Request::PreVote(None)), "01~a10102~a20200");
    let meta = SnapshotMeta {
        last_log_id: None,
        last_membership: StoredMembership::default(),
        snapshot_id: "x".into(),
    };
    let snapshot = InstallSnapshotRequest {
        vote: Vote::new(1, voter(1)),
        meta,
        offset: 128,
        data: vec![5, 6],
        done: true,
    };
    assert_golden(&ask(Request::Snapshot(snapshot)), "01~a10102~a2030101~a100000000000178800102050601");
    let introduce = Request::Introduce { address: "a:1".into(), founders: vec![NodeId(1), NodeId(2)] };
    assert_golden(&Question { from: voter(1), to: None, request: introduce }, "01~a1000403613a31020102");
    assert_golden(&ask(Request::Alive(Vote::new_committed(3, voter(1)))), "01~a10102~a2050301~a101");
}

#[test]
fn replies_keep_their_bytes() {
    assert_golden(&Reply::Append(AppendEntriesResponse::Success), "0000");
    assert_golden(&Reply::Append(AppendEntriesResponse::HigherVote(Vote::new(4, voter(2)))), "00030402~a200");
    assert_golden(&Reply::PreVote(true), "0201");
    assert_golden(&Reply::SnapshotMismatch, "04");
    assert_golden(
        &Reply::Introduced { me: voter(2), unborn: true, founders: vec![NodeId(1)] },
        "0502~a2010101",
    );
    assert_golden(&Reply::NotMe(voter(2)), "0602~a2");
    assert_golden(&Reply::Silent("no".into()), "07026e6f");
    assert_golden(&Reply::Alive(false), "0800");
}
