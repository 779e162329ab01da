use super::*;

async fn host(nodes: &Nodes, node: u32) {
    nodes.on(node).host_singleton("clock", ActorSettings::default(), Adder::default).await.unwrap();
}

async fn runs_on(nodes: &Nodes, asker: u32) -> u64 {
    nodes.on(asker).ask("clock", &Sum::Where, 5 * SECOND).await.unwrap()
}

fn lives(nodes: &Nodes) -> usize {
    nodes.nodes.values().map(|actors| actors.here().len()).sum()
}

#[test]
fn a_singleton_exists_once_and_moves_when_its_node_dies() {
    with_nodes(3, |nodes| async move {
        for node in [2, 3, 1] {
            host(&nodes, node).await;
        }
        assert_eq!((runs_on(&nodes, 1).await, lives(&nodes)), (2, 1));
        nodes.cut(2);
        nodes.lose(2);
        assert_eq!(runs_on(&nodes, 1).await, 3);
        sleep(Duration::from_millis(10)).await;
        assert_eq!(lives(&nodes), 1, "it has ended on the lost node, too");
    });
}

#[test]
fn a_node_that_was_taken_for_lost_stands_again_once_it_is_live() {
    with_nodes(2, |nodes| async move {
        host(&nodes, 1).await;
        host(&nodes, 2).await;
        nodes.lose(1);
        assert_eq!(runs_on(&nodes, 2).await, 2);
        sleep(2 * SECOND).await;
        nodes.quorum.decide(unfence(1, 1)).unwrap();
        sleep(2 * SECOND).await;
        nodes.lose(2);
        assert_eq!(runs_on(&nodes, 1).await, 1);
    });
}

#[test]
fn a_singleton_that_gives_up_is_left_to_the_next_node() {
    with_nodes(2, |nodes| async move {
        let settings = ActorSettings::never_restarted();
        nodes.on(1).host_singleton("clock", settings, Adder::default).await.unwrap();
        host(&nodes, 2).await;
        let twice = nodes.on(2).host_singleton("clock", settings, Adder::default).await;
        assert!(matches!(twice, Err(CallError::Refused(_))), "{twice:?}");
        assert_eq!(runs_on(&nodes, 2).await, 1);
        assert!(nodes.on(2).ask("clock", &Sum::Panic, SECOND).await.is_err());
        assert_eq!(runs_on(&nodes, 1).await, 2);
    });
}

#[test]
fn a_singletons_name_cannot_be_registered_by_another() {
    with_nodes(2, |nodes| async move {
        host(&nodes, 1).await;
        let taken = nodes.on(2).spawn("clock", ActorSettings::default(), Adder::default).await;
        assert!(matches!(taken, Err(CallError::Refused(_))), "{taken:?}");
    });
}

#[test]
fn a_node_on_which_a_singleton_could_not_be_begun_leaves_it_to_others_and_stands_again() {
    with_nodes(2, |nodes| async move {
        let begun = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let make = move || match begun.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 | 1 => panic!("not yet"),
            _ => Adder::default(),
        };
        nodes.on(1).host_singleton("clock", ActorSettings::default(), make).await.unwrap();
        sleep(Duration::from_millis(100)).await;
        assert_eq!(nodes.on(2).find("clock", SECOND).await.unwrap(), None, "it is free for others meanwhile");
        sleep(10 * SECOND).await;
        assert_eq!((runs_on(&nodes, 2).await, lives(&nodes)), (1, 1));
    });
}

#[test]
fn who_gives_up_waiting_to_host_a_singleton_does_not_host_it() {
    with_nodes(2, |nodes| async move {
        for tenths_ms in [0, 5, 10, 11, 15] {
            let within = Duration::from_micros(100 * tenths_ms);
            let hosting = nodes.on(1).host_singleton("clock", ActorSettings::default(), Adder::default);
            if timeout(within, hosting).await.is_ok() {
                break;
            }
            sleep(SECOND).await;
            assert_eq!(nodes.on(2).find("clock", SECOND).await.unwrap(), None, "after {within:?}");
            assert_eq!(lives(&nodes), 0, "after {within:?}");
        }
        let again = nodes.on(1).host_singleton("other", ActorSettings::default(), Adder::default).await;
        again.unwrap();
    });
}

#[test]
fn who_gives_up_hosting_a_singleton_that_could_not_be_begun_meanwhile_may_host_it_anew() {
    with_nodes(2, |nodes| async move {
        let make = || -> Adder { panic!("not here") };
        let hosting = nodes.on(1).host_singleton("clock", ActorSettings::default(), make);
        let decided = async {
            // The quorum has given it the name, and the answer is still on its way.
            let (name, kind) = ("clock".to_owned(), Adder::KIND.to_owned());
            nodes.quorum.alter(1, NameAlteration::Stand { name, kind, serial: 1 });
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            hosted = hosting => panic!("{hosted:?}"),
            () = decided => {}
        }
        host(&nodes, 1).await;
        assert_eq!((runs_on(&nodes, 2).await, lives(&nodes)), (1, 1));
    });
}
