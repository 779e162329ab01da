mod applied;
mod deltas;
pub(crate) mod fixture;
mod properties;
mod snapshots;
