//! Who is there: heartbeats, leases, deaths. Pure: time is an argument.
//!
//! Every node sends every voter a heartbeat, so that a voter that becomes the controller starts from what it has heard
//! itself. A node is dead when nothing was heard for longer than the longest lease granted plus a margin for clocks that
//! drift, counted from the controller's hearing; the node counts its lease from its sending, which was earlier.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::ids::{Incarnation, NodeId};
use crate::image::{Image, NodeState, Nodes};

/// How fast a death is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between two heartbeats of a node.
    pub heartbeat: Duration,
    /// How long a node may rely on what the controller told it last.
    pub lease: Duration,
    /// Silence after which a node is dead. Greater than the lease by the drift margin.
    pub dead_after: Duration,
    /// Between two looks at the clock.
    pub tick: Duration,
    /// How long members that may hold more are waited for, where no member of a partition is beyond doubt.
    pub doubt_wait: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            lease: Duration::from_millis(300),
            dead_after: Duration::from_millis(400),
            tick: Duration::from_millis(50),
            doubt_wait: Duration::from_secs(30),
        }
    }
}

impl Timing {
    /// The longest lease that is over, on a clock slower by one part in twenty, when its node is declared dead.
    #[must_use]
    pub fn granted(&self, quorum_lease_left: Duration) -> Duration {
        let safe = self.dead_after.saturating_sub(self.dead_after / 20);
        self.lease.min(safe).min(quorum_lease_left)
    }
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    incarnation: Incarnation,
    /// When this life was heard first: the one before was over by then.
    first_at: Instant,
    at: Instant,
    image_version: u64,
}

/// What this node has heard of all nodes.
#[derive(Debug)]
pub struct Liveness {
    timing: Timing,
    /// Silence is counted from here at the earliest: since we listen, or since we woke up.
    listening_since: Instant,
    last_tick: Instant,
    heard: BTreeMap<NodeId, Heard>,
    /// Fenced nodes, and the image in which this was seen first: it has what they lost.
    fenced: BTreeMap<NodeId, (Incarnation, u64)>,
}

impl Liveness {
    /// Begins to listen.
    #[must_use]
    pub fn new(timing: Timing, now: Instant) -> Self {
        Self { timing, listening_since: now, last_tick: now, heard: BTreeMap::new(), fenced: BTreeMap::new() }
    }

    /// A node was heard: by a heartbeat, or its registration (which shows no image).
    pub fn heard(&mut self, now: Instant, node: NodeId, incarnation: Incarnation, image_version: u64) {
        let known = self.heard.get(&node);
        if known.is_some_and(|known| known.incarnation > incarnation) {
            return;
        }
        let same = known.filter(|known| known.incarnation == incarnation);
        let first_at = same.map_or(now, |known| known.first_at);
        self.heard.insert(node, Heard { incarnation, first_at, at: now, image_version });
    }

    /// Looks at the clock. One who was stopped for a while has heard nobody meanwhile: the heartbeats that wait for it
    /// are to be read before anyone is declared dead.
    pub fn tick(&mut self, now: Instant) {
        let stopped = now.saturating_duration_since(self.last_tick);
        if stopped > self.timing.tick.saturating_add(self.timing.heartbeat) {
            self.listening_since = now;
        }
        self.last_tick = now;
    }

    /// Looks at an image. A node that was fenced may rely on nothing before it knows what it has lost by that.
    pub fn see(&mut self, image: &Image) {
        let nodes = image.nodes();
        let is_fenced = |node: NodeId, incarnation: Incarnation| {
            let known = nodes.get(node).filter(|known| known.incarnation == incarnation);
            known.is_some_and(|known| known.state == NodeState::Fenced)
        };
        self.fenced.retain(|node, (incarnation, _)| is_fenced(*node, *incarnation));
        for (node, known) in nodes.iter().filter(|(_, known)| known.state == NodeState::Fenced) {
            self.fenced.entry(node).or_insert((known.incarnation, image.version()));
        }
    }

    /// Nodes that count on being heard and have not been for too long, with how long.
    #[must_use]
    pub fn silent(&self, now: Instant, nodes: &Nodes) -> Vec<(NodeId, Incarnation, Duration)> {
        let silence = |node: NodeId, incarnation: Incarnation| {
            let since = match self.heard.get(&node) {
                Some(heard) if heard.incarnation == incarnation => heard.at,
                // It has restarted and is about to register; until it does, its old life still counts as silent.
                Some(heard) if heard.incarnation > incarnation => heard.first_at,
                _ => self.listening_since,
            };
            now.saturating_duration_since(since.max(self.listening_since))
        };
        nodes
            .iter()
            .filter(|(_, known)| known.state != NodeState::Fenced)
            .map(|(node, known)| (node, known.incarnation, silence(node, known.incarnation)))
            .filter(|(_, _, silence)| *silence >= self.timing.dead_after)
            .collect()
    }

    /// Nodes that are to be live: heard lately, and their heartbeat shows the image with their registration, and with their
    /// fence where there was one.
    #[must_use]
    pub fn ready(&self, now: Instant, nodes: &Nodes) -> Vec<(NodeId, Incarnation)> {
        let waits = |state: NodeState| matches!(state, NodeState::Starting | NodeState::Fenced);
        let lately = |heard: &&Heard| now.saturating_duration_since(heard.at) < self.timing.lease;
        nodes
            .iter()
            .filter(|(_, known)| waits(known.state))
            .filter(|(node, known)| {
                let heard = self.heard.get(node).filter(lately);
                let fenced = self.fenced.get(node).map_or(0, |(_, version)| *version);
                let needed = known.registered_version.max(fenced);
                heard.is_some_and(|heard| {
                    heard.incarnation == known.incarnation && heard.image_version >= needed
                })
            })
            .map(|(node, known)| (node, known.incarnation))
            .collect()
    }

