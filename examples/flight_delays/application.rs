//! The application: a process of its own, which may be killed at any time.

use std::path::Path;
use std::time::Duration;

use millstream::certificates::{CertificateFolder, LOCAL_CLIENT};
use millstream::streams::{Streams, StreamsSettings, StreamsState};
use millstream::{Client, ClientSettings};
use tokio::signal::unix::{SignalKind, signal};

use super::input::Outcome;
use super::topology::flight_delays;

const CLOSE_WITHIN: Duration = Duration::from_secs(30);

/// How often it is looked whether the application has given up.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Runs it until SIGTERM, its stores in this directory; an error where it gives up.
pub async fn run(nodes: &str, certificates: &Path, state: &Path) -> Outcome {
    let mut terminate = signal(SignalKind::terminate())?;
    let credentials = CertificateFolder::new(certificates).client(LOCAL_CLIENT)?;
    let client = Client::connect(credentials, ClientSettings::new(nodes.split(','))).await?;
    let settings = StreamsSettings { state_dir: Some(state.to_owned()), ..StreamsSettings::default() };
    let streams = Streams::start(&client, &flight_delays()?, settings).await?;
    while tokio::time::timeout(LOOK_EVERY, terminate.recv()).await.is_err() {
        if let StreamsState::Failed { error } = streams.state() {
            return Err(error.into());
        }
    }
    streams.close(CLOSE_WITHIN).await?;
    client.close().await;
    Ok(())
}
