use proptest::prelude::*;

use super::*;

fn name(number: usize) -> Arc<str> {
    format!("m{number}").into()
}

fn task(part: u32, partition: u32) -> StreamsTask {
    StreamsTask { part, partition }
}

/// A deal among so many members, of part 0 with state and part 1 without.
fn deal(members: usize, stateful: u32, stateless: u32) -> Deal {
    let with_state = (0..stateful).map(|partition| (task(0, partition), true));
    let without = (0..stateless).map(|partition| (task(1, partition), false));
    let candidates = (0..members).map(|number| (name(number), Candidate::default()));
    Deal {
        tasks: with_state.chain(without).collect(),
        terms: StreamsTerms::default(),
        members: candidates.collect(),
    }
}

/// All members do what they were told: active tasks are held, copies lack so many records.
fn follow(deal: &mut Deal, shares: &Shares, lag: u64) {
    for (member, candidate) in &mut deal.members {
        let share = shares.get(member).cloned().unwrap_or_default();
        let is_stateful = |task: &&StreamsTask| deal.tasks.get(task).is_some_and(|is_stateful| *is_stateful);
        candidate.lags.retain(|task, _| !share.active.contains(task));
        candidate
            .lags
            .extend(candidate.holds.difference(&share.active).filter(is_stateful).map(|id| (*id, lag)));
        candidate.lags.extend(share.standby.union(&share.warm_up).map(|task| (*task, lag)));
        candidate.holds.clone_from(&share.active);
        candidate.was = share;
    }
}

/// Goes on until nothing moves any more, which is soon.
fn settle(deal: &mut Deal) -> Shares {
    let was = deal.members.iter().map(|(member, candidate)| (Arc::clone(member), candidate.was.clone()));
    let was: Shares = was.collect();
    follow(deal, &was, 0);
    for _ in 0..200 {
        let shares = assign(deal);
        check(deal, &shares);
        if deal.members.iter().all(|(member, candidate)| shares.get(member) == Some(&candidate.was)) {
            return shares;
        }
        follow(deal, &shares, 0);
    }
    panic!("it never comes to rest: {deal:?}");
}

/// What holds of every deal.
fn check(deal: &Deal, shares: &Shares) {
    let mut active = BTreeSet::new();
    let (mut copies, mut warm_ups) = (BTreeMap::new(), 0);
    for share in shares.values() {
        assert!(share.active.iter().all(|task| active.insert(*task)), "one is active twice: {shares:?}");
        assert!(share.active.is_disjoint(&share.standby) && share.active.is_disjoint(&share.warm_up));
        assert!(share.standby.is_disjoint(&share.warm_up));
        share.standby.iter().for_each(|task| *copies.entry(*task).or_insert(0usize) += 1);
        warm_ups += share.warm_up.len();
        assert!(share.standby.union(&share.warm_up).all(|task| deal.tasks.get(task) == Some(&true)));
    }
    assert!(deal.members.is_empty() || active.iter().eq(deal.tasks.keys()), "all are active");
    assert!(warm_ups <= usize::from(deal.terms.warm_up_max.max(1)));
    assert!(copies.values().all(|copies| *copies <= usize::from(deal.terms.standbys)));
    for (task, _) in deal.tasks.iter().filter(|(_, is_stateful)| **is_stateful) {
        let is_ready = |candidate: &Candidate| {
            let is_near = candidate.lags.get(task).is_some_and(|lag| *lag <= deal.terms.acceptable_lag);
            candidate.holds.contains(task) || candidate.was.active.contains(task) || is_near
        };
        let place = shares.iter().find(|(_, share)| share.active.contains(task)).map(|(member, _)| member);
        let served = place.and_then(|place| deal.members.get(place)).is_some_and(is_ready);
        assert!(served || !deal.members.values().any(is_ready), "{task:?} goes to one that is ready");
    }
}

fn is_even(counts: impl Iterator<Item = usize> + Clone) -> bool {
    counts.clone().max().unwrap_or(0) - counts.min().unwrap_or(0) <= 1
}

fn assert_even(shares: &Shares) {
    assert!(is_even(shares.values().map(|share| share.active.len())), "{shares:?}");
    let stateful = |share: &StreamsTasks| share.active.iter().filter(|task| task.part == 0).count();
    assert!(is_even(shares.values().map(stateful)), "{shares:?}");
}

#[test]
fn tasks_nobody_has_state_of_are_dealt_out_at_once() {
    let mut deal = deal(3, 7, 4);
    let shares = assign(&deal);
    assert_even(&shares);
    assert!(shares.values().all(|share| share.standby.is_empty() && share.warm_up.is_empty()));
    assert_eq!(settle(&mut deal), shares);
}

