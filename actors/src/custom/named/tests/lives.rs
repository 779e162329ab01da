use super::*;
use crate::custom::named::StopReason;

#[test]
fn a_panic_harms_one_actor_and_its_caller_and_it_is_begun_anew() {
    with_nodes(2, |nodes| async move {
        nodes.on(1).spawn("sum", ActorSettings::default(), Adder::default).await.unwrap();
        nodes.on(1).spawn("other", ActorSettings::default(), Adder::default).await.unwrap();
        assert_eq!(nodes.on(2).ask("sum", &Sum::Add(5), SECOND).await.unwrap(), 5);
        let (panicked, waited) = tokio::join!(
            nodes.on(2).ask("sum", &Sum::Panic, SECOND),
            nodes.on(2).ask("sum", &Sum::Add(1), SECOND)
        );
        let error = panicked.unwrap_err();
        assert!(matches!(&error, CallError::Stopped(why) if why.contains("asked to")), "{error:?}");
        assert_eq!(waited.unwrap(), 1, "what waits in the mailbox is handled by the new state");
        assert_eq!(nodes.on(2).ask("other", &Sum::Add(1), SECOND).await.unwrap(), 1);
        assert_eq!(nodes.on(1).here()[0].restarts, 1);
    });
}

#[test]
fn who_panics_too_often_stops_and_its_name_is_free() {
    with_nodes(2, |nodes| async move {
        let settings = ActorSettings::never_restarted();
        let actor = nodes.on(1).spawn("sum", settings, Adder::default).await.unwrap();
        let watched = nodes.on(2).clone();
        let watching = tokio::spawn(async move { watched.watch("sum").await.unwrap() });
        sleep(Duration::from_millis(5)).await;
        let (panicked, waited) = tokio::join!(
            nodes.on(2).ask("sum", &Sum::Panic, SECOND),
            nodes.on(2).ask("sum", &Sum::Add(1), SECOND)
        );
        assert!(matches!(panicked, Err(CallError::Stopped(_))), "{panicked:?}");
        assert!(matches!(waited, Err(CallError::Stopped(_))), "{waited:?}");
        let end = ActorEnd::Stopped(StopReason::GaveUp("asked to".to_owned()));
        assert_eq!((watching.await.unwrap(), actor.ended().await), (end.clone(), end));
        sleep(Duration::from_millis(10)).await;
        assert_eq!(nodes.on(2).find("sum", SECOND).await.unwrap(), None);
        assert!(nodes.on(1).here().is_empty());
    });
}

#[test]
fn an_actor_that_panics_as_it_is_made_is_not_begun_and_has_no_name() {
    with_nodes(1, |nodes| async move {
        let make = || -> Adder { panic!("not made") };
        let error = nodes.on(1).spawn("sum", ActorSettings::default(), make).await.unwrap_err();
        assert!(error.to_string().contains("not made"), "{error}");
        sleep(Duration::from_millis(10)).await;
        assert_eq!(nodes.on(1).find("sum", SECOND).await.unwrap(), None);
    });
}

#[test]
fn an_actor_stops_itself_after_the_message_that_says_so() {
    with_nodes(1, |nodes| async move {
        let actor = nodes.on(1).spawn("sum", ActorSettings::default(), Adder::default).await.unwrap();
        nodes.on(1).ask("sum", &Sum::Stop, SECOND).await.unwrap();
        assert_eq!(actor.ended().await, ActorEnd::Stopped(StopReason::Asked));
    });
}

#[test]
fn a_node_has_so_many_actors_and_no_more() {
    run(1, |simulation| async move {
        let settings = NamedSettings { actors_max: 2, ..NamedSettings::default() };
        let nodes = Nodes::start(&simulation, 1, settings).await;
        let begin = || nodes.on(1).spawn_unnamed(ActorSettings::default(), Adder::default);
        let (first, _second) = (begin().await.unwrap(), begin().await.unwrap());
        assert!(matches!(begin().await, Err(CallError::Busy(_))));
        first.stop();
        first.ended().await;
        sleep(Duration::from_millis(1)).await;
        begin().await.unwrap();
    });
}

#[test]
fn the_actors_of_a_lost_node_end_where_they_still_run() {
    with_nodes(2, |nodes| async move {
        let named = nodes.on(1).spawn("sum", ActorSettings::default(), Adder::default).await.unwrap();
        let unnamed = nodes.on(1).spawn_unnamed(ActorSettings::default(), Adder::default).await.unwrap();
        nodes.lose(1);
        let version = nodes.quorum.published.borrow().version();
        assert_eq!(named.ended().await, ActorEnd::NodeLost(version));
        assert_eq!(unnamed.ended().await, ActorEnd::NodeLost(version));
        nodes.on(2).spawn("sum", ActorSettings::default(), Adder::default).await.unwrap();
        assert_eq!(nodes.on(1).ask("sum", &Sum::Where, SECOND).await.unwrap(), 2);
    });
}

