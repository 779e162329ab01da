//! OffsetDelete: forgets what a group has committed for topics that it does not read any more.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::group::message::OffsetDelete;
use millstream_actors::ids::PartitionId;
use millstream_transport::kafka::messages::offset_delete::OffsetDeleteRequest;
use millstream_transport::kafka::messages::offset_delete::response::{
    OffsetDeleteResponse, Partition, Topic,
};

use super::super::call::Call;
use super::super::error::{NONE, number, of_groups};
use super::super::service::{Service, partition, topic};

/// A topic of the request, with its partitions, or what is wrong with them.
struct Asked {
    name: String,
    partitions: Vec<(i32, Result<PartitionId, ErrorCode>)>,
}

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<OffsetDeleteRequest<'_>>(&body) else { return };
    if let Err(refusal) = call.rights().demand(Operation::Delete, ResourceType::Group, &request.group_id) {
        let error_code = number(refusal.code);
        return call.answer(&OffsetDeleteResponse { error_code, ..Default::default() });
    }
    let image = service.image();
    let asked = request.topics.iter().map(|wanted| {
        let found = topic(&image, &wanted.name, uuid::Uuid::nil());
        let allowed = call.rights().demand(Operation::Read, ResourceType::Topic, &wanted.name);
        let partitions = wanted.partitions.iter().map(|asked| {
            let index = asked.partition_index;
            let found = allowed.clone().and_then(|()| partition(found, false, index));
            (index, found.map_err(|refusal| refusal.code))
        });
        Asked { partitions: partitions.collect(), name: wanted.name.to_string() }
    });
    let asked: Vec<Asked> = asked.collect();
    let known = asked.iter().flat_map(|topic| &topic.partitions).filter_map(|(_, id)| id.ok());
    let delete = OffsetDelete { group: request.group_id.to_string(), partitions: known.collect() };
    let deleting = service.groups.handle(&call.peer.to_string(), delete);
    actix_rt::spawn(async move {
        match deleting.await {
            Ok(results) => respond(call, asked, results.into_iter().collect()),
            Err(refusal) => {
                let error_code = of_groups(refusal.code);
                call.answer(&OffsetDeleteResponse { error_code, ..Default::default() });
            }
        }
    });
}

fn respond(call: Call, asked: Vec<Asked>, deleted: BTreeMap<PartitionId, Result<(), Refusal>>) {
    let code = |id: Result<PartitionId, ErrorCode>| match id.map(|id| deleted.get(&id)) {
        Ok(Some(Ok(()))) => NONE,
        Ok(Some(Err(refusal))) => of_groups(refusal.code),
        Ok(None) => of_groups(ErrorCode::UnknownServerError),
        Err(code) => of_groups(code),
    };
    let topics = asked.into_iter().map(|topic| Topic {
        partitions: topic
            .partitions
            .iter()
            .map(|(index, id)| Partition { partition_index: *index, error_code: code(*id) })
            .collect(),
        name: topic.name.into(),
    });
    call.answer(&OffsetDeleteResponse { topics: topics.collect(), ..Default::default() });
}
