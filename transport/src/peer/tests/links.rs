use tokio::sync::broadcast::Receiver;
use tokio::time::{Instant, timeout};

use super::*;
use crate::world::simulation::run;

/// The next event of this lane and direction.
async fn next(events: &mut Receiver<LinkEvent>, lane: Lane, direction: Direction) -> LinkEvent {
    loop {
        let event = timeout(60 * SECOND, events.recv()).await.unwrap().unwrap();
        if event.lane == lane && event.direction == direction {
            return event;
        }
    }
}

async fn meet(from: &Inhabitant, to: u32, lane: Lane) {
    from.endpoint.peer(NodeId(to)).ask(lane, echo(0, 10), 5 * SECOND).await.unwrap();
}

#[test]
fn when_a_peer_dies_what_waits_for_it_fails_within_400_ms() {
    for seed in 1..20 {
        run(seed, |simulation| async move {
            let town = Town::new(simulation);
            let (one, two) = (town.node(1), town.node(2));
            let mut events = one.endpoint.links();
            meet(&one, 2, Lane::Control).await;
            next(&mut events, Lane::Control, Direction::Dialled).await;
            tokio::time::sleep(Duration::from_millis(seed * 13)).await;
            let peer = one.endpoint.peer(NodeId(2));
            let waiting = tokio::spawn(peer.ask(Lane::Control, Forever(1, Bytes::new()), 60 * SECOND));
            tokio::time::sleep(Duration::from_millis(seed * 7)).await;
            assert_eq!(two.notes().last(), Some(&1));
            town.network.unbind(address(2));
            let died = Instant::now();
            let error = waiting.await.unwrap().unwrap_err();
            assert!(matches!(error, AskError::Closed { .. }), "{error}");
            let down = next(&mut events, Lane::Control, Direction::Dialled).await;
            assert!(matches!(down.change, LinkChange::Down { goodbye: false, .. }), "{down:?}");
            assert!(died.elapsed() <= Duration::from_millis(400), "{:?}", died.elapsed());
        });
    }
}

#[test]
fn the_side_that_was_dialled_notices_the_death_too() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let (one, two) = (town.node(1), town.node(2));
        let mut events = two.endpoint.links();
        meet(&one, 2, Lane::Control).await;
        let up = next(&mut events, Lane::Control, Direction::Accepted).await;
        assert_eq!(
            (up.node, up.incarnation, up.change),
            (NodeId(1), 1000, LinkChange::Up { previous: None })
        );
        town.network.unbind(address(1));
        let died = Instant::now();
        next(&mut events, Lane::Control, Direction::Accepted).await;
        assert!(died.elapsed() <= Duration::from_millis(400), "{:?}", died.elapsed());
    });
}

#[test]
fn a_peer_whose_control_lane_is_dead_is_dead_on_the_data_lane_soon_after() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let (one, _two) = (town.node(1), town.node(2));
        let mut events = one.endpoint.links();
        meet(&one, 2, Lane::Data).await;
        next(&mut events, Lane::Control, Direction::Dialled).await;
        town.network.unbind(address(2));
        let died = Instant::now();
        let down = next(&mut events, Lane::Data, Direction::Dialled).await;
        assert!(matches!(down.change, LinkChange::Down { .. }), "{down:?}");
        assert!(died.elapsed() <= Duration::from_millis(800), "{:?}", died.elapsed());
    });
}

#[test]
fn a_silent_but_living_peer_is_kept() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let (one, two) = (town.node(1), town.node(2));
        meet(&one, 2, Lane::Control).await;
        meet(&one, 2, Lane::Data).await;
        town.network.loss(0.05);
        tokio::time::sleep(120 * SECOND).await;
        assert_eq!((one.counts().links_down, two.counts().links_down), (0, 0));
        assert_eq!(one.counts().dials, 2);
    });
}