#[test]
fn a_node_that_stops_ends_its_actors_and_begins_no_more() {
    with_nodes(2, |nodes| async move {
        let actor = nodes.on(1).spawn("sum", ActorSettings::default(), Adder::default).await.unwrap();
        nodes.on(1).stop(SECOND).await;
        assert_eq!(actor.ended().await, ActorEnd::Stopped(StopReason::NodeStopped));
        assert!(nodes.on(1).here().is_empty());
        assert!(nodes.on(1).spawn_unnamed(ActorSettings::default(), Adder::default).await.is_err());
    });
}

/// Its node has given up waiting for it before its handler ends.
struct Outlives(Arc<std::sync::OnceLock<NodeActors>>);

impl NamedActor for Outlives {
    const KIND: &'static str = "outlives";
    type Message = Sum;

    async fn handle(&mut self, _: Sum, _: &ActorContext) -> Handled<Sum> {
        let stopped = self.0.get().unwrap().stop(Duration::ZERO).now_or_never();
        assert!(stopped.is_some(), "the node waits for nobody");
        Ok(7)
    }
}

#[test]
fn an_actor_that_outlives_the_stop_of_its_node_has_no_say_any_more() {
    with_nodes(2, |nodes| async move {
        let host = Arc::<std::sync::OnceLock<NodeActors>>::default();
        let of_actor = Arc::clone(&host);
        let make = move || Outlives(Arc::clone(&of_actor));
        nodes.on(1).spawn("sum", ActorSettings::default(), make).await.unwrap();
        host.set(nodes.on(1).clone()).unwrap();
        // The lease of its node holds, and no image tells of another owner.
        let answer = nodes.on(2).ask("sum", &Sum::Where, SECOND).await;
        assert!(matches!(answer, Err(CallError::Unsure(_))), "{answer:?}");
    });
}

/// Takes its time to begin.
struct Slow;

impl NamedActor for Slow {
    const KIND: &'static str = "slow";
    type Message = Sum;

    async fn started(&mut self, _: &ActorContext) {
        sleep(Duration::from_millis(3)).await;
    }

    async fn handle(&mut self, _: Sum, _: &ActorContext) -> Handled<Sum> {
        Ok(0)
    }
}

#[test]
fn who_gives_up_waiting_for_an_actor_to_begin_leaves_nothing_behind() {
    with_nodes(2, |nodes| async move {
        let mut given_up = 0;
        for tenths_ms in 0..100 {
            let within = Duration::from_micros(100 * tenths_ms);
            let begun = timeout(within, nodes.on(1).spawn("slow", ActorSettings::default(), || Slow)).await;
            if let Ok(begun) = begun {
                begun.unwrap().stop();
                break;
            }
            given_up += 1;
            sleep(SECOND).await;
            assert_eq!(nodes.on(2).find("slow", SECOND).await.unwrap(), None, "after {within:?}");
            assert!(nodes.on(1).here().is_empty(), "after {within:?}");
        }
        assert!((30..90).contains(&given_up), "{given_up}");
    });
}

#[test]
fn who_gives_up_waiting_for_an_actor_without_a_name_leaves_nothing_behind() {
    with_nodes(1, |nodes| async move {
        let begun = nodes.on(1).spawn_unnamed(ActorSettings::default(), || Slow);
        assert!(timeout(Duration::from_millis(1), begun).await.is_err());
        sleep(SECOND).await;
        assert!(nodes.on(1).here().is_empty());
        let kept = nodes.on(1).spawn_unnamed(ActorSettings::default(), || Slow).await.unwrap();
        sleep(SECOND).await;
        assert_eq!(nodes.on(1).here().len(), 1);
        kept.stop();
    });
}

#[test]
fn what_belongs_to_actors_that_are_gone_is_given_back_however_late_and_however_often_that_fails() {
    with_nodes(2, |nodes| async move {
        let actor = nodes.on(1).spawn("sum", ActorSettings::default(), Adder::default).await.unwrap();
        actor.join("sums").await.unwrap();
        nodes.quorum.lose(1, true);
        actor.stop();
        sleep(60 * SECOND).await;
        assert!(nodes.on(2).find("sum", SECOND).await.unwrap().is_some());
        assert_eq!(nodes.on(2).members("sums", SECOND).await.unwrap().len(), 1);
        nodes.quorum.lose(1, false);
        sleep(SECOND).await;
        assert_eq!(nodes.on(2).find("sum", SECOND).await.unwrap(), None);
        assert!(nodes.on(2).members("sums", SECOND).await.unwrap().is_empty());

        // What was asked for by an actor that has ended meanwhile.
        let (name, group, kind, serial) = ("late".to_owned(), "late".to_owned(), "k".to_owned(), 999);
        nodes.on(2).spawn("taken", ActorSettings::default(), Adder::default).await.unwrap();
        nodes.quorum.alter(1, NameAlteration::Register { name, kind: kind.clone(), serial });
        nodes.quorum.alter(1, NameAlteration::Join { group, serial });
        nodes.quorum.alter(1, NameAlteration::Stand { name: "taken".to_owned(), kind, serial });
        sleep(SECOND).await;
        assert_eq!(nodes.quorum.published.borrow().names().count(), 1, "only what node 2 has");
    });
}
