//! What a node leads, handed over before it stops.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use millstream_transport::world::watch;
use tokio::time::{timeout, timeout_at};

use super::ClusterFront;
use crate::cluster::message::nodes::HandOver;
use crate::cluster::peers::Peers;
use crate::error::Refusal;
use crate::ids::{Incarnation, NodeId, PartitionId};
use crate::image::{Image, NodeState};

/// How long the controller's node stays for nodes that are stopped together with it, which could decide nothing until
/// another controller is elected.
const STAYS_FOR_OTHERS: Duration = Duration::from_millis(100);

/// How long a node whose hand-over is decided waits to see it: a quorum that is stopped meanwhile does not show it.
const SHOWN_WITHIN: Duration = Duration::from_millis(250);

impl<P: Peers> ClusterFront<P> {
    /// Hands this node's leaderships over before it stops: waits until its image shows that it leads only what nobody
    /// else can, and says what that is. Where nobody is left to take anything, or to decide it, there is nothing to wait
    /// for: the last node of a cluster that is stopped leads what it leads.
    pub async fn hand_over(
        &self,
        incarnation: Incarnation,
        within: Duration,
    ) -> Result<Vec<PartitionId>, Refusal> {
        let handed = tokio::select! {
            biased;
            () = self.nobody_left() => Ok(led_by(&self.image(), self.parts().me)),
            handed = self.leave(incarnation, within) => handed,
        };
        let is_controller = *self.parts().leadership.borrow() == Some(self.parts().me);
        if is_controller {
            // Ends earlier when all others are leaving, too.
            let _ = timeout(STAYS_FOR_OTHERS, self.nobody_left()).await;
        }
        handed
    }

    async fn leave(&self, incarnation: Incarnation, within: Duration) -> Result<Vec<PartitionId>, Refusal> {
        let deadline = self.parts().clock.now() + within;
        let node = self.parts().me;
        self.send(HandOver { node, incarnation }, deadline).await.answer?;
        let deadline = deadline.min(self.parts().clock.now() + SHOWN_WITHIN);
        let mut images = self.parts().images.clone();
        loop {
            let image = Arc::clone(&images.borrow_and_update());
            let state = image.nodes().get(node).map(|known| known.state);
            let shown = state == Some(NodeState::Leaving);
            if shown || !matches!(timeout_at(deadline, images.changed()).await, Ok(Ok(()))) {
                return Ok(led_by(&image, node));
            }
        }
    }

    /// Returns once no other node is there, or too many voters are gone for anything to be decided.
    async fn nobody_left(&self) {
        let parts = self.parts();
        let (mut images, mut voters) = (parts.images.clone(), parts.voters.clone());
        let mut departed = parts.peers.departed();
        loop {
            let gone = departed.borrow_and_update().clone();
            let alone = is_alone(&images.borrow_and_update(), parts.me, &gone);
            if alone || !can_decide(&voters.borrow_and_update(), &gone) {
                return;
            }
            tokio::select! {
                biased;
                () = change_of(&mut images) => {}
                () = change_of(&mut departed) => {}
                () = change_of(&mut voters) => {}
            }
        }
    }
}

/// Waits for the next change. What nobody can change any more does not change.
async fn change_of<T>(watched: &mut watch::Receiver<T>) {
    if watched.changed().await.is_err() {
        std::future::pending().await
    }
}

/// Whether no other node is there, or about to be.
fn is_alone(image: &Image, me: NodeId, gone: &BTreeSet<NodeId>) -> bool {
    let there = |state| matches!(state, NodeState::Live | NodeState::Starting);
    !image.nodes().iter().any(|(node, known)| node != me && there(known.state) && !gone.contains(&node))
}

/// Whether a majority of the voters may still be there.
fn can_decide(voters: &[NodeId], gone: &BTreeSet<NodeId>) -> bool {
    let there = voters.iter().filter(|voter| !gone.contains(voter)).count();
    2 * there > voters.len()
}

/// The partitions that a node leads.
fn led_by(image: &Image, node: NodeId) -> Vec<PartitionId> {
    let led = image.topics().iter().flat_map(|topic| topic.ids());
    let led = led.filter(|(_, state)| state.leader.is_some_and(|leader| leader.node == node));
    led.map(|(id, _)| id).collect()
}
