use futures::future::join_all;

use super::*;
use crate::frame::FrameError;
use crate::world::simulation::run;

#[test]
fn a_message_is_answered_on_either_lane() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let (one, two) = (town.node(1), town.node(2));
        for lane in LANES {
            let answer = one.endpoint.peer(NodeId(2)).ask(lane, echo(5, 100), SECOND).await.unwrap();
            assert_eq!(answer, Echoed(echo(5, 100)));
            let caller = lock(&two.seen.callers).pop().unwrap();
            let expected =
                Caller { node: Some(NodeId(1)), client: None, incarnation: 1000, address: address(1), lane };
            assert_eq!(caller, expected);
        }
    });
}

#[test]
fn a_client_is_known_by_its_name_and_finds_out_whom_it_met() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let node = town.node(3);
        let client = town.start(town.client_config(20, "loader"));
        let peer = client.endpoint.at(&address(3).to_string());
        assert_eq!(peer.node(), None);
        peer.ask(Lane::Data, echo(1, 0), SECOND).await.unwrap();
        assert_eq!(peer.node(), Some(NodeId(3)));
        let caller = lock(&node.seen.callers).pop().unwrap();
        assert_eq!((caller.node, caller.client.as_deref()), (None, Some("loader")));
    });
}

#[test]
fn messages_arrive_in_the_order_they_were_sent_though_the_network_loses_some() {
    for seed in 1..6 {
        run(seed, |simulation| async move {
            let town = Town::new(simulation);
            town.network.loss(0.1);
            town.network.delay(Duration::from_millis(1)..=Duration::from_millis(20));
            let (one, two) = (town.node(1), town.node(2));
            let peer = one.endpoint.peer(NodeId(2));
            let mut asked = Vec::new();
            for number in 0..200 {
                if number % 3 == 0 {
                    peer.tell(Lane::Data, Note(number)).unwrap();
                } else {
                    asked.push(peer.ask(Lane::Data, echo(number, 3000), 20 * SECOND));
                }
            }
            // The futures are polled last to first: it is the calls that count.
            asked.reverse();
            for answer in join_all(asked).await {
                answer.unwrap();
            }
            assert_eq!(two.notes(), (0..200).collect::<Vec<_>>());
        });
    }
}

#[test]
fn bodies_of_many_megabytes_go_there_and_back() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let (one, _two) = (town.node(1), town.node(2));
        let sent = echo(9, 11 << 20);
        let answer = one.endpoint.peer(NodeId(2)).ask(Lane::Data, sent.clone(), 60 * SECOND).await.unwrap();
        assert!(answer.0 == sent);
    });
}

#[test]
fn an_ask_ends_at_its_deadline_and_its_late_answer_is_counted() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let (one, two) = (town.node(1), town.node(2));
        let peer = one.endpoint.peer(NodeId(2));
        let started = tokio::time::Instant::now();
        let error = peer.ask(Lane::Control, Forever(1, Bytes::new()), SECOND).await.unwrap_err();
        assert_eq!(started.elapsed(), SECOND);
        assert_eq!(error.to_string(), "no answer from node 2 within 1000 ms");
        lock(&two.seen.kept).pop().unwrap().answer(());
        peer.ask(Lane::Control, echo(2, 0), SECOND).await.unwrap();
        let counts = one.counts();
        assert_eq!((counts.timed_out, counts.late_answers, counts.asks), (1, 1, 2));
    });
}

#[test]
fn what_cannot_be_answered_is_refused_with_words_and_the_link_stays() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let (one, two) = (town.node(1), town.node(2));
        let client = town.start(town.client_config(20, "c"));
        let peer = one.endpoint.peer(NodeId(2));
        let error = peer.ask(Lane::Data, LetGo, SECOND).await.unwrap_err();
        assert_eq!(error, AskError::Dropped { peer: "node 2".into() });
        let code = |error| match error {
            AskError::Refused { fault, .. } => fault.code,
            error => panic!("{error}"),
        };
        let error = peer.ask(Lane::Data, Unheard, SECOND).await.unwrap_err();
        assert!(error.to_string().contains("message 94 is not served here"), "{error}");
        assert_eq!(code(error), FaultCode::UnknownKind);
        let error = peer.ask(Lane::Data, NextEcho, SECOND).await.unwrap_err();
        assert!(error.to_string().contains("version 2 of message 90; this side reads version 1"), "{error}");
        assert_eq!(code(error), FaultCode::UnknownVersion);
        peer.ask(Lane::Data, Secret, SECOND).await.unwrap();
        let error = client.endpoint.at(&address(2).to_string()).ask(Lane::Data, Secret, SECOND).await;
        assert_eq!(code(error.unwrap_err()), FaultCode::NotAllowed);
        peer.ask(Lane::Data, echo(1, 10), SECOND).await.unwrap();
        assert_eq!((two.counts().refused_messages, two.counts().links_down), (3, 0));
    });
}

