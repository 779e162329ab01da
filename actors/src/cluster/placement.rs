//! Where replicas lie: spread over the nodes, and so are the preferred leaders.
//!
//! Within one topic every node gets as many new replicas as any other, and leads as many, to within one; ties go to the
//! node with less in the whole cluster. Replicas of one node's partitions lie on as many other nodes as possible, so that
//! its death is shared. Where every node says in which rack it stands, the replicas of a partition lie in as many racks as
//! possible before anything else (KIP-36).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::error::{ErrorCode, Refusal};
use crate::ids::NodeId;
use crate::image::{Image, Partition, Topic};

/// How much a node carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Load {
    replicas: usize,
    leaders: usize,
}

/// Replicas for `count` new partitions of the topic of this name with `factor` replicas each, the preferred leader first;
/// the topic if they are added to one. Replicas of a type of entities lie on nodes that host the type only.
pub fn place(
    image: &Image,
    (name, topic): (&str, Option<&Topic>),
    count: usize,
    factor: usize,
) -> Result<Vec<Vec<NodeId>>, Refusal> {
    let may_host = |node: &NodeId| image.nodes().may_host(*node, name);
    let live: Vec<NodeId> = image.nodes().live().map(|(node, _)| node).filter(may_host).collect();
    if factor == 0 || factor > live.len() {
        return Err(too_few(factor, &live));
    }
    let mut spread = Spread::new(&live, image, topic);
    let sets: Vec<Vec<NodeId>> = (0..count).map(|turn| spread.next_set(turn, factor)).collect();
    let leaders = spread.leaders(&sets);
    Ok(sets.into_iter().zip(leaders).map(|(set, leader)| spread.ordered(set, leader)).collect())
}

/// Replicas for partitions of `topic` that have these and are to have `factor`: those they have and some more of `nodes`,
/// the preferred leader first.
pub(super) fn raised(
    image: &Image,
    topic: &Topic,
    nodes: &[NodeId],
    present: &[&[NodeId]],
    factor: usize,
) -> Vec<Vec<NodeId>> {
    let mut spread = Spread::new(nodes, image, Some(topic));
    let sets: Vec<Vec<NodeId>> =
        present.iter().enumerate().map(|(turn, set)| spread.grown(set.to_vec(), turn, factor)).collect();
    for leader in present.iter().filter_map(|set| set.first()) {
        spread.leads_less(*leader);
    }
    let leaders = spread.leaders(&sets);
    sets.into_iter().zip(leaders).map(|(set, leader)| spread.ordered(set, leader)).collect()
}

fn too_few(factor: usize, live: &[NodeId]) -> Refusal {
    let names: Vec<String> = live.iter().map(ToString::to_string).collect();
    let text = match (factor, live.len()) {
        (0, _) => "a partition needs at least 1 replica".to_owned(),
        (_, 0) => format!("{factor} replicas need {factor} live nodes, none is live yet; try again"),
        (_, live) => format!(
            "{factor} replicas need {factor} live nodes, there are {live} ({}); start more or ask for at most {live}",
            names.join(", ")
        ),
    };
    Refusal::new(ErrorCode::InvalidReplicationFactor, text)
}

/// Who gives a leadership, who gets it, and the set by which each node between them was reached.
type Chain = (NodeId, NodeId, BTreeMap<NodeId, usize>);

/// The loads while a topic is being placed.
#[derive(Debug)]
struct Spread {
    nodes: Vec<NodeId>,
    /// Of this topic.
    here: BTreeMap<NodeId, Load>,
    /// Of the whole cluster.
    everywhere: BTreeMap<NodeId, Load>,
    /// How often two nodes hold the same partition of this topic.
    together: BTreeMap<(NodeId, NodeId), usize>,
    /// How often the second node is the next in line to lead after the first.
    follows: BTreeMap<(NodeId, NodeId), usize>,
    /// Where each node stands; empty unless all say so.
    racks: BTreeMap<NodeId, String>,
}

impl Spread {
    fn new(nodes: &[NodeId], image: &Image, topic: Option<&Topic>) -> Self {
        let all = image.topics().iter().flat_map(|topic| topic.partitions.iter());
        let own = topic.into_iter().flat_map(|topic| topic.partitions.iter());
        Self {
            nodes: nodes.to_vec(),
            here: loads(own.map(AsRef::as_ref)),
            everywhere: loads(all.map(AsRef::as_ref)),
            together: BTreeMap::new(),
            follows: BTreeMap::new(),
            racks: racks(nodes, image).unwrap_or_default(),
        }
    }

