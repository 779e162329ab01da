//! The dialled side: takes links, asks who it is, reads requests, sends answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quinn::{Connection, ConnectionError, Incoming, RecvStream, SendStream};
use tokio::time::timeout;

use super::answers::Answers;
use super::dial::{certified, lane_byte};
use super::endpoint::Shared;
use super::error::{code, end, explain, is_goodbye};
use super::handlers::{Request, Responder, Service};
use super::hello::{HELLO_BYTES, Hello, Welcome};
use super::links::{Direction, LinkChange, LinkEvent};
use super::reader::{FrameReader, ReadFailure};
use super::stream::ChannelOffer;
use super::{Caller, Lane};
use crate::frame::{Form, Head, encode};
use crate::identity::{Holder, NodeId};

/// Counts the links that have not said who they are yet, and bounds them.
#[derive(Debug)]
pub(super) struct Strangers {
    most: usize,
    now: Arc<AtomicUsize>,
}

/// A stranger's place; free again when dropped.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Strangers {
    pub(super) fn new(most: usize) -> Self {
        Self { most, now: Arc::default() }
    }

    /// A place, and whether it is so crowded that addresses should prove themselves. Only one thread takes places.
    fn admit(&self) -> Option<(Place, bool)> {
        let before = self.now.load(Ordering::Acquire);
        if before >= self.most {
            return None;
        }
        self.now.fetch_add(1, Ordering::AcqRel);
        Some((Place(Arc::clone(&self.now)), before >= self.most / 2))
    }
}

/// Takes links until the endpoint closes.
pub(super) async fn take_links(
    shared: Arc<Shared>,
    servers: [Arc<quinn::ServerConfig>; 2],
    service: Arc<dyn Service>,
) {
    let [control, data] = servers;
    while let Some(incoming) = shared.quic.accept().await {
        let Some((place, crowded)) = shared.strangers.admit() else {
            shared.counters.refused_strangers.add_one();
            incoming.refuse();
            continue;
        };
        if crowded && !incoming.remote_address_validated() {
            // The answer to a retry comes as a new link.
            let _ = incoming.retry();
            continue;
        }
        let is_control = incoming.orig_dst_cid().first() == Some(&lane_byte(Lane::Control));
        let (lane, config) = if is_control { (Lane::Control, &control) } else { (Lane::Data, &data) };
        let (config, service) = (Arc::clone(config), Arc::clone(&service));
        let served = Arc::clone(&shared);
        // Taken on the lane's own thread: QUIC's part of the link then runs there too.
        shared.spawn(lane, shared.next_core(), move || serve(served, incoming, config, place, lane, service));
    }
}

/// One link, from its first packet to its end.
async fn serve(
    shared: Arc<Shared>,
    incoming: Incoming,
    config: Arc<quinn::ServerConfig>,
    place: Place,
    lane: Lane,
    service: Arc<dyn Service>,
) {
    let address = incoming.remote_address();
    let limit = shared.config.limits.hello_timeout;
    let mut half_open = None;
    let greeted = timeout(limit, welcome(&shared, incoming, config, lane, &mut half_open)).await;
    drop(place);
    match greeted {
        Ok(Ok(link)) => Box::pin(live(&shared, link, &service)).await,
        Ok(Err(reason)) => {
            shared.counters.refused_links.add_one();
            tracing::warn!(%address, reason, "link refused");
        }
        Err(_) => {
            shared.counters.cut_half_open.add_one();
            tracing::warn!(%address, ?limit, "link cut: it did not say who it is");
            if let Some(connection) = half_open {
                connection.close(code::HALF_OPEN, b"no greeting came in time");
            }
        }
    }
}

/// A link that both sides have greeted, on its dialled side.
struct AcceptedLink {
    connection: Connection,
    send: SendStream,
    reader: FrameReader,
    caller: Caller,
}

