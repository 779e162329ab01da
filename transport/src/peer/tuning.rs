//! How links are tuned: what each setting does, and what it costs.

use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::CubicConfig;
use quinn::{MtuDiscoveryConfig, TransportConfig, VarInt};

use super::error::EndpointError;
use super::{EndpointConfig, Lane};

/// Smallest UDP payload that every path carries.
const SMALLEST_MTU: u16 = 1200;

/// Largest UDP payload that a datagram can have on a common Ethernet.
const ETHERNET_MTU: u16 = 1452;

/// How large the UDP payloads of a link may get: the setting with the greatest effect on the cost of bulk transfer
/// (CPU seconds per GB, both ends together: 1.5 at 1,452 bytes, 0.55 at 9,000, 0.40 at 16,384, 0.32 at 65,500).
///
/// The socket's own cap (`RealWireSettings::mtu_bytes`) must be the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mtu {
    /// Starts with 1,452 bytes and searches upwards, up to this. Costs a few probes after each dial.
    UpTo(u16),
    /// This from the first packet: for a path that is known to carry it (loopback, jumbo frames throughout). On one
    /// that does not, every dial fails.
    Known(u16),
}

impl Mtu {
    /// The largest payload it may come to.
    #[must_use]
    pub fn upper_bytes(self) -> u16 {
        match self {
            Self::UpTo(bytes) | Self::Known(bytes) => bytes,
        }
    }
}

/// What one lane is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneTuning {
    /// Who dialled sends a sign of life after so much silence. Costs a packet each way per interval and link.
    pub keep_alive: Duration,
    /// A link is dead after so much silence. A peer's death is noticed at most this plus one keep-alive interval after
    /// its last sign of life; a peer whose thread stands still for longer is taken for dead.
    pub idle_timeout: Duration,
    /// Bytes that may be under way on one stream without having been read. Round-trip time × bandwidth or more, else
    /// it is the limit; 1 to 4 MiB are enough on a local network, and less stays in the cache. Costs that much memory
    /// per stream whose reader stands still.
    pub stream_window_bytes: u32,
    /// The same over all streams of a link together.
    pub link_window_bytes: u32,
    /// Bytes sent and not yet acknowledged, kept for sending again. Costs that much memory per link at worst.
    pub send_window_bytes: u64,
}

/// How links are tuned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Size of packets.
    pub mtu: Mtu,
    /// The lane of decisions.
    pub control: LaneTuning,
    /// The lane of bytes.
    pub data: LaneTuning,
    /// Round-trip time assumed before one was measured: a lost first packet is sent again after three times this.
    pub initial_rtt: Duration,
    /// Bytes that may be sent before the first acknowledgement. More fills a fast path sooner and overruns a slow one.
    pub initial_window_bytes: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            mtu: Mtu::UpTo(ETHERNET_MTU),
            control: LaneTuning {
                keep_alive: Duration::from_millis(100),
                idle_timeout: Duration::from_millis(300),
                stream_window_bytes: 1 << 20,
                link_window_bytes: 4 << 20,
                send_window_bytes: 4 << 20,
            },
            data: LaneTuning {
                keep_alive: Duration::from_millis(500),
                idle_timeout: Duration::from_secs(3),
                stream_window_bytes: 4 << 20,
                link_window_bytes: 16 << 20,
                send_window_bytes: 16 << 20,
            },
            initial_rtt: Duration::from_millis(50),
            initial_window_bytes: 256 << 10,
        }
    }
}

