//! WriteTxnMarkers: ends transactions in partitions led here. Tools ask it to get rid of a transaction that no
//! coordinator knows (KIP-664).

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_actors::access::Operation;
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::ids::{PartitionId, ProducerId};
use millstream_actors::image::Image;
use millstream_actors::record::EndMarker;
use millstream_actors::transaction::state::BUMPS_WITH_EVERY_END;
use millstream_transport::kafka::messages::write_txn_markers::WriteTxnMarkersRequest;
use millstream_transport::kafka::messages::write_txn_markers::response::{
    Marker, Partition, Topic, WriteTxnMarkersResponse,
};
use tokio::sync::oneshot;

use super::super::call::Call;
use super::super::error::{NONE, number};
use super::super::service::Service;

/// A marker of the request and where it goes.
struct Asked {
    marker: EndMarker,
    bumps: bool,
    topics: Vec<(String, Vec<i32>)>,
}

type Written = BTreeMap<PartitionId, Result<(), Refusal>>;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<WriteTxnMarkersRequest<'_>>(&body) else { return };
    let asked = request.markers.iter().map(|marker| Asked {
        marker: EndMarker {
            producer_id: ProducerId(marker.producer_id),
            producer_epoch: marker.producer_epoch,
            coordinator_epoch: marker.coordinator_epoch,
            commits: marker.transaction_result,
        },
        bumps: i16::from(marker.transaction_version) >= BUMPS_WITH_EVERY_END,
        topics: marker
            .topics
            .iter()
            .map(|topic| (topic.name.into_owned(), topic.partition_indexes.iter().collect()))
            .collect(),
    });
    let asked: Vec<Asked> = asked.collect();
    let rights = call.rights();
    // Brokers by the first, tools by the second.
    let may = rights.may_with_cluster(Operation::Alter) || rights.may_with_cluster(Operation::ClusterAction);
    if !may {
        let markers = asked.into_iter().map(denied);
        return call.answer(&WriteTxnMarkersResponse { markers: markers.collect() });
    }
    let service = Arc::clone(service);
    actix_rt::spawn(async move {
        let image = service.image();
        let mut markers = Vec::with_capacity(asked.len());
        for asked in asked {
            let written = write(&service, &image, &asked).await;
            markers.push(told(&image, asked, &written));
        }
        call.answer(&WriteTxnMarkersResponse { markers: markers.into() });
    });
}

fn denied(asked: Asked) -> Marker<'static> {
    let error_code = number(ErrorCode::ClusterAuthorizationFailed);
    let topics = asked.topics.into_iter().map(|(name, indexes)| Topic {
        partitions: indexes
            .into_iter()
            .map(|partition_index| Partition { partition_index, error_code })
            .collect(),
        name: name.into(),
    });
    Marker { producer_id: asked.marker.producer_id.0, topics: topics.collect() }
}

fn id(image: &Image, name: &str, index: i32) -> Option<PartitionId> {
    let topic = image.topics().named(name)?;
    topic.partition(index).map(|_| PartitionId { topic: topic.id, index })
}

async fn write(service: &Service, image: &Image, asked: &Asked) -> Written {
    let each =
        asked.topics.iter().flat_map(|(name, indexes)| indexes.iter().map(move |index| (name, *index)));
    let partitions: Vec<_> = each.filter_map(|(name, index)| id(image, name, index)).collect();
    let (tell, written) = oneshot::channel();
    service.marks.write_once(asked.marker, asked.bumps, &partitions, move |each| {
        // Who does not wait any more needs no answer.
        let _ = tell.send(each);
    });
    written.await.unwrap_or_default().into_iter().collect()
}

fn told(image: &Image, asked: Asked, written: &Written) -> Marker<'static> {
    let code = |name: &str, index: i32| match id(image, name, index).map(|id| written.get(&id)) {
        None => number(ErrorCode::UnknownTopicOrPartition),
        Some(Some(Ok(()))) => NONE,
        Some(Some(Err(refusal))) => number(refusal.code),
        Some(None) => number(ErrorCode::NotLeaderOrFollower),
    };
    let topics = asked.topics.into_iter().map(|(name, indexes)| Topic {
        partitions: indexes
            .into_iter()
            .map(|index| Partition { partition_index: index, error_code: code(&name, index) })
            .collect(),
        name: name.into(),
    });
    Marker { producer_id: asked.marker.producer_id.0, topics: topics.collect() }
}
