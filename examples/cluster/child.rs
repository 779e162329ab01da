//! One node's process.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{ChildStdout, Command};

use crate::plan::Plan;

/// How long a node may take to stop, beyond what it gives itself.
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// Of the log of a node that died early, so much of the end is shown.
const SHOWN_BYTES: u64 = 2_000;

pub struct Child {
    pub node: u32,
    pub pid: u32,
    process: tokio::process::Child,
    lines: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
    has_ended: bool,
}

impl Child {
    /// Starts a node's process, its log lines appended to a file.
    pub fn start(program: &Path, plan: &Plan, node: u32) -> io::Result<Self> {
        let log = plan.log_file(node);
        let mut process = Command::new(program)
            .arg("node")
            .arg("--config")
            .arg(plan.settings_file(node))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(OpenOptions::new().create(true).append(true).open(&log)?)
            // A Ctrl-C at the terminal is for us alone: a node that heard it too would take our signal for a second one.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let output = process.stdout.take().ok_or_else(|| io::Error::other("the node has no output"))?;
        let pid = process.id().unwrap_or_default();
        let lines = BufReader::new(output).lines();
        Ok(Self { node, pid, process, lines, log, has_ended: false })
    }

    /// Waits until the node says that it is ready.
    pub async fn ready(&mut self) -> Result<(), String> {
        while let Ok(Some(line)) = self.lines.next_line().await {
            if line.contains(" ready ") {
                return Ok(());
            }
        }
        let how =
            self.process.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string());
        self.has_ended = true;
        Err(format!("node {} has ended before it was ready: {how}\n{}", self.node, end_of(&self.log)))
    }

    /// How the process has ended, told once.
    pub fn has_ended(&mut self) -> Option<String> {
        if self.has_ended {
            return None;
        }
        let status = self.process.try_wait().ok().flatten()?;
        self.has_ended = true;
        Some(status.to_string())
    }

    /// Asks it to stop cleanly.
    pub fn ask_to_stop(&mut self) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let (false, Some(pid)) = (self.has_ended, pid) {
            // It may just have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Waits until it has stopped.
    pub async fn stopped(&mut self) -> Result<(), String> {
        if self.has_ended {
            return Ok(());
        }
        match tokio::time::timeout(STOP_WITHIN, self.process.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(format!("{status}\n{}", end_of(&self.log))),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => self.kill().await,
        }
    }

    /// Ends it at once.
    pub async fn kill(&mut self) -> Result<(), String> {
        if self.has_ended {
            return Ok(());
        }
        self.process.kill().await.map_err(|error| error.to_string())?;
        Err("killed, as it did not stop".to_owned())
    }
}

/// The last lines of a log.
fn end_of(log: &Path) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let bytes = file.metadata()?.len();
        file.seek(SeekFrom::Start(bytes.saturating_sub(SHOWN_BYTES)))?;
        let mut end = Vec::new();
        file.read_to_end(&mut end)?;
        Ok(end)
    };
    match read() {
        Ok(end) => format!("the end of {}:\n{}", log.display(), String::from_utf8_lossy(&end)),
        Err(error) => format!("{}: {error}", log.display()),
    }
}
