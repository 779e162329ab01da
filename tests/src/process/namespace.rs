//! Namespaces of the kernel: a mount table or a network of a process's own. They live as long as the process that holds
//! them, and that ends with the test, however that one ends: nothing is left behind.

use std::ffi::OsString;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use super::child::Child;
use crate::Outcome;

/// Tests that need namespaces fail where they cannot have them, instead of saying so and passing, if this is set.
const REQUIRED: &str = "MILLSTREAM_TESTS_NAMESPACES";

/// What a namespace is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The table of mounts.
    Mounts,
    /// Network interfaces, addresses and routes.
    Network,
}

/// The machine does not allow it, and why.
#[derive(Debug)]
pub struct NotAllowed(pub(super) String);

impl fmt::Display for NotAllowed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Says, so that it is seen also where tests pass, that a test has tested nothing.
///
/// # Panics
/// Where tests must not be left out.
pub fn left_out(what: &str, why: &NotAllowed) {
    assert!(std::env::var_os(REQUIRED).is_none(), "{what}: not allowed here: {why}");
    let line = format!("\n==== NOT TESTED: {what}: not allowed here: {why}\n");
    // Not by a macro: the output of tests that pass is kept from sight.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
}

/// A process that holds a namespace.
#[derive(Debug)]
pub(super) struct Holder {
    kind: Kind,
    /// Within a user namespace of its own, where the test does not run as root.
    is_mapped: bool,
    child: Child,
}

impl Holder {
    /// Makes a namespace, and runs this shell script in it first.
    pub(super) fn new(kind: Kind, script: &str, arguments: &[&str]) -> Result<Self, NotAllowed> {
        let is_mapped = kind == Kind::Mounts && !rustix::process::geteuid().is_root();
        let flag = match kind {
            Kind::Mounts => "--mount",
            Kind::Network => "--net",
        };
        let mut command = Command::new("unshare");
        if is_mapped {
            command.args(["--user", "--map-root-user"]);
        }
        // `cat` ends when the test lets go of its standard input.
        let script = format!("{script}\necho held\nexec cat >/dev/null");
        command.args([flag, "sh", "-ec", &script, "sh"]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let failed = |error: &dyn fmt::Display| NotAllowed(format!("unshare {flag}: {error}"));
        let mut child = Child::start(&mut command).map_err(|error| failed(&error))?;
        let mut first = String::new();
        let (output, errors) = child.outputs();
        if let Some(output) = output {
            BufReader::new(output).read_line(&mut first).map_err(|error| failed(&error))?;
        }
        if first.trim() == "held" {
            return Ok(Self { kind, is_mapped, child });
        }
        let mut text = String::new();
        if let Some(mut errors) = errors {
            // Why it did not work is not known then.
            let _ = errors.read_to_string(&mut text);
        }
        Err(failed(&text.trim()))
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// What a command begins with to run in it.
    pub(super) fn prefix(&self) -> Vec<OsString> {
        let pid = self.pid().to_string();
        let mut words = vec!["nsenter", "--target", &pid];
        if self.is_mapped {
            words.extend(["--user", "--preserve-credentials"]);
        }
        words.push(match self.kind {
            Kind::Mounts => "--mount",
            Kind::Network => "--net",
        });
        words.push("--");
        words.into_iter().map(OsString::from).collect()
    }

    /// Runs a command in it to its end.
    pub(super) fn run(&self, command: &str) -> Outcome {
        let prefix = self.prefix();
        let (first, rest) = prefix.split_first().ok_or("nothing to run")?;
        run(Command::new(first).args(rest), command)
    }
}

/// Runs a command, words divided by spaces, behind what `command` begins with.
pub(super) fn run(command: &mut Command, words: &str) -> Outcome {
    let ended = command.args(words.split(' ')).stdin(Stdio::null()).output()?;
    if ended.status.success() {
        return Ok(());
    }
    Err(format!("{words}: {}", String::from_utf8_lossy(&ended.stderr).trim()).into())
}