    /// Always the least loaded of the topic: so no two nodes come to differ by more than one.
    fn next_set(&mut self, turn: usize, factor: usize) -> Vec<NodeId> {
        self.grown(Vec::with_capacity(factor), turn, factor)
    }

    /// A set with so many more nodes that it has `factor`.
    fn grown(&mut self, mut set: Vec<NodeId>, turn: usize, factor: usize) -> Vec<NodeId> {
        let kept = set.len();
        while set.len() < factor {
            let cost = |(place, node): (usize, NodeId)| {
                let met: usize =
                    set.iter().map(|other| self.together.get(&(node, *other)).copied().unwrap_or(0)).sum();
                let rotated = (place + self.nodes.len() - turn % self.nodes.len()) % self.nodes.len();
                let local = self.here.get(&node).map_or(0, |load| load.replicas);
                let global = self.everywhere.get(&node).map_or(0, |load| load.replicas);
                (self.in_rack_of(node, &set), local, met, global, rotated, node)
            };
            let free = self.nodes.iter().copied().enumerate().filter(|(_, node)| !set.contains(node));
            let Some((.., node)) = free.map(cost).min() else { break };
            set.push(node);
        }
        for (place, node) in set.iter().enumerate().skip(kept) {
            self.here.entry(*node).or_default().replicas += 1;
            self.everywhere.entry(*node).or_default().replicas += 1;
            for other in set.iter().take(place) {
                *self.together.entry((*node, *other)).or_default() += 1;
                *self.together.entry((*other, *node)).or_default() += 1;
            }
        }
        set
    }

    /// How many of a set stand in the rack of a node.
    fn in_rack_of(&self, node: NodeId, set: &[NodeId]) -> usize {
        let Some(rack) = self.racks.get(&node) else { return 0 };
        set.iter().filter(|other| self.racks.get(other) == Some(rack)).count()
    }

    /// A leadership of a node is given out anew.
    fn leads_less(&mut self, leader: NodeId) {
        for loads in [&mut self.here, &mut self.everywhere] {
            loads.entry(leader).and_modify(|load| load.leaders = load.leaders.saturating_sub(1));
        }
    }

    /// A leader for each set: the one that leads least; then leaderships are shifted until no two nodes differ by more
    /// than one, where the sets allow that.
    fn leaders(&mut self, sets: &[Vec<NodeId>]) -> Vec<NodeId> {
        let mut leaders = Vec::with_capacity(sets.len());
        for set in sets {
            let cost = |node: &NodeId| {
                let local = self.here.get(node).copied().unwrap_or_default();
                let global = self.everywhere.get(node).copied().unwrap_or_default();
                (local.leaders, global.leaders, *node)
            };
            let Some(leader) = set.iter().copied().min_by_key(cost) else { continue };
            self.here.entry(leader).or_default().leaders += 1;
            self.everywhere.entry(leader).or_default().leaders += 1;
            leaders.push(leader);
        }
        while self.shift(sets, &mut leaders) {}
        leaders
    }

    /// Takes one leadership from a node, along a chain of sets, to one with at least two fewer.
    fn shift(&mut self, sets: &[Vec<NodeId>], leaders: &mut [NodeId]) -> bool {
        let Some((most, least, came_by)) =
            self.nodes.iter().find_map(|node| self.chain(*node, sets, leaders))
        else {
            return false;
        };
        let mut to = least;
        while let Some(leader) = came_by.get(&to).and_then(|at| leaders.get_mut(*at)) {
            let from = std::mem::replace(leader, to);
            if from == most {
                break;
            }
            to = from;
        }
        for loads in [&mut self.here, &mut self.everywhere] {
            loads.entry(most).and_modify(|load| load.leaders = load.leaders.saturating_sub(1));
            loads.entry(least).or_default().leaders += 1;
        }
        true
    }

