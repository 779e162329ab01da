mod access;
mod applied;
mod deltas;
pub(crate) mod fixture;
mod properties;
mod recovered;
mod snapshots;
