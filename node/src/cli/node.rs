//! `millstream node`: runs one node until it is told to stop.
//!
//! The first SIGTERM or SIGINT stops it cleanly, a second one at once: then the next start recovers.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::Failure;
use super::signals::Signals;
use super::topic::pairs;
use crate::config::Settings;
use crate::config::catalogue;
use crate::config::setting::Setting;
use crate::http::HealthReport;
use crate::node::Node;
use crate::telemetry::log_to_standard_error;

/// How often a node that is not ready is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// How often it is said that it is not.
const TELL: Duration = Duration::from_secs(10);

pub(super) fn command() -> Command {
    Command::new("node")
        .about("Run a node, until SIGTERM or SIGINT stops it")
        .long_about(
            "Run a node, until SIGTERM or SIGINT stops it: leaderships are handed over, logs synced. A second signal ends \
             it at once. Without any setting it is a cluster of one in ./millstream-data. A setting is taken from its \
             flag, else from --set, else from its environment variable, else from the file, else it has its default.",
        )
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .env("MILLSTREAM_CONFIG")
                .value_parser(value_parser!(PathBuf))
                .help("A TOML file of settings"),
        )
        .arg(
            Arg::new("set")
                .long("set")
                .value_name("SETTING=VALUE")
                .action(ArgAction::Append)
                .help("A setting by its name; may stand several times"),
        )
        .args(catalogue::all().map(flag))
}

fn flag(setting: &Setting) -> Arg {
    let default = if setting.default.is_empty() { "empty" } else { setting.default };
    let mut help = setting.about.trim_end_matches('.').to_owned();
    // Writing to a text cannot fail.
    let _ = write!(help, " [{}; default {default}; {}]", setting.kind, setting.environment());
    Arg::new(setting.name)
        .long(setting.name)
        .value_name("VALUE")
        .allow_hyphen_values(true)
        .help(help)
        .help_heading("Settings")
}

/// The settings that file, environment and flags give.
fn settings(matches: &ArgMatches, environment: impl Fn(&str) -> Option<String>) -> Result<Settings, Failure> {
    let mut settings = Settings::default();
    if let Some(path) = matches.get_one::<PathBuf>("config") {
        settings = settings.file(path)?;
    }
    settings = settings.environment(environment)?;
    for (name, value) in pairs(matches, "set")? {
        settings = settings.set(&name, &value)?;
    }
    for setting in catalogue::all() {
        if let Some(value) = matches.get_one::<String>(setting.name) {
            settings = settings.set(setting.name, value)?;
        }
    }
    Ok(settings)
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let settings = settings(matches, |name| std::env::var(name).ok())?;
    log_to_standard_error(settings.value("log.level"), settings.value("log.format") == "json");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let lived = runtime.block_on(live(settings));
    // A start or stop that somebody does not want to wait for must not hold up the end.
    runtime.shutdown_background();
    lived
}

async fn live(settings: Settings) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let (node, is_wanted) = start(settings, &mut signals).await?;
    if is_wanted {
        let signal = tokio::select! {
            biased;
            signal = signals.next() => signal,
            never = serve(&node) => match never {},
        };
        tracing::info!(node = %node.id(), signal, "stopping; a second signal ends the node at once");
    }
    let stopping = tokio::task::spawn_blocking(move || node.stop());
    tokio::select! {
        biased;
        signal = signals.next() => Err(at_once(signal)),
        stopped = stopping => Ok(stopped??),
    }
}

/// Starts the node; also says whether it is still wanted when it has started.
async fn start(settings: Settings, signals: &mut Signals) -> Result<(Node, bool), Failure> {
    let mut starting = tokio::task::spawn_blocking(move || Node::start(&settings));
    let signal = tokio::select! {
        biased;
        signal = signals.next() => signal,
        started = &mut starting => return Ok((started??, true)),
    };
    tracing::info!(signal, "stopping as soon as the node has started; a second signal ends it at once");
    tokio::select! {
        biased;
        signal = signals.next() => Err(at_once(signal)),
        started = starting => Ok((started??, false)),
    }
}

