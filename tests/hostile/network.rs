//! Bad input on the QUIC port, and certificates that open nothing.

use std::time::Duration;

use millstream::certificates::{CertificateFolder, LOCAL_CLIENT};
use millstream::{Client, ClientSettings, Clock, Random};
use millstream_tests::process::ProcessCluster;
use millstream_tests::{Outcome, until};
use millstream_transport::identity::Credentials;
use tokio::net::UdpSocket;

use crate::{intruder, says, survives};

#[tokio::test]
async fn garbage_datagrams_hurt_nobody() {
    survives(async |cluster| {
        let random = Random::real();
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        for number in 0..2_000_u64 {
            let length = usize::try_from(random.range(0, 1_452))?;
            let mut bytes: Vec<u8> =
                (0..length / 8 + 1).flat_map(|_| random.next_u64().to_le_bytes()).collect();
            bytes.truncate(length);
            // Some look like the first packet of a connection, of this version or of one that does not exist.
            for (place, byte) in bytes.iter_mut().zip([0xc0, 0, 0, 0, u8::try_from(number % 3)?]) {
                if number % 2 == 0 {
                    *place = byte;
                }
            }
            socket.send_to(&bytes, cluster.quic(1)).await?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn half_open_handshakes_hurt_nobody() {
    survives(async |cluster| {
        // First packets that are real, sent on from sockets that never answer.
        let trap = UdpSocket::bind("127.0.0.1:0").await?;
        let endpoint = intruder::endpoint(None)?;
        let (mut dials, mut senders) = (Vec::new(), Vec::new());
        let mut packet = vec![0; 2_000];
        for _ in 0..100 {
            dials.push(endpoint.connect(trap.local_addr()?, "x")?);
            let (length, _) = trap.recv_from(&mut packet).await?;
            let sender = UdpSocket::bind("127.0.0.1:0").await?;
            sender.send_to(packet.get(..length).ok_or("longer than it is")?, cluster.quic(1)).await?;
            senders.push(sender);
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn who_shows_no_certificate_is_refused_with_words_on_both_sides() {
    survives(async |cluster| {
        let heard = intruder::refusal(cluster.quic(1), None).await?;
        says(&heard, &["no certificates"])?;
        node_says(cluster, &["link refused", "no certificate was shown"]).await
    })
    .await;
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_with_words_on_both_sides() {
    survives(async |cluster| {
        let elsewhere = tempfile::tempdir()?;
        let folder = CertificateFolder::new(elsewhere.path());
        folder.authority(&Clock::real(), &Random::real())?;
        let stranger = folder.client(LOCAL_CLIENT)?;
        let expected = ["not signed by the authority of cluster", "millstream certs"];
        says(&refusal(cluster, stranger.clone()).await?, &expected)?;
        // One that believes the node is refused by it, and told why.
        says(&intruder::refusal(cluster.quic(1), Some(&stranger)).await?, &expected)?;
        node_says(cluster, &["link refused", expected[0], expected[1]]).await
    })
    .await;
}

/// Why a client with these credentials cannot connect.
async fn refusal(cluster: &ProcessCluster, credentials: Credentials) -> Outcome<String> {
    let mut settings = ClientSettings::new([cluster.quic(1).to_string()]);
    settings.api_timeout = Duration::from_secs(3);
    match Client::connect(credentials, settings).await {
        Ok(_) => Err("a stranger was let in".into()),
        Err(error) => Ok(error.to_string()),
    }
}

/// Waits until one line of the node's log has all these parts.
async fn node_says(cluster: &ProcessCluster, parts: &[&str]) -> Outcome {
    until(&format!("a line with {parts:?}"), async || {
        let log = cluster.log_text(1)?;
        Ok(log.lines().any(|line| parts.iter().all(|part| line.contains(part))).then_some(()))
    })
    .await
}
