//! What may happen to a simulated cluster: deaths of nodes, and cuts of its network.

use std::net::IpAddr;
use std::time::Duration;

use millstream::Client;
use millstream_actors::ids::NodeId;

use super::{SimulatedCluster, address};

/// What a node is for the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Leads partition 0 of the topic.
    Leader,
    /// Follows in partition 0, and is nothing else.
    Follower,
    /// Leads the quorum.
    Controller,
    /// Coordinates the group.
    Coordinator,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Leader, Self::Follower, Self::Controller, Self::Coordinator];
}

impl SimulatedCluster {
    /// Who has this role now.
    pub async fn in_role(&self, client: &Client, role: Role) -> NodeId {
        match role {
            Role::Leader => self.leader(client, 0).await,
            Role::Follower => self.follower(client, 0).await,
            Role::Controller => self.controller(client).await,
            Role::Coordinator => self.coordinator(client).await,
        }
    }

    /// Ends a node as `kill -9` does: what it wrote stays in the page cache.
    pub fn kill(&mut self, node: NodeId) {
        self.machine(node).disk.kill();
        self.bury(node);
    }

    /// Ends all nodes at once as `kill -9` does.
    pub fn kill_all(&mut self) {
        for node in self.nodes() {
            self.kill(node);
        }
    }

    /// Ends a node as a power cut does: what it had not synced is lost, or torn.
    pub fn cut_power(&mut self, node: NodeId) {
        self.machine(node).disk.cut_power();
        self.bury(node);
    }

    /// Ends all nodes at once as a power cut does.
    pub fn cut_power_of_all(&mut self) {
        for node in self.nodes() {
            self.cut_power(node);
        }
    }

    /// Ends a node whose disk is dead.
    fn bury(&mut self, node: NodeId) {
        self.network.unbind_host(self.machine(node).address);
        if let Some(dead) = self.machine_mut(node).node.take() {
            actix_rt::spawn(dead.abandon());
        }
    }

    /// Starts all nodes that do not run, one right after the other, and waits until they are ready.
    pub async fn restart_all(&mut self) {
        for node in self.nodes() {
            if self.node(node).is_none() {
                self.restart(node).await;
            }
        }
        self.until_ready().await;
    }

    /// The machines of the clients so far.
    #[must_use]
    pub fn client_addresses(&self) -> Vec<IpAddr> {
        (1..=self.clients).map(|client| address(1, client)).collect()
    }

    /// Cuts nodes off from all others, in both directions. Clients reach everybody.
    pub fn cut_off(&self, nodes: &[NodeId]) {
        self.network.partition(&[&self.addresses(nodes), &self.addresses(&self.others(nodes))]);
    }

    /// Cuts nodes and some clients off from all other nodes and clients, in both directions.
    pub fn cut_off_with(&self, nodes: &[NodeId], clients: &[IpAddr]) {
        let mut here = self.addresses(nodes);
        here.extend(clients);
        let mut there = self.addresses(&self.others(nodes));
        there.extend(self.client_addresses().iter().filter(|client| !clients.contains(client)));
        self.network.partition(&[&here, &there]);
    }

    /// Cuts each of these nodes off from everybody: nodes, clients, and one another.
    pub fn cut_off_each(&self, nodes: &[NodeId]) {
        let mut rest = self.addresses(&self.others(nodes));
        rest.extend(self.client_addresses());
        let alone = self.addresses(nodes);
        let mut groups: Vec<&[IpAddr]> = alone.chunks(1).collect();
        groups.push(&rest);
        self.network.partition(&groups);
    }

    /// Nothing that a node says reaches the other nodes any more; clients hear it.
    pub fn mute(&self, node: NodeId) {
        for other in self.others(&[node]) {
            self.network.one_way(self.address(node), self.address(other));
        }
    }

    /// Nothing that the other nodes say reaches a node any more; it hears clients.
    pub fn deafen(&self, node: NodeId) {
        for other in self.others(&[node]) {
            self.network.one_way(self.address(other), self.address(node));
        }
    }

    /// The network loses and delays from now on.
    pub fn worsen_network(&self, loss: f64, longest_delay: Duration) {
        self.network.loss(loss);
        self.network.delay(Duration::from_millis(1)..=longest_delay);
    }

    /// The nodes that are not among these.
    #[must_use]
    pub fn others(&self, nodes: &[NodeId]) -> Vec<NodeId> {
        self.nodes().into_iter().filter(|node| !nodes.contains(node)).collect()
    }

    fn addresses(&self, nodes: &[NodeId]) -> Vec<IpAddr> {
        nodes.iter().map(|node| self.address(*node)).collect()
    }
}
