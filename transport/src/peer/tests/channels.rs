use super::*;
use crate::world::simulation::run;

#[test]
fn a_channel_carries_frames_in_order_both_ways() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        town.network.loss(0.02);
        let (one, _two) = (town.node(1), town.node(2));
        let (answer, channel) =
            one.endpoint.peer(NodeId(2)).open(Lane::Data, Mirror(7), 5 * SECOND).await.unwrap();
        assert_eq!(answer, [7]);
        let (mut sender, mut receiver) = channel.split();
        let sending = tokio::spawn(async move {
            for number in 0..100 {
                sender.send(echo(number, 20_000)).await.unwrap();
            }
            sender.finish();
        });
        for number in 0..100 {
            let frame = receiver.receive().await.unwrap().unwrap();
            assert_eq!(frame.decode::<Echo>().unwrap(), echo(number, 20_000));
        }
        assert!(receiver.receive().await.unwrap().is_none());
        sending.await.unwrap();
    });
}

#[test]
fn a_sender_waits_for_who_does_not_read() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let (one, two) = (town.node(1), town.node(2));
        let peer = one.endpoint.peer(NodeId(2));
        let ((), channel) = peer.open(Lane::Data, Deaf, 5 * SECOND).await.unwrap();
        let (mut sender, _receiver) = channel.split();
        let mut sent = 0;
        while let Ok(result) = tokio::time::timeout(SECOND, sender.send(echo(1, 100_000))).await {
            result.unwrap();
            sent += 100_000;
        }
        let tuning = Tuning::default().data;
        assert!(sent + 100_000 >= u64::from(tuning.stream_window_bytes), "{sent}");
        assert!(sent <= u64::from(tuning.stream_window_bytes) + tuning.send_window_bytes, "{sent}");
        // Others are not held up.
        peer.ask(Lane::Data, echo(2, 100_000), SECOND).await.unwrap();
        // A message was sent in part.
        assert_eq!(sender.send(echo(1, 1)).await, Err(ChannelError::Broken));
        assert_eq!(lock(&two.seen.channels).len(), 1);
    });
}

#[test]
fn a_channel_nobody_serves_is_refused_with_words() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let (one, two) = (town.node(1), town.node(2));
        let peer = one.endpoint.peer(NodeId(2));
        let error = peer.open(Lane::Data, Unheard, 5 * SECOND).await.unwrap_err();
        assert!(error.to_string().contains("message 94 is not served here"), "{error}");
        assert_eq!(two.counts().refused_messages, 1);
    });
}

#[test]
fn a_channel_ends_with_its_link() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let (one, _two) = (town.node(1), town.node(2));
        let peer = one.endpoint.peer(NodeId(2));
        let (_, channel) = peer.open(Lane::Data, Mirror(1), 5 * SECOND).await.unwrap();
        let (mut sender, mut receiver) = channel.split();
        town.network.unbind(address(2));
        let ended = receiver.receive().await;
        assert!(matches!(ended, Err(ChannelError::Ended(_))), "{ended:?}");
        let ended = sender.send(echo(1, 10)).await;
        assert!(matches!(ended, Err(ChannelError::Ended(_))), "{ended:?}");
    });
}

#[test]
fn the_opening_of_a_channel_ends_at_its_deadline() {
    run(1, |simulation| async move {
        let town = Town::new(simulation);
        let (one, _two) = (town.node(1), town.node(2));
        town.network.partition(&[&[host(1)], &[host(2)]]);
        let opened = one.endpoint.peer(NodeId(2)).open(Lane::Data, Mirror(1), SECOND / 5).await;
        assert!(matches!(opened, Err(AskError::TimedOut { .. })), "{opened:?}");
    });
}
