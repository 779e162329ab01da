//! A network in memory, from a seed: loss, delay, one-way cuts, partitions, hosts that die.
//!
//! It carries the datagrams of the real QUIC implementation. All its decisions come from its own seeded source in the
//! order of the sends, and its timers are tokio's, so under paused time the same program meets the same network
//! every time; [`SimulatedNetwork::trace_hash`] proves it.

mod links;
mod socket;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quinn::AsyncUdpSocket;

use super::{Resolving, Wire};
use links::Links;
pub use links::{Datagram, LinkQuality, NetworkCounts};
use socket::{Inbox, SimulatedSocket};

/// First port given to a socket that asked for none in particular.
const FIRST_FREE_PORT: u16 = 40_000;

/// A network between simulated hosts, each known by its IP address. Clones are handles to the same network.
#[derive(Clone, Debug)]
pub struct SimulatedNetwork(Arc<Mutex<Network>>);

#[derive(Debug)]
struct Network {
    links: Links,
    sockets: BTreeMap<SocketAddr, Arc<Mutex<Inbox>>>,
    names: BTreeMap<String, Vec<IpAddr>>,
    next_port: u16,
}

impl SimulatedNetwork {
    /// A network that loses nothing and delays each datagram by 1 to 3 ms.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Network {
            links: Links::new(seed),
            sockets: BTreeMap::new(),
            names: BTreeMap::new(),
            next_port: FIRST_FREE_PORT,
        })))
    }

    fn network(&self) -> MutexGuard<'_, Network> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The network as the host of this address sees it.
    #[must_use]
    pub fn wire(&self, host: IpAddr) -> Arc<dyn Wire> {
        Arc::new(SimulatedWire { network: self.clone(), host })
    }

    /// Makes a name resolve to these hosts; to none, makes it unknown.
    pub fn name(&self, name: &str, hosts: &[IpAddr]) {
        if hosts.is_empty() {
            self.network().names.remove(name);
        } else {
            self.network().names.insert(name.to_owned(), hosts.to_vec());
        }
    }

    /// Share of datagrams lost on every link without a quality of its own, 0 to 1.
    pub fn loss(&self, loss: f64) {
        self.network().links.default_quality.loss = loss.clamp(0.0, 1.0);
    }

    /// How long a datagram travels on every link without a quality of its own. Timers have a resolution of 1 ms.
    pub fn delay(&self, delay: RangeInclusive<Duration>) {
        self.network().links.default_quality.delay = delay;
    }

    /// Gives one direction of one link a quality of its own, or with `None` takes it away again.
    pub fn link(&self, from: IpAddr, to: IpAddr, quality: Option<LinkQuality>) {
        let links = &mut self.network().links;
        match quality {
            Some(quality) => links.own_quality.insert((from, to), quality),
            None => links.own_quality.remove(&(from, to)),
        };
    }

    /// Cuts one direction: nothing from `from` arrives at `to` any more.
    pub fn one_way(&self, from: IpAddr, to: IpAddr) {
        self.network().links.cuts.insert((from, to));
    }

    /// Cuts hosts of different groups off from each other; a host in no group still reaches everybody.
    /// What is under way arrives.
    pub fn partition(&self, groups: &[&[IpAddr]]) {
        let links = &mut self.network().links;
        for (index, group) in groups.iter().enumerate() {
            for (other_index, other) in groups.iter().enumerate() {
                if index == other_index {
                    continue;
                }
                for from in *group {
                    links.cuts.extend(other.iter().map(|to| (*from, *to)));
                }
            }
        }
    }

    /// Ends all cuts and partitions. Loss and delay stay as they are.
    pub fn heal(&self) {
        self.network().links.cuts.clear();
    }

    /// Takes a socket away from its dead owner: it hears nothing and sends nothing any more, what is under way to it is
    /// lost, and its address is free. Returns whether there was one.
    pub fn unbind(&self, address: SocketAddr) -> bool {
        let inbox = self.network().sockets.remove(&address);
        if let Some(inbox) = &inbox {
            socket::close(inbox);
        }
        inbox.is_some()
    }

    /// Takes all sockets of a host away, as [`SimulatedNetwork::unbind`] does for one; returns how many there were.
    pub fn unbind_host(&self, host: IpAddr) -> usize {
        let mut network = self.network();
        let (gone, kept) = std::mem::take(&mut network.sockets)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|(address, _)| address.ip() == host);
        network.sockets = kept;
        drop(network);
        gone.values().for_each(|inbox| socket::close(inbox));
        gone.len()
    }

    /// A hash over all datagrams so far: virtual time, from, to, length, dropped or not, delay. Runs with equal hashes
    /// exchanged the same datagrams at the same times.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.network().links.trace_hash()
    }

    /// How many datagrams there were.
    #[must_use]
    pub fn counts(&self) -> NetworkCounts {
        self.network().links.counts
    }

    /// Keeps the first so many datagrams from now on, to find where two runs part; none unless asked for.
    pub fn keep_trace(&self, datagrams: usize) {
        self.network().links.keep_trace = datagrams;
    }

    /// The datagrams kept.
    #[must_use]
    pub fn trace(&self) -> Vec<Datagram> {
        self.network().links.trace.clone()
    }

    fn send(&self, from: SocketAddr, datagram: socket::Arriving, to: SocketAddr) {
        let mut network = self.network();
        let Some((sequence, delay)) = network.links.carry(from, to, datagram.payload.len()) else { return };
        let Some(inbox) = network.sockets.get(&to).cloned() else { return };
        drop(network);
        if !socket::deliver(&inbox, sequence, delay, datagram) {
            self.network().links.counts.overflowed += 1;
        }
    }
}