    /// From `most` by sets it leads to other members of them, and on from there, to one that leads at least two fewer;
    /// with the set by which each node was reached. Breadth first: the shortest chain.
    fn chain(&self, most: NodeId, sets: &[Vec<NodeId>], leaders: &[NodeId]) -> Option<Chain> {
        let lead = |node: &NodeId| self.here.get(node).map_or(0, |load| load.leaders);
        let fewest = self.nodes.iter().map(lead).min()?;
        if lead(&most) < fewest + 2 {
            return None;
        }
        let mut came_by: BTreeMap<NodeId, usize> = BTreeMap::new();
        let mut seen = BTreeSet::from([most]);
        let mut open = VecDeque::from([most]);
        while let Some(node) = open.pop_front() {
            for (at, set) in sets.iter().enumerate().filter(|(at, _)| leaders.get(*at) == Some(&node)) {
                for other in set.iter().copied().filter(|other| seen.insert(*other)) {
                    came_by.insert(other, at);
                    if lead(&other) + 2 <= lead(&most) {
                        return Some((most, other, came_by));
                    }
                    open.push_back(other);
                }
            }
        }
        None
    }

    /// The set with its leader first, and then who has been next in line behind this leader least often.
    fn ordered(&mut self, mut set: Vec<NodeId>, leader: NodeId) -> Vec<NodeId> {
        let behind = |node: &NodeId| self.follows.get(&(leader, *node)).copied().unwrap_or(0);
        set.sort_by_key(|node| (*node != leader, behind(node), *node));
        if let [leader, next, ..] = set.as_slice() {
            *self.follows.entry((*leader, *next)).or_default() += 1;
        }
        set
    }
}

/// The racks of these nodes, if all of them say where they stand.
fn racks(nodes: &[NodeId], image: &Image) -> Option<BTreeMap<NodeId, String>> {
    let rack = |node: &NodeId| Some((*node, image.nodes().get(*node)?.rack.clone()?));
    nodes.iter().map(rack).collect()
}

