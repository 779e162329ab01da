//! Regular expressions find what their subscribers may know of.

use super::super::shown::LOOK_UPS_MAX;
use super::*;

fn by_pattern(member: &str) -> GroupHeartbeat {
    GroupHeartbeat { topics: None, topic_pattern: Some("t.*".to_owned()), ..joining("g", member, &[]) }
}

/// The topics of which this member is to own something.
fn targets(bench: &Bench, member: &str) -> BTreeSet<Arc<str>> {
    let topics = bench.machine.group().target(member).iter().map(|partition| partition.topic);
    topics.filter_map(|id| Some(bench.topics.identified(id)?.0)).collect()
}

fn names(names: &[&str]) -> BTreeSet<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

#[test]
fn a_pattern_finds_only_topics_that_its_subscriber_may_describe_and_leaves_the_others_to_whoever_may() {
    let mut bench = Bench::new(&[("t1", 2), ("t2", 2), ("t3", 2)]);
    let (alice, bob) = (FakeRights::of("alice", &["t1"]), FakeRights::of("bob", &["t1", "t2"]));
    bench.beat_with(&by_pattern("a"), Some(&alice)).unwrap();
    assert_eq!(targets(&bench, "a"), names(&["t1"]));
    assert_eq!(
        bench.machine.group().topics.len(),
        1,
        "the group reads no topic that nobody of it may know of"
    );
    bench.beat_with(&by_pattern("b"), Some(&bob)).unwrap();
    assert_eq!(bench.machine.group().targets.values().map(BTreeSet::len).sum::<usize>(), 4);
    assert!(targets(&bench, "b").contains("t2"));
    assert_eq!(targets(&bench, "a"), names(&["t1"]));
    bench.beat(&by_pattern("c")).unwrap();
    assert!(targets(&bench, "c").contains("t3"), "where nobody is asked it finds all");
}

#[test]
fn lists_that_change_are_followed_with_the_next_heartbeat_of_whom_they_are_about() {
    let mut bench = Bench::new(&[("t1", 1), ("t2", 1)]);
    let alice = FakeRights::of("alice", &["t1"]);
    bench.beat_with(&by_pattern("a"), Some(&alice)).unwrap();
    let written = bench.written;
    bench.beat_with(&beating("g", "a", 1), Some(&alice)).unwrap();
    alice.set(&["t1"]);
    bench.beat_with(&beating("g", "a", 1), Some(&alice)).unwrap();
    assert_eq!(bench.written, written, "others that say the same of it change nothing");
    alice.set(&["t1", "t2"]);
    let told = bench.beat_with(&beating("g", "a", 1), Some(&alice)).unwrap();
    assert_eq!((told.member_epoch, told.assigned.unwrap().len()), (2, 2));
    alice.set(&["t2"]);
    let told = bench.beat_with(&beating("g", "a", 2), Some(&alice)).unwrap();
    assert_eq!(told.assigned, Some(vec![bench.topics.partition("t2", 0)]), "it is to give the other up");
}

#[test]
fn one_whose_list_changed_is_followed_although_the_topics_of_the_group_stay_the_same() {
    let mut bench = Bench::new(&[("t1", 2), ("t2", 2)]);
    let (alice, bob) = (FakeRights::of("alice", &["t1", "t2"]), FakeRights::of("bob", &["t1", "t2"]));
    bench.beat_with(&by_pattern("a"), Some(&alice)).unwrap();
    bench.beat_with(&by_pattern("b"), Some(&bob)).unwrap();
    bob.set(&["t1"]);
    // A change of topics has the lists looked at, of all members.
    bench.topics.set("other", 1);
    bench.decide(ConsumerGroup::topics_changed).unwrap();
    let epoch = bench.machine.group().currents["b"].epoch;
    bench.beat_with(&beating("g", "b", epoch), Some(&bob)).unwrap();
    assert_eq!(targets(&bench, "b"), names(&["t1"]));
}

