//! OffsetForLeaderEpoch: where a leader epoch ends, so that a consumer finds out whether what it has read is still so
//! (KIP-320).

use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::ids::LeaderEpoch;
use millstream_actors::partition::front::EpochEnds;
use millstream_actors::partition::message::{EpochEnd, EpochPart};
use millstream_transport::kafka::messages::offset_for_leader_epoch::OffsetForLeaderEpochRequest;
use millstream_transport::kafka::messages::offset_for_leader_epoch::response::{
    OffsetForLeaderEpochResponse, Partition, Topic,
};

use super::super::call::Call;
use super::super::error::{NONE, of_records};
use super::super::service::{Service, partition, topic};

/// A topic of the request, with the places of its parts, or what is wrong with them.
struct Asked {
    name: String,
    partitions: Vec<(i32, Result<usize, ErrorCode>)>,
}

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<OffsetForLeaderEpochRequest<'_>>(&body) else { return };
    let image = service.image();
    let mut parts = Vec::new();
    let asked = request.topics.iter().map(|wanted| {
        let found = topic(&image, &wanted.topic, uuid::Uuid::nil());
        let allowed = call.rights().demand(Operation::Describe, ResourceType::Topic, &wanted.topic);
        let partitions = wanted.partitions.iter().map(|asked| {
            let place =
                allowed.clone().and_then(|()| partition(found, false, asked.partition)).map(|partition| {
                    let current = Some(asked.current_leader_epoch).filter(|epoch| *epoch >= 0);
                    let epoch = LeaderEpoch(asked.leader_epoch);
                    parts.push(EpochPart { partition, leader_epoch: current.map(LeaderEpoch), epoch });
                    parts.len() - 1
                });
            (asked.partition, place.map_err(|refusal| refusal.code))
        });
        Asked { partitions: partitions.collect(), name: wanted.topic.to_string() }
    });
    let asked: Vec<Asked> = asked.collect();
    service.partitions.epoch_ends(parts, move |ends| respond(call, &asked, &ends));
}

fn respond(call: Call, asked: &[Asked], ends: &EpochEnds) {
    let topics = asked.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|(index, place)| match place {
            Ok(place) => told(*index, ends.get(*place).map(|(_, end)| end)),
            Err(code) => failed(*index, *code),
        });
        Topic { partitions: partitions.collect(), topic: topic.name.as_str().into() }
    });
    call.answer(&OffsetForLeaderEpochResponse { topics: topics.collect(), ..Default::default() });
}

fn told(index: i32, found: Option<&Result<Option<EpochEnd>, Refusal>>) -> Partition {
    match found {
        Some(Ok(Some(found))) => Partition {
            error_code: NONE,
            partition: index,
            leader_epoch: found.epoch.0,
            end_offset: found.end.0,
        },
        Some(Ok(None)) => failed(index, None),
        Some(Err(refusal)) => failed(index, refusal.code),
        None => failed(index, ErrorCode::UnknownServerError),
    }
}

fn failed(index: i32, code: impl Into<Option<ErrorCode>>) -> Partition {
    let error_code = code.into().map_or(NONE, of_records);
    Partition { error_code, partition: index, ..Default::default() }
}