fn loads<'a>(partitions: impl Iterator<Item = &'a Partition>) -> BTreeMap<NodeId, Load> {
    let mut loads: BTreeMap<NodeId, Load> = BTreeMap::new();
    for partition in partitions {
        for node in &partition.replicas {
            loads.entry(*node).or_default().replicas += 1;
        }
        if let Some(first) = partition.replicas.first() {
            loads.entry(*first).or_default().leaders += 1;
        }
    }
    loads
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::Incarnation;
    use crate::image::fixture::{create, done, live_nodes, registration, unfence};
    use crate::image::{Command, HostedType, Registration};

    fn lists(placed: &[Vec<NodeId>]) -> Vec<Vec<u32>> {
        placed.iter().map(|replicas| replicas.iter().map(|node| node.0).collect()).collect()
    }

    fn spread(counts: impl Iterator<Item = usize> + Clone) -> usize {
        counts.clone().max().unwrap_or(0) - counts.min().unwrap_or(0)
    }

    #[test]
    fn three_nodes_share_six_partitions() {
        let image = live_nodes(&[1, 2, 3]);
        let placed = lists(&place(&image, ("flights", None), 6, 3).unwrap());
        assert_eq!(
            placed,
            [[1, 2, 3], [2, 1, 3], [3, 1, 2], [1, 3, 2], [2, 3, 1], [3, 2, 1]],
            "each leads two, and each of the others follows it once"
        );
    }

    #[test]
    fn topics_of_one_partition_go_round() {
        let mut image = live_nodes(&[1, 2, 3]);
        let mut leaders = Vec::new();
        for number in 0..6u128 {
            let placed = lists(&place(&image, ("flights", None), 1, 2).unwrap());
            leaders.push(placed[0][0]);
            let replicas: Vec<&[u32]> = placed.iter().map(Vec::as_slice).collect();
            done(&mut image, create(number, &replicas));
        }
        for node in 1..4 {
            assert_eq!(leaders.iter().filter(|leader| **leader == node).count(), 2, "{leaders:?}");
        }
    }

    fn in_racks(racks: &[&str]) -> Image {
        let numbers: Vec<u32> = (1..).take(racks.len()).collect();
        let mut image = live_nodes(&numbers);
        for (number, rack) in numbers.iter().zip(racks) {
            let (node, incarnation) = (NodeId(*number), Incarnation(1));
            let rack = Some((*rack).to_owned()).filter(|rack| !rack.is_empty());
            done(&mut image, Command::SetRack { node, incarnation, rack });
        }
        image
    }

    #[test]
    fn replicas_lie_in_as_many_racks_as_possible_where_all_nodes_say_where_they_stand() {
        let racks = ["a", "a", "a", "b", "b", "b"];
        let placed = place(&in_racks(&racks), ("flights", None), 12, 2).unwrap();
        let rack = |node: &NodeId| racks[usize::try_from(node.0 - 1).unwrap()];
        assert!(placed.iter().all(|set| rack(&set[0]) != rack(&set[1])), "{placed:?}");
        let placed = place(&in_racks(&racks), ("flights", None), 12, 3).unwrap();
        let in_both = |set: &Vec<NodeId>| set.iter().map(rack).collect::<BTreeSet<_>>().len() == 2;
        assert!(placed.iter().all(in_both), "{placed:?}");
        let one_is_silent = ["a", "a", "b", ""];
        let placed = place(&in_racks(&one_is_silent), ("flights", None), 6, 2).unwrap();
        assert!(placed.iter().any(|set| set.iter().all(|node| node.0 < 3)), "{placed:?}");
    }

    #[test]
    fn replicas_of_a_type_of_entities_lie_on_its_hosts_only() {
        let mut image = Image::default();
        for node in 1..=3 {
            let registration = Registration { feature_level: 3, ..registration(node, 1) };
            done(&mut image, Command::RegisterNode(registration));
            done(&mut image, unfence(node, 1));
        }
        done(&mut image, Command::SetFeatureLevel { level: 3 });
        for node in [1, 3] {
            let types = vec![HostedType { kind: "account".to_owned(), first: 1, last: 1 }];
            let (node, incarnation) = (NodeId(node), Incarnation(1));
            done(&mut image, Command::HostEntities { node, incarnation, types });
        }
        let placed = place(&image, ("__entity_account", None), 6, 2).unwrap();
        assert!(placed.iter().flatten().all(|node| *node != NodeId(2)), "{placed:?}");
        assert!(place(&image, ("__entity_account", None), 6, 3).is_err());
        assert!(place(&image, ("__entity_other", None), 1, 1).is_err());
    }

    #[test]
    fn more_replicas_than_live_nodes_are_refused_with_what_to_do() {
        let refusal = place(&live_nodes(&[1, 4]), ("flights", None), 1, 3).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::InvalidReplicationFactor);
        assert!(refusal.text.contains("there are 2 (1, 4)"), "{}", refusal.text);
        assert!(place(&live_nodes(&[1]), ("flights", None), 1, 0).is_err());
        assert!(place(&live_nodes(&[]), ("flights", None), 1, 1).is_err());
    }

    proptest! {
        #[test]
        fn replicas_and_leaders_differ_by_one_at_most(
            nodes in 1u32..9,
            count in 1usize..40,
            factor in 1usize..5,
        ) {
            prop_assume!(factor <= usize::try_from(nodes).unwrap());
            let ids: Vec<u32> = (1..=nodes).collect();
            let placed = place(&live_nodes(&ids), ("flights", None), count, factor).unwrap();
            prop_assert_eq!(placed.len(), count);
            for replicas in &placed {
                prop_assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), factor);
            }
            let replicas = ids.iter().map(|node| placed.iter().flatten().filter(|r| r.0 == *node).count());
            prop_assert!(spread(replicas) <= 1);
            let leaders = ids.iter().map(|node| placed.iter().filter(|r| r[0].0 == *node).count());
            prop_assert!(spread(leaders) <= 1);
        }

        #[test]
        fn partitions_added_to_a_topic_even_it_out(start in 1usize..7, added in 1usize..20) {
            let mut image = live_nodes(&[1, 2]);
            let replicas: Vec<&[u32]> = (0..start).map(|_| [1u32].as_slice()).collect();
            done(&mut image, create(1, &replicas));
            let topic = image.topics().named("topic-1").unwrap();
            let placed = place(&image, ("flights", Some(topic)), added, 1).unwrap();
            let two = placed.iter().filter(|replicas| replicas[0].0 == 2).count();
            prop_assert!(two >= added.min(start));
            prop_assert!(two <= (start + added).div_ceil(2));
        }
    }
}