#[test]
fn what_is_longer_than_a_frame_is_not_sent_and_not_answered() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let one = town.node(1);
        let mut small = town.node_config(2);
        small.limits.frame_bytes = 10_000;
        let two = town.start(small);
        let error = two.endpoint.peer(NodeId(1)).ask(Lane::Data, echo(1, 10_000), SECOND).await.unwrap_err();
        assert!(matches!(error, AskError::Unsendable(FrameError::TooLong { limit: 10_000, .. })), "{error}");
        // Node 1 may send longer ones; node 2 cuts the link, and says why.
        let error = one.endpoint.peer(NodeId(2)).ask(Lane::Data, echo(1, 10_000), SECOND).await.unwrap_err();
        assert!(error.to_string().contains("is over the limit of 10000"), "{error}");
        assert_eq!(two.counts().cut_garbage, 1);
        one.endpoint.peer(NodeId(2)).ask(Lane::Data, echo(1, 5000), SECOND).await.unwrap();
    });
}

#[test]
fn who_never_answers_is_not_sent_without_end() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let mut patient = town.node_config(1);
        patient.limits.queued_bytes = 2 << 20;
        let mut lazy = town.node_config(2);
        lazy.limits.unanswered = 10;
        lazy.tuning.data.stream_window_bytes = 256 << 10;
        let (one, two) = (town.start(patient), town.start(lazy));
        let peer = one.endpoint.peer(NodeId(2));
        let body = Bytes::from(vec![1; 100_000]);
        let mut pending = Vec::new();
        let mut refused = 0;
        for number in 0..300 {
            let mut ask = Box::pin(peer.ask(Lane::Data, Forever(number, body.clone()), 60 * SECOND));
            match futures::poll!(&mut ask) {
                std::task::Poll::Ready(Err(AskError::Full { .. })) => refused += 1,
                std::task::Poll::Ready(other) => panic!("{other:?}"),
                std::task::Poll::Pending => pending.push(ask),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(two.notes(), (0..10).collect::<Vec<_>>());
        // In handlers 1 MB, in the stream's window a quarter, queued 2 MiB, in the writer's hands one.
        assert!((30..=50).contains(&pending.len()), "{}", pending.len());
        assert_eq!(refused, 300 - pending.len());
        // One answer makes room for one more request, on each side.
        lock(&two.seen.kept).remove(0).answer(());
        tokio::time::sleep(SECOND).await;
        assert_eq!(two.notes().len(), 11);
        assert_eq!(one.counts().refused_full, u64::try_from(refused).unwrap());
    });
}

#[test]
fn tells_are_refused_when_too_many_wait() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let mut config = town.node_config(1);
        config.limits.asked = 50;
        let one = town.start(config);
        let peer = one.endpoint.peer(NodeId(2));
        let told = (0..80).filter(|number| peer.tell(Lane::Control, Note(*number)).is_ok()).count();
        assert_eq!((told, one.counts().refused_full), (50, 30));
    });
}

#[test]
fn an_asker_that_gives_up_takes_back_what_was_not_sent() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let (one, two) = (town.node(1), town.node(2));
        let peer = one.endpoint.peer(NodeId(2));
        drop(peer.ask(Lane::Data, echo(1, 10), SECOND));
        peer.ask(Lane::Data, echo(2, 10), SECOND).await.unwrap();
        assert_eq!(two.notes(), [2]);
    });
}

#[test]
fn the_same_seed_gives_the_same_datagrams() {
    let trace = |seed| {
        run(seed, |simulation| async move {
            let town = Town::new(simulation);
            town.network.loss(0.03);
            let nodes = (1..4).map(|node| town.node(node)).collect::<Vec<_>>();
            let mut asked = Vec::new();
            for (node, other) in (0..3).flat_map(|node| (1..4).map(move |other| (node, other))) {
                let peer = nodes[node].endpoint.peer(NodeId(other));
                for (number, lane) in LANES.into_iter().enumerate() {
                    asked.push(peer.ask(lane, echo(u32::try_from(number).unwrap(), 200_000), 10 * SECOND));
                }
            }
            for answer in join_all(asked).await {
                answer.unwrap();
            }
            town.network.unbind(address(3));
            tokio::time::sleep(5 * SECOND).await;
            let _ = nodes[0].endpoint.peer(NodeId(3)).ask(Lane::Control, Secret, SECOND).await;
            nodes[1].endpoint.close().await;
            (town.network.trace_hash(), town.network.counts())
        })
    };
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1).0, trace(2).0);
}
