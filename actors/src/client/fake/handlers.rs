//! How the cluster in memory answers each message.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::{FakeCluster, FakePartition, State};
use crate::client::{Asking, Asks, Cluster, LinkError, Target};
use crate::cluster::message::reassignment::ReassignPartition;
use crate::cluster::message::{
    AlterTopicConfig, CreatePartitions, CreateTopic, DeleteTopic, ElectReplica, InitProducerId, Metadata,
    MetadataAnswer, NodeAddress, PartitionMetadata, TopicMetadata,
};
use crate::error::{ErrorCode, Refusal};
use crate::ids::{NodeId, Offset, PartitionId, ProducerId};
use crate::partition::append::{Check, Sequencer, validate};
use crate::partition::message::{
    DeleteRecords, DeleteRecordsAnswer, Fetch, FetchAnswer, FetchPart, Fetched, ListOffsets,
    ListOffsetsAnswer, ListedOffset, OffsetSpec, Produce, ProduceAnswer, ProducePart, Produced,
};
use crate::record::{Batch, BatchHeader, MAX_UNPACKED_BYTES, records};

impl FakeCluster {
    /// Carries a request out now and answers it after the latency, at a node that is alive.
    pub(super) fn answer<A: Send + 'static>(
        &self,
        to: &Target,
        carry_out: impl FnOnce(&mut State, NodeId) -> Result<A, LinkError>,
    ) -> Asking<A> {
        let answer = self.at(to).and_then(|node| self.change(|state| carry_out(state, node)));
        let latency = self.lock().latency;
        Box::pin(async move {
            tokio::time::sleep(latency).await;
            answer
        })
    }

    /// Looks again after every change until there is an answer or the time is up.
    fn poll<A: Send + 'static>(
        &self,
        to: &Target,
        max_wait_ms: u32,
        mut look: impl FnMut(&mut State, NodeId, bool) -> Option<A> + Send + 'static,
    ) -> Asking<A> {
        let (this, to) = (self.clone(), to.clone());
        let latency = self.lock().latency;
        let mut changed = self.changed.subscribe();
        Box::pin(async move {
            tokio::time::sleep(latency).await;
            let until = Instant::now() + Duration::from_millis(u64::from(max_wait_ms));
            loop {
                changed.borrow_and_update();
                let late = Instant::now() >= until;
                let node = this.at(&to)?;
                if let Some(answer) = look(&mut this.lock(), node, late) {
                    return Ok(answer);
                }
                let _ = tokio::time::timeout_at(until, changed.changed()).await;
            }
        })
    }

    fn at(&self, to: &Target) -> Result<NodeId, LinkError> {
        let node = match to {
            Target::Node(node) => *node,
            Target::Address(address) => {
                let number = address.trim_start_matches("node-").trim_end_matches(":9092");
                NodeId(number.parse().map_err(|_| LinkError::NotSent(address.clone()))?)
            }
        };
        if self.lock().nodes.get(&node) == Some(&true) {
            return Ok(node);
        }
        Err(LinkError::NotSent(format!("{to} is down")))
    }
}

impl Cluster for FakeCluster {
    fn learn(&self, _: NodeId, _: &str) {}
}

impl Asks<Metadata> for FakeCluster {
    fn ask(&self, to: &Target, message: Metadata, _: Duration) -> Asking<MetadataAnswer> {
        let address = Arc::clone(&self.address);
        self.poll(to, message.max_wait_ms, move |state, _, late| {
            let news = message.newer_than.is_none_or(|version| state.version > version);
            (news || late).then(|| state.metadata(message.topics.as_deref(), address.get()))
        })
    }
}

impl Asks<Produce> for FakeCluster {
    fn ask(&self, to: &Target, message: Produce, deadline: Duration) -> Asking<ProduceAnswer> {
        self.produce(to, message, deadline)
    }
}

impl FakeCluster {
    pub(super) fn produce(&self, to: &Target, message: Produce, deadline: Duration) -> Asking<ProduceAnswer> {
        let mut lost = false;
        let answer = self.answer(to, |state, node| {
            state.produced.push(message.parts.len());
            if state.lost_requests > 0 {
                state.lost_requests -= 1;
                lost = true;
                return Ok(ProduceAnswer { parts: Vec::new() });
            }
            if state.lost_answers > 0 {
                state.lost_answers -= 1;
                lost = true;
            }
            let parts = message.parts.into_iter();
            Ok(ProduceAnswer {
                parts: parts.map(|part| (part.partition, state.append(node, part))).collect(),
            })
        });
        if !lost {
            return answer;
        }
        Box::pin(async move {
            tokio::time::sleep(deadline).await;
            Err(LinkError::NoAnswer("lost".to_owned()))
        })
    }
}

impl Asks<Fetch> for FakeCluster {
    fn ask(&self, to: &Target, message: Fetch, _: Duration) -> Asking<FetchAnswer> {
        self.fetch(to, message)
    }
}

