//! Transactions: by clients that add partitions themselves, and by newer ones that leave it to the brokers.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use millstream::CreateTopic;
use millstream_actors::ids::ProducerId;
use millstream_actors::record::{self, BatchBuilder, Compression, ProducerStamp, make_transactional};
use millstream_tests::Outcome;
use millstream_tests::kafka::KafkaConnection;
use millstream_tests::process::ProcessCluster;
use millstream_transport::kafka::messages::add_offsets_to_txn::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse,
};
use millstream_transport::kafka::messages::add_partitions_to_txn::request::AddPartitionsToTxnTopic;
use millstream_transport::kafka::messages::add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
};
use millstream_transport::kafka::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use millstream_transport::kafka::messages::describe_producers::{
    self, DescribeProducersRequest, DescribeProducersResponse,
};
use millstream_transport::kafka::messages::describe_transactions::{
    DescribeTransactionsRequest, DescribeTransactionsResponse,
};
use millstream_transport::kafka::messages::end_txn::{EndTxnRequest, EndTxnResponse};
use millstream_transport::kafka::messages::fetch::{self, FetchRequest, FetchResponse};
use millstream_transport::kafka::messages::find_coordinator::{
    FindCoordinatorRequest, FindCoordinatorResponse,
};
use millstream_transport::kafka::messages::init_producer_id::{
    InitProducerIdRequest, InitProducerIdResponse,
};
use millstream_transport::kafka::messages::list_offsets::{self, ListOffsetsRequest, ListOffsetsResponse};
use millstream_transport::kafka::messages::list_transactions::{
    ListTransactionsRequest, ListTransactionsResponse,
};
use millstream_transport::kafka::messages::offset_fetch::{self, OffsetFetchRequest, OffsetFetchResponse};
use millstream_transport::kafka::messages::produce::request::{PartitionData, TopicData};
use millstream_transport::kafka::messages::produce::{ProduceRequest, ProduceResponse};
use millstream_transport::kafka::messages::txn_offset_commit::{
    self, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use millstream_transport::kafka::{ErrorCode, Records, Request, Uuid, open_response};

use crate::{PROGRAM, connect, make_topic, with_node};

pub(super) const ID: &str = "copy";
const GROUP: &str = "readers";

/// The last version of Produce whose clients add partitions to their transactions themselves, and one of newer ones.
const OLD: i16 = 11;
pub(super) const NEW: i16 = 12;

/// The nodes of a cluster, asked one after the other until one answers.
pub(super) struct Nodes {
    addresses: Vec<SocketAddr>,
    at: usize,
    connection: Option<KafkaConnection>,
}

impl Nodes {
    pub(super) fn of(cluster: &ProcessCluster, count: u32) -> Self {
        let addresses = (1..=count).map(|id| cluster.kafka(id)).collect();
        Self { addresses, at: 0, connection: None }
    }

    /// Asks; the same of the next node where one is gone or silent.
    async fn ask<'a, R: Request<'a>>(&mut self, version: i16, request: &R) -> Outcome<Bytes> {
        loop {
            if self.connection.is_none() {
                let address = *self.addresses.get(self.at % self.addresses.len()).ok_or("no nodes")?;
                self.connection = KafkaConnection::open(address).await.ok();
            }
            if let Some(connection) = &mut self.connection
                && let Ok(Ok(frame)) =
                    tokio::time::timeout(Duration::from_secs(10), connection.ask(version, request)).await
            {
                return Ok(frame);
            }
            self.turn().await;
        }
    }

    /// After an answer that sends a client elsewhere, or on later.
    async fn turn(&mut self) {
        self.at += 1;
        self.connection = None;
        pause().await;
    }
}

/// A transactional producer, as simple as it can be.
pub(super) struct Producer {
    nodes: Nodes,
    id: i64,
    epoch: i16,
    sequence: i32,
}

impl Producer {
    /// Finds the coordinator and begins; again while that is not there yet.
    pub(super) async fn begin(mut nodes: Nodes) -> Outcome<Self> {
        for (key, key_type) in [(ID, 1), (GROUP, 0)] {
            let request = FindCoordinatorRequest { key: key.into(), key_type, ..Default::default() };
            loop {
                let frame = nodes.ask(2, &request).await?;
                let (_, found) = open_response::<FindCoordinatorResponse<'_>>(&frame, 2)?;
                if found.error_code == 0 {
                    break;
                }
                nodes.turn().await;
            }
        }
        let request = InitProducerIdRequest {
            transactional_id: Some(ID.into()),
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        loop {
            let frame = nodes.ask(4, &request).await?;
            let (_, begun) = open_response::<InitProducerIdResponse>(&frame, 4)?;
            match begun.error_code {
                0 => {
                    let (id, epoch) = (begun.producer_id, begun.producer_epoch);
                    return Ok(Self { nodes, id, epoch, sequence: 0 });
                }
                code if is_passing(code) => nodes.turn().await,
                code => return Err(format!("InitProducerId: {code}").into()),
            }
        }
    }

    async fn add_partition(&mut self, topic: &str) -> Outcome<i16> {
        let topics = vec![AddPartitionsToTxnTopic { name: topic.into(), partitions: vec![0].into() }];
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: ID.into(),
            v3_and_below_producer_id: self.id,
            v3_and_below_producer_epoch: self.epoch,
            v3_and_below_topics: topics.into(),
            ..Default::default()
        };
        loop {
            let frame = self.nodes.ask(3, &request).await?;
            let (_, response) = open_response::<AddPartitionsToTxnResponse<'_>>(&frame, 3)?;
            let topic = response.results_by_topic_v3_and_below.iter().next().ok_or("no topic")?;
            let code = topic.results_by_partition.iter().next().ok_or("no partition")?.partition_error_code;
            if !is_passing(code) {
                return Ok(code);
            }
            self.nodes.turn().await;
        }
    }

    /// Produces one record in the transaction; again where the partition is not led yet.
    pub(super) async fn send(&mut self, version: i16, topic: &str, value: &str) -> Outcome<i16> {
        let records = self.batch(value)?;
        loop {
            let code = self.send_once(version, topic, records.clone()).await?;
            match code {
                0 => {
                    self.sequence += 1;
                    return Ok(0);
                }
                code if is_passing(code) => self.nodes.turn().await,
                code => return Ok(code),
            }
        }
    }

    fn batch(&self, value: &str) -> Outcome<Bytes> {
        let mut builder = BatchBuilder::new(1 << 20, Compression::NONE);
        let pushed = builder.push(1_000, Some(b"key"), Some(value.as_bytes()), &[]);
        pushed.map_err(|error| format!("{error:?}"))?;
        let mut batch = builder.finish(None).to_vec();
        let stamp =
            ProducerStamp { id: ProducerId(self.id), epoch: self.epoch, base_sequence: self.sequence };
        make_transactional(&mut batch, stamp)?;
        Ok(batch.into())
    }

    async fn send_once(&mut self, version: i16, topic: &str, records: Bytes) -> Outcome<i16> {
        let partition = PartitionData { index: 0, records: Some(Records::Shared(records)) };
        let data =
            TopicData { name: topic.into(), partition_data: vec![partition].into(), ..Default::default() };
        let request = ProduceRequest {
            transactional_id: Some(ID.into()),
            acks: -1,
            timeout_ms: 5_000,
            topic_data: vec![data].into(),
        };
        let frame = self.nodes.ask(version, &request).await?;
        let (_, response) = open_response::<ProduceResponse<'_>>(&frame, version)?;
        let topic = response.responses.iter().next().ok_or("no topic in the answer")?;
        Ok(topic.partition_responses.iter().next().ok_or("no partition in the answer")?.error_code)
    }

    /// Ends the transaction: in version 5 with the next epoch.
    pub(super) async fn end(&mut self, version: i16, committed: bool) -> Outcome<i16> {
        let request = EndTxnRequest {
            transactional_id: ID.into(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            committed,
        };
        loop {
            let frame = self.nodes.ask(version, &request).await?;
            let (_, response) = open_response::<EndTxnResponse>(&frame, version)?;
            match response.error_code {
                0 if version >= 5 => {
                    (self.id, self.epoch, self.sequence) = (response.producer_id, response.producer_epoch, 0);
                    return Ok(0);
                }
                code if is_passing(code) => self.nodes.turn().await,
                code => return Ok(code),
            }
        }
    }

    /// Writes one record in a transaction of its own, until that is committed.
    async fn write(mut self, topic: &str, value: &str) -> Outcome<Self> {
        loop {
            if self.send(NEW, topic, value).await? == 0 && self.end(5, true).await? == 0 {
                return Ok(self);
            }
            // Whatever it was, it is not committed: who begins anew aborts it.
            self = Self::begin(self.nodes).await?;
        }
    }

    async fn commit_offset(&mut self, version: i16, topic: &str, offset: i64) -> Outcome<i16> {
        let partition =
            txn_offset_commit::request::Partition { committed_offset: offset, ..Default::default() };
        let topic = txn_offset_commit::request::Topic {
            name: topic.into(),
            partitions: vec![partition].into(),
            ..Default::default()
        };
        let request = TxnOffsetCommitRequest {
            transactional_id: ID.into(),
            group_id: GROUP.into(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            topics: vec![topic].into(),
            ..Default::default()
        };
        loop {
            let frame = self.nodes.ask(version, &request).await?;
            let (_, response) = open_response::<TxnOffsetCommitResponse<'_>>(&frame, version)?;
            let topic = response.topics.iter().next().ok_or("no topic")?;
            let code = topic.partitions.iter().next().ok_or("no partition")?.error_code;
            if !is_passing(code) {
                return Ok(code);
            }
            self.nodes.turn().await;
        }
    }
}

/// Errors after which a client asks again.
fn is_passing(code: i16) -> bool {
    [
        ErrorCode::ConcurrentTransactions,
        ErrorCode::CoordinatorLoadInProgress,
        ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotCoordinator,
        ErrorCode::NotLeaderOrFollower,
        ErrorCode::NotEnoughReplicas,
        ErrorCode::NotEnoughReplicasAfterAppend,
        ErrorCode::RequestTimedOut,
        ErrorCode::UnknownTopicOrPartition,
    ]
    .iter()
    .any(|passing| passing.code() == code)
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}

/// What a reader sees from the start on: values, and whether each is of an aborted transaction.
async fn read(nodes: &mut Nodes, topic: &str, isolation_level: i8) -> Outcome<Vec<(String, bool)>> {
    let (mut found, mut offset) = (Vec::new(), 0);
    loop {
        let (some, next) = read_from(nodes, topic, isolation_level, offset).await?;
        if next == offset {
            return Ok(found);
        }
        found.extend(some);
        offset = next;
    }
}

/// What one answer holds, and the offset behind it.
async fn read_from(
    nodes: &mut Nodes,
    topic: &str,
    isolation_level: i8,
    fetch_offset: i64,
) -> Outcome<(Vec<(String, bool)>, i64)> {
    let partition =
        fetch::request::Partition { fetch_offset, partition_max_bytes: 1 << 20, ..Default::default() };
    let topic = fetch::request::Topic {
        topic: topic.into(),
        topic_id: Uuid::default(),
        partitions: vec![partition].into(),
    };
    let request = FetchRequest {
        max_bytes: 1 << 20,
        isolation_level,
        topics: vec![topic].into(),
        ..Default::default()
    };
    let frame = nodes.ask(12, &request).await?;
    let (_, response) = open_response::<FetchResponse<'_>>(&frame, 12)?;
    let topic = response.responses.iter().next().ok_or("no topic in the answer")?;
    let partition = topic.partitions.iter().next().ok_or("no partition in the answer")?;
    if partition.error_code != 0 {
        nodes.turn().await;
        return Ok((Vec::new(), fetch_offset));
    }
    let aborted = partition.aborted_transactions.iter().flat_map(|all| all.iter());
    let mut aborted: Vec<_> = aborted.map(|aborted| (aborted.producer_id, aborted.first_offset)).collect();
    let bytes = partition.records.map(|found| found.to_shared(&frame)).unwrap_or_default();
    let (mut found, mut next) = (Vec::new(), fetch_offset);
    for batch in record::batches(&bytes) {
        let batch = batch?;
        let (id, base) = (batch.header.producer_id, batch.header.base_offset.0);
        next = batch.header.next_offset().0;
        let place = aborted.iter().position(|(of, first)| *of == id && *first <= base);
        if batch.header.attributes.is_control() {
            // The transaction ends here; a later one of the same producer is another.
            place.map(|place| aborted.remove(place));
            continue;
        }
        for record in record::records(&batch, 1 << 20)? {
            let value = String::from_utf8(record?.value.unwrap_or_default().to_vec())?;
            found.push((value, place.is_some()));
        }
    }
    Ok((found, next))
}

/// Reads what is committed until it is this.
pub(super) async fn reads(nodes: &mut Nodes, topic: &str, wanted: &[(&str, bool)]) -> Outcome {
    loop {
        let found = read(nodes, topic, 1).await?;
        let found: Vec<_> = found.iter().map(|(value, is_aborted)| (value.as_str(), *is_aborted)).collect();
        if found == wanted {
            return Ok(());
        }
        if found.len() > wanted.len() || !wanted.starts_with(&found) {
            return Err(format!("{found:?} is read, {wanted:?} is wanted").into());
        }
        nodes.turn().await;
    }
}

pub(super) async fn last_stable(nodes: &mut Nodes, topic: &str) -> Outcome<i64> {
    let partition = list_offsets::request::Partition { timestamp: -1, ..Default::default() };
    let topic = list_offsets::request::Topic { name: topic.into(), partitions: vec![partition].into() };
    let request = ListOffsetsRequest { isolation_level: 1, topics: vec![topic].into(), ..Default::default() };
    let frame = nodes.ask(6, &request).await?;
    let (_, response) = open_response::<ListOffsetsResponse<'_>>(&frame, 6)?;
    let topic = response.topics.iter().next().ok_or("no topic in the answer")?;
    Ok(topic.partitions.iter().next().ok_or("no partition in the answer")?.offset)
}

/// The group's offset for the topic, if it is known for good.
async fn stable_offset(nodes: &mut Nodes, topic: &str) -> Outcome<Result<i64, i16>> {
    let topic = offset_fetch::request::Topic { name: topic.into(), partition_indexes: vec![0].into() };
    let request = OffsetFetchRequest {
        group_id: GROUP.into(),
        topics: Some(vec![topic].into()),
        require_stable: true,
        ..Default::default()
    };
    let frame = nodes.ask(7, &request).await?;
    let (_, response) = open_response::<OffsetFetchResponse<'_>>(&frame, 7)?;
    let topic = response.topics.iter().next().ok_or("no topic in the answer")?;
    let partition = topic.partitions.iter().next().ok_or("no partition in the answer")?;
    Ok(if partition.error_code == 0 { Ok(partition.committed_offset) } else { Err(partition.error_code) })
}

async fn becomes_stable(nodes: &mut Nodes, topic: &str, wanted: i64) -> Outcome {
    loop {
        match stable_offset(nodes, topic).await? {
            Ok(found) if found == wanted => return Ok(()),
            Err(code) if code == ErrorCode::UnstableOffsetCommit.code() => nodes.turn().await,
            other => return Err(format!("{other:?} instead of {wanted}").into()),
        }
    }
}

#[tokio::test]
async fn what_an_old_client_commits_is_read_and_what_it_aborts_is_not() {
    with_node(async |cluster| {
        let mut reader = Nodes::of(cluster, 1);
        make_topic(&mut connect(cluster).await?, "flights").await?;
        let mut producer = Producer::begin(Nodes::of(cluster, 1)).await?;
        assert_eq!(producer.send(OLD, "flights", "stray").await?, ErrorCode::TransactionAbortable.code());
        assert_eq!(producer.add_partition("flights").await?, 0);
        assert_eq!(producer.send(OLD, "flights", "one").await?, 0);
        assert_eq!(read(&mut reader, "flights", 1).await?, []);
        assert_eq!(read(&mut reader, "flights", 0).await?, [("one".to_owned(), false)]);
        assert_eq!(last_stable(&mut reader, "flights").await?, 0);
        assert_eq!(producer.end(1, true).await?, 0);
        reads(&mut reader, "flights", &[("one", false)]).await?;
        assert_eq!(producer.add_partition("flights").await?, 0);
        assert_eq!(producer.send(OLD, "flights", "two").await?, 0);
        assert_eq!(producer.end(1, false).await?, 0);
        reads(&mut reader, "flights", &[("one", false), ("two", true)]).await
    })
    .await;
}

#[tokio::test]
async fn a_new_client_leaves_partitions_to_the_brokers_and_gets_an_epoch_with_every_end() {
    with_node(async |cluster| {
        let mut reader = Nodes::of(cluster, 1);
        make_topic(&mut connect(cluster).await?, "flights").await?;
        let frame = reader
            .ask(
                3,
                &ApiVersionsRequest {
                    client_software_name: "tests".into(),
                    client_software_version: "1".into(),
                    ..Default::default()
                },
            )
            .await?;
        let (_, offered) = open_response::<ApiVersionsResponse<'_>>(&frame, 3)?;
        let version = offered.finalized_features.iter().find(|feature| feature.name == "transaction.version");
        assert_eq!(version.map(|feature| feature.max_version_level), Some(2));
        let mut producer = Producer::begin(Nodes::of(cluster, 1)).await?;
        let first = producer.epoch;
        for (value, commits) in [("one", true), ("two", false), ("three", true)] {
            assert_eq!(producer.send(NEW, "flights", value).await?, 0);
            assert_eq!(producer.end(5, commits).await?, 0);
        }
        assert_eq!(producer.epoch, first + 3);
        reads(&mut reader, "flights", &[("one", false), ("two", true), ("three", false)]).await
    })
    .await;
}

#[tokio::test]
async fn who_begins_with_the_same_id_fences_the_one_before_and_aborts_what_it_left_open() {
    with_node(async |cluster| {
        let mut reader = Nodes::of(cluster, 1);
        make_topic(&mut connect(cluster).await?, "flights").await?;
        let mut zombie = Producer::begin(Nodes::of(cluster, 1)).await?;
        assert_eq!(zombie.add_partition("flights").await?, 0);
        assert_eq!(zombie.send(OLD, "flights", "one").await?, 0);
        let mut producer = Producer::begin(Nodes::of(cluster, 1)).await?;
        assert_eq!(zombie.end(2, true).await?, ErrorCode::ProducerFenced.code());
        assert_eq!(zombie.send(OLD, "flights", "late").await?, ErrorCode::InvalidProducerEpoch.code());
        assert_eq!(producer.send(NEW, "flights", "two").await?, 0);
        assert_eq!(producer.end(5, true).await?, 0);
        reads(&mut reader, "flights", &[("one", true), ("two", false)]).await
    })
    .await;
}

#[tokio::test]
async fn offsets_of_a_transaction_are_the_groups_when_it_commits() {
    with_node(async |cluster| {
        let mut reader = Nodes::of(cluster, 1);
        make_topic(&mut connect(cluster).await?, "flights").await?;
        let mut producer = Producer::begin(Nodes::of(cluster, 1)).await?;
        let request = AddOffsetsToTxnRequest {
            transactional_id: ID.into(),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            group_id: GROUP.into(),
        };
        let frame = producer.nodes.ask(3, &request).await?;
        assert_eq!(open_response::<AddOffsetsToTxnResponse>(&frame, 3)?.1.error_code, 0);
        assert_eq!(producer.commit_offset(3, "flights", 5).await?, 0);
        let unstable = Err(ErrorCode::UnstableOffsetCommit.code());
        assert_eq!(stable_offset(&mut reader, "flights").await?, unstable);
        assert_eq!(producer.end(1, true).await?, 0);
        becomes_stable(&mut reader, "flights", 5).await?;
        // A newer client, which aborts.
        let mut producer = Producer::begin(Nodes::of(cluster, 1)).await?;
        assert_eq!(producer.commit_offset(5, "flights", 9).await?, 0);
        assert_eq!(stable_offset(&mut reader, "flights").await?, unstable);
        assert_eq!(producer.end(5, false).await?, 0);
        becomes_stable(&mut reader, "flights", 5).await
    })
    .await;
}

#[tokio::test]
async fn tools_are_told_of_open_transactions() {
    with_node(async |cluster| {
        let mut reader = Nodes::of(cluster, 1);
        make_topic(&mut connect(cluster).await?, "flights").await?;
        let mut producer = Producer::begin(Nodes::of(cluster, 1)).await?;
        assert_eq!(producer.send(NEW, "flights", "one").await?, 0);
        let described = loop {
            let ids = vec![ID.into(), "nobody".into()];
            let frame = reader.ask(0, &DescribeTransactionsRequest { transactional_ids: ids.into() }).await?;
            let (_, described) = open_response::<DescribeTransactionsResponse<'_>>(&frame, 0)?;
            let states = described.transaction_states.iter().map(|state| {
                let topic = state.topics.iter().next().map(|topic| topic.topic.into_owned());
                (state.error_code, state.transaction_state.into_owned(), state.producer_id, topic)
            });
            let states: Vec<_> = states.collect();
            if !states.iter().any(|(code, ..)| is_passing(*code)) {
                break states;
            }
            pause().await;
        };
        let nobody = ErrorCode::TransactionalIdNotFound.code();
        let expected = [
            (0, "Ongoing".to_owned(), producer.id, Some("flights".to_owned())),
            (nobody, String::new(), 0, None),
        ];
        assert_eq!(described, expected);
        for (pattern, expected) in [("co.*", 1), ("o", 0)] {
            let request = ListTransactionsRequest {
                state_filters: vec!["Ongoing".into()].into(),
                transactional_id_pattern: Some(pattern.into()),
                ..Default::default()
            };
            let count = loop {
                let frame = reader.ask(2, &request).await?;
                let (_, listed) = open_response::<ListTransactionsResponse<'_>>(&frame, 2)?;
                match listed.error_code {
                    0 => break listed.transaction_states.iter().count(),
                    code if is_passing(code) => pause().await,
                    code => return Err(format!("ListTransactions: {code}").into()),
                }
            };
            assert_eq!(count, expected, "{pattern}");
        }
        let topic =
            describe_producers::request::Topic { name: "flights".into(), partition_indexes: vec![0].into() };
        let frame = reader.ask(0, &DescribeProducersRequest { topics: vec![topic].into() }).await?;
        let (_, told) = open_response::<DescribeProducersResponse<'_>>(&frame, 0)?;
        let topic = told.topics.iter().next().ok_or("no topic in the answer")?;
        let partition = topic.partitions.iter().next().ok_or("no partition in the answer")?;
        let active: Vec<_> = partition.active_producers.iter().collect();
        assert_eq!((active[0].producer_id, active[0].current_txn_start_offset), (producer.id, 0));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn what_a_transactional_writer_commits_while_each_node_is_killed_in_turn_is_read_once() {
    ProcessCluster::run(PROGRAM, 3, &[], async |cluster| {
        let topic = CreateTopic {
            name: "flights".to_owned(),
            partitions: Some(1),
            replication_factor: Some(3),
            config: [("min.insync.replicas".to_owned(), "2".to_owned())].into(),
        };
        cluster.client().await?.admin().create_topic(topic).await?;
        let mut producer = Producer::begin(Nodes::of(cluster, 3)).await?;
        let mut wanted = Vec::new();
        for killed in 1..=3 {
            for is_down in [false, true] {
                if is_down {
                    cluster.kill_9(killed)?;
                }
                for _ in 0..5 {
                    let value = format!("value {}", wanted.len());
                    producer = producer.write("flights", &value).await?;
                    wanted.push(value);
                }
            }
            cluster.restart_node(killed).await?;
        }
        let mut reader = Nodes::of(cluster, 3);
        loop {
            let found = read(&mut reader, "flights", 1).await?;
            let committed: Vec<_> =
                found.into_iter().filter(|(_, is_aborted)| !is_aborted).map(|(value, _)| value).collect();
            if committed == wanted {
                return Ok(());
            }
            if !wanted.starts_with(&committed) {
                return Err(format!("{committed:?} is read, {wanted:?} was committed").into());
            }
            pause().await;
        }
    })
    .await;
}
