//! Which clients come from one place, and share what there is for it.

use std::net::IpAddr;

/// The first half of an address of IPv6.
const NETWORK: u128 = !0 << 64;

/// An address of IPv4, or a network of IPv6 whose first 64 bits are alike: so much is one host's, which may take as many
/// addresses of it as it likes (RFC 4291, RFC 6177).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin(IpAddr);

impl Origin {
    /// Of a client with this address, in whichever form it is.
    pub(crate) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6((u128::from(address) & NETWORK).into()),
            address @ IpAddr::V4(_) => address,
        })
    }
}
