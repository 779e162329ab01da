use super::*;
use crate::ids::{LeaderEpoch, Offset};

fn committing(member: &str, member_epoch: i32, offsets: &[(PartitionId, i64)]) -> OffsetCommit {
    let offsets = offsets.iter().map(|(partition, offset)| {
        let metadata = format!("at {offset}");
        (
            *partition,
            CommittedOffset { offset: Offset(*offset), leader_epoch: Some(LeaderEpoch(4)), metadata },
        )
    });
    OffsetCommit {
        group: "g".to_owned(),
        member: member.to_owned(),
        member_epoch,
        offsets: offsets.collect(),
    }
}

fn commit(bench: &mut Bench, request: &OffsetCommit) -> Result<Vec<Result<(), ErrorCode>>, ErrorCode> {
    let each = bench.decide(|machine, around| machine.commit(around, request))?;
    Ok(each.into_iter().map(|(_, result)| result.map_err(|refusal| refusal.code)).collect())
}

fn fetched(bench: &Bench, partitions: Option<Vec<PartitionId>>) -> Vec<(PartitionId, i64)> {
    let request = OffsetFetch { group: "g".to_owned(), partitions };
    let offsets = bench.machine.fetch(&bench.topics, &request);
    offsets.into_iter().map(|(partition, committed)| (partition, committed.offset.0)).collect()
}

fn delete(bench: &mut Bench) -> Result<(), ErrorCode> {
    bench.decide(|machine, around| machine.delete(around, &DeleteGroup { group: "g".to_owned() }))
}

const HOUR_MS: u64 = 3_600_000;

#[test]
fn a_member_commits_in_its_epoch_and_finds_what_it_committed() {
    let mut bench = Bench::new(&[("t", 2)]);
    let [zero, one] = [0, 1].map(|index| bench.topics.partition("t", index));
    assert_eq!(commit(&mut bench, &committing("a", 1, &[(zero, 5)])), Err(ErrorCode::UnknownMemberId));
    bench.beat(&joining("g", "a", &["t"])).unwrap();
    assert_eq!(commit(&mut bench, &committing("a", 1, &[(zero, 5)])), Ok(vec![Ok(())]));
    assert_eq!(commit(&mut bench, &committing("a", 0, &[(zero, 6)])), Err(ErrorCode::StaleMemberEpoch));
    assert_eq!(commit(&mut bench, &committing("", -1, &[(zero, 6)])), Err(ErrorCode::UnknownMemberId));
    assert_eq!(fetched(&bench, Some(vec![zero, one])), [(zero, 5)]);
    let request = OffsetFetch { group: "g".to_owned(), partitions: None };
    let (_, committed) = bench.machine.fetch(&bench.topics, &request).remove(0);
    assert_eq!((committed.metadata.as_str(), committed.leader_epoch), ("at 5", Some(LeaderEpoch(4))));
    assert_eq!(bench.replayed(), *bench.machine.group());
}