#[test]
fn after_a_cut_has_healed_the_next_message_gets_through() {
    run(3, |simulation| async move {
        let town = Town::new(simulation);
        let (one, _two) = (town.node(1), town.node(2));
        meet(&one, 2, Lane::Control).await;
        town.network.partition(&[&[host(1)], &[host(2)]]);
        tokio::time::sleep(3 * SECOND).await;
        let peer = one.endpoint.peer(NodeId(2));
        let error = peer.ask(Lane::Control, echo(1, 10), 10 * SECOND).await.unwrap_err();
        assert!(matches!(error, AskError::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains("10.0.0.2:9000"), "{error}");
        town.network.heal();
        let healed = Instant::now();
        peer.ask(Lane::Control, echo(2, 10), 10 * SECOND).await.unwrap();
        assert!(healed.elapsed() < SECOND, "{:?}", healed.elapsed());
    });
}

#[test]
fn who_comes_by_itself_is_dialled_at_once_however_long_it_was_away() {
    for seed in 1..10 {
        run(seed, |simulation| async move {
            let town = Town::new(simulation);
            let one = town.node(1);
            let mut events = one.endpoint.links();
            let peer = one.endpoint.peer(NodeId(2));
            let trying = tokio::spawn(async move {
                while peer.ask(Lane::Control, echo(0, 10), 5 * SECOND).await.is_err() {}
            });
            tokio::time::sleep(30 * SECOND + Duration::from_millis(seed * 83)).await;
            let two = town.node(2);
            meet(&two, 1, Lane::Control).await;
            let came = Instant::now();
            next(&mut events, Lane::Control, Direction::Dialled).await;
            trying.await.unwrap();
            assert!(came.elapsed() < Duration::from_millis(100), "{:?}", came.elapsed());
        });
    }
}

#[test]
fn dials_in_vain_come_less_and_less_often() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let one = town.node(1);
        let started = Instant::now();
        while started.elapsed() < 60 * SECOND {
            let _ = one.endpoint.peer(NodeId(2)).ask(Lane::Control, Secret, 10 * SECOND).await;
        }
        let dials = one.counts().dials;
        assert!((30..80).contains(&dials), "{dials}");
        assert_eq!(one.counts().failed_dials, dials);
    });
}

#[test]
fn a_cut_in_one_direction_is_noticed_on_both_sides() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let (one, two) = (town.node(1), town.node(2));
        let (mut at_one, mut at_two) = (one.endpoint.links(), two.endpoint.links());
        meet(&one, 2, Lane::Control).await;
        next(&mut at_one, Lane::Control, Direction::Dialled).await;
        next(&mut at_two, Lane::Control, Direction::Accepted).await;
        town.network.one_way(host(2), host(1));
        let cut = Instant::now();
        next(&mut at_one, Lane::Control, Direction::Dialled).await;
        next(&mut at_two, Lane::Control, Direction::Accepted).await;
        assert!(cut.elapsed() < SECOND, "{:?}", cut.elapsed());
    });
}

#[test]
fn a_restarted_peer_is_met_in_its_new_life() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let (one, two) = (town.node(1), town.node(2));
        let mut events = one.endpoint.links();
        meet(&one, 2, Lane::Control).await;
        next(&mut events, Lane::Control, Direction::Dialled).await;
        town.network.unbind(address(2));
        two.endpoint.abandon();
        let departed = one.endpoint.departed();
        assert!(departed.borrow().is_empty(), "it said no goodbye");
        let mut config = town.node_config(2);
        config.incarnation = 2001;
        let _again = town.start(config);
        next(&mut events, Lane::Control, Direction::Dialled).await;
        meet(&one, 2, Lane::Control).await;
        let up = next(&mut events, Lane::Control, Direction::Dialled).await;
        assert_eq!((up.incarnation, up.change), (2001, LinkChange::Up { previous: Some(2000) }));
    });
}

#[test]
fn an_endpoint_that_closes_says_goodbye() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let (one, two) = (town.node(1), town.node(2));
        let mut events = one.endpoint.links();
        meet(&one, 2, Lane::Control).await;
        meet(&two, 1, Lane::Data).await;
        let waiting =
            tokio::spawn(two.endpoint.peer(NodeId(1)).ask(Lane::Data, Forever(1, Bytes::new()), 9 * SECOND));
        tokio::time::sleep(SECOND / 10).await;
        two.endpoint.close().await;
        assert!(waiting.await.unwrap().is_err());
        let mut goodbyes = 0;
        while let Ok(event) = events.try_recv() {
            if let LinkChange::Down { goodbye, reason } = event.change {
                assert!(goodbye, "{reason}");
                goodbyes += 1;
            }
        }
        assert!(goodbyes >= 2, "{goodbyes}");
        let departed = one.endpoint.departed();
        assert!(departed.borrow().contains(&NodeId(2)));
        let error = two.endpoint.peer(NodeId(1)).ask(Lane::Data, Secret, SECOND).await.unwrap_err();
        assert!(matches!(error, AskError::Unreachable { .. }), "{error}");
    });
}

