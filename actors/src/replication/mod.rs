//! How followers get what their leaders append.
//!
//! ```text
//!  follower's node                                       leader's node
//!  replica ── LeaderLinks ──► follower ══ fetch session ══ feeder ── OpenFeed, ReadFeed ──► replica
//!     ▲                          │        (one channel)      ▲                                 │
//!     └──────── FromLeader ──────┘                           └───────────── FeedWaker ─────────┘
//! ```
//!
//! One session for each pair of cores, for all partitions between them; see [`sessions`] for why. The leader sends what
//! was appended without being asked, as far as credit goes; the follower gives credit back when its replicas have
//! appended, and reports what they have on disk.

pub mod channel;
mod feeder;
mod follower;
pub mod links;
pub mod message;
pub mod of_node;
pub mod ports;
mod reader;
mod session_count;
pub mod sessions;
pub mod settings;

pub use of_node::LinksOfCores;

#[cfg(test)]
mod tests;