impl FakeCluster {
    pub(super) fn fetch(&self, to: &Target, message: Fetch) -> Asking<FetchAnswer> {
        self.lock().fetches += 1;
        self.poll(to, message.max_wait_ms, move |state, node, late| {
            let mut left = message.max_bytes;
            let parts: Vec<_> = message
                .parts
                .iter()
                .map(|part| (part.partition, state.fetch(node, part, &mut left)))
                .collect();
            let bytes = |part: &Result<Fetched, Refusal>| part.as_ref().map_or(1, |part| part.batches.len());
            let found: usize = parts.iter().map(|(_, part)| bytes(part)).sum();
            (found > 0 || late).then_some(FetchAnswer { parts })
        })
    }
}

impl Asks<ListOffsets> for FakeCluster {
    fn ask(&self, to: &Target, message: ListOffsets, _: Duration) -> Asking<ListOffsetsAnswer> {
        self.answer(to, |state, node| {
            let parts = message.parts.into_iter();
            Ok(ListOffsetsAnswer {
                parts: parts.map(|(id, spec)| (id, state.list_offset(node, id, spec))).collect(),
            })
        })
    }
}

impl Asks<DeleteRecords> for FakeCluster {
    fn ask(&self, to: &Target, message: DeleteRecords, _: Duration) -> Asking<DeleteRecordsAnswer> {
        self.answer(to, |state, node| {
            let parts = message.parts.into_iter();
            Ok(DeleteRecordsAnswer {
                parts: parts.map(|(id, before)| (id, state.delete_records(node, id, before))).collect(),
            })
        })
    }
}

impl Asks<InitProducerId> for FakeCluster {
    fn ask(&self, to: &Target, _: InitProducerId, _: Duration) -> Asking<Result<ProducerId, Refusal>> {
        self.answer(to, |state, _| {
            state.next_producer += 1;
            Ok(Ok(ProducerId(state.next_producer)))
        })
    }
}

impl Asks<CreateTopic> for FakeCluster {
    fn ask(
        &self,
        to: &Target,
        message: CreateTopic,
        _: Duration,
    ) -> Asking<Result<crate::ids::TopicId, Refusal>> {
        self.answer(to, |state, _| {
            state.version += 1;
            let partitions = message.partitions.unwrap_or(1);
            Ok(Ok(state.make_topic(&message.name, partitions, message.config)))
        })
    }
}

impl Asks<DeleteTopic> for FakeCluster {
    fn ask(&self, to: &Target, message: DeleteTopic, _: Duration) -> Asking<Result<(), Refusal>> {
        self.answer(to, |state, _| {
            state.version += 1;
            let none = || Refusal::new(ErrorCode::UnknownTopicOrPartition, "no such topic");
            Ok(state.topics.remove(&message.name).map(|_| ()).ok_or_else(none))
        })
    }
}

impl Asks<CreatePartitions> for FakeCluster {
    fn ask(&self, to: &Target, _: CreatePartitions, _: Duration) -> Asking<Result<(), Refusal>> {
        self.answer(to, |_, _| Ok(Err(Refusal::new(ErrorCode::InvalidPartitions, "not here"))))
    }
}

impl Asks<AlterTopicConfig> for FakeCluster {
    fn ask(&self, to: &Target, _: AlterTopicConfig, _: Duration) -> Asking<Result<(), Refusal>> {
        self.answer(to, |_, _| Ok(Err(Refusal::new(ErrorCode::InvalidConfig, "not here"))))
    }
}

impl Asks<ElectReplica> for FakeCluster {
    fn ask(&self, to: &Target, _: ElectReplica, _: Duration) -> Asking<Result<(), Refusal>> {
        self.answer(to, |_, _| Ok(Err(Refusal::new(ErrorCode::InvalidRequest, "not here"))))
    }
}

impl Asks<ReassignPartition> for FakeCluster {
    fn ask(&self, to: &Target, _: ReassignPartition, _: Duration) -> Asking<Result<(), Refusal>> {
        self.answer(to, |_, _| Ok(Err(Refusal::new(ErrorCode::InvalidRequest, "not here"))))
    }
}

impl State {
    fn metadata(&self, names: Option<&[String]>, address: Option<&String>) -> MetadataAnswer {
        let place = |node: NodeId| address.cloned().unwrap_or_else(|| format!("node-{}:9092", node.0));
        let wanted = |name: &String| names.is_none_or(|names| names.contains(name));
        let topics = self.topics.iter().filter(|(name, _)| wanted(name)).map(|(name, topic)| {
            let partition = |index| {
                let known = &self.partitions[&PartitionId { topic: topic.id, index }];
                PartitionMetadata {
                    leader: known.leader,
                    leader_epoch: known.epoch,
                    replicas: Vec::new(),
                    in_sync: Vec::new(),
                }
            };
            TopicMetadata {
                name: name.clone(),
                id: topic.id,
                internal: false,
                partitions: (0..topic.partitions).map(partition).collect(),
                config: topic.config.clone(),
            }
        });
        let alive = self.nodes.iter().filter(|(_, alive)| **alive);
        MetadataAnswer {
            cluster_id: "fake".to_owned(),
            version: self.version,
            controller: None,
            nodes: alive.map(|(node, _)| NodeAddress { id: *node, quic: place(*node) }).collect(),
            topics: topics.collect(),
        }
    }

