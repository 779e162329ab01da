//! TLS: certificates of both sides, and who the client is by its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_tests::Outcome;
use millstream_tests::kafka::KafkaConnection;
use millstream_tests::process::ProcessCluster;
use millstream_tests::sasl::{LoggedIn, log_in};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use super::lists::{TOPIC, create, entry};
use super::{PASSWORD, make_user, topics};
use crate::{PROGRAM, expect, make_topic};
use millstream_tests::until;

/// The name in the node's certificate.
const NAME: &str = "kafka.example";

/// An authority, a node's certificate with its key behind it, and a client's.
struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn make() -> Outcome<Self> {
        let directory = tempfile::tempdir()?;
        let files = Self { directory };
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key)?;
        fs::write(files.path("authority.pem"), authority.pem())?;
        let issuer = Issuer::new(params, key);
        files.issue(&issuer, "node", &[(DnType::CommonName, NAME)])?;
        let alice = [
            (DnType::CountryName, "DE"),
            (DnType::OrganizationName, "Flights, Inc."),
            (DnType::CommonName, "alice"),
        ];
        files.issue(&issuer, "alice", &alice)?;
        files.issue(&issuer, "stranger", &[(DnType::OrganizationName, "Nobody")])?;
        Ok(files)
    }

    fn issue(&self, issuer: &Issuer<'_, KeyPair>, name: &str, subject: &[(DnType, &str)]) -> Outcome {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![NAME.to_owned()])?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in subject {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let certificate = params.signed_by(&key, issuer)?;
        fs::write(self.path(&format!("{name}.pem")), certificate.pem() + &key.serialize_pem())?;
        Ok(fs::write(self.path(&format!("{name}.key")), key.serialize_pem())?)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// A connection over TLS, with the certificate of this name if there is one; an error if the handshake fails.
    async fn connect(
        &self,
        cluster: &ProcessCluster,
        number: u32,
        shown: Option<&str>,
    ) -> Outcome<KafkaConnection> {
        self.shake(TcpStream::connect(cluster.extra(1, number)).await?, shown).await
    }

    /// The same over a stream that is there.
    async fn shake(&self, stream: TcpStream, shown: Option<&str>) -> Outcome<KafkaConnection> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(&self.path("authority.pem"))?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let config = match shown {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let path = self.path(&format!("{name}.pem"));
                let key = PrivateKeyDer::from_pem_file(&path)?;
                builder.with_client_auth_cert(vec![certificate(&path)?], key)?
            }
        };
        let name = ServerName::try_from(NAME)?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        Ok(KafkaConnection::over(stream))
    }
}

fn certificate(path: &Path) -> Outcome<CertificateDer<'static>> {
    Ok(CertificateDer::from_pem_file(path)?)
}

#[tokio::test]
async fn a_certificate_says_who_a_client_is_and_without_one_nobody_is_let_in() {
    let files = Files::make().unwrap();
    let (node, authority) = (files.text("node.pem"), files.text("authority.pem"));
    let settings = [
        ("listeners", "OPEN://{extra0},SSL://{extra1},SASL_SSL://{extra2}"),
        ("listener.security.protocol.map", "OPEN:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL"),
        ("ssl.keystore.location", &node),
        ("ssl.truststore.location", &authority),
        ("ssl.client.auth", "required"),
        ("ssl.principal.mapping.rules", r"RULE:^CN=(.*?),O=Flights\\, Inc.,C=DE$/$1/"),
        ("authorizer.class.name", "acl"),
        ("super.users", "User:ANONYMOUS"),
    ];
    ProcessCluster::run(PROGRAM, 1, &settings, async |cluster| {
        let mut admin = KafkaConnection::open(cluster.extra(1, 0)).await?;
        make_topic(&mut admin, "flights").await?;
        let mut alice = files.connect(cluster, 1, Some("alice")).await?;
        expect("alice by her certificate", topics(&mut alice).await?, vec![])?;
        create(&mut admin, vec![entry(TOPIC, "flights", 8)]).await?;
        until("alice may", async || Ok((topics(&mut alice).await? == ["flights"]).then_some(()))).await?;
        for shown in [None, Some("stranger")] {
            let connected = async {
                let mut connection = files.connect(cluster, 1, shown).await?;
                topics(&mut connection).await
            };
            if let Ok(told) = connected.await {
                return Err(format!("{shown:?} is let in, and told {told:?}").into());
            }
        }
        let mut plain = KafkaConnection::open(cluster.extra(1, 1)).await?;
        if topics(&mut plain).await.is_ok() {
            return Err("somebody without TLS is let in".into());
        }
        make_user(cluster, "alice").await?;
        let mut user = files.connect(cluster, 2, None).await?;
        let told = log_in(&mut user, "SCRAM-SHA-512", ("alice", PASSWORD)).await?;
        expect("a login over TLS", told, LoggedIn { error_code: 0, lifetime_ms: 0 })?;
        expect("the same alice", topics(&mut user).await?, vec!["flights".to_owned()])
    })
    .await;
}

