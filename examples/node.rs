//! Learn how to run one node from a configuration file, in a program of your own.
//!
//! `cargo run --release --example node -- node.toml`; without a file it is a cluster of one in ./millstream-data.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use millstream::Node;
use millstream::config::Settings;
use millstream::telemetry::log_to_standard_error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut settings = Settings::default();
    if let Some(file) = std::env::args().nth(1) {
        settings = settings.file(Path::new(&file))?;
    }
    let settings = settings.environment(|name| std::env::var(name).ok())?;
    log_to_standard_error(settings.value("log.level"), settings.value("log.format") == "json");

    let node = Node::start(&settings)?;
    node.wait_until_ready(Duration::from_secs(30)).await;
    println!("node {} listens at {}; Ctrl-C stops it", node.id(), node.quic_address());
    tokio::signal::ctrl_c().await?;
    node.stop()?;
    Ok(())
}
