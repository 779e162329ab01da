//! Who leads: a pure function of the image.
//!
//! It looks at one partition and says whether it stands as it is, or what to elect. Level-triggered: it is asked again
//! for every new image, so that an election refused because something changed in between is simply made anew. It keeps
//! true, with what [`Image::apply`] refuses:
//! - a replica leads only in an epoch that began in its present life (rule 1);
//! - the leader comes from the in-sync set, unless the topic asks for an unclean election;
//! - a member that is dead, leaves, doubts its log or lost its disk goes out of the set only while another that is
//!   beyond doubt stays in it (rules 4 and 5);
//! - where none is beyond doubt, all members are waited for, within a bound, and the greatest (epoch, end) leads.

mod asked;
mod decided;

use std::collections::BTreeSet;
use std::sync::Arc;

pub(super) use asked::{asked, is_needed};
pub(super) use decided::decided;

use crate::ids::{LeaderEpoch, Member, NodeId, Offset, PartitionId};
use crate::image::{
    Choice, Doubt, DoubtCause, Election, Image, NodeState, Nodes, Partition, RegisteredNode, Topic,
};
use crate::topic_config::FlushPolicy;

/// What is to be done for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: it is led as it should be, or nobody can lead it.
    Stands,
    /// This.
    Elect(Choice),
    /// Members that may hold more than those here are waited for.
    Waits,
}

/// What an image asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Elections, by partition.
    pub elections: Vec<Election>,
    /// Partitions whose members are waited for.
    pub waiting: BTreeSet<PartitionId>,
}

/// What a member of an in-sync set is good for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// May lead.
    Ready,
    /// Beyond doubt, but its node is shutting down.
    Leaving,
    /// Beyond doubt, its node has registered and is about to be live.
    Starting,
    /// Its node is not there.
    Dead,
    /// Its node is there, its log may lack something.
    InDoubt(Doubt),
    /// Its node is there, its log is known to lack something: all, on another disk.
    Lost(Doubt),
    /// Its node is there, its disk does not work.
    Broken,
}

/// What `image` asks for. Looks only at topics that changed `since` an image already looked at, unless nodes changed;
/// for partitions in `waited_out`, who is missing is waited for no longer.
#[must_use]
pub fn due(image: &Image, since: Option<&Image>, waited_out: &BTreeSet<PartitionId>) -> Due {
    let nodes = image.nodes();
    let since = since.filter(|since| Arc::ptr_eq(since.nodes(), nodes) && waited_out.is_empty());
    let seen = |topic: &Arc<Topic>| {
        since.and_then(|since| since.topics().get(topic.id)).is_some_and(|seen| Arc::ptr_eq(seen, topic))
    };
    let mut due = Due::default();
    for topic in image.topics().iter().filter(|topic| !seen(topic)) {
        for (id, partition) in topic.ids() {
            match verdict(nodes, topic, partition, waited_out.contains(&id)) {
                Verdict::Stands => {}
                Verdict::Elect(choice) => due.elections.push(election(id, partition, choice)),
                Verdict::Waits => {
                    due.waiting.insert(id);
                }
            }
        }
    }
    due
}

/// What is to be done for one partition.
#[must_use]
pub fn verdict(nodes: &Nodes, topic: &Topic, partition: &Partition, waited_out: bool) -> Verdict {
    let standings: Vec<(Member, Standing)> =
        partition.in_sync.iter().map(|member| (*member, standing(nodes, partition, *member))).collect();
    let is = |node: NodeId, wanted: Standing| standings.iter().any(|(m, s)| m.node == node && *s == wanted);
    let mut ready = partition.replicas.iter().copied().filter(|node| is(*node, Standing::Ready));
    let hosts = |node: &NodeId| nodes.may_host(*node, &topic.name);
    let first_host = ready.clone().find(|node| hosts(node));
    if let Some(first) = first_host.or_else(|| ready.next()) {
        // One without the code of its entities leads only while nobody else can.
        let is_passed_over = |leader: NodeId| first_host.is_some() && !hosts(&leader);
        let gives_way = partition.leader.is_some_and(|leader| is_passed_over(leader.node));
        return led_by_ready(partition, &standings, first, gives_way);
    }
    let leads = |wanted: Standing| partition.leader.is_some_and(|l| standings.contains(&(l, wanted)));
    if leads(Standing::Leaving) {
        return Verdict::Stands;
    }
    if standings.iter().any(|(_, standing)| *standing == Standing::Starting) {
        return Verdict::Waits;
    }
    let away = standings.iter().any(|(_, standing)| *standing == Standing::Dead);
    let greatest = greatest(nodes, topic, partition, &standings);
    let chosen = match greatest {
        Some(_) if away && !waited_out => None,
        greatest => greatest.map(|leader| Choice::Alone { leader, unclean: false }),
    };
    // After a recovery of the quorum all members are in doubt until their nodes have come and told: the first to come is
    // not to lead with what it happens to have, whatever the topic would put up with.
    let untold = partition.in_sync.iter().any(|member| is_untold(partition, *member)) && !waited_out;
    let unclean = || {
        let leader = unclean(nodes, topic, partition)?;
        Some(Choice::Alone { leader, unclean: true })
    };
    match chosen.or_else(|| if untold { None } else { unclean() }) {
        Some(choice) => Verdict::Elect(choice),
        None if partition.leader.is_some() => Verdict::Elect(Choice::Nobody),
        None if greatest.is_some() || (untold && topic.config.unclean_leader_election) => Verdict::Waits,
        None => Verdict::Stands,
    }
}

