use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn topic(number: u128) -> TopicId {
    TopicId(Uuid::from_u128(number))
}

fn subscriptions(topics: &[i32], members: &[(&str, &[u128])]) -> Subscriptions {
    Subscriptions {
        topics: (1..).zip(topics).map(|(number, partitions)| (topic(number), *partitions)).collect(),
        members: members
            .iter()
            .map(|(id, wanted)| {
                let topics = wanted.iter().map(|number| topic(*number)).collect();
                ((*id).into(), Subscriber { topics, ..Subscriber::default() })
            })
            .collect(),
    }
}

fn remember(subscriptions: &mut Subscriptions, shares: &Shares) {
    for (id, member) in &mut subscriptions.members {
        member.owned = shares.get(id).cloned().unwrap_or_default();
    }
}

fn loads(shares: &Shares) -> Vec<usize> {
    shares.values().map(BTreeSet::len).collect()
}

fn spread(loads: &[usize]) -> usize {
    loads.iter().max().unwrap_or(&0) - loads.iter().min().unwrap_or(&0)
}

fn check_complete_and_disjoint(subscriptions: &Subscriptions, shares: &Shares) {
    assert!(shares.keys().eq(subscriptions.members.keys()));
    let mut given = BTreeSet::new();
    for (id, share) in shares {
        for partition in share {
            assert!(given.insert(*partition), "{partition} is given twice");
            assert!(
                subscriptions.members[id].topics.contains(&partition.topic),
                "{id} did not ask for {partition}"
            );
        }
    }
    let expected: BTreeSet<PartitionId> = subscriptions
        .topics
        .iter()
        .filter(|(topic, _)| subscriptions.members.values().any(|member| member.topics.contains(topic)))
        .flat_map(|(topic, count)| (0..*count).map(|index| PartitionId { topic: *topic, index }))
        .collect();
    assert_eq!(given, expected);
}

/// The smallest sum of squared loads of any assignment, by trying all.
fn most_even(subscriptions: &Subscriptions) -> usize {
    fn try_all(choices: &[Vec<usize>], loads: &mut [usize]) -> usize {
        let Some((first, rest)) = choices.split_first() else {
            return loads.iter().map(|load| load * load).sum();
        };
        let mut best = usize::MAX;
        for member in first {
            loads[*member] += 1;
            best = best.min(try_all(rest, loads));
            loads[*member] -= 1;
        }
        best
    }
    let mut choices = Vec::new();
    for (topic, count) in &subscriptions.topics {
        let takers: Vec<usize> = subscriptions
            .members
            .values()
            .enumerate()
            .filter(|(_, member)| member.topics.contains(topic))
            .map(|(place, _)| place)
            .collect();
        if !takers.is_empty() {
            choices.extend((0..*count).map(|_| takers.clone()));
        }
    }
    try_all(&choices, &mut vec![0; subscriptions.members.len()])
}

fn any_subscriptions(partitions: i32, members: usize, alike: bool) -> impl Strategy<Value = Subscriptions> {
    let topics = proptest::collection::vec(0..=partitions, 1..4);
    let wanted = proptest::collection::vec(proptest::collection::btree_set(1..5u128, 0..4), 1..=members);
    (topics, wanted).prop_map(move |(topics, wanted)| Subscriptions {
        topics: (1..).zip(&topics).map(|(number, count)| (topic(number), *count)).collect(),
        members: wanted
            .iter()
            .enumerate()
            .map(|(place, own)| {
                let wanted = if alike { &wanted[0] } else { own };
                let topics = wanted.iter().map(|number| topic(*number)).collect();
                (format!("m{place:03}").into(), Subscriber { topics, ..Subscriber::default() })
            })
            .collect(),
    })
}

