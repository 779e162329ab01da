//! DeleteRecords: forgets what lies before an offset, of partitions led here.

use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::error::ErrorCode;
use millstream_actors::ids::Offset;
use millstream_actors::partition::message::{DeleteRecords, DeleteRecordsAnswer};
use millstream_transport::kafka::messages::delete_records::DeleteRecordsRequest;
use millstream_transport::kafka::messages::delete_records::response::{
    DeleteRecordsResponse, Partition, Topic,
};

use super::super::call::Call;
use super::super::error::{NONE, of_records};
use super::super::service::{Service, partition, topic};

/// The offset that stands for the high watermark.
const HIGH_WATERMARK: i64 = -1;

/// The low watermark where there is none to tell.
const NO_OFFSET: i64 = -1;

/// A topic of the request, with the places of its parts, or what is wrong with them.
struct Asked {
    name: String,
    partitions: Vec<(i32, Result<usize, ErrorCode>)>,
}

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<DeleteRecordsRequest<'_>>(&body) else { return };
    let image = service.image();
    let mut parts = Vec::new();
    let asked = request.topics.iter().map(|wanted| {
        let found = topic(&image, &wanted.name, uuid::Uuid::nil());
        let allowed = call.rights().demand(Operation::Delete, ResourceType::Topic, &wanted.name);
        let partitions = wanted.partitions.iter().map(|asked| {
            let index = asked.partition_index;
            let before = Some(Offset(asked.offset)).filter(|offset| offset.0 != HIGH_WATERMARK);
            let place = allowed.clone().and_then(|()| partition(found, false, index)).map(|partition| {
                parts.push((partition, before));
                parts.len() - 1
            });
            (index, place.map_err(|refusal| refusal.code))
        });
        Asked { partitions: partitions.collect(), name: wanted.name.to_string() }
    });
    let asked: Vec<Asked> = asked.collect();
    let timeout_ms = u32::try_from(request.timeout_ms).unwrap_or(0);
    let delete = DeleteRecords { timeout_ms, parts };
    service.partitions.delete_records(delete, move |answer| respond(call, &asked, &answer));
}

fn respond(call: Call, asked: &[Asked], answer: &DeleteRecordsAnswer) {
    let told = |index: i32, place: Result<usize, ErrorCode>| {
        let (low_watermark, error_code) = match place.map(|place| answer.parts.get(place)) {
            Ok(Some((_, Ok(low)))) => (low.0, NONE),
            Ok(Some((_, Err(refusal)))) => (NO_OFFSET, of_records(refusal.code)),
            Ok(None) => (NO_OFFSET, of_records(ErrorCode::UnknownServerError)),
            Err(code) => (NO_OFFSET, of_records(code)),
        };
        Partition { partition_index: index, low_watermark, error_code }
    };
    let topics = asked.iter().map(|topic| Topic {
        name: topic.name.as_str().into(),
        partitions: topic.partitions.iter().map(|(index, place)| told(*index, *place)).collect(),
    });
    call.answer(&DeleteRecordsResponse { topics: topics.collect(), ..Default::default() });
}