fn at_once(signal: &str) -> Failure {
    format!("ended at once by a second signal, {signal}: the next start recovers").into()
}

/// Says once that the node is ready, and until then now and then what it waits for.
async fn serve(node: &Node) -> std::convert::Infallible {
    let mut tell_at = tokio::time::Instant::now() + TELL;
    while !node.health().is_ready() {
        if tokio::time::Instant::now() >= tell_at {
            tracing::warn!(node = %node.id(), "not ready: {}", reason(&node.health()));
            tell_at += TELL;
        }
        tokio::time::sleep(LOOK).await;
    }
    let line = ready_line(node);
    // Who started the node may not be interested in its output; the node lives on.
    let _ = writeln!(std::io::stdout(), "{line}");
    std::future::pending().await
}

fn ready_line(node: &Node) -> String {
    let mut line =
        format!("node {} ready  pid {}  quic {}", node.id(), std::process::id(), node.quic_address());
    if let Some(address) = node.http_address() {
        let _ = write!(line, "  http {address}");
    }
    line
}

/// Why a node is not ready, for people.
fn reason(health: &HealthReport) -> &'static str {
    if !health.recovered {
        return "its logs are being recovered";
    }
    if !health.followed_quorum {
        return "it has not heard of the quorum yet; are the nodes of quorum.voters running, and reached from here?";
    }
    "it waits for its place in the cluster"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(line: &[&str], environment: &[(&str, &str)]) -> Result<Settings, String> {
        let matches = command().try_get_matches_from(line).map_err(|error| error.to_string())?;
        let variable = |name: &str| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        settings(&matches, variable).map_err(|failure| failure.to_string())
    }

    #[test]
    fn every_setting_has_a_flag() {
        let command = command();
        for setting in catalogue::all() {
            let flag = command.get_arguments().find(|argument| argument.get_long() == Some(setting.name));
            let help = flag.unwrap().get_help().unwrap().to_string();
            assert!(help.contains(&setting.environment()), "{help}");
        }
    }

    #[test]
    fn a_flag_goes_over_set_that_over_the_environment_and_that_over_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("node.toml");
        std::fs::write(&file, "node.id = 2\nnum.partitions = 3\nlog.level = \"warn\"\nsegment.ms = 5\n")
            .unwrap();
        let environment = [
            ("MILLSTREAM_NODE_ID", "4"),
            ("MILLSTREAM_NUM_PARTITIONS", "5"),
            ("MILLSTREAM_LOG_LEVEL", "debug"),
        ];
        let line = [
            "node",
            "--config",
            file.to_str().unwrap(),
            "--set",
            "node.id=6",
            "--set",
            "num.partitions=7",
            "--node.id",
            "8",
        ];
        let settings = given(&line, &environment).unwrap();
        let values = ["node.id", "num.partitions", "log.level", "segment.ms"]
            .map(|name| settings.value(name).to_owned());
        assert_eq!(values, ["8", "7", "debug", "5"]);
    }

    #[test]
    fn a_typing_error_is_told_with_the_nearest_name() {
        let error = given(&["node", "--set", "node.idd=1"], &[]).unwrap_err();
        assert!(error.contains("did you mean node.id?"), "{error}");
        assert!(given(&["node", "--set", "node.id"], &[]).unwrap_err().contains("SETTING=VALUE"));
        assert!(given(&["node", "--node.idd", "1"], &[]).unwrap_err().contains("--node.id"));
    }

    #[test]
    fn a_wrong_value_is_told_wherever_it_was_given() {
        assert!(given(&["node", "--node.id", "0"], &[]).unwrap_err().contains("from 1 to"));
        assert!(
            given(&["node"], &[("MILLSTREAM_LOG_LEVEL", "loud")]).unwrap_err().contains("log.level = loud")
        );
        assert_eq!(given(&["node", "--retention.ms", "-1"], &[]).unwrap().value("retention.ms"), "-1");
    }

    #[test]
    fn what_a_node_waits_for_is_told() {
        let health = HealthReport { recovered: true, ..HealthReport::default() };
        assert!(reason(&health).contains("quorum.voters"));
    }
}
