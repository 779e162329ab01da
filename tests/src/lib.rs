//! The harness: what happened (history), whether it may have (checker), real processes, the simulated cluster.

pub mod asking;
pub mod bank;
pub mod checker;
pub mod delays;
pub mod disks;
pub mod history;
pub mod kafka;
pub mod load;
pub mod process;
#[cfg(test)]
mod readme;
pub mod sasl;
pub mod simulated;
pub mod under_test;

/// What a test or a step of it comes to; the error is for people.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How long a condition may take to come true: generous, because the machine may be busy with other tests.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

/// Looks until there is something, or an error, or [`PATIENCE`] is over.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Outcome<Option<T>>) -> Outcome<T> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < deadline {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Err(format!("{what}: not within {} s", PATIENCE.as_secs()).into())
}
