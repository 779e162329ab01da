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
