//! A group of three is rolled over client by client, both ways, and its coordinator dies between any two steps.

use super::*;

/// How many times clients are let act after each change.
const ROUNDS: usize = 60;

/// Rolls three clients over and back. The coordinator moves before the `dies_at`th round; how many rounds there were.
async fn roll(is_cooperative: bool, is_native: bool, dies_at: usize) -> usize {
    let mut rig = Rig::new().await;
    let mut clients: Vec<Option<Client>> = (0..3).map(|_| None).collect();
    let mut rounds = 0;
    let start = |slot: usize| Client::Classic(Classic::new(&format!("c{slot}"), is_cooperative));
    let mut changes: Vec<(usize, Client)> = (0..3).map(|slot| (slot, start(slot))).collect();
    let modern = |slot: usize| match is_native {
        true => Client::Native(Box::new(Native::new(&format!("n{slot}"), None))),
        false => Client::Modern(Modern::new(&format!("m{slot}"))),
    };
    changes.extend((0..3).map(|slot| (slot, modern(slot))));
    changes.extend((0..3).map(|slot| (slot, start(slot))));
    for (slot, client) in changes {
        if let Some(before) = clients[slot].take() {
            before.stop(&rig).await;
        }
        clients[slot] = Some(client);
        for _ in 0..ROUNDS {
            if rounds == dies_at {
                rig.take_over().await;
            }
            rounds += 1;
            for at in 0..clients.len() {
                if let Some(client) = &mut clients[at] {
                    client.act(&rig).await;
                }
                check(&clients);
            }
            pass(250).await;
        }
        let read: BTreeSet<_> = clients.iter().flatten().flat_map(Client::reads).collect();
        assert_eq!(read, rig.all(), "nothing is left out (dies at {dies_at})");
        let living = clients.iter().flatten();
        let modern = living.filter(|client| !matches!(client, Client::Classic(_))).count();
        let described =
            rig.described().await.map(|members| members.values().filter(|classic| !**classic).count());
        assert_eq!(described, (modern > 0).then_some(modern), "one is as the others are (dies at {dies_at})");
    }
    rounds
}

/// The same with the coordinator dying between any two of the rounds in which something happens: the first ones after each
/// change.
async fn roll_with_deaths(is_cooperative: bool, is_native: bool) {
    let rounds = roll(is_cooperative, is_native, usize::MAX).await;
    for change in (0..rounds).step_by(ROUNDS) {
        for after in 0..8 {
            roll(is_cooperative, is_native, change + after).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn three_eager_members_roll_over_one_by_one_and_back() {
    roll_with_deaths(false, false).await;
}

#[tokio::test(start_paused = true)]
async fn three_cooperative_members_roll_over_one_by_one_and_back() {
    roll_with_deaths(true, false).await;
}

#[tokio::test(start_paused = true)]
async fn three_members_are_exchanged_for_native_ones_one_by_one_and_back() {
    roll_with_deaths(true, true).await;
}

#[tokio::test(start_paused = true)]
async fn static_members_that_are_exchanged_one_by_one_keep_what_they_had() {
    let rig = Rig::new().await;
    let instance = |slot: usize| format!("i{slot}");
    let mut clients: Vec<Option<Client>> = (0..3)
        .map(|slot| Some(Client::Classic(Classic::fixed(&format!("c{slot}"), &instance(slot)))))
        .collect();
    assert_eq!(settle(&rig, &mut clients).await, rig.all());
    let had: Vec<_> = clients.iter().flatten().map(Client::reads).collect();
    for lives in ["m", "c"] {
        for slot in 0..3 {
            clients[slot].take().unwrap().stop(&rig).await;
            let name = format!("{lives}{slot}-again");
            clients[slot] = Some(match lives {
                "m" => Client::Modern(Modern::fixed(&name, &instance(slot))),
                _ => Client::Classic(Classic::fixed(&name, &instance(slot))),
            });
            assert_eq!(settle(&rig, &mut clients).await, rig.all());
            let have: Vec<_> = clients.iter().flatten().map(Client::reads).collect();
            let is_modern = rig.described().await.is_some();
            if is_modern {
                assert_eq!(have, had, "{name} took its instance's place");
            }
        }
    }
    assert_eq!(rig.listed_as().await.as_deref(), Some("consumer"), "it is of the classic protocol again");
}
