//! The machine's network.

use std::io;
use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};
use rustix::net::sockopt;
use socket2::{Domain, Protocol, Socket, Type};

use super::{Resolving, Wire};

/// Most bytes of payload that one UDP datagram over IPv4 can carry, and one send with segmentation offload too.
const LARGEST_SEND_BYTES: usize = 65_507;

/// How sockets are set up. The figures are of QUIC bulk transfer over loopback on two cores, both ends together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RealWireSettings {
    /// Kernel buffer for what arrived and was not read yet. Costs that much kernel memory per socket at worst. With the
    /// kernel's default of about 208 KiB a burst loses packets (1,300 a transfer instead of at most 40 with 4 MiB)
    /// and halves the congestion window each time. Without `CAP_NET_ADMIN` the kernel caps it silently at
    /// `net.core.rmem_max`: raise that.
    pub receive_buffer_bytes: usize,
    /// Kernel buffer for what was sent and has not left yet. Costs as above; capped at `net.core.wmem_max`.
    pub send_buffer_bytes: usize,
    /// Largest UDP payload that QUIC will try on this socket; it must be the upper bound of QUIC's own MTU discovery.
    ///
    /// It decides how many packets one system call may carry (segmentation offload): the kernel refuses more than
    /// 65,507 bytes, and QUIC would take the refusal for packet loss and fall back to the smallest MTU. Offload is
    /// what costs least: without it a transfer needs four times the CPU. Larger packets come next: 1.5 CPU s/GB at
    /// 1,452 bytes (a common Ethernet), 0.55 at 9,000 (jumbo frames), 0.32 at 65,500 (loopback).
    pub mtu_bytes: u16,
}

impl Default for RealWireSettings {
    fn default() -> Self {
        Self { receive_buffer_bytes: 4 << 20, send_buffer_bytes: 4 << 20, mtu_bytes: 1452 }
    }
}

/// The machine's UDP sockets and its resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealWire {
    settings: RealWireSettings,
}

impl RealWire {
    /// The machine's network, with these settings for each socket.
    #[must_use]
    pub fn new(settings: RealWireSettings) -> Self {
        Self { settings }
    }

    fn open(&self, address: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() && address.ip().is_unspecified() {
            // One socket for both families; a kernel that has only IPv6 refuses, and needs no more.
            let _ = socket.set_only_v6(false);
        }
        // Buffers are a matter of speed, not of function: a refusal must not keep a node from starting.
        let receive = self.settings.receive_buffer_bytes;
        if sockopt::set_socket_recv_buffer_size_force(&socket, receive).is_err() {
            let _ = socket.set_recv_buffer_size(receive);
        }
        let send = self.settings.send_buffer_bytes;
        if sockopt::set_socket_send_buffer_size_force(&socket, send).is_err() {
            let _ = socket.set_send_buffer_size(send);
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok(socket)
    }
}

impl Wire for RealWire {
    fn bind(&self, address: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let socket = self.open(address).map_err(|error| {
            io::Error::new(error.kind(), format!("UDP {address} cannot be opened: {error}"))
        })?;
        let inner = TokioRuntime.wrap_udp_socket(socket.into())?;
        let largest_segments = LARGEST_SEND_BYTES / usize::from(self.settings.mtu_bytes.max(1200));
        Ok(Arc::new(CappedSocket { inner, largest_segments }))
    }

    fn resolve(&self, host_port: &str) -> Resolving {
        let host_port = host_port.to_owned();
        Box::pin(async move {
            let found = match tokio::net::lookup_host(&host_port).await {
                Ok(addresses) => addresses.collect::<Vec<_>>(),
                Err(error) => {
                    return Err(io::Error::new(
                        error.kind(),
                        format!("{host_port} cannot be resolved: {error}"),
                    ));
                }
            };
            if found.is_empty() {
                return Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    format!("{host_port} resolves to no address"),
                ));
            }
            Ok(found)
        })
    }
}

/// A socket that never announces more segments per send than the kernel takes at this MTU.
#[derive(Debug)]
struct CappedSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    largest_segments: usize,
}

impl AsyncUdpSocket for CappedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.inner.poll_recv(context, buffers, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments().min(self.largest_segments)
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[tokio::test]
    async fn a_send_never_exceeds_what_the_kernel_takes() {
        for mtu_bytes in [1200, 1452, 9000, 16_384, 65_500] {
            let wire = RealWire::new(RealWireSettings { mtu_bytes, ..RealWireSettings::default() });
            let socket = wire.bind(loopback()).unwrap();
            assert!(socket.max_transmit_segments() >= 1);
            assert!(socket.max_transmit_segments() * usize::from(mtu_bytes) <= LARGEST_SEND_BYTES);
        }
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let wire = RealWire::default();
        let first = wire.bind(loopback()).unwrap();
        let address = first.local_addr().unwrap();
        let refused = wire.bind(address).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        assert!(refused.to_string().contains(&address.to_string()), "{refused}");
    }

    #[tokio::test]
    async fn names_resolve_and_a_wrong_one_is_named() {
        let wire = RealWire::default();
        let found = wire.resolve("localhost:9092").await.unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 9092));
        let refused = wire.resolve("no-port-here").await.unwrap_err();
        assert!(refused.to_string().contains("no-port-here"), "{refused}");
    }
}
