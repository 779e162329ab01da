//! DescribeProducers: the producers that write to partitions led here, and where their open transactions began (KIP-664).

use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::ids::PartitionId;
use millstream_actors::partition::append::ActiveProducer as Known;
use millstream_transport::kafka::messages::describe_producers::DescribeProducersRequest;
use millstream_transport::kafka::messages::describe_producers::response::{
    ActiveProducer, DescribeProducersResponse, Partition, Topic,
};
use tokio::sync::oneshot;

use super::super::call::Call;
use super::super::error::{NONE, of_records};
use super::super::service::{Service, topic};

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<DescribeProducersRequest<'_>>(&body) else { return };
    let asked = request.topics.iter();
    let asked = asked.map(|topic| (topic.name.into_owned(), topic.partition_indexes.iter().collect()));
    let asked: Vec<(String, Vec<i32>)> = asked.collect();
    let service = Arc::clone(service);
    actix_rt::spawn(async move {
        let mut topics = Vec::with_capacity(asked.len());
        for (name, indexes) in asked {
            let mut partitions = Vec::with_capacity(indexes.len());
            let allowed = call.rights().demand(Operation::Read, ResourceType::Topic, &name);
            for index in indexes {
                let found = match &allowed {
                    Ok(()) => producers(&service, &name, index).await,
                    Err(refusal) => Err(refusal.clone()),
                };
                partitions.push(described(index, found));
            }
            topics.push(Topic { name: name.into(), partitions: partitions.into() });
        }
        call.answer(&DescribeProducersResponse { topics: topics.into(), ..Default::default() });
    });
}

async fn producers(service: &Service, name: &str, index: i32) -> Result<Vec<Known>, Refusal> {
    let image = service.image();
    let known = topic(&image, name, uuid::Uuid::nil()).filter(|topic| topic.partition(index).is_some());
    let unknown = || Refusal::new(ErrorCode::UnknownTopicOrPartition, "no such partition is known here");
    let partition = PartitionId { topic: known.ok_or_else(unknown)?.id, index };
    let (tell, told) = oneshot::channel();
    service.partitions.producers(partition, move |answer| {
        // Who does not wait any more needs no answer.
        let _ = tell.send(answer);
    });
    let stopped = |_| Refusal::new(ErrorCode::NotLeaderOrFollower, "the partition's replica has stopped");
    told.await.map_err(stopped)?
}

fn described(index: i32, producers: Result<Vec<Known>, Refusal>) -> Partition<'static> {
    match producers {
        Ok(producers) => Partition {
            partition_index: index,
            error_code: NONE,
            active_producers: producers.iter().map(active).collect(),
            ..Default::default()
        },
        Err(refusal) => Partition {
            partition_index: index,
            error_code: of_records(refusal.code),
            error_message: Some(refusal.text.into()),
            ..Default::default()
        },
    }
}

fn active(known: &Known) -> ActiveProducer {
    ActiveProducer {
        producer_id: known.id.0,
        producer_epoch: known.epoch.into(),
        last_sequence: known.last_sequence.unwrap_or(-1),
        last_timestamp: known.last_ms,
        coordinator_epoch: known.coordinator_epoch.unwrap_or(-1),
        current_txn_start_offset: known.transaction_start.map_or(-1, |offset| offset.0),
    }
}