/// Bounds on what one link, and all that are not greeted yet, may occupy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest frame, up to [`crate::frame::MAX_FRAME_BYTES`].
    pub frame_bytes: usize,
    /// Requests of one lane that wait for their answers at the asker; more are refused there.
    pub asked: usize,
    /// Bytes of one lane not sent yet at the asker; more are refused there.
    pub queued_bytes: usize,
    /// Requests of one link that are being answered; the link is not read meanwhile.
    pub unanswered: usize,
    /// Bytes of the requests of one link that are being answered; the link is not read meanwhile.
    pub unanswered_bytes: usize,
    /// Bytes of answers that the asker has not taken yet; the link is not read meanwhile.
    pub answer_bytes: usize,
    /// Channels of one link.
    pub channels: u32,
    /// Links that have not said who they are yet; more are refused. From half of them on an address must prove itself.
    pub strangers: usize,
    /// How long a link may take to say who it is, handshake included.
    pub hello_timeout: Duration,
    /// How long one dial may take, for each address of the peer.
    pub dial_timeout: Duration,
    /// Pause after the first failed dial; it doubles with each, and between half and all of it is waited.
    pub backoff: Duration,
    /// Longest pause between dials.
    pub longest_backoff: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes: crate::frame::MAX_FRAME_BYTES,
            asked: 4096,
            queued_bytes: 64 << 20,
            unanswered: 1024,
            unanswered_bytes: 64 << 20,
            answer_bytes: 64 << 20,
            channels: 256,
            strangers: 256,
            hello_timeout: Duration::from_secs(2),
            dial_timeout: Duration::from_secs(1),
            backoff: Duration::from_millis(40),
            longest_backoff: Duration::from_secs(1),
        }
    }
}

/// Who a transport configuration is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Dials,
    IsDialled,
}

impl EndpointConfig {
    pub(super) fn lane(&self, lane: Lane) -> &LaneTuning {
        match lane {
            Lane::Control => &self.tuning.control,
            Lane::Data => &self.tuning.data,
        }
    }

    /// What QUIC is told for a link of this lane.
    pub(super) fn transport(&self, lane: Lane, role: Role) -> Result<Arc<TransportConfig>, EndpointError> {
        let own = self.lane(lane);
        let idle = own.idle_timeout.try_into().map_err(|_| EndpointError::Setting {
            name: "idle_timeout",
            reason: format!("{:?} is too long", own.idle_timeout),
        })?;
        let mut transport = TransportConfig::default();
        transport
            .max_idle_timeout(Some(idle))
            .keep_alive_interval((role == Role::Dials).then_some(own.keep_alive))
            .stream_receive_window(VarInt::from_u32(own.stream_window_bytes))
            .receive_window(VarInt::from_u32(own.link_window_bytes))
            .send_window(own.send_window_bytes)
            .initial_rtt(self.tuning.initial_rtt)
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            // The dialled side opens no streams; the dialling side one for requests, and one per channel.
            .max_concurrent_bidi_streams(match role {
                Role::Dials => VarInt::from_u32(0),
                Role::IsDialled => VarInt::from_u32(self.limits.channels.saturating_add(1)),
            })
            .datagram_receive_buffer_size(None)
            .allow_spin(false);
        let mut congestion = CubicConfig::default();
        congestion.initial_window(self.tuning.initial_window_bytes);
        transport.congestion_controller_factory(Arc::new(congestion));
        self.size_packets(&mut transport)?;
        Ok(Arc::new(transport))
    }

    fn size_packets(&self, transport: &mut TransportConfig) -> Result<(), EndpointError> {
        let upper = self.tuning.mtu.upper_bytes();
        if !(SMALLEST_MTU..=65_507).contains(&upper) {
            let reason = format!("{upper} is not between {SMALLEST_MTU} and 65507");
            return Err(EndpointError::Setting { name: "mtu", reason });
        }
        let initial = match self.tuning.mtu {
            Mtu::UpTo(upper) => upper.min(ETHERNET_MTU),
            Mtu::Known(bytes) => bytes,
        };
        let mut discovery = MtuDiscoveryConfig::default();
        discovery.upper_bound(upper);
        transport.initial_mtu(initial).min_mtu(SMALLEST_MTU).mtu_discovery_config(Some(discovery));
        Ok(())
    }
}
