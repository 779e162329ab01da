//! The door to the network: UDP sockets under QUIC, and names.
//!
//! QUIC itself (quinn) is the same on both sides of the door; a simulation replaces only the sockets.

mod real;
mod simulated;

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use quinn::AsyncUdpSocket;

pub use real::{RealWire, RealWireSettings};
pub use simulated::{Datagram, LinkQuality, NetworkCounts, SimulatedNetwork};

/// The addresses of a name, in the making.
pub type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// What a node sees of the network.
pub trait Wire: Debug + Send + Sync {
    /// Opens a UDP socket. Must be called inside the tokio runtime that will drive it.
    fn bind(&self, address: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>>;

    /// The addresses behind `host:port`, never empty. To be asked again at every dial: names move.
    fn resolve(&self, host_port: &str) -> Resolving;
}

#[cfg(test)]
mod quic_tests;
