//! One process.

use std::process::{self, ChildStderr, ChildStdout, Command, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};

use crate::Outcome;

/// A process that is ended and reaped when this is dropped.
#[derive(Debug)]
pub struct Child(process::Child);

impl Child {
    /// Starts it. A standard input that is a pipe stays open as long as this lives.
    pub(super) fn start(command: &mut Command) -> Outcome<Self> {
        let started = command.spawn();
        Ok(Self(started.map_err(|error| format!("{}: {error}", command.get_program().display()))?))
    }

    /// Its outputs, once, where they are pipes.
    pub(super) fn outputs(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.0.stdout.take(), self.0.stderr.take())
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(super) fn signal(&self, signal: Signal) -> Outcome {
        Ok(kill_process(Pid::from_child(&self.0), signal)?)
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Outcome<Option<ExitStatus>> {
        Ok(self.0.try_wait()?)
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) -> Outcome {
        self.signal(Signal::TERM)
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) -> Outcome {
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
