//! A way over is one step, whatever becomes of the log in the middle of it.

use super::*;
use crate::group::fakes::joining;

/// How much of the log there is.
fn written(rig: &Rig) -> usize {
    rig.log.with(|shelf| shelf.records.get(&0).map_or(0, Vec::len))
}

/// The log as it is where only so much of it was replicated.
fn cut(rig: &Rig, records: usize) -> FakeLog {
    let kept = rig.log.with(|shelf| shelf.records.get(&0).map(|all| all[..records].to_vec()));
    let log = FakeLog::default();
    log.with(|shelf| shelf.records.insert(0, kept.unwrap_or_default()));
    log.with(|shelf| shelf.epochs.insert(0, LeaderEpoch(100)));
    log
}

async fn three(rig: &Rig) -> Vec<Option<Client>> {
    let mut clients: Vec<Option<Client>> = ["a", "b", "c"]
        .into_iter()
        .map(|name| Some(Client::Classic(Classic::new(name, name != "a"))))
        .collect();
    assert_eq!(settle(rig, &mut clients).await, rig.all());
    clients
}

#[tokio::test(start_paused = true)]
async fn a_group_whose_way_over_was_not_committed_is_what_it_was() {
    let mut rig = Rig::new().await;
    let mut clients = three(&rig).await;
    let before = rig.node.front.describe_classic("g").await.unwrap();
    let old = std::mem::replace(&mut rig.node, Node::leading(&rig.log, &rig.topics).await);
    // Another leads by now: what the old one decides goes nowhere.
    let lost = old.ask(joining("g", "m", &["t"])).await.unwrap_err();
    assert_eq!(lost.code, ErrorCode::NotCoordinator);
    rig.take_over().await;
    assert_eq!(rig.node.front.describe_classic("g").await.unwrap(), before);
    for client in clients.iter_mut().flatten() {
        let reads = client.reads();
        client.act(&rig).await;
        assert_eq!(client.reads(), reads, "its members notice nothing");
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_of_which_only_a_part_came_over_is_of_the_classic_protocol() {
    let mut rig = Rig::new().await;
    let mut clients = three(&rig).await;
    let before = rig.node.front.describe_classic("g").await.unwrap();
    let from = written(&rig);
    rig.node.ask(joining("g", "m", &["t"])).await.unwrap();
    let whole = written(&rig);
    assert!(whole > from + 10);
    let log = rig.log.clone();
    for records in from..=whole {
        rig.log = cut(&Rig { log: log.clone(), ..Rig::new().await }, records);
        rig.take_over().await;
        if records < whole {
            assert_eq!(rig.node.front.describe_classic("g").await.unwrap(), before, "{records} of {whole}");
            // What was left of the other is gone: the next to read it finds nothing of it.
            rig.take_over().await;
            assert_eq!(rig.node.front.describe_classic("g").await.unwrap(), before, "{records} of {whole}");
            assert!(rig.node.ask(joining("g", "n", &["t"])).await.is_ok(), "and it may come over again");
        }
        assert_eq!(rig.described().await.unwrap().len(), 4, "{records} of {whole}");
    }
    assert_eq!(settle(&rig, &mut clients).await, rig.all(), "the member that came is silent, and out");
}

#[tokio::test(start_paused = true)]
async fn a_group_of_which_only_a_part_went_back_goes_on_all_the_same() {
    let mut rig = Rig::new().await;
    let mut clients = three(&rig).await;
    let mut modern = Modern::new("m");
    modern.act(&rig).await;
    let from = written(&rig);
    modern.stop(&rig).await;
    let whole = written(&rig);
    assert!(whole > from + 10);
    let log = rig.log.clone();
    for records in from..=whole {
        rig.log = cut(&Rig { log: log.clone(), ..Rig::new().await }, records);
        rig.take_over().await;
        // The first record of it decides.
        assert_eq!(rig.described().await.is_some(), records == from, "{records} of {whole}");
        if records > from {
            let described = rig.node.front.describe_classic("g").await;
            let described =
                described.unwrap_or_else(|refusal| panic!("{refusal}: {records} of {from} to {whole}"));
            assert_eq!(
                (described.state, described.members.len()),
                ("PreparingRebalance", 3),
                "nobody has assigned what the one that left had: {records} of {whole}"
            );
        }
    }
    assert_eq!(settle(&rig, &mut clients).await, rig.all());
}

#[tokio::test(start_paused = true)]
async fn what_a_coordinator_decided_and_could_not_write_whole_is_made_up_for() {
    let mut rig = Rig::new().await;
    let modern = |name: &str| Some(Client::Modern(Modern::new(name)));
    let mut clients = vec![modern("a"), modern("b"), modern("c")];
    assert_eq!(settle(&rig, &mut clients).await, rig.all());
    let from = written(&rig);
    clients.pop().unwrap().unwrap().stop(&rig).await;
    let whole = written(&rig);
    assert!(whole > from + 4);
    let log = rig.log.clone();
    for records in from..=whole {
        rig.log = cut(&Rig { log: log.clone(), ..Rig::new().await }, records);
        rig.take_over().await;
        assert_eq!(settle(&rig, &mut clients).await, rig.all(), "{records} of {from} to {whole}");
    }
}