#[test]
fn a_member_reads_offsets_in_its_epoch_and_others_only_of_a_group_that_never_had_members() {
    let mut bench = Bench::new(&[("t", 1)]);
    let read = |bench: &Bench, member, epoch| bench.machine.check_reader(member, epoch).map_err(|it| it.code);
    assert_eq!(read(&bench, "a", 1), Ok(()));
    bench.beat(&joining("g", "a", &["t"])).unwrap();
    assert_eq!(read(&bench, "a", 1), Ok(()));
    assert_eq!(read(&bench, "a", 0), Err(ErrorCode::StaleMemberEpoch));
    assert_eq!(read(&bench, "b", 1), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn offsets_are_reset_from_outside_while_there_are_no_members() {
    let mut bench = Bench::new(&[("t", 1)]);
    let zero = bench.topics.partition("t", 0);
    assert_eq!(commit(&mut bench, &committing("", -1, &[(zero, 9)])), Ok(vec![Ok(())]));
    assert_eq!(bench.machine.state(), GroupState::Empty);
    assert_eq!(commit(&mut bench, &committing("", -1, &[(zero, 2)])), Ok(vec![Ok(())]));
    assert_eq!(fetched(&bench, None), [(zero, 2)]);
}

#[test]
fn each_partition_of_a_commit_is_judged_by_itself() {
    let mut bench = Bench::new(&[("t", 1)]);
    bench.settings.offset_metadata_max_bytes = 5;
    let zero = bench.topics.partition("t", 0);
    let beyond = PartitionId { index: 1, ..zero };
    let unknown = PartitionId { topic: crate::ids::TopicId(uuid::Uuid::nil()), index: 0 };
    let results = commit(
        &mut bench,
        &committing("", -1, &[(zero, 1), (zero, 100), (zero, -1), (beyond, 1), (unknown, 1)]),
    );
    let expected = [
        Ok(()),
        Err(ErrorCode::OffsetMetadataTooLarge),
        Err(ErrorCode::InvalidRequest),
        Err(ErrorCode::UnknownTopicOrPartition),
        Err(ErrorCode::UnknownTopicId),
    ];
    assert_eq!(results.unwrap(), expected);
    assert_eq!(fetched(&bench, None), [(zero, 1)]);
}

#[test]
fn offsets_go_with_their_topic_and_do_not_pass_to_another_of_its_name() {
    let mut bench = Bench::new(&[("t", 1), ("u", 1)]);
    let [of_t, of_u] = ["t", "u"].map(|name| bench.topics.partition(name, 0));
    commit(&mut bench, &committing("", -1, &[(of_t, 7), (of_u, 8)])).unwrap();
    bench.topics.set("t", 0);
    bench.topics.set("t", 1);
    let new_t = bench.topics.partition("t", 0);
    assert_eq!(fetched(&bench, Some(vec![of_t, new_t])), []);
    assert_eq!(fetched(&bench, None), [(of_u, 8)]);
    bench.decide(ConsumerGroup::topics_changed).unwrap();
    assert!(bench.machine.group().offsets.get("t", 0).is_none());
    assert_eq!(bench.replayed(), *bench.machine.group());
}

#[test]
fn offsets_outlive_their_last_member_by_their_retention() {
    let mut bench = Bench::new(&[("t", 1), ("u", 1)]);
    bench.settings.offsets_retention_ms = 24 * HOUR_MS;
    let [of_t, of_u] = ["t", "u"].map(|name| bench.topics.partition(name, 0));
    bench.beat(&joining("g", "a", &["t"])).unwrap();
    commit(&mut bench, &committing("a", 1, &[(of_t, 7), (of_u, 8)])).unwrap();
    for _ in 0..25 * 3_600 / 5 {
        bench.wait(5_000);
        bench.beat(&beating("g", "a", 1)).unwrap();
    }
    assert_eq!(fetched(&bench, None), [(of_t, 7)], "nobody subscribes to the other topic");
    bench.beat(&beating("g", "a", -1)).unwrap();
    bench.wait(23 * HOUR_MS);
    bench.take_over();
    assert_eq!(fetched(&bench, None), [(of_t, 7)], "counted from when the last member left");
    bench.wait(HOUR_MS);
    assert_eq!(fetched(&bench, None), []);
    assert!(bench.machine.group().is_nothing());
    assert!(bench.replayed().is_nothing());
}

#[test]
fn an_empty_group_without_offsets_ends_by_itself() {
    let mut bench = Bench::new(&[("t", 1)]);
    bench.beat(&joining("g", "a", &["t"])).unwrap();
    bench.beat(&beating("g", "a", -1)).unwrap();
    assert!(!bench.machine.group().is_nothing());
    bench.wait(bench.settings.offsets_retention_check_ms);
    assert!(bench.machine.group().is_nothing());
    let gone = bench.machine.describe(&bench.settings).unwrap_err();
    assert_eq!(gone.code, ErrorCode::GroupIdNotFound);
}

#[test]
fn only_a_group_without_members_is_deleted() {
    let mut bench = Bench::new(&[("t", 1)]);
    let zero = bench.topics.partition("t", 0);
    assert_eq!(delete(&mut bench), Err(ErrorCode::GroupIdNotFound));
    bench.beat(&joining("g", "a", &["t"])).unwrap();
    commit(&mut bench, &committing("a", 1, &[(zero, 7)])).unwrap();
    assert_eq!(delete(&mut bench), Err(ErrorCode::NonEmptyGroup));
    bench.beat(&beating("g", "a", -1)).unwrap();
    assert_eq!(delete(&mut bench), Ok(()));
    assert!(bench.replayed().is_nothing());
}

#[test]
fn offsets_of_topics_that_nobody_subscribes_to_are_deleted() {
    let mut bench = Bench::new(&[("t", 1), ("u", 1)]);
    let [of_t, of_u] = ["t", "u"].map(|name| bench.topics.partition(name, 0));
    bench.beat(&joining("g", "a", &["t"])).unwrap();
    commit(&mut bench, &committing("a", 1, &[(of_t, 7), (of_u, 8)])).unwrap();
    let request = OffsetDelete { group: "g".to_owned(), partitions: vec![of_t, of_u] };
    let each = bench.decide(|machine, around| machine.delete_offsets(around, &request, false)).unwrap();
    let codes: Vec<_> = each.into_iter().map(|(_, result)| result.map_err(|refusal| refusal.code)).collect();
    assert_eq!(codes, [Err(ErrorCode::GroupSubscribedToTopic), Ok(())]);
    assert_eq!(fetched(&bench, None), [(of_t, 7)]);
}

#[test]
fn offsets_of_a_group_of_which_nothing_is_recorded_are_deleted_in_vain_where_there_is_one_and_else_refused() {
    let mut bench = Bench::new(&[("t", 1)]);
    let of_t = bench.topics.partition("t", 0);
    let request = OffsetDelete { group: "g".to_owned(), partitions: vec![of_t] };
    let mut delete =
        |is_known| bench.decide(|machine, around| machine.delete_offsets(around, &request, is_known));
    assert_eq!(delete(false).unwrap_err(), ErrorCode::GroupIdNotFound);
    assert_eq!(delete(true), Ok(vec![(of_t, Ok(()))]));
}
