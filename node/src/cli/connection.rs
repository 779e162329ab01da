//! The way of a command to the cluster: where nodes are, and with which certificate.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command};
use millstream_actors::client::{Client, ClientSettings};

use millstream_transport::peer::Mtu;
use millstream_transport::world::Clock;

use super::{Failure, folder_argument, quantity};
use crate::certificates::{CertificateFolder, LOCAL_CLIENT};

/// As nodes have it by default; a path that carries less is found and used at what it carries.
const LARGEST_PACKET_BYTES: u16 = 16_384;

/// Adds what every command that speaks to a cluster takes.
pub(super) fn arguments(command: Command) -> Command {
    command
        .arg(
            Arg::new("bootstrap")
                .long("bootstrap")
                .value_name("HOST:PORT,...")
                .env("MILLSTREAM_BOOTSTRAP")
                .value_delimiter(',')
                .default_value("127.0.0.1:9092")
                .global(true)
                .help("Nodes to ask first (QUIC); one that answers is enough"),
        )
        .arg(folder_argument().env("MILLSTREAM_CERTS").global(true))
        .arg(
            Arg::new("client")
                .long("client")
                .value_name("NAME")
                .env("MILLSTREAM_CLIENT")
                .default_value(LOCAL_CLIENT)
                .global(true)
                .help("Whose certificate in that folder: client-NAME.pem, client-NAME.key"),
        )
        .arg(
            Arg::new("within")
                .long("within")
                .value_name("TIME")
                .value_parser(quantity::duration)
                .default_value("15s")
                .global(true)
                .help("How long to try while the cluster does not answer, or does not do it"),
        )
}

/// Runs `act` with a client of the cluster that the arguments name.
pub(super) fn with_client(
    matches: &ArgMatches,
    act: impl AsyncFnOnce(Client) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let done = runtime.block_on(async {
        let client = open(matches).await?;
        let done = act(client.clone()).await;
        client.close().await;
        done
    });
    // A read of standard input that still waits must not hold up the end.
    runtime.shutdown_background();
    done
}

/// Now, in milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    Clock::real().wall_ms()
}

fn settings(matches: &ArgMatches) -> ClientSettings {
    let bootstrap = matches.get_many::<String>("bootstrap").into_iter().flatten();
    let mut settings = ClientSettings::new(bootstrap.map(String::as_str).map(str::trim));
    settings.mtu = Mtu::UpTo(LARGEST_PACKET_BYTES);
    settings.client_id = format!("millstream-{}", std::process::id());
    if let Some(within) = matches.get_one::<Duration>("within") {
        settings.api_timeout = *within;
        settings.request_timeout = settings.request_timeout.min(*within);
    }
    settings
}

/// A client, once a node has answered it.
pub(super) async fn open(matches: &ArgMatches) -> Result<Client, Failure> {
    let folder = matches.get_one::<PathBuf>("folder").cloned().unwrap_or_default();
    let name = matches.get_one::<String>("client").map_or(LOCAL_CLIENT, String::as_str);
    let credentials = CertificateFolder::new(&folder).client(name)?;
    let settings = settings(matches);
    let nodes = settings.bootstrap.join(", ");
    let no_answer = |error| {
        format!(
            "no node answered at {nodes}: {error}. Is it running, and are the certificates in {} its cluster's?",
            folder.display()
        )
    };
    Ok(Client::connect(credentials, settings).await.map_err(no_answer)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> ArgMatches {
        arguments_of().try_get_matches_from(arguments).unwrap()
    }

    fn arguments_of() -> Command {
        arguments(Command::new("topic")).subcommand(Command::new("list"))
    }

    #[test]
    fn nodes_and_times_may_stand_before_and_behind_the_subcommand() {
        for line in [
            ["topic", "--bootstrap", "a:1,b:2", "--within", "3s", "list"],
            ["topic", "list", "--bootstrap", "a:1,b:2", "--within", "3s"],
        ] {
            let matches = parsed(&line);
            let settings = settings(matches.subcommand_matches("list").unwrap());
            assert_eq!(settings.bootstrap, ["a:1", "b:2"]);
            assert_eq!(settings.api_timeout, Duration::from_secs(3));
            assert_eq!(settings.request_timeout, Duration::from_secs(3));
        }
    }

    #[test]
    fn a_time_without_sense_is_refused() {
        let error = arguments_of().try_get_matches_from(["topic", "list", "--within", "soon"]).unwrap_err();
        assert!(error.to_string().contains("soon is not a time"), "{error}");
    }
}
