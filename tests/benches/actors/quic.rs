//! The bare round trip: one QUIC connection over loopback, one stream, as many bytes there as back, nothing else.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc;

use millstream_tests::Outcome;
use rustls::RootCertStore;
use rustls::pki_types::PrivatePkcs8KeyDer;

use super::{How, Trips};

/// Times round trips to an endpoint on a thread of its own.
pub(crate) async fn round_trips(how: How) -> Outcome<Trips> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let server = quinn::ServerConfig::with_single_cert(vec![certificate.clone()], key.into())?;
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(echo(server, how.bytes, tell))
    });
    let address = told.recv()?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let client = quinn::ClientConfig::with_root_certificates(Arc::new(roots))?;
    let mut endpoint = quinn::Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    endpoint.set_default_client_config(client);
    let connection = endpoint.connect(address, "localhost")?.await?;
    let (mut send, mut receive) = connection.open_bi().await?;
    let (message, mut answer) = (vec![7; how.bytes], vec![0; how.bytes]);
    let trips = Trips::of(how.time, async || {
        send.write_all(&message).await?;
        receive.read_exact(&mut answer).await?;
        Ok(())
    });
    let trips = trips.await?;
    connection.close(0_u32.into(), b"done");
    endpoint.wait_idle().await;
    Ok(trips)
}

/// Sends back what comes, until the connection ends.
async fn echo(server: quinn::ServerConfig, bytes: usize, tell: mpsc::Sender<SocketAddr>) -> Outcome {
    let endpoint = quinn::Endpoint::server(server, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    tell.send(endpoint.local_addr()?)?;
    let connection = endpoint.accept().await.ok_or("nobody came")?.await?;
    let (mut send, mut receive) = connection.accept_bi().await?;
    let mut message = vec![0; bytes];
    while receive.read_exact(&mut message).await.is_ok() {
        send.write_all(&message).await?;
    }
    Ok(())
}