    fn led_by(&mut self, node: NodeId, id: PartitionId) -> Result<&mut FakePartition, Refusal> {
        let partition = self
            .partitions
            .get_mut(&id)
            .ok_or_else(|| Refusal::new(ErrorCode::UnknownTopicOrPartition, "no such partition"))?;
        if partition.leader == Some(node) {
            return Ok(partition);
        }
        Err(Refusal::new(ErrorCode::NotLeaderOrFollower, "this node does not lead the partition"))
    }

    fn append(&mut self, node: NodeId, part: ProducePart) -> Result<Produced, Refusal> {
        if let Some(code) = self.refusals.pop_front() {
            return Err(Refusal::new(code, "by the test's wish"));
        }
        self.led_by(node, part.partition)?;
        self.verify(&part)?;
        let log = self.led_by(node, part.partition)?;
        let validated = validate(part.batches, part.transaction.as_ref(), &log.config, i64::MAX / 2)?;
        let checks = log.producers.check(&validated.headers)?;
        let log_start_offset = log.start;
        let produced = |base_offset| Produced { base_offset, log_append_time_ms: None, log_start_offset };
        if let Some(Check::Duplicate { first, .. }) = checks.first() {
            return Ok(produced(*first));
        }
        let mut sequencer = Sequencer::new(log.end, log.epoch, None);
        let sequenced = sequencer.assign(validated).unwrap();
        for header in &sequenced.headers {
            log.producers.record(header, None, 0);
        }
        log.batches.extend(sequenced.batches);
        log.end = sequencer.end();
        Ok(produced(sequenced.base_offset))
    }

    fn fetch(&mut self, node: NodeId, part: &FetchPart, left: &mut u32) -> Result<Fetched, Refusal> {
        let log = self.led_by(node, part.partition)?;
        if part.offset < log.start || part.offset > log.end {
            let text = format!("{} to {} are there, {} is wanted", log.start, log.end, part.offset);
            return Err(Refusal::new(ErrorCode::OffsetOutOfRange, text));
        }
        let last_stable_offset = log.producers.last_stable(log.end);
        let end = if part.stable_only { last_stable_offset } else { log.end };
        let mut batches = BytesMut::new();
        let mut next = part.offset;
        let most = part.max_bytes.min(*left) as usize;
        for batch in &log.batches {
            let header = BatchHeader::parse(batch).unwrap();
            if header.last_offset() < part.offset {
                continue;
            }
            if header.base_offset >= end {
                break;
            }
            if !batches.is_empty() && batches.len() + batch.len() > most || *left == 0 {
                break;
            }
            batches.extend_from_slice(batch);
            next = header.next_offset();
        }
        *left = left.saturating_sub(u32::try_from(batches.len()).unwrap());
        Ok(Fetched {
            high_watermark: log.end,
            log_start_offset: log.start,
            last_stable_offset,
            diverging: None,
            preferred: None,
            aborted: if part.stable_only { log.producers.aborted_in(part.offset, next) } else { Vec::new() },
            batches: Bytes::from(batches),
        })
    }

    fn delete_records(
        &mut self,
        node: NodeId,
        id: PartitionId,
        before: Option<Offset>,
    ) -> Result<Offset, Refusal> {
        if let Some(code) = self.refusals.pop_front() {
            return Err(Refusal::new(code, "by the test's wish"));
        }
        let log = self.led_by(node, id)?;
        let before = before.unwrap_or(log.end);
        if before > log.end {
            return Err(Refusal::new(ErrorCode::OffsetOutOfRange, format!("{} is the end", log.end)));
        }
        log.start = log.start.max(before);
        Ok(log.start)
    }

    fn list_offset(
        &mut self,
        node: NodeId,
        id: PartitionId,
        spec: OffsetSpec,
    ) -> Result<ListedOffset, Refusal> {
        let log = self.led_by(node, id)?;
        let plain = |offset| ListedOffset { offset: Some(offset), timestamp_ms: None, leader_epoch: None };
        let at_ms = match spec {
            OffsetSpec::Earliest => return Ok(plain(log.start)),
            OffsetSpec::Latest => return Ok(plain(log.end)),
            OffsetSpec::LastStable => return Ok(plain(log.producers.last_stable(log.end))),
            OffsetSpec::Timestamp(at_ms) | OffsetSpec::StableTimestamp(at_ms) => at_ms,
            OffsetSpec::MaxTimestamp | OffsetSpec::Tiered => {
                return Err(Refusal::new(ErrorCode::UnsupportedVersion, "native clients do not ask for it"));
            }
        };
        let read =
            |bytes: &Bytes| records(&Batch::parse(bytes.clone()).unwrap(), MAX_UNPACKED_BYTES).unwrap();
        let found = log.batches.iter().flat_map(read).flatten().find(|record| record.timestamp_ms >= at_ms);
        Ok(ListedOffset {
            offset: found.as_ref().map(|record| record.offset),
            timestamp_ms: found.map(|record| record.timestamp_ms),
            leader_epoch: None,
        })
    }
}
