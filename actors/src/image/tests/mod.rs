mod access;
mod applied;
mod deltas;
mod entities;
pub(crate) mod fixture;
mod names;
mod properties;
mod recovered;
mod snapshots;
