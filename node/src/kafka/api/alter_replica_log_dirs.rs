//! AlterReplicaLogDirs: moves replicas between the log directories of a node, of which there is one here.

use std::path::Path;
use std::sync::Arc;

use millstream_actors::access::Operation;
use millstream_actors::image::Image;
use millstream_transport::kafka::ErrorCode;
use millstream_transport::kafka::messages::alter_replica_log_dirs::AlterReplicaLogDirsRequest;
use millstream_transport::kafka::messages::alter_replica_log_dirs::response::{
    AlterReplicaLogDirTopicResult, AlterReplicaLogDirsResponse, Partition,
};

use super::super::call::Call;
use super::super::service::{Service, topic};

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<AlterReplicaLogDirsRequest<'_>>(&body) else { return };
    let image = service.image();
    let may = call.rights().may_with_cluster(Operation::Alter);
    let mut results = Vec::new();
    for dir in &request.dirs {
        let is_ours = Path::new(&*dir.path) == service.directory.path();
        for wanted in &dir.topics {
            let partitions = wanted.partitions.iter().map(|index| {
                let error = if !may {
                    ErrorCode::ClusterAuthorizationFailed
                } else if is_ours {
                    at_home(service, &image, &wanted.name, index)
                } else {
                    ErrorCode::LogDirNotFound
                };
                Partition { partition_index: index, error_code: error.code() }
            });
            let partitions = partitions.collect();
            results.push(AlterReplicaLogDirTopicResult {
                topic_name: wanted.name.to_string().into(),
                partitions,
            });
        }
    }
    call.answer(&AlterReplicaLogDirsResponse { results: results.into(), ..Default::default() });
}

/// A replica that is here is where it is wanted.
fn at_home(service: &Service, image: &Image, name: &str, index: i32) -> ErrorCode {
    let found = topic(image, name, uuid::Uuid::nil()).and_then(|topic| topic.partition(index));
    match found {
        None => ErrorCode::UnknownTopicOrPartition,
        Some(partition) if partition.replicas.contains(&service.me) => ErrorCode::None,
        Some(_) => ErrorCode::ReplicaNotAvailable,
    }
}
