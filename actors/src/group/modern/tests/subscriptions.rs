//! What members subscribe to, and which assignor shares it out.

use super::*;

#[test]
fn a_pattern_finds_topics_by_their_whole_name_and_new_ones_when_they_come() {
    let mut bench = Bench::new(&[("orders-eu", 1), ("my-orders-eu", 1), ("__internal", 1)]);
    let pattern = |text: &str| GroupHeartbeat {
        topics: None,
        topic_pattern: Some(text.to_owned()),
        ..joining("g", "a", &[])
    };
    assert_eq!(bench.beat(&pattern("orders-(")), Err(ErrorCode::InvalidRegularExpression));
    assert_eq!(bench.beat(&pattern("a)(b")), Err(ErrorCode::InvalidRegularExpression));
    assert_eq!(bench.beat(&pattern("a{1000}{1000}")), Err(ErrorCode::InvalidRegularExpression));
    assert_eq!(bench.beat(&pattern("orders-.*|__.*")).unwrap().assigned.unwrap().len(), 1);
    bench.topics.set("orders-us", 2);
    bench.decide(ConsumerGroup::topics_changed).unwrap();
    assert_eq!(bench.beat(&beating("g", "a", 1)).unwrap().assigned.unwrap().len(), 3);
    bench.topics.set("orders-eu", 0);
    bench.decide(ConsumerGroup::topics_changed).unwrap();
    assert_eq!(bench.beat(&beating("g", "a", 2)).unwrap().assigned.unwrap().len(), 2);
}

#[test]
fn topics_that_nobody_subscribes_to_change_nothing() {
    let mut bench = Bench::new(&[("t", 1)]);
    bench.beat(&joining("g", "a", &["t"])).unwrap();
    let written = bench.written;
    bench.topics.set("other", 5);
    bench.decide(ConsumerGroup::topics_changed).unwrap();
    assert_eq!(bench.written, written);
}

#[test]
fn the_assignor_that_most_members_would_have_is_used() {
    let mut bench = Bench::new(&[("t", 4)]);
    let choosing = |member: &str, name: &str| GroupHeartbeat {
        assignor: Some(name.to_owned()),
        ..joining("g", member, &["t"])
    };
    assert_eq!(bench.beat(&choosing("a", "best")), Err(ErrorCode::UnsupportedAssignor));
    bench.beat(&choosing("a", "range")).unwrap();
    bench.beat(&choosing("b", "range")).unwrap();
    bench.beat(&choosing("c", "uniform")).unwrap();
    assert_eq!(bench.machine.describe(&bench.settings).unwrap().assignor, "range");
    bench.beat(&GroupHeartbeat { member_epoch: -1, ..beating("g", "a", -1) }).unwrap();
    assert_eq!(bench.machine.describe(&bench.settings).unwrap().assignor, "uniform");
}
