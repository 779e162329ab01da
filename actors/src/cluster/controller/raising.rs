//! When topics of the system get more replicas: once a node has newly joined and settled, or has been away for long.
//!
//! Not whenever they have fewer than there could be: an operator who takes replicas away, or gives a raise up, means it. A
//! controller that begins looks once at all; the image knows what an operator chose, and since when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::reassignment;
use crate::ids::{Incarnation, NodeId, TopicId};
use crate::image::{Alteration, Image, type_of_topic};

/// Replicas of topics of the system, as far as there are nodes.
const INTERNAL_FACTOR: usize = 3;

/// How long a node is away before its replicas of topics of the system are given to others: longer than a restart of a
/// machine or an upgrade takes.
const GONE_AFTER: Duration = Duration::from_mins(10);

/// The nodes that a look at the topics rested on: lives that had settled, and nodes that were gone; and which of the former
/// could have replicas of which topics of entities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Looked {
    settled: BTreeSet<(NodeId, Incarnation)>,
    gone: BTreeSet<NodeId>,
    hosts: BTreeSet<(TopicId, NodeId)>,
}

/// What a controller remembers of its raises.
#[derive(Debug, Default)]
pub(super) struct Raising {
    /// Since when each registered node has been away, as seen here.
    away_since: BTreeMap<NodeId, Instant>,
    /// The last look at which there was nothing to raise.
    looked: Option<Looked>,
}

impl Raising {
    /// Notes who is away.
    pub(super) fn note(&mut self, now: Instant, image: &Image) {
        let nodes = image.nodes();
        let live: BTreeSet<NodeId> = nodes.live().map(|(node, _)| node).collect();
        self.away_since.retain(|node, _| nodes.get(*node).is_some() && !live.contains(node));
        for (node, _) in nodes.iter().filter(|(node, _)| !live.contains(node)) {
            self.away_since.entry(node).or_insert(now);
        }
    }

    /// The raises that are due now that these lives have settled. What does not come to be is due again at the next call.
    pub(super) fn due(
        &mut self,
        now: Instant,
        image: &Image,
        settled: BTreeSet<(NodeId, Incarnation)>,
    ) -> Vec<Alteration> {
        let gone =
            self.away_since.iter().filter(|(_, since)| now.saturating_duration_since(**since) >= GONE_AFTER);
        let gone: BTreeSet<NodeId> = gone.map(|(node, _)| *node).collect();
        let hosts = hosts(image, &settled);
        let present = Looked { settled, gone, hosts };
        let is_news = self.looked.as_ref().is_none_or(|before| {
            !present.settled.is_subset(&before.settled)
                || !present.gone.is_subset(&before.gone)
                || !present.hosts.is_subset(&before.hosts)
        });
        let raises = if is_news { raises(image, &present) } else { Vec::new() };
        if raises.is_empty() {
            self.looked = Some(present);
        }
        raises
    }
}

/// The topic of a type is made when the first of its hosts is there, and a node says what it hosts some time after it came.
fn hosts(image: &Image, settled: &BTreeSet<(NodeId, Incarnation)>) -> BTreeSet<(TopicId, NodeId)> {
    let topics = image.topics().iter().filter(|topic| type_of_topic(&topic.name).is_some());
    topics
        .flat_map(|topic| {
            let may_host = |node: &NodeId| image.nodes().may_host(*node, &topic.name);
            settled.iter().map(|(node, _)| *node).filter(may_host).map(|node| (topic.id, node))
        })
        .collect()
}

