//! One process.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::path::Path;
use std::process::{self, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::Outcome;

/// A process that is ended and reaped when this is dropped.
#[derive(Debug)]
pub(super) struct Child(process::Child);

impl Child {
    /// Starts it; its output goes behind what is in `log`. Its standard input stays open as long as this lives.
    pub(super) fn start(program: &Path, arguments: &[OsString], log: &Path) -> Outcome<Self> {
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        Ok(Self(child))
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(super) fn signal(&self, signal: Signal) -> Outcome {
        Ok(kill_process(Pid::from_child(&self.0), signal)?)
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Outcome<Option<ExitStatus>> {
        Ok(self.0.try_wait()?)
    }

    pub(super) fn kill(mut self) -> Outcome {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended and been reaped already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
