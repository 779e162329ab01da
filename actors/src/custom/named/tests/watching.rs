use super::*;
use crate::custom::named::{OwnerChange, StopReason};
use crate::ids::ActorId;

#[test]
fn all_who_watch_an_actor_are_told_the_same_end_of_its_node_once() {
    with_nodes(3, |nodes| async move {
        nodes.on(1).spawn("sum", ActorSettings::default(), Adder::default).await.unwrap();
        let watches = (2..=3).map(|node| {
            let actors = nodes.on(node).clone();
            tokio::spawn(async move { actors.watch("sum").await.unwrap() })
        });
        let watches: Vec<_> = watches.collect();
        sleep(60 * SECOND).await;
        nodes.cut(1);
        nodes.lose(1);
        let version = nodes.quorum.published.borrow().version();
        nodes.quorum.decide(Command::AllocateProducerIds { count: 1 }).unwrap();
        for watch in watches {
            assert_eq!(watch.await.unwrap(), ActorEnd::NodeLost(version));
        }
    });
}

#[test]
fn who_watches_is_told_why_an_actor_stopped() {
    with_nodes(2, |nodes| async move {
        let actor = nodes.on(1).spawn("sum", ActorSettings::default(), Adder::default).await.unwrap();
        let id = actor.actor();
        let (end, ()) = tokio::join!(nodes.on(2).watch("sum"), async {
            sleep(SECOND).await;
            actor.stop();
        });
        assert_eq!(end.unwrap(), ActorEnd::Stopped(StopReason::Asked));
        assert_eq!(nodes.on(2).watch_actor(id).await.unwrap(), ActorEnd::Stopped(StopReason::Asked));
        sleep(Duration::from_millis(10)).await;
        let nobody = nodes.on(2).watch("sum").await.unwrap_err();
        assert_eq!(nobody, CallError::NoSuchName("sum".to_owned()));
    });
}

#[test]
fn more_than_may_wait_at_a_node_are_told_all_the_same_and_an_earlier_life_asks_nobody() {
    with_nodes(2, |nodes| async move {
        let actor = nodes.on(1).spawn("sum", ActorSettings::default(), Adder::default).await.unwrap();
        let id = actor.actor();
        let watching = (0..300).map(|_| nodes.on(2).watch_actor(id)).collect::<Vec<_>>();
        let earlier = ActorId { incarnation: Incarnation(0), ..id };
        let of_earlier = nodes.on(1).clone();
        let nobody_tells = tokio::spawn(async move { of_earlier.watch_actor(earlier).await });
        let (ends, ()) = tokio::join!(futures::future::join_all(watching), async {
            sleep(SECOND).await;
            assert_eq!(nodes.on(2).ask("sum", &Sum::Add(1), SECOND).await.unwrap(), 1);
            actor.stop();
        });
        assert!(ends.into_iter().all(|end| end == Ok(ActorEnd::Stopped(StopReason::Asked))));
        assert!(!nobody_tells.is_finished(), "the quorum has not said that it was lost");
    });
}

#[test]
fn a_watcher_whose_node_lost_the_quorum_is_told_that_nothing_is_known() {
    with_nodes(2, |nodes| async move {
        nodes.on(1).spawn("sum", ActorSettings::default(), Adder::default).await.unwrap();
        nodes.cut(1);
        let (end, ()) = tokio::join!(nodes.on(2).watch("sum"), async {
            sleep(SECOND).await;
            nodes.health[&2].send_modify(|health| health.quorum_lost = true);
        });
        assert_eq!(end.unwrap(), ActorEnd::Unsure);
    });
}

#[test]
fn every_change_of_a_names_owner_is_told_in_order_however_fast_they_come() {
    with_nodes(3, |nodes| async move {
        let mut watch = nodes.on(3).watch_name("sum");
        assert_eq!(watch.next().await.owner, None);
        let first = nodes.on(1).spawn("sum", ActorSettings::default(), Adder::default).await.unwrap();
        first.stop();
        first.ended().await;
        sleep(Duration::from_millis(5)).await;
        let second = nodes.on(2).spawn("sum", ActorSettings::default(), Adder::default).await.unwrap();
        nodes.lose(2);
        let third = nodes.on(1).spawn("sum", ActorSettings::default(), Adder::default).await.unwrap();
        let mut told: Vec<OwnerChange> = Vec::new();
        for _ in 0..5 {
            told.push(watch.next().await);
        }
        let owners: Vec<_> = told.iter().map(|change| change.owner).collect();
        let (first, second, third) = (first.actor(), second.actor(), third.actor());
        assert_eq!(owners, [Some(first), None, Some(second), None, Some(third)]);
        assert!(told.is_sorted_by_key(|change| change.version) && !told.iter().any(|c| c.is_after_gap));
    });
}

#[test]
fn who_falls_too_far_behind_is_told_that_changes_are_missing() {
    with_nodes(1, |nodes| async move {
        let mut watch = nodes.on(1).watch_name("sum");
        watch.next().await;
        for serial in 1000..1600 {
            for alteration in [
                NameAlteration::Register { name: "sum".to_owned(), kind: "k".to_owned(), serial },
                NameAlteration::Release { name: "sum".to_owned(), serial },
            ] {
                let (node, incarnation, most) = (NodeId(1), Incarnation(1), 100);
                nodes.quorum.decide(Command::AlterNames { node, incarnation, alteration, most }).unwrap();
            }
        }
        let change = watch.next().await;
        assert_eq!((change.owner, change.is_after_gap), (None, true));
    });
}

#[test]
fn a_watcher_whose_node_stops_is_told_that_nothing_is_known() {
    with_nodes(2, |nodes| async move {
        let actor = nodes.on(1).spawn("sum", ActorSettings::default(), Adder::default).await.unwrap();
        let (end, ()) = tokio::join!(nodes.on(2).watch("sum"), async {
            sleep(SECOND).await;
            nodes.on(2).stop(SECOND).await;
        });
        assert_eq!(end, Ok(ActorEnd::Unsure));
        let stopped = nodes.on(2).watch_actor(actor.actor()).await;
        assert!(matches!(stopped, Err(CallError::Refused(_))), "{stopped:?}");
    });
}