#[test]
fn members_that_a_new_coordinator_has_not_heard_of_keep_what_they_have_and_find_nothing_new() {
    let mut bench = Bench::new(&[("t1", 1), ("t2", 1), ("t3", 1)]);
    bench.settings.has_authorizer = true;
    let alice = FakeRights::of("alice", &["t1", "t2"]);
    bench.beat_with(&by_pattern("a"), Some(&alice)).unwrap();
    bench.take_over();
    let written = bench.written;
    bench.decide(ConsumerGroup::make_whole).unwrap();
    bench.topics.set("t4", 1);
    bench.decide(ConsumerGroup::topics_changed).unwrap();
    assert_eq!(bench.written, written);
    bench.beat_with(&beating("g", "a", 1), Some(&alice)).unwrap();
    assert_eq!(bench.written, written, "it may know of what it has, and of nothing else");
    alice.set(&["t1", "t4"]);
    bench.beat_with(&beating("g", "a", 1), Some(&alice)).unwrap();
    assert_eq!(targets(&bench, "a"), names(&["t1", "t4"]));
}

#[test]
fn whoever_is_not_let_in_is_not_remembered() {
    let mut bench = Bench::new(&[("t1", 1)]);
    let alice = FakeRights::of("alice", &["t1"]);
    for number in 0..100 {
        let stranger = beating("g", &format!("stranger {number}"), 7);
        assert_eq!(bench.beat_with(&stranger, Some(&alice)), Err(ErrorCode::UnknownMemberId));
    }
    assert_eq!(Arc::strong_count(&alice), 1);
    bench.beat_with(&by_pattern("a"), Some(&alice)).unwrap();
    bench.beat_with(&GroupHeartbeat { member_epoch: -1, ..beating("g", "a", -1) }, Some(&alice)).unwrap();
    assert_eq!(Arc::strong_count(&alice), 1);
}

/// Everybody who may know of all topics `t…`, and so many of those.
fn many(topics: usize) -> (Bench, Arc<FakeRights>) {
    let mut bench = Bench::new(&[]);
    for number in 0..topics {
        bench.topics.set(&format!("t{number:05}"), 1);
    }
    (bench, FakeRights::of("alice", &["t*"]))
}

#[test]
fn members_with_the_same_rights_have_them_looked_up_once_and_for_new_topics_only() {
    let (mut bench, alice) = many(100);
    for member in ["a", "b", "c"] {
        bench.beat_with(&by_pattern(member), Some(&alice)).unwrap();
    }
    assert_eq!(alice.asked(), 100);
    bench.topics.set("other", 1);
    bench.topics.set("t00050x", 1);
    bench.topics.set("t00007", 0);
    bench.decide(ConsumerGroup::topics_changed).unwrap();
    assert_eq!(alice.asked(), 1, "only one of those that match is new");
    assert_eq!(bench.machine.group().topics.len(), 100);
    alice.set(&["t*"]);
    for member in ["a", "b", "c"] {
        let epoch = bench.machine.group().currents[member].epoch;
        bench.beat_with(&beating("g", member, epoch), Some(&alice)).unwrap();
    }
    assert_eq!(alice.asked(), 100, "lists that changed are asked anew");
}

#[test]
fn more_topics_than_are_looked_up_at_a_time_are_found_in_several_heartbeats() {
    let topics = LOOK_UPS_MAX + 10;
    let (mut bench, alice) = many(topics);
    let told = bench.beat_with(&by_pattern("a"), Some(&alice)).unwrap();
    assert_eq!(alice.asked(), LOOK_UPS_MAX);
    assert_eq!((told.heartbeat_interval_ms, told.assigned.unwrap().len()), (100, 0), "it is to ask soon");
    let told = bench.beat_with(&beating("g", "a", 1), Some(&alice)).unwrap();
    assert_eq!((alice.asked(), told.heartbeat_interval_ms), (0, 100), "not before there was time for others");
    bench.now_ms += 100;
    let told = bench.beat_with(&beating("g", "a", 1), Some(&alice)).unwrap();
    assert_eq!((alice.asked(), told.assigned.unwrap().len()), (10, topics));
    assert_eq!(told.heartbeat_interval_ms, 500);

    // While other lists are gone through, it keeps what it has.
    bench.now_ms += 100;
    alice.set(&["t0000*"]);
    let written = bench.written;
    let told = bench.beat_with(&beating("g", "a", 2), Some(&alice)).unwrap();
    assert_eq!((bench.written, told.heartbeat_interval_ms), (written, 100));
    bench.now_ms += 100;
    let told = bench.beat_with(&beating("g", "a", 2), Some(&alice)).unwrap();
    assert_eq!(told.assigned.unwrap().len(), 10);
}

