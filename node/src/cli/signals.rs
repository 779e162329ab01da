//! SIGINT and SIGTERM: the wish to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears the wish to stop. To be made inside a tokio runtime; from then on the signals no longer end the process.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

/// What a shell says of a program that a signal has ended.
const ENDED_BY_SIGNAL: i32 = 130;

impl Signals {
    /// As [`Signals::listen`], for a command that ends in its own time: the third signal ends the process at once,
    /// whatever it is waiting for.
    pub(super) fn listen_with_patience() -> std::io::Result<Self> {
        let mut impatient = Self::listen()?;
        tokio::spawn(async move {
            for _ in 0..3 {
                impatient.next().await;
            }
            std::process::exit(ENDED_BY_SIGNAL);
        });
        Self::listen()
    }

    /// Listens from now on.
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next one; its name.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