fn is_untold(partition: &Partition, member: Member) -> bool {
    partition.doubt(member.node).is_some_and(|doubt| !doubt.is_told())
}

/// Some member is ready: all that are not ready or about to be leave the set; the leader stays if it is ready, unless it
/// gives way to the first.
fn led_by_ready(
    partition: &Partition,
    standings: &[(Member, Standing)],
    first: NodeId,
    gives_way: bool,
) -> Verdict {
    let stays = |standing: Standing| matches!(standing, Standing::Ready | Standing::Starting);
    let in_sync: Vec<NodeId> =
        standings.iter().filter(|(_, standing)| stays(*standing)).map(|(member, _)| member.node).collect();
    let is_ready = partition.leader.is_some_and(|leader| standings.contains(&(leader, Standing::Ready)));
    let stands = is_ready && !gives_way;
    match stands {
        true if in_sync.len() == partition.in_sync.len() => Verdict::Stands,
        true => Verdict::Elect(Choice::Keep { in_sync }),
        false => Verdict::Elect(Choice::Lead { leader: first, in_sync }),
    }
}

fn standing(nodes: &Nodes, partition: &Partition, member: Member) -> Standing {
    let Some(known) = nodes.get(member.node).filter(|known| known.state != NodeState::Fenced) else {
        return Standing::Dead;
    };
    let has_disk = known.directories.contains(&member.directory);
    let clean = partition.doubt(member.node).is_none() && has_disk;
    if clean && known.incarnation != member.incarnation {
        return Standing::Dead;
    }
    match known.state {
        NodeState::Live if clean => Standing::Ready,
        NodeState::Starting if clean => Standing::Starting,
        NodeState::Leaving if clean => Standing::Leaving,
        NodeState::Live => doubtful(partition.doubt(member.node), has_disk),
        NodeState::Starting | NodeState::Leaving | NodeState::Fenced => Standing::Dead,
    }
}

fn doubtful(doubt: Option<Doubt>, has_disk: bool) -> Standing {
    let empty = Doubt { cause: DoubtCause::EndsEarly, last_epoch: LeaderEpoch(-1), end: Offset::ZERO };
    match doubt {
        Some(doubt) if doubt.cause == DoubtCause::DirectoryFailed => Standing::Broken,
        _ if !has_disk => Standing::Lost(empty),
        // It is there, and about to say how far its log reaches.
        Some(doubt) if !doubt.is_told() => Standing::Dead,
        Some(doubt) if doubt.cause == DoubtCause::EndsEarly => Standing::Lost(doubt),
        Some(doubt) => Standing::InDoubt(doubt),
        None => Standing::Lost(empty),
    }
}

/// The member whose log reaches furthest, of those in doubt. Where every one is known to have lost something, only a
/// topic that leaves its records to the page cache is led by the greatest; any other is the operator's to decide.
fn greatest(
    nodes: &Nodes,
    topic: &Topic,
    partition: &Partition,
    standings: &[(Member, Standing)],
) -> Option<Member> {
    let any_whole = standings.iter().any(|(_, standing)| matches!(standing, Standing::InDoubt(_)));
    if !any_whole && topic.config.flush_policy == FlushPolicy::Sync {
        return None;
    }
    // Of two that reach equally far, the one whose disk is the one it was.
    let reach = |(member, standing): &(Member, Standing)| match standing {
        Standing::InDoubt(doubt) => Some(((doubt.last_epoch, doubt.end, true), *member)),
        Standing::Lost(doubt) => Some(((doubt.last_epoch, doubt.end, false), *member)),
        _ => None,
    };
    let reaches: Vec<_> = standings.iter().filter_map(reach).collect();
    let most = reaches.iter().map(|(reach, _)| *reach).max()?;
    let equals = |node: &NodeId| {
        let furthest = reaches.iter().find(|(reach, member)| *reach == most && member.node == *node);
        furthest.map(|(_, member)| *member)
    };
    let member = partition.replicas.iter().find_map(equals)?;
    present(nodes, member.node, Some(member))
}

