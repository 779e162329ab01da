//! Groups that are rolled over from the classic protocol to KIP-848 and back, with clients that behave as real ones do.

mod classic;
mod conversions;
mod failing;
mod histories;
mod hosted;
mod modern;
mod native;
mod protocols;
mod refused;
mod retention;
mod rolls;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use millstream_transport::kafka::Message as _;
use millstream_transport::kafka::messages::consumer_protocol::{
    ConsumerProtocolSubscription, OwnedPartition,
};
use tokio::time::Instant;

use self::classic::Classic;
use self::modern::Modern;
use self::native::Native;
use super::*;
use crate::group::classic::{ClassicSettings, Protocol};
use crate::group::migration::MigrationPolicy;

/// How long members may be silent.
const SESSION_MS: u64 = 6_000;

/// A coordinator that may move, its log, and the topics.
struct Rig {
    log: FakeLog,
    topics: FakeTopics,
    settings: GroupSettings,
    node: Node,
}

impl Rig {
    async fn new() -> Self {
        Self::with(MigrationPolicy::Bidirectional).await
    }

    async fn with(migration: MigrationPolicy) -> Self {
        let classic = ClassicSettings { initial_rebalance_delay_ms: 100, ..ClassicSettings::default() };
        let settings =
            GroupSettings { migration, classic, session_timeout_ms: SESSION_MS, ..GroupSettings::default() };
        let (log, topics) = (FakeLog::default(), FakeTopics::of(&[("t", 4), ("u", 2)]));
        let node = Node::leading_with(&log, &topics, settings.clone(), Events::uncounted()).await;
        let mut rig = Self { log, topics, settings, node };
        rig.wait_for_load().await;
        rig
    }

    /// The coordinator moves: another reads the log.
    async fn take_over(&mut self) {
        let (settings, events) = (self.settings.clone(), Events::uncounted());
        let next = Node::leading_with(&self.log, &self.topics, settings, events).await;
        let old = std::mem::replace(&mut self.node, next);
        old.front.resign(0, old.epoch);
        self.wait_for_load().await;
    }

    async fn wait_for_load(&mut self) {
        let listed = self.node.ask_patiently(crate::group::message::ListGroups {}).await;
        assert!(listed.is_ok());
    }

    fn all(&self) -> BTreeSet<PartitionId> {
        (0..4).map(|index| self.topics.partition("t", index)).collect()
    }

    /// The members, by whether they speak the classic protocol; `None` where the group is one of that.
    async fn described(&self) -> Option<BTreeMap<String, bool>> {
        let described = self.node.front.describe("g").await.ok()?;
        let members = described.group.members.into_keys();
        Some(members.map(|id| (id.clone(), described.classic.contains(&id))).collect())
    }

    /// The group's protocol type in a list, if it is one of the classic protocol.
    async fn listed_as(&self) -> Option<Arc<str>> {
        let listed = self.node.front.list().await.unwrap();
        listed.into_iter().find(|(group, _)| group == "g").unwrap().1.classic
    }
}

/// A client of either protocol.
enum Client {
    Classic(Classic),
    Modern(Modern),
    Native(Box<Native>),
}

impl Client {
    async fn act(&mut self, rig: &Rig) {
        match self {
            Self::Classic(client) => client.act(rig).await,
            Self::Modern(client) => client.act(rig).await,
            Self::Native(client) => client.act(rig).await,
        }
    }

    /// Stops reading, and leaves the group.
    async fn stop(self, rig: &Rig) {
        match self {
            Self::Classic(client) => client.stop(rig).await,
            Self::Modern(client) => client.stop(rig).await,
            Self::Native(client) => client.stop(rig).await,
        }
    }

    /// What it reads, as long as its session may be thought to hold.
    fn reads(&self) -> BTreeSet<PartitionId> {
        let (reads, heard) = match self {
            Self::Classic(client) => (&client.reads, client.heard),
            Self::Modern(client) => (&client.reads, client.heard),
            Self::Native(client) => (&client.reads, client.heard),
        };
        if heard.elapsed() < Duration::from_millis(SESSION_MS) { reads.clone() } else { BTreeSet::new() }
    }
}

/// No partition is read by two.
fn check(clients: &[Option<Client>]) {
    let mut read = BTreeSet::new();
    for partition in clients.iter().flatten().flat_map(Client::reads) {
        assert!(read.insert(partition), "{partition} is read by two");
    }
}

/// Lets all clients act until nothing changes any more; what they read then.
async fn settle(rig: &Rig, clients: &mut [Option<Client>]) -> BTreeSet<PartitionId> {
    for _ in 0..240 {
        for at in 0..clients.len() {
            if let Some(client) = clients.get_mut(at).and_then(Option::as_mut) {
                client.act(rig).await;
            }
            check(clients);
        }
        pass(250).await;
    }
    clients.iter().flatten().flat_map(Client::reads).collect()
}

/// What a member of the classic protocol says when it joins.
fn subscription(
    topics: &[&str],
    owned: &BTreeSet<PartitionId>,
    names: &FakeTopics,
    generation: i32,
) -> Bytes {
    let mut by_name: BTreeMap<Arc<str>, Vec<i32>> = BTreeMap::new();
    for partition in owned {
        let (name, _) = names.identified(partition.topic).unwrap();
        by_name.entry(name).or_default().push(partition.index);
    }
    let owned: Vec<_> = by_name
        .iter()
        .map(|(name, indexes)| OwnedPartition { topic: (&**name).into(), partitions: indexes.clone().into() })
        .collect();
    let message = ConsumerProtocolSubscription {
        topics: topics.iter().map(|name| (*name).into()).collect(),
        owned_partitions: owned.into(),
        generation_id: generation,
        ..Default::default()
    };
    message.encode_versioned(2).unwrap().into()
}

fn speaks(name: &str, metadata: Bytes) -> Protocol {
    Protocol { name: name.into(), metadata }
}
