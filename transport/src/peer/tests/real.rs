//! Over real sockets and threads. Few and coarse: what can be shown in simulation is shown there.

use std::net::Ipv4Addr;

use super::*;
use crate::wire::{RealWire, RealWireSettings};
use crate::world::Arbiters;

const MTU: u16 = 16_384;

fn start(world: &World, authority: &ClusterAuthority, node: u32, seen: &Seen) -> Endpoint {
    let credentials = authority.issue_node(NodeId(node), &[]).unwrap();
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut config = EndpointConfig::new(listen, credentials, 1);
    config.tuning.mtu = Mtu::Known(MTU);
    // The machine that tests run on may be busy with other tests: nobody is to be declared dead here.
    config.tuning.control.idle_timeout = 20 * SECOND;
    config.tuning.data.idle_timeout = 20 * SECOND;
    config.limits.dial_timeout = 20 * SECOND;
    config.limits.hello_timeout = 20 * SECOND;
    let wire = Arc::new(RealWire::new(RealWireSettings { mtu_bytes: MTU, ..RealWireSettings::default() }));
    Endpoint::start(config, world.clone(), wire, Arc::new(handlers(seen))).unwrap()
}

fn pair(world: &World, seen: &Seen) -> (Endpoint, Endpoint) {
    let authority = ClusterAuthority::create(&world.clock, &world.random).unwrap();
    let (one, two) = (start(world, &authority, 1, seen), start(world, &authority, 2, seen));
    one.directory().set(NodeId(2), two.local_address().to_string());
    (one, two)
}

fn with_cores(test: impl AsyncFnOnce(World)) {
    let (world, arbiters): (World, Arbiters) = World::real(2).unwrap();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test(world));
    arbiters.stop();
}

#[test]
fn messages_and_channels_go_over_real_sockets_and_threads() {
    with_cores(async |world| {
        let seen = Seen::default();
        let (one, two) = pair(&world, &seen);
        let peer = one.peer(NodeId(2));
        for lane in LANES {
            for number in 0..50 {
                let sent = echo(number, 100_000);
                assert!(peer.ask(lane, sent.clone(), 20 * SECOND).await.unwrap().0 == sent);
            }
        }
        let (_, channel) = peer.open(Lane::Data, Mirror(1), 20 * SECOND).await.unwrap();
        let (mut sender, mut receiver) = channel.split();
        for number in 0..50 {
            sender.send(echo(number, 100_000)).await.unwrap();
            assert_eq!(
                receiver.receive().await.unwrap().unwrap().decode::<Echo>().unwrap(),
                echo(number, 100_000)
            );
        }
        let news = one.links();
        two.close().await;
        one.close().await;
        drop(news);
    });
}

#[test]
fn asks_from_many_threads_are_all_answered() {
    with_cores(async |world| {
        let seen = Seen::default();
        let (one, _two) = pair(&world, &seen);
        let (sender, mut receiver) = tokio::sync::mpsc::channel(100);
        for core in world.threads.cores() {
            let (peer, sender) = (one.peer(NodeId(2)), sender.clone());
            assert!(core.spawn(move || async move {
                for number in 0..100 {
                    let answer = peer.ask(Lane::Data, echo(number, 10), 20 * SECOND).await;
                    sender.send(answer.unwrap().0.number).await.unwrap();
                }
            }));
        }
        drop(sender);
        let mut answers = 0;
        while receiver.recv().await.is_some() {
            answers += 1;
        }
        assert_eq!(answers, 200);
        one.close().await;
    });
}
