//! Ports for processes that must come back at the same ones.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use millstream::Random;

use crate::Outcome;

/// Below the ports that systems give away by themselves.
const FIRST_PORT: u16 = 19_000;

/// A loopback address of its own, 127.x.y.z: a port that nobody listens at while its node is down is then not taken by
/// another test. A socket that is held for that long keeps the address.
#[derive(Debug)]
pub(super) struct Address {
    ip: IpAddr,
    _held: UdpSocket,
}

impl Address {
    pub(super) fn reserve() -> Outcome<Self> {
        let random = Random::real();
        let mut refused = None;
        for _ in 0..20 {
            let part = || u8::try_from(random.range(1, 255)).unwrap_or(1);
            let ip = IpAddr::V4(Ipv4Addr::new(127, part(), part(), part()));
            match UdpSocket::bind((ip, FIRST_PORT)) {
                Ok(held) => return Ok(Self { ip, _held: held }),
                Err(error) => refused = Some(error),
            }
        }
        Err(format!("no address of 127.0.0.0/8 can be had: {refused:?}").into())
    }

    pub(super) fn port(&self, number: u32) -> SocketAddr {
        let offset = u16::try_from(number).unwrap_or(u16::MAX);
        SocketAddr::new(self.ip, FIRST_PORT.saturating_add(offset))
    }
}