#[test]
fn a_node_that_is_met_again_has_not_departed_any_more() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let (one, two) = (town.node(1), town.node(2));
        meet(&one, 2, Lane::Control).await;
        two.endpoint.close().await;
        town.network.unbind(address(2));
        let mut departed = one.endpoint.departed();
        departed.wait_for(|departed| departed.contains(&NodeId(2))).await.unwrap();
        let mut config = town.node_config(2);
        config.incarnation = 2001;
        let _again = town.start(config);
        meet(&one, 2, Lane::Control).await;
        assert!(departed.borrow().is_empty());
    });
}

#[test]
fn names_are_resolved_at_every_dial() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let (one, two) = (town.node(1), town.node(2));
        one.endpoint.directory().set(NodeId(2), "two.example:9000");
        let peer = one.endpoint.peer(NodeId(2));
        let error = peer.ask(Lane::Control, Secret, SECOND).await.unwrap_err();
        assert!(error.to_string().contains("two.example"), "{error}");
        town.network.name("two.example", &[host(9), host(2)]);
        peer.ask(Lane::Control, Secret, 5 * SECOND).await.unwrap();
        two.endpoint.close().await;
        let mut moved = town.node_config(2);
        moved.listen = address(5);
        let _two = town.start(moved);
        town.network.name("two.example", &[host(5)]);
        peer.ask(Lane::Control, Secret, 5 * SECOND).await.unwrap();
    });
}

#[test]
fn a_new_address_is_dialled_at_once() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let (one, _two) = (town.node(1), town.node(2));
        one.endpoint.directory().remove(NodeId(2));
        let peer = one.endpoint.peer(NodeId(2));
        for _ in 0..20 {
            let error = peer.ask(Lane::Control, Secret, 5 * SECOND).await.unwrap_err();
            assert!(error.to_string().contains("no address of node 2 is known"), "{error}");
        }
        let asked = peer.ask(Lane::Control, Secret, 5 * SECOND);
        one.endpoint.directory().set(NodeId(2), address(2).to_string());
        let set = Instant::now();
        asked.await.unwrap();
        assert!(set.elapsed() < Duration::from_millis(100), "{:?}", set.elapsed());
    });
}

/// Panics where it is served.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Fatal;

impl Message for Fatal {
    const KIND: u16 = 98;
    type Answer = ();
}

#[test]
fn a_handler_that_panics_ends_its_link_only_and_not_as_a_goodbye() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let one = town.node(1);
        let handlers = Handlers::new()
            .on::<Fatal>(|_, _, _| panic!("on purpose"))
            .on::<Secret>(|_, _, answering| answering.answer(()));
        let world = World::simulated(&town.simulation, &SimulatedDisk::new(1));
        let wire = town.network.wire(host(2));
        let two = Endpoint::start(town.node_config(2), world, wire, Arc::new(handlers)).unwrap();
        let mut events = one.endpoint.links();
        let peer = one.endpoint.peer(NodeId(2));
        peer.ask(Lane::Control, Secret, SECOND).await.unwrap();
        let error = peer.ask(Lane::Data, Fatal, SECOND).await.unwrap_err();
        assert!(error.to_string().contains("what serves this link failed"), "{error}");
        next(&mut events, Lane::Data, Direction::Dialled).await;
        let down = next(&mut events, Lane::Data, Direction::Dialled).await;
        assert!(matches!(down.change, LinkChange::Down { goodbye: false, .. }), "{down:?}");
        peer.ask(Lane::Control, Secret, SECOND).await.unwrap();
        peer.ask(Lane::Data, Secret, SECOND).await.unwrap();
        assert_eq!(two.counters().snapshot().links_down, 1);
    });
}