#[test]
fn a_member_that_comes_from_ever_new_addresses_leaves_nothing_behind() {
    let mut bench = Bench::new(&[("t1", 1)]);
    bench.beat_with(&by_pattern("a"), Some(&FakeRights::of("0", &["t1"]))).unwrap();
    for number in 1..100 {
        let rights = FakeRights::of(&number.to_string(), &["t1"]);
        bench.beat_with(&beating("g", "a", 1), Some(&rights)).unwrap();
    }
    assert!(bench.machine.patterns.kept() <= 2, "{}", bench.machine.patterns.kept());
}

#[test]
fn a_heartbeat_that_is_refused_changes_nobodys_rights() {
    let mut bench = Bench::new(&[("t1", 1), ("t2", 1)]);
    let (alice, stranger) = (FakeRights::of("alice", &["t1", "t2"]), FakeRights::of("stranger", &["t1"]));
    bench.beat_with(&by_pattern("a"), Some(&alice)).unwrap();
    let written = bench.written;
    let refused = bench.beat_with(&beating("g", "a", 7), Some(&stranger));
    assert_eq!(refused, Err(ErrorCode::FencedMemberEpoch));
    assert_eq!(Arc::strong_count(&stranger), 1);
    // A change of topics has the rights looked at, of all members.
    bench.topics.set("other", 1);
    bench.decide(ConsumerGroup::topics_changed).unwrap();
    bench.beat_with(&beating("g", "a", 1), Some(&alice)).unwrap();
    assert_eq!((bench.written, targets(&bench, "a")), (written, names(&["t1", "t2"])));
}

/// Three members of one kind, in a group whose coordinator changes; one of them, in which something happens before the others
/// are heard again.
fn three_after_a_change(has_authorizer: bool, rights: Option<&Arc<FakeRights>>) -> Bench {
    let mut bench = Bench::new(&[("t1", 1), ("t2", 1), ("t3", 3)]);
    bench.settings.has_authorizer = has_authorizer;
    for member in ["a", "b", "c"] {
        bench.beat_with(&by_pattern(member), rights).unwrap();
    }
    bench.take_over();
    bench.topics.set("t4", 2);
    bench.decide(ConsumerGroup::topics_changed).unwrap();
    let epoch = bench.machine.group().currents["a"].epoch;
    bench.beat_with(&beating("g", "a", epoch), rights).unwrap();
    bench
}

#[test]
fn after_a_change_of_the_coordinator_what_everybody_is_to_own_is_not_computed_again_for_each_member() {
    let alice = FakeRights::of("alice", &["t1", "t2", "t3", "t4"]);
    for (has_authorizer, rights) in [(false, None), (true, Some(&alice))] {
        let mut bench = three_after_a_change(has_authorizer, rights);
        let epoch = bench.machine.group().epoch;
        for member in ["b", "c", "a"] {
            let known = bench.machine.group().currents[member].epoch;
            bench.beat_with(&beating("g", member, known), rights).unwrap();
        }
        assert_eq!(bench.machine.group().epoch, epoch);
        assert_eq!(bench.machine.group().targets.values().map(BTreeSet::len).sum::<usize>(), 7);
    }
}

#[test]
fn one_that_may_know_of_less_than_the_group_reads_is_not_told_of_the_rest_after_a_change_of_the_coordinator()
{
    let (alice, bob) = (FakeRights::of("alice", &["t1", "t2"]), FakeRights::of("bob", &["t1"]));
    let mut bench = Bench::new(&[("t1", 2), ("t2", 2)]);
    bench.settings.has_authorizer = true;
    bench.beat_with(&by_pattern("a"), Some(&alice)).unwrap();
    bench.beat_with(&by_pattern("b"), Some(&bob)).unwrap();
    bench.take_over();
    bench.beat_with(&by_pattern("c"), Some(&alice)).unwrap();
    let epoch = bench.machine.group().currents["b"].epoch;
    let told = bench.beat_with(&beating("g", "b", epoch), Some(&bob)).unwrap();
    let foreign = [bench.topics.partition("t2", 0), bench.topics.partition("t2", 1)];
    assert!(told.assigned.into_iter().flatten().all(|partition| !foreign.contains(&partition)));
    assert!(targets(&bench, "b").is_subset(&names(&["t1"])));
}
