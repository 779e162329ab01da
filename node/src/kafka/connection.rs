//! One connection of a client: an actor on one core's thread.
//!
//! Requests are read while there is room for their answers, carried out as they come, and answered in their order. What
//! is not written yet, and what waits, is bounded: a client that does not read its answers is not read either.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, StreamHandler};
use bytes::{Buf, Bytes};
use millstream_transport::intake::{Held, Shortage, patience};
use millstream_transport::kafka::Encoded;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use super::dispatch::dispatch;
use super::frames::{FrameFailure, FrameReader};
use super::places::Place;
use super::service::Service;
use super::session::Session;

/// Requests of one connection that wait for their answers: each may bring a whole fetch with it.
const WAITING_MAX: usize = 32;

/// Bytes of requests that wait, and of answers that are not written yet.
const UNDER_WAY_BYTES: usize = 8 << 20;

/// A client that takes no byte of an answer for so long is disconnected.
const WRITE_WITHIN: Duration = Duration::from_secs(60);

/// Slices of one vectored write.
const SLICES_MAX: usize = 64;

/// What happened to a request.
#[derive(Debug)]
pub(super) enum Outcome {
    /// This is its answer.
    Answer(Encoded),
    /// This is its answer, and the last of its connection.
    Last(Encoded, String),
    /// It has none.
    Nothing,
    /// The connection cannot go on.
    End(String),
}

/// A request was carried out.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Answered {
    pub(super) slot: u64,
    pub(super) outcome: Outcome,
}

/// The actor.
#[derive(Debug)]
pub(super) struct Connection {
    service: Arc<Service>,
    session: Arc<Session>,
    peer: SocketAddr,
    /// The outcomes of requests that have come and were not passed on, in order.
    slots: VecDeque<Slot>,
    /// The number of the first of them.
    first: u64,
    room: Rc<Room>,
    to_writer: mpsc::UnboundedSender<Encoded>,
    /// No more requests come: it ends when all are answered.
    last: bool,
}

#[derive(Debug)]
struct Slot {
    request_bytes: usize,
    outcome: Option<Outcome>,
}

/// How much is under way.
#[derive(Debug, Default)]
struct Room {
    waiting: Cell<usize>,
    bytes: Cell<usize>,
    freed: Notify,
}

impl Room {
    async fn free(&self) {
        while self.waiting.get() >= WAITING_MAX || self.bytes.get() >= UNDER_WAY_BYTES {
            self.freed.notified().await;
        }
    }

    fn take(&self, requests: usize, bytes: usize) {
        self.waiting.set(self.waiting.get() + requests);
        self.bytes.set(self.bytes.get() + bytes);
    }

    fn give_back(&self, requests: usize, bytes: usize) {
        self.waiting.set(self.waiting.get().saturating_sub(requests));
        self.bytes.set(self.bytes.get().saturating_sub(bytes));
        self.freed.notify_one();
    }
}

/// Serves a stream of bytes on this core, until it ends or the listener does. `place` is given back then.
pub(super) fn serve<R, W>(
    service: Arc<Service>,
    session: Arc<Session>,
    peer: SocketAddr,
    (reader, write): (FrameReader<R>, W),
    (place, mut closing): (Place, watch::Receiver<()>),
) where
    R: AsyncRead + Unpin + 'static,
    W: AsyncWrite + Unpin + 'static,
{
    let (to_writer, written) = mpsc::unbounded_channel();
    let room = Rc::new(Room::default());
    let frames = frames(&service, reader, Rc::clone(&room));
    let shortage = service.shortage.clone();
    let connection = Connection::create(|context| {
        context.add_stream(frames);
        Connection {
            service,
            session,
            peer,
            slots: VecDeque::new(),
            first: 0,
            room: Rc::clone(&room),
            to_writer,
            last: false,
        }
    });
    actix_rt::spawn(async move {
        tokio::select! {
            biased;
            // It never changes: this is the listener's end.
            _ = closing.changed() => {}
            written = write_answers(write, written, &room, &shortage) => {
                if let Err(error) = written {
                    tracing::debug!(%peer, %error, "a client took no more answers");
                }
            }
        }
        connection.do_send(Written);
        // Only now the socket is closed.
        drop(place);
    });
}

/// The requests of a connection, as many as there is room for.
fn frames<R: AsyncRead + Unpin + 'static>(
    service: &Service,
    reader: FrameReader<R>,
    room: Rc<Room>,
) -> impl futures::Stream<Item = Result<(Bytes, Held), Ending>> + 'static {
    let idle = service.limits.idle;
    futures::stream::unfold(Some((reader, room)), move |open| async move {
        let (mut reader, room) = open?;
        room.free().await;
        match next_unless_idle(&mut reader, &room, idle).await {
            Ok(Some(frame)) => Some((Ok(frame), Some((reader, room)))),
            Ok(None) => None,
            Err(ending) => Some((Err(ending), None)),
        }
    })
}

/// Why a connection is ended by this side.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ending {
    #[error("{0}")]
    Frame(#[from] FrameFailure),
    #[error("nothing came for {0:?} (connections.max.idle.ms)")]
    Idle(Duration),
}

