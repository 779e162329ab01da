//! What the endpoint counts. Whoever publishes metrics takes a [`PeerCounts`] now and then.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters of one endpoint, since its start.
        #[derive(Debug, Default)]
        pub struct PeerCounters {
            $($(#[$doc])* pub(super) $name: Counter,)*
        }

        /// The counters at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct PeerCounts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl PeerCounters {
            /// All counters now.
            #[must_use]
            pub fn snapshot(&self) -> PeerCounts {
                PeerCounts { $($name: self.$name.get(),)* }
            }
        }
    };
}

counters! {
    /// Dials begun.
    dials,
    /// Dials that led to no link.
    failed_dials,
    /// Links that came up, dialled or accepted.
    links_up,
    /// Links that went down.
    links_down,
    /// Connections refused because too many had not said who they are.
    refused_strangers,
    /// Connections refused for their certificate, version or lane.
    refused_links,
    /// Connections cut because they did not say who they are in time.
    cut_half_open,
    /// Links cut because what came over them was no frame, or one over the limit.
    cut_garbage,
    /// Links of clients cut because they did not take their answers while memory was short.
    cut_slow,
    /// Messages refused: of unknown kind or version, unreadable, or not allowed.
    refused_messages,
    /// Requests read.
    requests,
    /// One-way messages read.
    tells,
    /// Requests sent.
    asks,
    /// Asks and tells refused because too much waited already.
    refused_full,
    /// Asks given up because their time had passed.
    timed_out,
    /// Answers that came after their time.
    late_answers,
    /// Channels opened or accepted.
    channels,
    /// Bytes of frames sent.
    sent_bytes,
    /// Bytes of frames received.
    received_bytes,
}

/// One counter.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add_one(&self) {
        self.add(1);
    }

    pub(super) fn add(&self, count: usize) {
        self.0.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
