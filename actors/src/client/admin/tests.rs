use millstream_transport::world::simulation;

use super::*;
use crate::client::fake::{FakeCluster, at};
use crate::error::ErrorCode;
use crate::producer::{ProducerRecord, ProducerSettings};

fn topic(name: &str, partitions: i32) -> CreateTopic {
    CreateTopic {
        name: name.to_owned(),
        partitions: Some(partitions),
        replication_factor: None,
        config: BTreeMap::new(),
    }
}

#[test]
fn a_topic_is_made_seen_and_deleted() {
    simulation::run(1, |run| async move {
        let cluster = FakeCluster::new(3);
        let admin = cluster.client(&run).admin();
        let id = admin.create_topic(topic("t", 3)).await.unwrap();
        let described = admin.describe_topic("t").await.unwrap();
        assert_eq!((described.id, described.partitions.len()), (id, 3));
        admin.create_topic(topic("u", 1)).await.unwrap();
        let names = |topics: Vec<Arc<TopicView>>| {
            topics.iter().map(|topic| topic.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(admin.list_topics().await.unwrap()), ["t", "u"]);
        admin.delete_topic("t").await.unwrap();
        let error = admin.delete_topic("t").await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::UnknownTopicOrPartition));
        assert_eq!(admin.describe_topic("t").await, Err(ClientError::UnknownTopic("t".to_owned())));
        let refused = admin.create_partitions("u", 0).await.unwrap_err();
        assert_eq!(refused.code(), Some(ErrorCode::InvalidPartitions));
    });
}

#[test]
fn offsets_are_looked_up_at_the_leaders_wherever_they_are() {
    simulation::run(2, |run| async move {
        let cluster = FakeCluster::new(3);
        let id = cluster.topic("t", 3);
        let client = cluster.client(&run);
        let producer = client.producer(ProducerSettings::default()).await.unwrap();
        for number in 0..30 {
            let record = ProducerRecord::to("t").partition(number % 3).timestamp_ms(i64::from(number));
            producer.send(record).await.unwrap().await.unwrap();
        }
        cluster.move_leader(at(id, 2), Some(1));
        let name = |partition| TopicPartition::new("t", partition);
        let wanted = [
            (name(0), OffsetSpec::Earliest),
            (name(1), OffsetSpec::Latest),
            (name(2), OffsetSpec::Timestamp(15)),
        ];
        let found = client.admin().offsets(&wanted).await.unwrap();
        let offset = |partition| found[&name(partition)].offset;
        assert_eq!((offset(0), offset(1), offset(2)), (Some(Offset(0)), Some(Offset(10)), Some(Offset(5))));
        let nowhere = [(name(9), OffsetSpec::Latest)];
        assert!(client.admin().offsets(&nowhere).await.unwrap_err().to_string().contains("t-9"));
    });
}

#[test]
fn records_are_deleted_at_the_leader_wherever_it_is() {
    simulation::run(2, |run| async move {
        let cluster = FakeCluster::new(3);
        let id = cluster.topic("t", 1);
        let client = cluster.client(&run);
        let producer = client.producer(ProducerSettings::default()).await.unwrap();
        for _ in 0..10 {
            producer.send(ProducerRecord::to("t").partition(0)).await.unwrap().await.unwrap();
        }
        cluster.move_leader(at(id, 0), Some(2));
        let (admin, of) = (client.admin(), TopicPartition::new("t", 0));
        assert_eq!(admin.delete_records(&of, Some(Offset(4))).await.unwrap(), Offset(4));
        assert_eq!(admin.delete_records(&of, None).await.unwrap(), Offset(10));
        let beyond = admin.delete_records(&of, Some(Offset(11))).await.unwrap_err();
        assert_eq!(beyond.code(), Some(ErrorCode::OffsetOutOfRange));
        let nowhere = admin.delete_records(&TopicPartition::new("t", 9), None).await.unwrap_err();
        assert!(nowhere.to_string().contains("t-9"), "{nowhere}");
    });
}

#[test]
fn a_deletion_of_all_that_is_tried_again_spares_what_came_after_the_call() {
    simulation::run(2, |run| async move {
        let cluster = FakeCluster::new(3);
        let id = cluster.topic("t", 1);
        let client = cluster.client(&run);
        let producer = client.producer(ProducerSettings::default()).await.unwrap();
        let produce =
            async || producer.send(ProducerRecord::to("t").partition(0)).await.unwrap().await.unwrap();
        for _ in 0..10 {
            produce().await;
        }
        cluster.lock().refusals.push_back(ErrorCode::RequestTimedOut);
        let (admin, of) = (client.admin(), TopicPartition::new("t", 0));
        let (deleted, ()) = tokio::join!(admin.delete_records(&of, None), async {
            while !cluster.lock().refusals.is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            produce().await;
        });
        assert_eq!(deleted.unwrap(), Offset(10));
        assert_eq!(cluster.lock().partitions[&at(id, 0)].end, Offset(11));
    });
}

#[test]
fn a_groups_offsets_are_set_read_and_deleted() {
    simulation::run(3, |run| async move {
        let cluster = FakeCluster::new(2);
        let id = cluster.topic("t", 2);
        let admin = cluster.client(&run).admin();
        let offsets = BTreeMap::from([(at(id, 0), Offset(5)), (at(id, 1), Offset(7))]);
        admin.reset_offsets("g", offsets).await.unwrap();
        let found = admin.committed("g").await.unwrap();
        assert_eq!(found[&at(id, 1)].offset, Offset(7));
        assert_eq!(admin.list_groups().await.unwrap().into_keys().collect::<Vec<_>>(), ["group"]);
        assert_eq!(admin.describe_group("g").await.unwrap().state, GroupState::Stable);
        admin.delete_group("g").await.unwrap();
        assert!(admin.committed("g").await.unwrap().is_empty());
    });
}

#[test]
fn voters_are_changed_by_whoever_leads_the_quorum() {
    simulation::run(1, |run| async move {
        let cluster = FakeCluster::new(3);
        let admin = cluster.client(&run).admin();
        let seen = admin.describe_quorum().await.unwrap();
        assert_eq!((seen.node, seen.leader), (NodeId(3), Some(NodeId(3))));
        // It has not caught up at first.
        cluster.lock().refusals.push_back(ErrorCode::ThrottlingQuotaExceeded);
        admin.add_voter(NodeId(2)).await.unwrap();
        assert!(cluster.lock().voters.contains(&NodeId(2)));
        admin.remove_voter(NodeId(2), false).await.unwrap();
        assert!(cluster.lock().voters.is_empty());
        cluster.lock().refusals.push_back(ErrorCode::InvalidRequest);
        assert_eq!(admin.add_voter(NodeId(9)).await.unwrap_err().code(), Some(ErrorCode::InvalidRequest));
    });
}