proptest! {
    #[test]
    fn every_assignor_gives_every_partition_to_one_subscriber(
        first in any_subscriptions(20, 12, false), second in any_subscriptions(20, 12, false)
    ) {
        for assignor in Assignor::ALL {
            let shares = assignor.assign(&first);
            check_complete_and_disjoint(&first, &shares);
            prop_assert_eq!(&shares, &assignor.assign(&first));
            let mut second = second.clone();
            remember(&mut second, &shares);
            check_complete_and_disjoint(&second, &assignor.assign(&second));
        }
    }

    #[test]
    fn members_that_subscribe_alike_differ_by_one_partition_at_most(
        mut first in any_subscriptions(30, 12, true), second in any_subscriptions(30, 12, true)
    ) {
        for assignor in [Assignor::Uniform, Assignor::Sticky] {
            let shares = assignor.assign(&first);
            prop_assert!(spread(&loads(&shares)) <= 1);
            remember(&mut first, &shares);
            prop_assert_eq!(&shares, &assignor.assign(&first), "an even assignment stays as it is");
            let mut second = second.clone();
            remember(&mut second, &shares);
            prop_assert!(spread(&loads(&assignor.assign(&second))) <= 1);
        }
    }

    #[test]
    fn uniform_spreads_each_topic_too(subscriptions in any_subscriptions(30, 8, true)) {
        let shares = Assignor::Uniform.assign(&subscriptions);
        for topic in subscriptions.topics.keys() {
            let of_topic: Vec<usize> =
                shares.values().map(|share| share.iter().filter(|one| one.topic == *topic).count()).collect();
            prop_assert!(spread(&of_topic) <= 1);
        }
    }

    #[test]
    fn unlike_subscriptions_are_shared_as_evenly_as_can_be(
        first in any_subscriptions(3, 4, false), second in any_subscriptions(3, 4, false)
    ) {
        let squares = |shares: &Shares| loads(shares).iter().map(|load| load * load).sum::<usize>();
        let shares = Assignor::Sticky.assign(&first);
        prop_assert_eq!(squares(&shares), most_even(&first));
        let mut second = second;
        remember(&mut second, &shares);
        prop_assert_eq!(squares(&Assignor::Sticky.assign(&second)), most_even(&second));
    }

    #[test]
    fn who_stays_keeps_everything_when_another_leaves(
        mut subscriptions in any_subscriptions(30, 10, true), leaver in 0..10usize
    ) {
        let before = Assignor::Sticky.assign(&subscriptions);
        remember(&mut subscriptions, &before);
        let gone = subscriptions.members.keys().nth(leaver % subscriptions.members.len()).cloned().unwrap();
        subscriptions.members.remove(&gone);
        for (id, share) in Assignor::Sticky.assign(&subscriptions) {
            prop_assert!(share.is_superset(&before[&id]), "{} lost something", id);
        }
    }

    #[test]
    fn who_stays_gains_nothing_from_the_others_when_one_joins(mut subscriptions in any_subscriptions(30, 10, true)) {
        let before = Assignor::Sticky.assign(&subscriptions);
        remember(&mut subscriptions, &before);
        let topics = subscriptions.members.values().next().unwrap().topics.clone();
        subscriptions.members.insert("newcomer".into(), Subscriber { topics, ..Subscriber::default() });
        for (id, share) in Assignor::Sticky.assign(&subscriptions) {
            prop_assert!(before.get(&id).is_none_or(|old| share.is_subset(old)), "{} gained something", id);
        }
    }
}

#[test]
fn range_cuts_topics_of_equal_size_alike() {
    let shares = Assignor::Range.assign(&subscriptions(&[3, 3], &[("a", &[1, 2]), ("b", &[1, 2])]));
    let indexes = |id: &str, number| -> Vec<i32> {
        shares[id].iter().filter(|one| one.topic == topic(number)).map(|one| one.index).collect()
    };
    assert_eq!((indexes("a", 1), indexes("a", 2)), (vec![0, 1], vec![0, 1]));
    assert_eq!((indexes("b", 1), indexes("b", 2)), (vec![2], vec![2]));
}

#[test]
fn range_orders_static_members_by_their_instance() {
    let mut of = subscriptions(&[3], &[("x", &[1]), ("y", &[1])]);
    of.members.get_mut("x").unwrap().instance = Some("two".into());
    of.members.get_mut("y").unwrap().instance = Some("one".into());
    assert_eq!(loads(&Assignor::Range.assign(&of)), [1, 2]);
}

#[test]
fn a_partition_of_a_vanished_topic_is_forgotten() {
    let mut of = subscriptions(&[2], &[("a", &[1, 9]), ("b", &[1])]);
    let gone = PartitionId { topic: topic(9), index: 0 };
    let beyond = PartitionId { topic: topic(1), index: 7 };
    of.members.get_mut("a").unwrap().owned = BTreeSet::from([gone, beyond]);
    for assignor in Assignor::ALL {
        check_complete_and_disjoint(&of, &assignor.assign(&of));
    }
}

#[test]
fn a_thousand_partitions_among_a_hundred_members_take_no_time() {
    let wanted: Vec<u128> = (1..=100).collect();
    let names: Vec<String> = (0..100).map(|place| format!("m{place:03}")).collect();
    let members: Vec<(&str, &[u128])> = names.iter().map(|name| (name.as_str(), wanted.as_slice())).collect();
    let mut of = subscriptions(&[10; 100], &members);
    for assignor in Assignor::ALL {
        let start = tokio::time::Instant::now();
        let shares = assignor.assign(&of);
        remember(&mut of, &shares);
        of.members.remove("m050");
        check_complete_and_disjoint(&of, &assignor.assign(&of));
        of.members.insert(
            "m050".into(),
            Subscriber { topics: of.topics.keys().copied().collect(), ..Subscriber::default() },
        );
        // Unoptimised and on a machine that others use too: far above the some ten milliseconds it takes.
        assert!(start.elapsed().as_secs() < 5, "{} took {:?}", assignor.name(), start.elapsed());
    }
}

#[test]
fn hundreds_of_unlike_subscriptions_are_shared_in_bounded_time() {
    let names: Vec<String> = (0..200).map(|place| format!("m{place:03}")).collect();
    let wanted: Vec<Vec<u128>> =
        (0..200u128).map(|place| vec![place % 50 + 1, place % 49 + 1, place % 47 + 1]).collect();
    let members: Vec<(&str, &[u128])> =
        names.iter().zip(&wanted).map(|(id, own)| (id.as_str(), own.as_slice())).collect();
    let of = subscriptions(&[40; 50], &members);
    let shares = Assignor::Sticky.assign(&of);
    check_complete_and_disjoint(&of, &shares);
    assert!(spread(&loads(&shares)) <= 1);
}