    /// For how long a lease may be granted.
    #[must_use]
    pub fn grant(&self, quorum_lease_left: Duration) -> Duration {
        self.timing.granted(quorum_lease_left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Command;
    use crate::image::fixture::{done, fence, live_nodes, registration};

    /// No node.
    const NONE: [u32; 0] = [];

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn silent(liveness: &Liveness, now: Instant, image: &Image) -> Vec<u32> {
        liveness.silent(now, image.nodes()).into_iter().map(|(node, ..)| node.0).collect()
    }

    /// Ticks on time up to `to`.
    fn run(liveness: &mut Liveness, from: Instant, to: Duration) -> Instant {
        let mut now = from;
        while now < from + to {
            now += ms(50);
            liveness.tick(now);
        }
        now
    }

    #[test]
    fn a_node_is_dead_400_ms_after_it_was_heard_last() {
        let image = live_nodes(&[1, 2]);
        let start = Instant::now();
        let mut liveness = Liveness::new(Timing::default(), start);
        let now = run(&mut liveness, start, ms(350));
        liveness.heard(now, NodeId(1), Incarnation(1), 9);
        liveness.tick(now + ms(50));
        assert_eq!(silent(&liveness, now + ms(50), &image), [2]);
        assert_eq!(silent(&liveness, now + ms(399), &image), [2]);
        assert_eq!(silent(&liveness, now + ms(400), &image), [1, 2]);
    }

    #[test]
    fn an_earlier_life_is_not_this_one() {
        let mut image = live_nodes(&[1]);
        done(&mut image, Command::RegisterNode(registration(1, 2)));
        let start = Instant::now();
        let mut liveness = Liveness::new(Timing::default(), start);
        let now = run(&mut liveness, start, ms(400));
        liveness.heard(now, NodeId(1), Incarnation(1), 99);
        assert_eq!(silent(&liveness, now, &image), [1]);
        assert_eq!(liveness.ready(now, image.nodes()), []);
        liveness.heard(now, NodeId(1), Incarnation(2), 99);
        liveness.heard(now, NodeId(1), Incarnation(1), 99);
        assert_eq!(silent(&liveness, now, &image), NONE);
    }

    #[test]
    fn a_restarted_node_has_time_to_register_but_not_for_ever() {
        let image = live_nodes(&[1]);
        let start = Instant::now();
        let mut liveness = Liveness::new(Timing::default(), start);
        let now = run(&mut liveness, start, ms(350));
        liveness.heard(now, NodeId(1), Incarnation(2), 0);
        let now = run(&mut liveness, now, ms(350));
        liveness.heard(now, NodeId(1), Incarnation(2), 0);
        assert_eq!(silent(&liveness, now, &image), NONE);
        let now = run(&mut liveness, now, ms(50));
        assert_eq!(silent(&liveness, now, &image), [1]);
    }

    #[test]
    fn a_node_is_live_when_it_has_the_image_of_its_registration() {
        let mut image = live_nodes(&[1]);
        done(&mut image, Command::RegisterNode(registration(1, 2)));
        let now = Instant::now();
        let mut liveness = Liveness::new(Timing::default(), now);
        liveness.heard(now, NodeId(1), Incarnation(2), image.version() - 1);
        assert_eq!(liveness.ready(now, image.nodes()), []);
        liveness.heard(now, NodeId(1), Incarnation(2), image.version());
        assert_eq!(liveness.ready(now, image.nodes()), [(NodeId(1), Incarnation(2))]);
        assert_eq!(liveness.ready(now + ms(300), image.nodes()), []);
    }

    #[test]
    fn a_fenced_node_that_is_heard_again_and_knows_of_its_fence_is_live_again() {
        let mut image = live_nodes(&[1]);
        done(&mut image, fence(1, 1));
        let now = Instant::now();
        let mut liveness = Liveness::new(Timing::default(), now);
        liveness.see(&image);
        assert_eq!(silent(&liveness, now + ms(900), &image), NONE);
        liveness.heard(now, NodeId(1), Incarnation(1), image.version() - 1);
        assert_eq!(liveness.ready(now, image.nodes()), [], "it does not know what it has lost");
        done(&mut image, Command::RegisterNode(registration(2, 1)));
        liveness.see(&image);
        liveness.heard(now, NodeId(1), Incarnation(1), image.version() - 1);
        assert_eq!(liveness.ready(now, image.nodes()).len(), 1);
    }

    #[test]
    fn one_who_was_stopped_listens_before_it_declares_anyone_dead() {
        let image = live_nodes(&[1, 2]);
        let start = Instant::now();
        let mut liveness = Liveness::new(Timing::default(), start);
        liveness.heard(start, NodeId(1), Incarnation(1), 9);
        let woken = start + ms(5_000);
        liveness.tick(woken);
        assert_eq!(silent(&liveness, woken, &image), NONE);
        let now = run(&mut liveness, woken, ms(400));
        assert_eq!(silent(&liveness, now, &image), [1, 2]);
    }

    #[test]
    fn a_lease_is_over_before_its_node_is_dead_and_before_the_controllers_own() {
        let timing = Timing::default();
        assert_eq!(timing.granted(ms(1_000)), ms(300));
        assert_eq!(timing.granted(ms(120)), ms(120));
        assert_eq!(timing.granted(Duration::ZERO), Duration::ZERO);
        let careless = Timing { lease: ms(900), ..timing };
        assert!(careless.granted(ms(1_000)) < careless.dead_after);
    }
}
