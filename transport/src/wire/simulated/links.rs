//! What happens to a datagram on its way: decided here, in the order of the sends.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

/// How good one direction of a link is.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkQuality {
    /// Share of datagrams lost, 0 to 1.
    pub loss: f64,
    /// How long a datagram travels; datagrams with different delays overtake each other.
    pub delay: RangeInclusive<Duration>,
}

/// How many datagrams a network has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkCounts {
    /// All that were sent.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Those lost by chance or a cut.
    pub dropped: u64,
    /// Those lost because the receiver did not read.
    pub overflowed: u64,
}

/// One datagram of the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Virtual time of the send, in microseconds since the first datagram of the network.
    pub at_us: u64,
    /// Sender.
    pub from: SocketAddr,
    /// Receiver.
    pub to: SocketAddr,
    /// Bytes of payload.
    pub length: usize,
    /// Whether it was lost by chance or a cut.
    pub dropped: bool,
    /// How long it travels, in microseconds.
    pub delay_us: u64,
}

#[derive(Debug)]
pub(super) struct Links {
    rng: SmallRng,
    pub(super) default_quality: LinkQuality,
    pub(super) own_quality: BTreeMap<(IpAddr, IpAddr), LinkQuality>,
    pub(super) cuts: BTreeSet<(IpAddr, IpAddr)>,
    pub(super) counts: NetworkCounts,
    pub(super) keep_trace: usize,
    pub(super) trace: Vec<Datagram>,
    hash: crc_fast::Digest,
    origin: Option<Instant>,
}

impl Links {
    pub(super) fn new(seed: u64) -> Self {
        let delay = Duration::from_millis(1)..=Duration::from_millis(3);
        Self {
            rng: SmallRng::seed_from_u64(seed),
            default_quality: LinkQuality { loss: 0.0, delay },
            own_quality: BTreeMap::new(),
            cuts: BTreeSet::new(),
            counts: NetworkCounts::default(),
            keep_trace: 0,
            trace: Vec::new(),
            hash: crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme),
            origin: None,
        }
    }

    /// Sends a datagram on its way: its number and its delay, or `None` if it is lost.
    pub(super) fn carry(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        length: usize,
    ) -> Option<(u64, Duration)> {
        let ends = (from.ip(), to.ip());
        let quality = self.own_quality.get(&ends).unwrap_or(&self.default_quality);
        // Both are drawn for every datagram, lost or not, so that a cut does not shift the fate of all others.
        let lost = self.rng.random_bool(quality.loss.clamp(0.0, 1.0));
        let (shortest, longest) = (micros(*quality.delay.start()), micros(*quality.delay.end()));
        let delay_us = self.rng.random_range(shortest..=longest.max(shortest));
        let dropped = lost || self.cuts.contains(&ends);
        let at_us = micros(self.origin.get_or_insert_with(Instant::now).elapsed());
        self.note(Datagram { at_us, from, to, length, dropped, delay_us });
        (!dropped).then_some((self.counts.sent, Duration::from_micros(delay_us)))
    }

    fn note(&mut self, datagram: Datagram) {
        let length = u64::try_from(datagram.length).unwrap_or(u64::MAX);
        self.counts.sent += 1;
        self.counts.sent_bytes += length;
        self.counts.dropped += u64::from(datagram.dropped);
        self.hash.update(&datagram.at_us.to_le_bytes());
        for end in [datagram.from, datagram.to] {
            match end.ip() {
                IpAddr::V4(ip) => self.hash.update(&ip.octets()),
                IpAddr::V6(ip) => self.hash.update(&ip.octets()),
            }
            self.hash.update(&end.port().to_le_bytes());
        }
        self.hash.update(&length.to_le_bytes());
        self.hash.update(&[u8::from(datagram.dropped)]);
        self.hash.update(&datagram.delay_us.to_le_bytes());
        if self.keep_trace > 0 {
            self.keep_trace -= 1;
            self.trace.push(datagram);
        }
    }

    pub(super) fn trace_hash(&self) -> u64 {
        self.hash.finalize()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