/// Completes the handshake and answers the greeting. The error is for this side's log; the other side was told.
async fn welcome(
    shared: &Arc<Shared>,
    incoming: Incoming,
    config: Arc<quinn::ServerConfig>,
    lane: Lane,
    half_open: &mut Option<Connection>,
) -> Result<AcceptedLink, String> {
    let connecting = incoming.accept_with(config).map_err(|error| explain(&error))?;
    let connection = half_open.insert(connecting.await.map_err(|error| explain(&error))?);
    let refuse = |reason: String| {
        connection.close(code::REFUSED, reason.as_bytes());
        reason
    };
    let identity = certified(connection).map_err(refuse)?;
    let (send, receive) = connection.accept_bi().await.map_err(|error| explain(&error))?;
    let mut reader = FrameReader::new(receive, HELLO_BYTES, Arc::clone(&shared.counters));
    let (hello, head) = read_hello(&mut reader).await.map_err(refuse)?;
    let protocol = hello.agree().map_err(refuse)?;
    if hello.lane != lane {
        return Err(refuse(format!(
            "the greeting is for the {:?} lane on a link of the {lane:?} lane",
            hello.lane
        )));
    }
    reader.set_limit(shared.config.limits.frame_bytes);
    let (node, client) = match identity.holder {
        Holder::Node(node) => (Some(node), None),
        Holder::Client(name) => (None, Some(Arc::from(name))),
        Holder::Authority => return Err(refuse("an authority's certificate opens no link".into())),
    };
    if node.is_none() {
        reader.bound_by(shared.config.intake.clone());
    }
    let address = connection.remote_address();
    let caller = Caller { node, client, incarnation: hello.incarnation, address, lane };
    let mut link = AcceptedLink { connection: connection.clone(), send, reader, caller };
    answer_hello(shared, &mut link.send, head, protocol).await?;
    Ok(link)
}

async fn read_hello(reader: &mut FrameReader) -> Result<(Hello, Head), String> {
    let frame = match reader.next().await {
        Ok(Some(frame)) if frame.head.form == Form::Request => frame,
        Ok(Some(frame)) => {
            return Err(format!("a frame of form {:?} instead of a greeting", frame.head.form));
        }
        Ok(None) => return Err("no greeting".into()),
        Err(failure) => return Err(format!("no greeting: {failure}")),
    };
    let head = frame.head;
    let hello = frame.decode::<Hello>().map_err(|error| format!("no greeting: {error}"))?;
    Ok((hello, head))
}

async fn answer_hello(
    shared: &Shared,
    send: &mut SendStream,
    head: Head,
    protocol: u16,
) -> Result<(), String> {
    let Holder::Node(node) = shared.config.credentials.identity().holder else {
        return Err("only a node takes links".into());
    };
    let welcome = Welcome { protocol, node, incarnation: shared.config.incarnation };
    let head = Head { form: Form::Answer, ..head };
    let mut encoded = encode(head, &welcome, Vec::new(), HELLO_BYTES).map_err(|error| error.to_string())?;
    send.write_all_chunks(&mut encoded.chunks).await.map_err(|error| error.to_string())
}

/// A link from its greeting to its end.
async fn live(shared: &Arc<Shared>, link: AcceptedLink, service: &Arc<dyn Service>) {
    let AcceptedLink { connection, mut send, mut reader, caller } = link;
    shared.counters.links_up.add_one();
    if let Some(node) = caller.node {
        shared.links.up(node, caller.incarnation, caller.lane, Direction::Accepted);
    }
    let answers = Arc::new(Answers::new(shared.config.limits));
    let guard = EndOfLink { shared, connection: &connection, caller: &caller, answers: &answers };
    tokio::select! {
        biased;
        () = shared.closing.heard() => connection.close(code::GOODBYE, b"goodbye"),
        _ = connection.closed() => {}
        failure = read_requests(shared, &answers, &caller, &mut reader, service) => {
            end_after(shared, &connection, &caller, &failure);
        }
        () = write_answers(shared, &answers, &mut send, &caller) => {}
        () = take_channels(shared, &connection, &caller, service) => {}
    }
    drop(guard);
}

/// Ends a link whose stream of requests ended.
fn end_after(shared: &Shared, connection: &Connection, caller: &Caller, failure: &Failure) {
    let (code, reason) = match failure {
        Failure::Finished => (code::CUT, "the stream of requests ended".to_owned()),
        Failure::Form(form) => (code::GARBAGE, format!("a frame of form {form:?} on the stream of requests")),
        Failure::Read(failure) => (failure.close_code(), failure.to_string()),
    };
    if code == code::GARBAGE {
        shared.counters.cut_garbage.add_one();
        tracing::warn!(%caller, reason, "link cut: what came over it is garbage");
    }
    connection.close(code, reason.as_bytes());
}

/// Why no more requests are read.
enum Failure {
    Finished,
    Form(Form),
    Read(ReadFailure),
}

