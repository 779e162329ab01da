//! An operator's recovery of the cluster's metadata from one node's disk: what is there, what would be lost, and to do it.

use std::path::{Path, PathBuf};

use millstream_transport::world::Disk;
use uuid::Uuid;

use super::machine::ImageMachine;
use super::quorum::{RecoveryError, Survivor};
use crate::image::Image;

/// What one node's quorum directory holds, for the operator to decide on.
#[derive(Debug)]
pub struct Findings {
    /// What the directory holds of the quorum.
    pub survivor: Survivor,
    /// The metadata that it makes.
    pub image: Image,
}

impl Findings {
    /// Reads the quorum directory of a node that does not run. Changes nothing.
    pub fn read(disk: &dyn Disk, directory: &Path) -> Result<Self, RecoveryError> {
        let survivor = Survivor::read(disk, directory)?;
        let (mut machine, images) = ImageMachine::new();
        survivor.replay(&mut machine)?;
        let image = Image::clone(&images.borrow());
        Ok(Self { survivor, image })
    }

    /// Partitions of which no in-sync replica is on this node: their records are there only if other nodes have them.
    #[must_use]
    pub fn held_elsewhere(&self) -> Vec<String> {
        let me = self.survivor.me().node;
        let topics = self.image.topics().by_name();
        let partitions =
            topics.flat_map(|topic| topic.ids().map(move |(id, partition)| (topic, id, partition)));
        let elsewhere = partitions.filter(|(_, _, partition)| partition.member(me).is_none());
        elsewhere.map(|(topic, id, _)| format!("{}-{}", topic.name, id.index)).collect()
    }

    /// Makes this node the one voter, its directory under a new UUID. Gives the path under which the directory is kept as
    /// it was.
    pub fn recover(&self, disk: &dyn Disk, directory: Uuid) -> Result<PathBuf, RecoveryError> {
        self.survivor.recover(disk, directory, self.image.recovered().encode())
    }
}
