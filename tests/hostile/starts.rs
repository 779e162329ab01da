//! Nodes that must not start, and say why.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use millstream_tests::process::ProcessCluster;
use millstream_tests::{Outcome, PATIENCE};
use tokio::process::Command;

use crate::{PROGRAM, says, survives};

/// Runs the program until it ends.
async fn start(config: &Path) -> Outcome<Output> {
    let mut command = Command::new(PROGRAM);
    command.arg("--config").arg(config).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    // Held open: the program ends with it.
    let _input = child.stdin.take();
    Ok(tokio::time::timeout(PATIENCE, child.wait_with_output()).await??)
}

async fn refuses(config: &Path, parts: &[&str]) -> Outcome {
    let output = start(config).await?;
    let text = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Err(format!("it ended with success: {text}").into());
    }
    says(&text, parts)
}

#[tokio::test]
async fn a_typo_in_the_configuration_is_told_with_file_line_and_the_nearest_name() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("node.toml");
    fs::write(&file, "node.id = 3\n\nquic.lisen = \"127.0.0.1:9092\"\n").unwrap();
    let place = format!("{}:3: ", file.display());
    refuses(&file, &[&place, "there is no setting quic.lisen", "did you mean quic.listen?"]).await.unwrap();

    fs::write(&file, "node.id = 3\nlog.level = \"loud\"\n").unwrap();
    let place = format!("{}:2: ", file.display());
    refuses(&file, &[&place, "log.level = loud", "must be one of error, warn, info"]).await.unwrap();
}

#[tokio::test]
async fn a_configuration_file_that_is_not_there_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("nowhere.toml");
    refuses(&file, &["nowhere.toml", "No such file"]).await.unwrap();
}

#[tokio::test]
async fn a_data_directory_in_use_is_told_with_the_process_that_uses_it() {
    survives(async |cluster| {
        let second = second_configuration(cluster)?;
        let holder = format!("process {}", cluster.pid(1)?);
        let directory = cluster.data_dir(1).display().to_string();
        refuses(&second, &["in use", &holder, &directory]).await
    })
    .await;
}

/// The first node's configuration at other ports: the directory is all that they share.
fn second_configuration(cluster: &ProcessCluster) -> Outcome<std::path::PathBuf> {
    let first = fs::read_to_string(cluster.config_file(1))?;
    let moved = first
        .replace(&format!("quic.listen = \"{}\"", cluster.quic(1)), "quic.listen = \"127.0.0.1:0\"")
        .replace(&format!("http.listen = \"{}\"", cluster.http(1)), "http.listen = \"127.0.0.1:0\"");
    let file = cluster.config_file(1).with_file_name("second.toml");
    fs::write(&file, moved)?;
    Ok(file)
}

#[tokio::test]
async fn a_port_in_use_is_told() {
    survives(async |cluster| {
        let first = fs::read_to_string(cluster.config_file(1))?;
        let file = cluster.config_file(1).with_file_name("third.toml");
        let other = cluster.data_dir(1).with_file_name("third");
        let moved =
            first.replace(&format!("data.dir = {:?}", cluster.data_dir(1)), &format!("data.dir = {other:?}"));
        fs::write(&file, moved)?;
        refuses(&file, &[&cluster.quic(1).to_string(), "in use"]).await
    })
    .await;
}
