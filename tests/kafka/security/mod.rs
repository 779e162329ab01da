//! Who gets in, and what may they do then?

mod denied;
mod hidden;
mod listeners;
mod lists;
mod logins;
mod probes;
mod tls;

use millstream_tests::Outcome;
use millstream_tests::kafka::KafkaConnection;
use millstream_tests::process::ProcessCluster;
use millstream_tests::sasl::{LoggedIn, log_in};
use millstream_transport::kafka::messages::metadata::{MetadataRequest, MetadataResponse};
use millstream_transport::kafka::open_response;

use crate::{METADATA, PROGRAM};

/// The password of whoever logs in.
const PASSWORD: &str = "pencil";

/// Two listeners of a node: on the first nobody says who they are, on the second they log in.
const LISTENERS: [(&str, &str); 3] = [
    ("listeners", "OPEN://{extra0},USERS://{extra1}"),
    ("listener.security.protocol.map", "OPEN:PLAINTEXT,USERS:SASL_PLAINTEXT"),
    ("sasl.enabled.mechanisms", "SCRAM-SHA-256,SCRAM-SHA-512,PLAIN"),
];

/// Runs a test with one node that has these listeners, these settings, and the user alice.
async fn with_users(settings: &[(&str, &str)], test: impl AsyncFnOnce(&ProcessCluster) -> Outcome) {
    let settings: Vec<_> = LISTENERS.iter().chain(settings).copied().collect();
    ProcessCluster::run(PROGRAM, 1, &settings, async |cluster| {
        make_user(cluster, "alice").await?;
        test(cluster).await
    })
    .await;
}

/// Makes a user as an operator does.
async fn make_user(cluster: &ProcessCluster, name: &str) -> Outcome {
    let file = cluster.data_dir(1).join("password");
    std::fs::write(&file, format!("{PASSWORD}\n"))?;
    let file = file.display().to_string();
    let node = cluster.to_node(1);
    let mut arguments = vec!["user", "set", name, "--password-file", &file];
    arguments.extend(node.iter().map(String::as_str));
    let (status, said) = cluster.run_command(1, &arguments).await?;
    if !status.success() || !said.contains("may log in with SCRAM-SHA-512") {
        return Err(format!("{status}: {said}").into());
    }
    Ok(())
}

/// A connection whose client is not asked who it is.
async fn open(cluster: &ProcessCluster) -> Outcome<KafkaConnection> {
    KafkaConnection::open(cluster.extra(1, 0)).await
}

/// A connection whose client is to log in.
async fn strange(cluster: &ProcessCluster) -> Outcome<KafkaConnection> {
    KafkaConnection::open(cluster.extra(1, 1)).await
}

/// A connection of a user.
async fn of_user(cluster: &ProcessCluster, user: &str) -> Outcome<KafkaConnection> {
    let mut connection = strange(cluster).await?;
    match log_in(&mut connection, "SCRAM-SHA-256", (user, PASSWORD)).await? {
        LoggedIn { error_code: 0, .. } => Ok(connection),
        other => Err(format!("{user} is not let in: {other:?}").into()),
    }
}

/// The names of all topics that the client is shown.
async fn topics(connection: &mut KafkaConnection) -> Outcome<Vec<String>> {
    let request = MetadataRequest { topics: None, ..Default::default() };
    let frame = connection.ask(METADATA, &request).await?;
    let (_, response) = open_response::<MetadataResponse<'_>>(&frame, METADATA)?;
    Ok(response.topics.iter().map(|topic| topic.name.unwrap_or_default().to_string()).collect())
}