#[test]
fn a_task_with_state_moves_when_its_new_place_is_warm_and_one_without_at_once() {
    let mut deal = deal(1, 4, 2);
    settle(&mut deal);
    deal.members.insert(name(1), Candidate::default());
    let shares = assign(&deal);
    let (old, new) = (&shares[&name(0)], &shares[&name(1)]);
    assert_eq!(old.active.iter().filter(|task| task.part == 0).count(), 4, "all stay where they are served");
    assert_eq!(new.active, [task(1, 1)].into());
    assert_eq!(new.warm_up.len(), 2, "and are brought up where they go");
    follow(&mut deal, &shares, 10_001);
    assert_eq!(assign(&deal), shares, "not near enough");
    follow(&mut deal, &shares, 10_000);
    let moved = assign(&deal);
    assert!(moved[&name(1)].active.is_superset(&new.warm_up));
    assert_even(&moved);
}

#[test]
fn so_many_tasks_warm_up_at_a_time_as_may() {
    let mut deal = deal(1, 9, 0);
    deal.terms.warm_up_max = 1;
    settle(&mut deal);
    deal.members.insert(name(1), Candidate::default());
    assert_eq!(assign(&deal)[&name(1)].warm_up.len(), 1);
    assert_even(&settle(&mut deal));
}

#[test]
fn a_stand_by_takes_over_when_the_active_one_dies() {
    let mut deal = deal(3, 6, 0);
    deal.terms.standbys = 1;
    let before = settle(&mut deal);
    deal.members.remove(&name(0));
    let after = assign(&deal);
    for task in &before[&name(0)].active {
        let heir = after.iter().find(|(_, share)| share.active.contains(task)).unwrap().0;
        assert!(before[heir].standby.contains(task), "{task:?} went to {heir}");
    }
    assert_even(&settle(&mut deal));
}

#[test]
fn copies_are_at_others_than_the_active_task_and_evenly() {
    let mut deal = deal(3, 9, 0);
    deal.terms.standbys = 2;
    let shares = settle(&mut deal);
    assert!(shares.values().all(|share| share.standby.len() == 6));
    deal.terms.standbys = 9;
    assert_eq!(settle(&mut deal), shares, "there are not more members");
}

#[test]
fn a_checkpoint_on_disk_is_gone_back_to() {
    let mut deal = deal(2, 4, 0);
    deal.members.get_mut(&name(1)).unwrap().lags = [(task(0, 0), 5), (task(0, 1), 70_000)].into();
    let shares = assign(&deal);
    assert_eq!(shares[&name(1)].active, [task(0, 0), task(0, 1)].into());
}

#[test]
fn a_move_that_began_is_finished_though_the_old_place_lacks_less() {
    let mut deal = deal(1, 2, 0);
    settle(&mut deal);
    deal.members.insert(name(1), Candidate::default());
    let warming = assign(&deal);
    follow(&mut deal, &warming, 0);
    let moved = assign(&deal);
    let gone = *moved[&name(1)].active.first().unwrap();
    for (member, candidate) in &mut deal.members {
        candidate.was = moved[member].clone();
    }
    deal.members.get_mut(&name(1)).unwrap().lags = [(gone, 1_000_000)].into();
    assert_eq!(assign(&deal), moved);
}

proptest! {
    #[test]
    fn whatever_happens_the_deal_is_whole_and_comes_to_rest_evenly(
        stateful in 0..12u32,
        stateless in 0..12u32,
        standbys in 0..3u16,
        warm_up_max in 0..4u16,
        steps in proptest::collection::vec((any::<bool>(), 0..6usize, 0..30_000u64), 1..12),
    ) {
        let mut deal = deal(1, stateful, stateless);
        deal.terms = StreamsTerms { standbys, warm_up_max, acceptable_lag: 10_000 };
        for (comes, number, lag) in steps {
            if comes {
                deal.members.entry(name(number)).or_default();
            } else {
                deal.members.remove(&name(number));
            }
            let shares = assign(&deal);
            check(&deal, &shares);
            prop_assert_eq!(&assign(&deal), &shares, "the same for the same");
            follow(&mut deal, &shares, lag);
        }
        let rest = settle(&mut deal);
        if !deal.members.is_empty() {
            assert_even(&rest);
            prop_assert!(rest.values().all(|share| share.warm_up.is_empty()));
        }
    }
}