#[tokio::test]
async fn who_shows_no_certificate_where_one_is_only_requested_is_anonymous() {
    let files = Files::make().unwrap();
    let (node, key, authority) =
        (files.text("node.pem"), files.text("node.key"), files.text("authority.pem"));
    let settings = [
        ("listeners", "SSL://{extra0}"),
        ("ssl.keystore.location", node.as_str()),
        ("ssl.key.location", &key),
        ("ssl.truststore.location", &authority),
        ("ssl.client.auth", "requested"),
        ("authorizer.class.name", "acl"),
        ("super.users", "User:CN=alice,O=Flights\\, Inc.,C=DE"),
    ];
    ProcessCluster::run(PROGRAM, 1, &settings, async |cluster| {
        let mut alice = files.connect(cluster, 0, Some("alice")).await?;
        make_topic(&mut alice, "flights").await?;
        let mut anonymous = files.connect(cluster, 0, None).await?;
        expect("anonymous", topics(&mut anonymous).await?, vec![])
    })
    .await;
}

/// A stream on which the handshake begins and does not go on.
async fn half_open(cluster: &ProcessCluster) -> Outcome<TcpStream> {
    let mut stream = TcpStream::connect(cluster.extra(1, 0)).await?;
    // The first byte of a record of TLS, which may be missing where the node has refused it already.
    let _ = stream.write_all(&[0x16]).await;
    Ok(stream)
}

#[tokio::test]
async fn handshakes_that_are_left_half_open_harm_nobody_and_end_by_themselves() {
    let files = Files::make().unwrap();
    let node = files.text("node.pem");
    let settings = [
        ("listeners", "SSL://{extra0},USERS://{extra1}"),
        ("listener.security.protocol.map", "SSL:SSL,USERS:SASL_PLAINTEXT"),
        ("ssl.keystore.location", node.as_str()),
        ("sasl.enabled.mechanisms", "SCRAM-SHA-512"),
        // Handshakes have less.
        ("connections.authentication.timeout.ms", "600000"),
    ];
    ProcessCluster::run(PROGRAM, 1, &settings, async |cluster| {
        make_user(cluster, "alice").await?;
        let mut inside = files.connect(cluster, 0, None).await?;
        let mut left = Vec::new();
        // More than there may be from one address.
        for _ in 0..150 {
            left.push(half_open(cluster).await?);
        }
        expect("who is in", topics(&mut inside).await?, vec![])?;
        let mut user = KafkaConnection::open(cluster.extra(1, 1)).await?;
        let told = log_in(&mut user, "SCRAM-SHA-512", ("alice", PASSWORD)).await?;
        expect("who logs in from the same address", told.error_code, 0)?;
        let socket = TcpSocket::new_v4()?;
        socket.bind("127.0.0.2:0".parse()?)?;
        let stream = socket.connect(cluster.extra(1, 0)).await?;
        let mut other = files.shake(stream, None).await?;
        expect("who comes from another address", topics(&mut other).await?, vec![])?;
        for stream in &mut left {
            // The node ends it, in whatever way.
            while stream.read(&mut [0; 64]).await.is_ok_and(|bytes| bytes > 0) {}
        }
        until("a place from the same address", async || Ok(files.connect(cluster, 0, None).await.ok()))
            .await?;
        expect("who was in", topics(&mut inside).await?, vec![])
    })
    .await;
}
