//! Elections that a client asks for: they give what the controller would by itself, now.

use super::{Standing, election, standing, unclean};
use crate::cluster::message::ElectionKind;
use crate::error::{ErrorCode, Refusal};
use crate::ids::PartitionId;
use crate::image::{Choice, Election, Image};

/// The election asked for, or why there is none.
pub(in crate::cluster) fn asked(
    image: &Image,
    id: PartitionId,
    kind: ElectionKind,
) -> Result<Election, Refusal> {
    let refuse = |code, text: String| Err(Refusal::new(code, text));
    let known = image.topics().get(id.topic).and_then(|topic| Some((topic, topic.partition(id.index)?)));
    let Some((topic, partition)) = known else {
        return refuse(ErrorCode::UnknownTopicOrPartition, format!("there is no partition {}", id.index));
    };
    let leader = partition.leader.map(|leader| leader.node);
    let preferred = partition.replicas.first().copied();
    let is_needed = match kind {
        ElectionKind::Preferred => leader != preferred,
        ElectionKind::Unclean => leader.is_none(),
    };
    if !is_needed {
        let text = format!("{}-{} is led as it should be", topic.name, id.index);
        return refuse(ErrorCode::ElectionNotNeeded, text);
    }
    if kind == ElectionKind::Unclean {
        let Some(leader) = unclean(image.nodes(), topic, partition) else {
            let text = format!(
                "{}-{}: no replica is there that may lead; one that may lack records may only with \
                 unclean.leader.election.enable=true",
                topic.name, id.index
            );
            return refuse(ErrorCode::EligibleLeadersNotAvailable, text);
        };
        return Ok(election(id, partition, Choice::Alone { leader, unclean: true }));
    }
    let is_ready = |member| standing(image.nodes(), partition, member) == Standing::Ready;
    match preferred.filter(|node| partition.member(*node).is_some_and(is_ready)) {
        Some(leader) => {
            let in_sync = partition.in_sync.iter().map(|member| member.node).collect();
            Ok(election(id, partition, Choice::Lead { leader, in_sync }))
        }
        None => {
            let text = format!(
                "{}-{}: its preferred leader is away, or lacks records and catches up",
                topic.name, id.index
            );
            refuse(ErrorCode::PreferredLeaderNotAvailable, text)
        }
    }
}