impl Network {
    fn free_port(&mut self, host: IpAddr) -> io::Result<SocketAddr> {
        for _ in FIRST_FREE_PORT..=u16::MAX {
            let address = SocketAddr::new(host, self.next_port);
            self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_FREE_PORT);
            if !self.sockets.contains_key(&address) {
                return Ok(address);
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, format!("simulated host {host} has no free port")))
    }
}

#[derive(Debug)]
struct SimulatedWire {
    network: SimulatedNetwork,
    host: IpAddr,
}

impl Wire for SimulatedWire {
    fn bind(&self, address: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        if !address.ip().is_unspecified() && address.ip() != self.host {
            let text = format!("{address} is not an address of simulated host {}", self.host);
            return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, text));
        }
        let mut network = self.network.network();
        let address = match address.port() {
            0 => network.free_port(self.host)?,
            port => SocketAddr::new(self.host, port),
        };
        if network.sockets.contains_key(&address) {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, format!("UDP {address} is in use")));
        }
        let inbox = Arc::new(Mutex::new(Inbox::default()));
        network.sockets.insert(address, Arc::clone(&inbox));
        drop(network);
        Ok(Arc::new(SimulatedSocket { network: self.network.clone(), address, inbox }))
    }

    fn resolve(&self, host_port: &str) -> Resolving {
        let resolved = self.look_up(host_port);
        Box::pin(std::future::ready(resolved))
    }
}

impl SimulatedWire {
    fn look_up(&self, host_port: &str) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host_port.parse() {
            return Ok(vec![address]);
        }
        let parts =
            host_port.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        let Some((host, port)) = parts else {
            let text = format!("{host_port} is not of the form host:port");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        };
        match self.network.network().names.get(host) {
            Some(hosts) => Ok(hosts.iter().map(|host| SocketAddr::new(*host, port)).collect()),
            None => Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("{host} is unknown to the simulated network"),
            )),
        }
    }
}

/// Forgets a socket that its owner dropped, unless its address has a new owner by now.
fn forget(network: &SimulatedNetwork, address: SocketAddr, inbox: &Arc<Mutex<Inbox>>) {
    let mut network = network.network();
    if network.sockets.get(&address).is_some_and(|known| Arc::ptr_eq(known, inbox)) {
        network.sockets.remove(&address);
    }
}

#[cfg(test)]
mod tests;
