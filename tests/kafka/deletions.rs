//! Records that were deleted: do they stay so, whoever leads then?

use std::collections::BTreeMap;

use millstream::{Admin, CreateTopic, Offset, ProducerRecord, ProducerSettings, TopicPartition};
use millstream_actors::partition::message::OffsetSpec;
use millstream_tests::process::ProcessCluster;
use millstream_tests::{Outcome, load};

use crate::{PROGRAM, expect};

async fn first(admin: &Admin) -> Outcome<Option<Offset>> {
    let of = TopicPartition::new("t", 0);
    let found = admin.offsets(&[(of.clone(), OffsetSpec::Earliest)]).await?;
    Ok(found.get(&of).and_then(|listed| listed.offset))
}

#[tokio::test]
async fn what_was_deleted_stays_so_when_its_leader_is_killed_and_when_all_nodes_are() {
    ProcessCluster::run(PROGRAM, 3, &[], async |cluster| {
        let client = cluster.client().await?;
        let admin = client.admin();
        let topic = CreateTopic {
            name: "t".to_owned(),
            partitions: Some(1),
            replication_factor: Some(3),
            config: BTreeMap::new(),
        };
        admin.create_topic(topic).await?;
        let producer = client.producer(ProducerSettings::default()).await?;
        for _ in 0..10 {
            producer.send(ProducerRecord::to("t").partition(0)).await?.await?;
        }
        let of = TopicPartition::new("t", 0);
        expect("where it begins", admin.delete_records(&of, Some(Offset(7))).await?, Offset(7))?;
        let leader = load::leader(&client, "t", 0).await?;
        cluster.kill_9(leader)?;
        expect("where it begins with another leader", first(&admin).await?, Some(Offset(7)))?;
        cluster.restart_node(leader).await?;
        for id in cluster.running() {
            cluster.kill_9(id)?;
        }
        for id in 1..=3 {
            cluster.start_node(id)?;
        }
        expect("where it begins after a start of all", first(&admin).await?, Some(Offset(7)))
    })
    .await;
}