fn raises(image: &Image, present: &Looked) -> Vec<Alteration> {
    let is_settled = |node: NodeId| present.settled.iter().any(|(settled, _)| *settled == node);
    let is_gone = |node: NodeId| present.gone.contains(&node) || image.nodes().get(node).is_none();
    reassignment::raises(image, INTERNAL_FACTOR, is_settled, is_gone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::fixture::{done, fence, live_nodes, registration, topic, unfence};
    use crate::image::{Command, Features, HostedType, ReassignmentStep, Registration};

    fn join(image: &mut Image, node: u32, life: u64) {
        done(image, Command::RegisterNode(registration(node, life)));
        done(image, unfence(node, life));
    }

    /// Makes a topic of the system with one replica.
    fn of_the_system() -> Command {
        let (config, replicas) = (BTreeMap::new(), vec![vec![NodeId(1)]]);
        let name = "__consumer_offsets".to_owned();
        Command::CreateTopic { id: topic(1), name, config, internal: true, replicas }
    }

    /// One node with a topic of the system; then two more.
    fn three() -> Image {
        let mut image = live_nodes(&[1]);
        done(&mut image, of_the_system());
        join(&mut image, 2, 1);
        join(&mut image, 3, 1);
        image
    }

    fn settled(lives: &[(u32, u64)]) -> BTreeSet<(NodeId, Incarnation)> {
        lives.iter().map(|(node, life)| (NodeId(*node), Incarnation(*life))).collect()
    }

    #[test]
    fn what_an_operator_took_away_comes_again_only_when_a_node_has_newly_settled() {
        let (now, image, mut raising) = (Instant::now(), three(), Raising::default());
        raising.note(now, &image);
        assert_eq!(raising.due(now, &image, settled(&[(1, 1)])), []);
        let all = [(1, 1), (2, 1), (3, 1)];
        assert_eq!(raising.due(now, &image, settled(&all)).len(), 1);
        assert_eq!(raising.due(now, &image, settled(&all)).len(), 1, "it did not come to be");
        let mut raised = image.clone();
        let alterations = raising.due(now, &image, settled(&all));
        done(&mut raised, Command::AlterReassignments { alterations });
        assert_eq!(raising.due(now, &raised, settled(&all)), []);
        assert_eq!(raising.due(now, &image, settled(&all)), [], "an operator gave it up");
        assert_eq!(raising.due(now, &image, settled(&[(1, 1), (2, 1)])), []);
        assert_eq!(raising.due(now, &image, settled(&[(1, 1), (2, 1), (3, 2)])).len(), 1);
    }

    #[test]
    fn replicas_of_a_node_that_is_away_for_long_are_given_to_another() {
        let (now, mut image, mut raising) = (Instant::now(), three(), Raising::default());
        raising.note(now, &image);
        let alterations = raising.due(now, &image, settled(&[(1, 1), (2, 1)]));
        done(&mut image, Command::AlterReassignments { alterations });
        done(&mut image, fence(2, 1));
        raising.note(now, &image);
        let there = settled(&[(1, 1)]);
        assert_eq!(raising.due(now + GONE_AFTER / 2, &image, there), []);
        let alterations = raising.due(now + GONE_AFTER, &image, settled(&[(1, 1), (3, 1)]));
        done(&mut image, Command::AlterReassignments { alterations });
        let target = image.topics().get(topic(1)).unwrap().partitions[0].settled_replicas().to_vec();
        assert_eq!(target.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([NodeId(1), NodeId(3)]));
    }

    #[test]
    fn a_raise_whose_node_is_gone_ends_where_there_is_no_other() {
        let (now, mut image, mut raising) = (Instant::now(), three(), Raising::default());
        raising.note(now, &image);
        let alterations = raising.due(now, &image, settled(&[(1, 1), (2, 1)]));
        done(&mut image, Command::AlterReassignments { alterations });
        done(&mut image, fence(2, 1));
        raising.note(now, &image);
        let alterations = raising.due(now + GONE_AFTER, &image, settled(&[(1, 1)]));
        done(&mut image, Command::AlterReassignments { alterations });
        let target = image.topics().get(topic(1)).unwrap().partitions[0].settled_replicas().to_vec();
        assert_eq!(target, [NodeId(1)]);
    }

    /// The topic's replicas when nothing of it is under way any more.
    fn replicas(image: &Image) -> Vec<NodeId> {
        image.topics().get(topic(1)).unwrap().partitions[0].settled_replicas().to_vec()
    }

    fn by_hand(image: &mut Image, step: ReassignmentStep) {
        let partition = crate::image::fixture::partition(1, 0);
        let now = image.partition(partition).unwrap().clone();
        let (epoch, set_version) = (now.leader_epoch, now.set_version);
        let alterations = vec![Alteration { partition, epoch, set_version, step }];
        done(image, Command::AlterReassignments { alterations });
    }

    /// A node registers in this life.
    fn lives(image: &mut Image, node: u32, life: u64) {
        let feature_level = Features::CHOSEN_REPLICAS;
        done(image, Command::RegisterNode(Registration { feature_level, ..registration(node, life) }));
        done(image, unfence(node, life));
    }

    fn joins(image: &mut Image, node: u32) {
        lives(image, node, 1);
    }

    /// A topic of the system that is on the first of three nodes.
    fn three_after_the_topic() -> Image {
        let mut image = Image::default();
        joins(&mut image, 1);
        done(&mut image, of_the_system());
        joins(&mut image, 2);
        joins(&mut image, 3);
        done(&mut image, Command::SetFeatureLevel { level: Features::CHOSEN_REPLICAS });
        image
    }

    #[test]
    fn a_topic_of_entities_that_was_made_for_its_first_host_gets_replicas_on_the_next_and_on_no_other_node() {
        let (now, mut image, mut raising) = (Instant::now(), Image::default(), Raising::default());
        for node in [1, 2, 3] {
            let feature_level = Features::HIGHEST;
            done(&mut image, Command::RegisterNode(Registration { feature_level, ..registration(node, 1) }));
            done(&mut image, unfence(node, 1));
        }
        done(&mut image, Command::SetFeatureLevel { level: Features::HIGHEST });
        let hosts = |image: &mut Image, node| {
            let types = vec![HostedType { kind: "account".to_owned(), first: 1, last: 1 }];
            done(image, Command::HostEntities { node: NodeId(node), incarnation: Incarnation(1), types });
        };
        hosts(&mut image, 1);
        let (config, replicas) = (BTreeMap::new(), vec![vec![NodeId(1)]]);
        let name = "__entity_account".to_owned();
        done(&mut image, Command::CreateTopic { id: topic(1), name, config, internal: true, replicas });
        let all = [(1, 1), (2, 1), (3, 1)];
        assert_eq!(raising.due(now, &image, settled(&all)), [], "nobody else hosts it");
        hosts(&mut image, 2);
        let alterations = raising.due(now, &image, settled(&all));
        done(&mut image, Command::AlterReassignments { alterations });
        assert_eq!(replicas_of_first(&image), BTreeSet::from([NodeId(1), NodeId(2)]));
        assert_eq!(raising.due(now, &image, settled(&all)), [], "it has all that it can");
    }

    fn replicas_of_first(image: &Image) -> BTreeSet<NodeId> {
        replicas(image).into_iter().collect()
    }

    #[test]
    fn one_that_was_forgotten_and_comes_back_joins() {
        let (now, mut image) = (Instant::now(), three_after_the_topic());
        by_hand(&mut image, ReassignmentStep::Begin { target: vec![NodeId(1)] });
        let all = [(1, 1), (2, 1), (3, 1)];
        assert_eq!(Raising::default().due(now, &image, settled(&all)), [], "it is to have one");
        done(&mut image, fence(3, 1));
        done(&mut image, Command::ForgetNode { node: NodeId(3) });
        assert_eq!(Raising::default().due(now, &image, settled(&all)), []);
        lives(&mut image, 3, 2);
        assert_ne!(Raising::default().due(now, &image, settled(&[(1, 1), (2, 1), (3, 2)])), []);
    }

    #[test]
    fn what_an_operator_chose_outlives_the_controller_and_its_image_until_a_node_joins() {
        let (now, mut image) = (Instant::now(), three_after_the_topic());
        let all = [(1, 1), (2, 1), (3, 1)];
        let alterations = Raising::default().due(now, &image, settled(&all));
        done(&mut image, Command::AlterReassignments { alterations });
        assert_eq!(replicas(&image).len(), 3);
        assert_eq!(Raising::default().due(now, &image, settled(&all)), []);
        by_hand(&mut image, ReassignmentStep::Cancel { leader: None });
        assert_eq!(Raising::default().due(now, &image, settled(&all)), [], "a raise that was given up");
        let mut read_back = Image::decode(&image.encode()).unwrap();
        assert_eq!(read_back, image);
        assert_eq!(Raising::default().due(now, &read_back, settled(&all)), []);
        by_hand(&mut read_back, ReassignmentStep::Begin { target: vec![NodeId(1), NodeId(2)] });
        assert_eq!(Raising::default().due(now, &read_back, settled(&all)), [], "two of three");
        lives(&mut read_back, 3, 2);
        let again = [(1, 1), (2, 1), (3, 2)];
        assert_eq!(Raising::default().due(now, &read_back, settled(&again)), [], "one that was there before");
        joins(&mut read_back, 4);
        assert_eq!(Raising::default().due(now, &read_back, settled(&again)), [], "it has not settled");
        let with_it = settled(&[(1, 1), (2, 1), (3, 2), (4, 1)]);
        let alterations = Raising::default().due(now, &read_back, with_it);
        done(&mut read_back, Command::AlterReassignments { alterations });
        assert_eq!(replicas(&read_back).len(), 3);
    }
}
