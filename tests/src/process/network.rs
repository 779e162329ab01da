//! A network of its own for every node, that can be cut between any two of them, one way or both.
//!
//! A bridge in a namespace joins the nodes and the machine itself. Who is to reach nobody is given wrong hardware
//! addresses: what it sends is lost without a word, as behind a broken switch; what it hears is not touched. That needs
//! no module of the kernel beside bridge and veth.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

use millstream::Random;

use super::namespace::{Holder, Kind, NotAllowed, run};
use crate::Outcome;

/// The machine on which the tests run; nodes are numbered from 1.
pub const OUTSIDE: u32 = 0;

/// No interface has it.
const NOBODY: &str = "02:00:00:00:0f:ff";

/// The networks of nodes 1 to n. They are gone when this is dropped, or the test ends however it does.
#[derive(Debug)]
pub struct Network {
    /// The third part of all addresses: 198.18.0.0/15 is set aside for tests of networks.
    part: u8,
    interface: String,
    nodes: BTreeMap<u32, Holder>,
    _switch: Holder,
}

impl Network {
    /// Makes them, where the machine allows it.
    pub fn new(nodes: u32) -> Result<Self, NotAllowed> {
        let bridge = "ip link set lo up; ip link add name br0 type bridge; ip link set br0 up";
        let switch = Holder::new(Kind::Network, bridge, &[])?;
        let random = Random::real();
        let part = u8::try_from(random.range(0, 255)).unwrap_or(0);
        let interface = format!("mst{:x}", random.range(0x1000, 0x10000));
        let mut holders = BTreeMap::new();
        for id in 1..=nodes {
            holders.insert(id, Holder::new(Kind::Network, "ip link set lo up", &[])?);
        }
        let network = Self { part, interface, nodes: holders, _switch: switch };
        network.join(&network._switch).map_err(|error| NotAllowed(error.to_string()))?;
        Ok(network)
    }

    fn join(&self, switch: &Holder) -> Outcome {
        let port = switch.pid();
        // Made from the switch, so that each end is born where it belongs.
        for (id, holder) in &self.nodes {
            let node = holder.pid();
            let mac = mac(*id);
            switch.run(&format!("ip link add p{id} type veth peer name eth0 address {mac} netns {node}"))?;
            switch.run(&format!("ip link set p{id} master br0 up"))?;
            holder.run(&format!("ip addr add {}/24 dev eth0", self.ip(*id)))?;
            holder.run("ip link set eth0 up")?;
        }
        let (interface, mac) = (&self.interface, mac(OUTSIDE));
        let ip = &mut Command::new("ip");
        run(ip, &format!("link add {interface} address {mac} type veth peer name p0 netns {port}"))?;
        switch.run("ip link set p0 master br0 up")?;
        run(&mut Command::new("ip"), &format!("addr add {}/24 dev {interface}", self.ip(OUTSIDE)))?;
        run(&mut Command::new("ip"), &format!("link set {interface} up"))?;
        self.heal()
    }

    /// Where a node, or the machine itself, is reached.
    pub(super) fn ip(&self, id: u32) -> IpAddr {
        let last = u8::try_from(id.saturating_add(1)).unwrap_or(u8::MAX);
        IpAddr::V4(Ipv4Addr::new(198, 18, self.part, last))
    }

    pub(super) fn prefix(&self, id: u32) -> Vec<OsString> {
        self.nodes.get(&id).map(Holder::prefix).unwrap_or_default()
    }

    fn all(&self) -> impl Iterator<Item = u32> + '_ {
        std::iter::once(OUTSIDE).chain(self.nodes.keys().copied())
    }

    /// What `id` sends reaches nobody any more; it still hears all.
    pub fn mute(&self, id: u32) -> Outcome {
        self.all().filter(|other| *other != id).try_for_each(|other| self.point(id, other, NOBODY))
    }

    /// What the others send does not reach `id` any more; they still hear it.
    pub fn deafen(&self, id: u32) -> Outcome {
        self.all().filter(|other| *other != id).try_for_each(|other| self.point(other, id, NOBODY))
    }

    /// Cuts `id` off, both ways.
    pub fn cut_off(&self, id: u32) -> Outcome {
        self.mute(id)?;
        self.deafen(id)
    }

    /// All hear all.
    pub fn heal(&self) -> Outcome {
        for from in self.all() {
            for to in self.all().filter(|to| *to != from) {
                self.point(from, to, &mac(to))?;
            }
        }
        Ok(())
    }

    /// From now on `from` sends what is for `to` to this hardware address.
    fn point(&self, from: u32, to: u32, mac: &str) -> Outcome {
        let to = self.ip(to);
        match self.nodes.get(&from) {
            Some(holder) => holder.run(&format!("ip neigh replace {to} lladdr {mac} nud permanent dev eth0")),
            None => {
                let interface = &self.interface;
                let words = format!("neigh replace {to} lladdr {mac} nud permanent dev {interface}");
                run(&mut Command::new("ip"), &words)
            }
        }
    }
}

fn mac(id: u32) -> String {
    format!("02:00:00:00:00:{:02x}", id.saturating_add(1))
}
