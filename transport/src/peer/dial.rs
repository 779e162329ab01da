//! From an address to a greeted link.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::{Connection, ConnectionId, SendStream};
use tokio::time::timeout;

use super::Lane;
use super::endpoint::Shared;
use super::error::{code, explain};
use super::hello::{HELLO_BYTES, Hello, Welcome};
use super::reader::{FrameReader, ReadFailure};
use super::session::Target;
use crate::frame::{Form, Head, encode};
use crate::identity::{Holder, Identity, NodeId, client_config};
use crate::message::Message;

/// A link that both sides have greeted, on its dialling side.
#[derive(Debug)]
pub(super) struct DialledLink {
    pub(super) connection: Connection,
    pub(super) send: SendStream,
    pub(super) reader: FrameReader,
    pub(super) node: NodeId,
    pub(super) incarnation: u64,
}

/// First byte of the first connection id of a link: tells the dialled side on which thread to take it.
pub(super) fn lane_byte(lane: Lane) -> u8 {
    match lane {
        Lane::Control => b'c',
        Lane::Data => b'd',
    }
}

/// Dials a peer at every address it has now, one after the other. The error says what went wrong with each.
pub(super) async fn dial(shared: &Arc<Shared>, target: &Target, lane: Lane) -> Result<DialledLink, String> {
    shared.counters.dials.add_one();
    let dialled = dial_addresses(shared, target, lane).await;
    if let Err(reason) = &dialled {
        shared.counters.failed_dials.add_one();
        tracing::debug!(%target, ?lane, reason, "dial failed");
    }
    dialled
}

async fn dial_addresses(shared: &Arc<Shared>, target: &Target, lane: Lane) -> Result<DialledLink, String> {
    let host_port = match target {
        Target::Address(host_port) => host_port.clone(),
        Target::Node(node) => {
            shared.directory.get(*node).ok_or_else(|| format!("no address of node {node} is known"))?
        }
    };
    let limit = shared.config.limits.dial_timeout;
    let addresses = match timeout(limit, shared.wire.resolve(&host_port)).await {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err(format!("{host_port} could not be resolved within {limit:?}")),
    };
    let mut failures = Vec::new();
    for address in addresses {
        let greeted = timeout(limit, greet(shared, target, lane, address)).await;
        match greeted.unwrap_or_else(|_| Err(format!("no answer within {limit:?}"))) {
            Ok(link) => return Ok(link),
            Err(reason) => failures.push(format!("{address}: {reason}")),
        }
    }
    Err(failures.join("; "))
}

/// Connects to one address and exchanges greetings.
async fn greet(
    shared: &Arc<Shared>,
    target: &Target,
    lane: Lane,
    address: SocketAddr,
) -> Result<DialledLink, String> {
    let config = quic_config(shared, target, lane)?;
    // The name goes nowhere: it is neither sent nor checked, the certificate's own is.
    let connecting =
        shared.quic.connect_with(config, address, "millstream").map_err(|error| error.to_string())?;
    let connection = connecting.await.map_err(|error| explain(&error))?;
    let greeted = exchange(shared, lane, &connection).await;
    let refused = |reason: String| connection.close_reason().map_or(reason, |error| explain(&error));
    let (send, reader, welcome) = greeted.map_err(refused)?;
    let node = certified_node(&connection)?;
    if node != welcome.node {
        let reason = format!("it says that it is node {}, its certificate is of node {node}", welcome.node);
        connection.close(code::REFUSED, reason.as_bytes());
        return Err(reason);
    }
    Ok(DialledLink { connection, send, reader, node, incarnation: welcome.incarnation })
}

fn quic_config(shared: &Arc<Shared>, target: &Target, lane: Lane) -> Result<quinn::ClientConfig, String> {
    let expected = match target {
        Target::Node(node) => Some(*node),
        Target::Address(_) => None,
    };
    let tls = client_config(&shared.config.credentials, &shared.world.clock, expected)
        .map_err(|error| error.to_string())?;
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).map_err(|error| error.to_string())?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::clone(shared.dialling(lane)));
    let random = shared.world.random.clone();
    config.initial_dst_cid_provider(Arc::new(move || {
        let mut id = [0; 16];
        let (low, high) = (random.next_u64().to_le_bytes(), random.next_u64().to_le_bytes());
        for (byte, random) in id.iter_mut().zip(low.into_iter().chain(high)) {
            *byte = random;
        }
        id[0] = lane_byte(lane);
        ConnectionId::new(&id)
    }));
    Ok(config)
}

/// Opens the stream of requests with a greeting and reads the other side's.
async fn exchange(
    shared: &Arc<Shared>,
    lane: Lane,
    connection: &Connection,
) -> Result<(SendStream, FrameReader, Welcome), String> {
    let (mut send, receive) = connection.open_bi().await.map_err(|error| explain(&error))?;
    let head = Head { form: Form::Request, kind: Hello::KIND, version: Hello::VERSION, correlation: 0 };
    let hello = Hello::new(lane, shared.config.incarnation);
    let mut encoded = encode(head, &hello, Vec::new(), HELLO_BYTES).map_err(|error| error.to_string())?;
    send.write_all_chunks(&mut encoded.chunks).await.map_err(|error| error.to_string())?;
    let mut reader = FrameReader::new(receive, HELLO_BYTES, Arc::clone(&shared.counters));
    let frame = match reader.next().await {
        Ok(Some(frame)) => frame,
        Ok(None) => return Err("it ended the link without a greeting".into()),
        Err(ReadFailure::Garbage(error)) => {
            return Err(format!("it does not speak Millstream's protocol: {error}"));
        }
        Err(failure) => return Err(failure.to_string()),
    };
    let welcome = frame.decode_answer::<Hello>().map_err(|error| error.to_string())?;
    reader.set_limit(shared.config.limits.frame_bytes);
    Ok((send, reader, welcome))
}

fn certified_node(connection: &Connection) -> Result<NodeId, String> {
    match certified(connection)?.holder {
        Holder::Node(node) => Ok(node),
        holder => Err(format!("it is {holder}, not a node")),
    }
}

/// What the other side's certificate says. The handshake has checked it.
pub(super) fn certified(connection: &Connection) -> Result<Identity, String> {
    let shown = connection
        .peer_identity()
        .and_then(|chain| chain.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>().ok());
    let first = shown.as_ref().and_then(|chain| chain.first()).ok_or("no certificate was shown")?;
    Identity::of(first).map_err(|error| error.to_string())
}
