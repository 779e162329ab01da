//! The log directory of a node: opened, locked and recovered before anything else is started.

use std::path::PathBuf;
use std::sync::Arc;

use millstream_actors::events::Events;
use millstream_actors::ids::Incarnation;
use millstream_actors::log::{DirectorySettings, LogDirectory, TailBudget};
use millstream_actors::partition::append::{NodeProducers, ProducerLimits};
use millstream_actors::partition::supervisor::{RecoveredLogs, recover};
use millstream_actors::topic_config::TopicConfig;
use millstream_transport::world::World;

use super::error::StartError;
use super::incarnation;
use crate::config::NodeConfig;

/// Where in its data directory a node's log directory is.
pub(crate) const LOG_DIRECTORY: &str = "log";

/// The log directory, and what was found in it.
pub(super) struct Disk {
    pub(super) incarnation: Incarnation,
    pub(super) directory: Arc<LogDirectory>,
    pub(super) recovered: RecoveredLogs,
    pub(super) producers: ProducerLimits,
}

pub(super) async fn open_disk(
    world: &World,
    config: &NodeConfig,
    events: &Events,
) -> Result<Disk, StartError> {
    let failed = |error| StartError::Directory { path: config.data_dir.clone(), error };
    world.disk.create_directories(&config.data_dir).map_err(failed)?;
    let settings = DirectorySettings {
        open_files: config.open_files,
        tail: TailBudget::new(usize::try_from(config.tail_cache_bytes).unwrap_or(usize::MAX)),
        cleaner: config.cleaner,
        ..DirectorySettings::default()
    };
    let path: PathBuf = config.data_dir.join(LOG_DIRECTORY);
    let directory = LogDirectory::open(world, &path, settings, events.clone())?;
    // After the lock of the log directory is held: two processes never draw the same.
    let incarnation = incarnation::draw(world, &config.data_dir).map_err(failed)?;
    let found = [Arc::clone(&directory)];
    // The settings of topics come with the image; until then their logs are opened with the defaults.
    let defaults = Arc::new(TopicConfig::default());
    let producers = producer_limits(config);
    let recovered = recover(world, &found, |_| Arc::clone(&defaults), producers.clone()).await?;
    Ok(Disk { incarnation, directory, recovered, producers })
}

fn producer_limits(config: &NodeConfig) -> ProducerLimits {
    ProducerLimits {
        expiration_ms: i64::try_from(config.producer_id_expiration.as_millis()).unwrap_or(i64::MAX),
        node: NodeProducers::up_to(config.producer_ids_max),
        ..ProducerLimits::default()
    }
}