async fn next_unless_idle<R: AsyncRead + Unpin>(
    reader: &mut FrameReader<R>,
    room: &Room,
    idle: Duration,
) -> Result<Option<(Bytes, Held)>, Ending> {
    let mut next = std::pin::pin!(reader.next());
    loop {
        match tokio::time::timeout(idle, &mut next).await {
            Ok(next) => return Ok(next?),
            // One that waits for an answer is not idle.
            Err(_) if room.waiting.get() > 0 => {}
            Err(_) => return Err(Ending::Idle(idle)),
        }
    }
}

impl Connection {
    /// Passes on what is answered, in order.
    fn pass_on(&mut self, context: &mut Context<Self>) {
        while let Some(outcome) = self.slots.front_mut().and_then(|slot| slot.outcome.take()) {
            let bytes = self.slots.pop_front().map_or(0, |slot| slot.request_bytes);
            self.first += 1;
            match outcome {
                Outcome::Answer(encoded) => {
                    // A writer that has ended says so.
                    let _ = self.to_writer.send(encoded);
                }
                Outcome::Last(encoded, reason) => {
                    tracing::warn!(peer = %self.peer, reason, "connection of a client ended with an answer");
                    // As above: it is written before the writer ends.
                    let _ = self.to_writer.send(encoded);
                    return context.stop();
                }
                Outcome::Nothing => {}
                Outcome::End(reason) => {
                    tracing::warn!(peer = %self.peer, reason, "connection of a client ended");
                    return context.stop();
                }
            }
            self.room.give_back(1, bytes);
        }
        if self.last && self.slots.is_empty() {
            context.stop();
        }
    }
}

impl Actor for Connection {
    type Context = Context<Self>;
}

impl StreamHandler<Result<(Bytes, Held), Ending>> for Connection {
    fn handle(&mut self, frame: Result<(Bytes, Held), Ending>, context: &mut Context<Self>) {
        let (frame, held) = match frame {
            Ok(frame) => frame,
            Err(ending) => {
                tracing::info!(peer = %self.peer, %ending, "connection of a client ended");
                return context.stop();
            }
        };
        let slot = self.first + u64::try_from(self.slots.len()).unwrap_or(u64::MAX);
        self.slots.push_back(Slot { request_bytes: frame.len(), outcome: None });
        self.room.take(1, frame.len());
        dispatch((&self.service, &self.session), self.peer.ip(), (frame, held), (context.address(), slot));
    }

    fn finished(&mut self, context: &mut Context<Self>) {
        self.last = true;
        self.pass_on(context);
    }
}

impl Handler<Answered> for Connection {
    type Result = ();

    fn handle(&mut self, answered: Answered, context: &mut Context<Self>) {
        let place = answered.slot.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        if let Some(slot) = place.and_then(|place| self.slots.get_mut(place)) {
            if let Outcome::Answer(encoded) | Outcome::Last(encoded, _) = &answered.outcome {
                self.room.take(0, encoded.bytes);
            }
            slot.outcome = Some(answered.outcome);
        }
        self.pass_on(context);
    }
}

/// The writer has ended: the client is gone.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Written;

impl Handler<Written> for Connection {
    type Result = ();

    fn handle(&mut self, _: Written, context: &mut Context<Self>) {
        context.stop();
    }
}

/// Writes answers, many in one write, until there are no more or the stream takes none.
async fn write_answers<W: AsyncWrite + Unpin>(
    mut write: W,
    mut answers: mpsc::UnboundedReceiver<Encoded>,
    room: &Room,
    shortage: &Shortage,
) -> io::Result<()> {
    let mut chunks: VecDeque<Bytes> = VecDeque::new();
    while let Some(answer) = answers.recv().await {
        let mut bytes = answer.bytes;
        chunks.extend(answer.chunks);
        while let Ok(more) = answers.try_recv() {
            bytes += more.bytes;
            chunks.extend(more.chunks);
        }
        write_chunks(&mut write, &mut chunks, shortage).await?;
        room.give_back(0, bytes);
    }
    write.shutdown().await
}

fn timed_out() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

/// While the node is short of memory a client must take its answers at the least rate at which requests must come.
async fn write_chunks<W: AsyncWrite + Unpin>(
    write: &mut W,
    chunks: &mut VecDeque<Bytes>,
    shortage: &Shortage,
) -> io::Result<()> {
    let (began, mut all) = (Instant::now(), 0);
    while !chunks.is_empty() {
        let slices: Vec<IoSlice<'_>> =
            chunks.iter().take(SLICES_MAX).map(|chunk| IoSlice::new(chunk)).collect();
        // One that takes nothing for so long is gone, or might as well be.
        let writing = shortage.bounds_from(began + patience(all), write.write_vectored(&slices));
        let written = tokio::time::timeout(WRITE_WITHIN, writing).await.ok().flatten();
        let mut written = written.ok_or_else(timed_out)??;
        all += written;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while let Some(first) = chunks.front_mut().filter(|_| written > 0) {
            let part = written.min(first.len());
            first.advance(part);
            written -= part;
            if first.is_empty() {
                chunks.pop_front();
            }
        }
    }
    // What TLS keeps back.
    tokio::time::timeout(WRITE_WITHIN, write.flush()).await.map_err(|_| timed_out())?
}
