//! Commands of the program, run beside the nodes as an operator runs them.

use std::fs::{self, File, OpenOptions};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use super::{Child, ProcessCluster};
use crate::{Outcome, until};

impl ProcessCluster {
    /// Starts a command where a node runs, with this input; what it says goes into the file given back with it.
    pub fn start_command(&self, beside: u32, arguments: &[&str], input: &str) -> Outcome<(Child, PathBuf)> {
        let name = format!("{}-beside-{beside}", arguments.first().ok_or("which command?")?);
        let (from, to) = (self.directory.path().join(format!("{name}.in")), self.directory.path().join(name));
        fs::write(&from, input)?;
        let said = File::create(&to)?;
        let mut command = self.command_beside(beside);
        command.args(arguments).stdin(File::open(&from)?).stdout(said.try_clone()?).stderr(said);
        Ok((Child::start(&mut command)?, to))
    }

    /// Starts the program as a user's own, which works with all nodes that run: its arguments are `application`, their
    /// addresses, the folder of certificates and a directory that is kept under this name from one life to the next. What it says
    /// in all its lives goes into the file given back with it.
    pub fn start_application(&self, name: &str) -> Outcome<(Child, PathBuf)> {
        let file = |end: &str| self.directory.path().join(format!("{name}{end}"));
        let said = OpenOptions::new().create(true).append(true).open(file(".log"))?;
        let nodes: Vec<_> = self.nodes.keys().map(|id| self.quic(*id).to_string()).collect();
        let mut command = Command::new(&self.program);
        command
            .args(["application", &nodes.join(",")])
            .arg(self.directory.path().join("certs"))
            .arg(file("-state"));
        command.stdin(Stdio::piped()).stdout(said.try_clone()?).stderr(said);
        Ok((Child::start(&mut command)?, file(".log")))
    }

    /// Runs a command where a node runs, to its end: how it ended, and what it said.
    pub async fn run_command(&self, beside: u32, arguments: &[&str]) -> Outcome<(ExitStatus, String)> {
        let (mut child, said) = self.start_command(beside, arguments, "")?;
        let status = until("the end of a command", async || child.ended()).await?;
        Ok((status, fs::read_to_string(&said)?))
    }

    /// What every command that speaks to the cluster has behind it, to speak to this node.
    #[must_use]
    pub fn to_node(&self, id: u32) -> [String; 4] {
        let certificates = self.directory.path().join("certs").display().to_string();
        ["--bootstrap".to_owned(), self.quic(id).to_string(), "--certs".to_owned(), certificates]
    }
}