/// Any live replica with a working disk, members of the set first: for topics that prefer to go on with what is left.
fn unclean(nodes: &Nodes, topic: &Topic, partition: &Partition) -> Option<Member> {
    if !topic.config.unclean_leader_election {
        return None;
    }
    let works = |node: &NodeId| partition.doubt(*node).is_none_or(|d| d.cause != DoubtCause::DirectoryFailed);
    let (members, others): (Vec<NodeId>, Vec<NodeId>) =
        partition.replicas.iter().copied().filter(works).partition(|node| partition.member(*node).is_some());
    members.into_iter().chain(others).find_map(|node| present(nodes, node, partition.member(node)))
}

/// The node as a member in its present life: on the disk it was on, where it still has it.
fn present(nodes: &Nodes, node: NodeId, was: Option<Member>) -> Option<Member> {
    let known: &RegisteredNode = nodes.get(node).filter(|known| known.state == NodeState::Live)?;
    let kept = was.map(|member| member.directory).filter(|directory| known.directories.contains(directory));
    let directory = kept.or_else(|| known.directories.first().copied())?;
    Some(Member { node, directory, incarnation: known.incarnation })
}

/// Whether the replica on this node is in sync and may lead now.
pub(super) fn is_ready(image: &Image, partition: &Partition, node: NodeId) -> bool {
    let member = partition.member(node);
    member.is_some_and(|member| standing(image.nodes(), partition, member) == Standing::Ready)
}

/// Takes the leadership from `from`, which led in `epoch`: to another ready member, or, with `again`, to the same one in
/// a new epoch where there is no other. `None` where it leads no more or that cannot be.
#[must_use]
pub fn moved(
    image: &Image,
    id: PartitionId,
    from: NodeId,
    epoch: LeaderEpoch,
    again: bool,
) -> Option<Election> {
    let partition = image.partition(id).filter(|partition| partition.leader_epoch == epoch)?;
    partition.leader.filter(|leader| leader.node == from)?;
    let ready = |node: NodeId| is_ready(image, partition, node);
    let other = partition.replicas.iter().copied().find(|node| *node != from && ready(*node));
    let leader = other.or_else(|| (again && ready(from)).then_some(from))?;
    let in_sync = partition.in_sync.iter().map(|member| member.node).collect();
    Some(election(id, partition, Choice::Lead { leader, in_sync }))
}

/// Gives partitions back to their preferred leaders, as far as `settled` says that the node has been up long enough; at
/// most `limit`, so that clients find their new leaders a few at a time.
#[must_use]
pub fn rebalance(image: &Image, settled: impl Fn(NodeId) -> bool, limit: usize) -> Vec<Election> {
    let nodes = image.nodes();
    let preferred = |partition: &Partition| {
        let first = *partition.replicas.first()?;
        let leader = partition.leader.filter(|leader| leader.node != first)?;
        let ready = |member: Member| standing(nodes, partition, member) == Standing::Ready;
        let all_ready = partition.in_sync.iter().all(|member| ready(*member));
        (all_ready && partition.in_sync.contains(&leader) && partition.member(first).is_some())
            .then_some(first)
    };
    let give_back = |(topic, id, partition): (&Arc<Topic>, PartitionId, &Arc<Partition>)| {
        let may_host = |node: &NodeId| nodes.may_host(*node, &topic.name);
        let leader = preferred(partition).filter(|node| settled(*node)).filter(may_host)?;
        let in_sync = partition.in_sync.iter().map(|member| member.node).collect();
        Some(election(id, partition, Choice::Lead { leader, in_sync }))
    };
    let topics = image.topics().iter();
    let all = topics.flat_map(|topic| topic.ids().map(move |(id, partition)| (topic, id, partition)));
    all.filter_map(give_back).take(limit).collect()
}

fn election(partition: PartitionId, state: &Partition, choice: Choice) -> Election {
    Election { partition, epoch: state.leader_epoch, set_version: state.set_version, choice }
}

#[cfg(test)]
mod tests;
