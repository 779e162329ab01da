//! DescribeLogDirs: which partitions lie in this node's log directory, and how large they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_actors::access::Operation;
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::ids::{PartitionId, TopicId};
use millstream_actors::image::Image;
use millstream_actors::log::DirectoryHealth;
use millstream_transport::kafka::messages::describe_log_dirs::DescribeLogDirsRequest;
use millstream_transport::kafka::messages::describe_log_dirs::response::{
    DescribeLogDirsResponse, DescribeLogDirsResult, Partition, Topic,
};

use super::super::call::Call;
use super::super::error::{NONE, number};
use super::super::service::{Service, topic};

/// The first version with an error of the whole; before, nothing is told.
const ERROR_FROM: i16 = 3;

/// What is told of space that is not known.
const UNKNOWN_BYTES: i64 = -1;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<DescribeLogDirsRequest<'_>>(&body) else { return };
    if let Err(refusal) = call.rights().demand_of_cluster(Operation::Describe) {
        let error_code = if call.version >= ERROR_FROM { number(refusal.code) } else { NONE };
        return call.answer(&DescribeLogDirsResponse { error_code, ..Default::default() });
    }
    let image = service.image();
    let here = here(service, &image);
    let partitions: BTreeSet<PartitionId> = match &request.topics {
        None => here,
        Some(topics) => topics
            .iter()
            .filter_map(|asked| Some((topic(&image, &asked.topic, uuid::Uuid::nil())?.id, asked.partitions)))
            .flat_map(|(topic, asked)| {
                let named: Vec<_> = asked.iter().map(|index| PartitionId { topic, index }).collect();
                named
            })
            .filter(|partition| here.contains(partition))
            .collect(),
    };
    let answering = Arc::clone(service);
    service.partitions.log_sizes(partitions.into_iter().collect(), move |sizes| {
        respond(&answering, call, sizes);
    });
}

/// The partitions with a replica on this node.
fn here(service: &Service, image: &Image) -> BTreeSet<PartitionId> {
    let all = image.topics().iter().flat_map(|topic| topic.ids());
    all.filter(|(_, partition)| partition.replicas.contains(&service.me)).map(|(id, _)| id).collect()
}

fn respond(service: &Service, call: Call, sizes: Vec<(PartitionId, Result<u64, Refusal>)>) {
    let image = service.image();
    let mut by_topic: BTreeMap<TopicId, Vec<Partition>> = BTreeMap::new();
    // A replica that does not answer is being opened or closed: it has no place here now.
    for (id, size) in sizes.into_iter().filter_map(|(id, size)| Some((id, size.ok()?))) {
        by_topic.entry(id.topic).or_default().push(Partition {
            partition_index: id.index,
            partition_size: bytes(size),
            // Every log here is in use: none is being copied to another directory.
            offset_lag: 0,
            is_future_key: false,
        });
    }
    let topics = by_topic.into_iter().filter_map(|(id, partitions)| {
        let name = image.topics().get(id)?.name.to_string();
        Some(Topic { name: name.into(), partitions: partitions.into() })
    });
    let (free, total) = service
        .directory
        .space()
        .map_or((UNKNOWN_BYTES, UNKNOWN_BYTES), |(free, total)| (bytes(free), bytes(total)));
    let is_well = service.directory.health() == DirectoryHealth::Well;
    let result = DescribeLogDirsResult {
        error_code: if is_well { NONE } else { number(ErrorCode::KafkaStorageError) },
        log_dir: service.directory.path().to_string_lossy().into_owned().into(),
        topics: if is_well { topics.collect() } else { Default::default() },
        total_bytes: total,
        usable_bytes: free,
        is_cordoned: false,
    };
    call.answer(&DescribeLogDirsResponse { results: vec![result].into(), ..Default::default() });
}

fn bytes(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