/// Reads requests while there is room for their answers, and gives them to the service.
async fn read_requests(
    shared: &Shared,
    answers: &Arc<Answers>,
    caller: &Caller,
    reader: &mut FrameReader,
    service: &Arc<dyn Service>,
) -> Failure {
    let limit = shared.config.limits.frame_bytes;
    loop {
        answers.room().await;
        let frame = match reader.next().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return Failure::Finished,
            Err(failure) => return Failure::Read(failure),
        };
        match frame.head.form {
            Form::Request => shared.counters.requests.add_one(),
            Form::OneWay => shared.counters.tells.add_one(),
            form => return Failure::Form(form),
        }
        // Only raw bodies are kept as they came; of others what was read of them is left, which is bounded where it is kept.
        let (kept, given_back) = match reader.place(&frame).await {
            held if frame.bodies.is_empty() => (None, held),
            held => (held, None),
        };
        let counters = Arc::clone(&shared.counters);
        let place = (frame.bytes(), kept);
        let responder = Responder::new(Arc::clone(answers), counters, frame.head, place, limit);
        service.request(caller, Request { frame, responder });
        drop(given_back);
        tokio::task::coop::consume_budget().await;
    }
}

/// Sends answers as they come, many in one write; returns when the stream takes no more, or its reader has to go.
async fn write_answers(shared: &Shared, answers: &Answers, send: &mut SendStream, caller: &Caller) {
    let shortage = caller.node.is_none().then_some(&shared.config.shortage);
    loop {
        let (mut chunks, bytes) = answers.next_batch().await;
        let writing = send.write_all_chunks(&mut chunks);
        let written = match shortage {
            Some(shortage) => shortage.bounds(bytes, writing).await,
            None => Some(writing.await),
        };
        match written {
            Some(Ok(())) => {}
            Some(Err(_)) => return,
            None => {
                shared.counters.cut_slow.add_one();
                tracing::warn!(%caller, bytes, "link cut: memory is short, and its answers were not taken");
                return;
            }
        }
        shared.counters.sent_bytes.add(bytes);
    }
}

/// Takes channels; each is greeted by a task of its own, so that a slow one holds nobody up.
async fn take_channels(
    shared: &Arc<Shared>,
    connection: &Connection,
    caller: &Caller,
    service: &Arc<dyn Service>,
) {
    while let Ok((send, receive)) = connection.accept_bi().await {
        let (shared, caller, service) = (Arc::clone(shared), caller.clone(), Arc::clone(service));
        tokio::spawn(async move {
            let limit = shared.config.limits.hello_timeout;
            if timeout(limit, take_channel(&shared, &caller, &service, send, receive)).await.is_err() {
                shared.counters.cut_half_open.add_one();
                tracing::warn!(%caller, ?limit, "channel cut: it did not say what it is for");
            }
        });
    }
}

async fn take_channel(
    shared: &Shared,
    caller: &Caller,
    service: &Arc<dyn Service>,
    stream: SendStream,
    receive: RecvStream,
) {
    let limit = shared.config.limits.frame_bytes;
    let counters = Arc::clone(&shared.counters);
    let mut reader = FrameReader::new(receive, limit, Arc::clone(&counters));
    if caller.node.is_none() {
        reader.bound_by(shared.config.intake.clone());
    }
    match reader.next().await {
        Ok(Some(opening)) if opening.head.form == Form::Open => {
            reader.unbind();
            let offer = ChannelOffer { stream, reader, head: opening.head, limit, counters };
            service.channel(caller, opening, offer);
        }
        Ok(None) => {}
        Ok(Some(_)) | Err(ReadFailure::Garbage(_) | ReadFailure::CutShort) => {
            reader.stop();
            shared.counters.cut_garbage.add_one();
            tracing::warn!(%caller, "channel cut: it begins with garbage");
        }
        Err(ReadFailure::Slow(..) | ReadFailure::GivenUp(_) | ReadFailure::Lost(_)) => {}
    }
}

/// Tells of the link's end, whichever way it ends, the task's being dropped included.
struct EndOfLink<'a> {
    shared: &'a Arc<Shared>,
    connection: &'a Connection,
    caller: &'a Caller,
    answers: &'a Answers,
}

impl Drop for EndOfLink<'_> {
    fn drop(&mut self) {
        self.answers.close();
        let error = end(self.connection);
        self.shared.counters.links_down.add_one();
        if let Some(node) = self.caller.node {
            self.tell_of_end(node, &error);
        }
    }
}

impl EndOfLink<'_> {
    fn tell_of_end(&self, node: NodeId, error: &ConnectionError) {
        let (reason, goodbye) = (explain(error), is_goodbye(error));
        self.shared.links.tell(LinkEvent {
            node,
            incarnation: self.caller.incarnation,
            lane: self.caller.lane,
            direction: Direction::Accepted,
            change: LinkChange::Down { reason, goodbye },
        });
    }
}
