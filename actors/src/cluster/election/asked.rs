//! Elections that a client asks for: they give what the controller would by itself, now, and nothing that it would not.

use super::{Standing, Verdict, election, standing, verdict};
use crate::cluster::message::ElectionKind;
use crate::error::{ErrorCode, Refusal};
use crate::ids::PartitionId;
use crate::image::{Choice, Election, Image, Partition, Topic};

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
    if !is_needed(partition, kind) {
        let text = format!("{}-{} is led as it should be", topic.name, id.index);
        return refuse(ErrorCode::ElectionNotNeeded, text);
    }
    if kind == ElectionKind::Unclean {
        return match verdict(image.nodes(), topic, partition, false) {
            Verdict::Elect(choice) => Ok(election(id, partition, choice)),
            Verdict::Waits => {
                let text = format!("{}-{}: members that may hold more are waited for", topic.name, id.index);
                refuse(ErrorCode::EligibleLeadersNotAvailable, text)
            }
            Verdict::Stands => refuse(ErrorCode::EligibleLeadersNotAvailable, nobody(topic, id)),
        };
    }
    let is_ready = |member| standing(image.nodes(), partition, member) == Standing::Ready;
    let preferred = partition.replicas.first().copied();
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

/// Whether a partition is not led as this kind of election would have it.
pub(in crate::cluster) fn is_needed(partition: &Partition, kind: ElectionKind) -> bool {
    let leader = partition.leader.map(|leader| leader.node);
    match kind {
        ElectionKind::Preferred => leader != partition.replicas.first().copied(),
        ElectionKind::Unclean => leader.is_none(),
    }
}

/// Why a partition without a leader gets none.
fn nobody(topic: &Topic, id: PartitionId) -> String {
    let why = if topic.config.unclean_leader_election {
        "no live node has a replica with a working disk"
    } else {
        "no replica is there that lacks nothing; one that may lack records leads only where the topic has \
         unclean.leader.election.enable=true"
    };
    format!("{}-{}: {why}", topic.name, id.index)
}
