//! Drives the dialling side of one lane: dials when there is something to send, sends, reads answers, dials again.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, SendStream};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::sleep;

use super::Lane;
use super::dial::{DialledLink, dial};
use super::endpoint::Shared;
use super::error::{AskError, Fault, FaultCode, code, end, explain, is_goodbye};
use super::links::{Direction, LinkChange, LinkEvent};
use super::outbox::{Batch, Opened, Opening, Outbox};
use super::reader::{FrameReader, ReadFailure};
use super::session::{PeerLane, Target};
use super::stream::Channel;
use crate::frame::{Form, Frame};
use crate::identity::Holder;

/// A link that lived so long was a good one: the next dial needs not hold back.
const GOOD_LIFE: Duration = Duration::from_secs(1);

/// Runs until the endpoint closes.
pub(super) async fn drive(lane: Arc<PeerLane>) {
    let closing = lane.shared.closing.clone();
    let driven = async {
        let mut failures = 0_u32;
        loop {
            wait_for_work(&lane).await;
            let mut arrival = Box::pin(arrives(&lane));
            let started = lane.shared.world.clock.now();
            let dialled = tokio::select! {
                biased;
                dialled = dial(&lane.shared, &lane.target, lane.lane) => dialled,
                () = &mut arrival => {
                    failures = 0;
                    continue;
                }
            };
            match dialled {
                Ok(link) => {
                    Box::pin(live(&lane, link)).await;
                    arrival.set(arrives(&lane));
                }
                Err(reason) => {
                    lane.outbox.fail_all(|| AskError::Unreachable {
                        peer: lane.outbox.peer.clone(),
                        reason: reason.clone(),
                    });
                }
            }
            failures = if started.elapsed() >= GOOD_LIFE { 1 } else { failures.saturating_add(1) };
            tokio::select! {
                biased;
                () = arrival => failures = 0,
                () = back_off(&lane.shared, failures) => {}
            }
        }
    };
    tokio::select! {
        biased;
        () = closing.heard() => {}
        () = driven => {}
    }
    lane.outbox.close("this endpoint is closed");
}

async fn wait_for_work(lane: &PeerLane) {
    while !lane.outbox.has_work() && !lane.is_wanted() {
        lane.outbox.filled().await;
    }
}

/// Returns when the node has come by itself: it is there, so a dial that began before is begun anew and none is held back.
///
/// Never for this node itself: its own dials come to it.
fn arrives(lane: &PeerLane) -> impl Future<Output = ()> + use<> {
    let own = &lane.shared.config.credentials.identity().holder;
    let awaited = match lane.target {
        Target::Node(node) if *own != Holder::Node(node) => Some(node),
        Target::Node(_) | Target::Address(_) => None,
    };
    let mut news = lane.shared.links.listen();
    async move {
        while awaited.is_some() {
            match news.recv().await {
                Ok(event) if Some(event.node) == awaited && is_arrival(&event) => return,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => break,
            }
        }
        std::future::pending().await
    }
}

fn is_arrival(event: &LinkEvent) -> bool {
    event.lane == Lane::Control
        && event.direction == Direction::Accepted
        && matches!(event.change, LinkChange::Up { .. })
}

/// Waits before the next dial: longer after each failure, between half and all of it; not at all once an address changed.
async fn back_off(shared: &Shared, failures: u32) {
    let limits = &shared.config.limits;
    let doubled = limits.backoff.saturating_mul(1_u32 << failures.saturating_sub(1).min(10));
    let longest = u64::try_from(doubled.min(limits.longest_backoff).as_micros()).unwrap_or(u64::MAX);
    let pause = Duration::from_micros(shared.world.random.range(longest / 2, longest.saturating_add(1)));
    tokio::select! {
        biased;
        () = shared.directory.changed() => {}
        () = sleep(pause) => {}
    }
}

/// A link from its greeting to its end. All that was asked over it is answered or fails before this returns.
async fn live(lane: &Arc<PeerLane>, link: DialledLink) {
    let DialledLink { connection, mut send, mut reader, node, incarnation } = link;
    let shared = &lane.shared;
    shared.counters.links_up.add_one();
    shared.links.up(node, incarnation, lane.lane, Direction::Dialled);
    lane.came_up(node, incarnation);
    let guard = EndOfLink { lane, connection: &connection, node, incarnation };
    tokio::select! {
        biased;
        _ = connection.closed() => {}
        reason = lane.found_dead(&connection) => connection.close(code::CUT, reason.as_bytes()),
        failure = read_answers(&lane.outbox, shared, &mut reader) => end_after(&connection, failure),
        () = write_messages(&lane.outbox, shared, &mut send, &connection) => {}
    }
    drop(guard);
}

/// Ends a link whose stream of answers ended.
fn end_after(connection: &Connection, failure: Option<ReadFailure>) {
    match failure {
        Some(failure) => connection.close(failure.close_code(), failure.to_string().as_bytes()),
        None => connection.close(code::CUT, b"the stream of answers ended"),
    }
}

/// Tells of the link's end, whichever way it ends, the task's being dropped included.
struct EndOfLink<'a> {
    lane: &'a Arc<PeerLane>,
    connection: &'a Connection,
    node: crate::identity::NodeId,
    incarnation: u64,
}

impl Drop for EndOfLink<'_> {
    fn drop(&mut self) {
        let lane = self.lane;
        let error = end(self.connection);
        let (reason, goodbye) = (explain(&error), is_goodbye(&error));
        lane.went_down(&error);
        lane.outbox.fail_all(|| AskError::Closed { peer: lane.outbox.peer.clone(), reason: reason.clone() });
        lane.shared.counters.links_down.add_one();
        lane.shared.links.tell(LinkEvent {
            node: self.node,
            incarnation: self.incarnation,
            lane: lane.lane,
            direction: Direction::Dialled,
            change: LinkChange::Down { reason, goodbye },
        });
    }
}

/// Sends what is queued, many messages in one write; returns when the stream takes no more.
async fn write_messages(
    outbox: &Outbox,
    shared: &Arc<Shared>,
    send: &mut SendStream,
    connection: &Connection,
) {
    loop {
        let Batch { mut chunks, bytes, openings } = outbox.next_batch().await;
        for opening in openings {
            let (shared, connection, peer) = (Arc::clone(shared), connection.clone(), outbox.peer.clone());
            tokio::spawn(async move { open(&shared, &connection, &peer, opening).await });
        }
        if send.write_all_chunks(&mut chunks).await.is_err() {
            return;
        }
        shared.counters.sent_bytes.add(bytes);
    }
}

/// Reads answers and hands them out; returns why there are no more.
async fn read_answers(outbox: &Outbox, shared: &Shared, reader: &mut FrameReader) -> Option<ReadFailure> {
    loop {
        let frame = match reader.next().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return None,
            Err(failure) => {
                if matches!(failure, ReadFailure::Garbage(_) | ReadFailure::CutShort) {
                    shared.counters.cut_garbage.add_one();
                    tracing::warn!(peer = outbox.peer, %failure, "link cut: its answers are garbage");
                }
                return Some(failure);
            }
        };
        let correlation = frame.head.correlation;
        if !outbox.answer(correlation, unless_fault(&outbox.peer, frame)) {
            shared.counters.late_answers.add_one();
        }
        tokio::task::coop::consume_budget().await;
    }
}

/// The frame of an answer, or what was sent instead of one.
fn unless_fault(peer: &str, frame: Frame) -> Result<Frame, AskError> {
    let peer = peer.to_owned();
    match frame.head.form {
        Form::Answer => Ok(frame),
        Form::Error => match frame.read::<Fault>() {
            Ok(Fault { code: FaultCode::Dropped, .. }) => Err(AskError::Dropped { peer }),
            Ok(fault) => Err(AskError::Refused { peer, fault }),
            Err(error) => Err(AskError::Unreadable { peer, reason: error.to_string() }),
        },
        form => Err(AskError::Unreadable {
            peer,
            reason: format!("a frame of form {form:?} instead of an answer"),
        }),
    }
}

/// Opens a channel on a stream of its own.
async fn open(shared: &Arc<Shared>, connection: &Connection, peer: &str, opening: Opening) {
    let Opening { frame, mut reply } = opening;
    let opened = tokio::select! {
        biased;
        () = reply.closed() => return,
        opened = try_open(shared, connection, peer, frame.chunks) => opened,
    };
    let _ = reply.send(opened);
}

async fn try_open(
    shared: &Arc<Shared>,
    connection: &Connection,
    peer: &str,
    mut chunks: Vec<bytes::Bytes>,
) -> Opened {
    let closed = |reason: String| AskError::Closed { peer: peer.to_owned(), reason };
    let limit = shared.config.limits.frame_bytes;
    let (mut send, receive) = connection.open_bi().await.map_err(|error| closed(explain(&error)))?;
    send.write_all_chunks(&mut chunks).await.map_err(|error| closed(error.to_string()))?;
    let mut reader = FrameReader::new(receive, limit, Arc::clone(&shared.counters));
    match reader.next().await {
        Ok(Some(frame)) => {
            let answer = unless_fault(peer, frame)?;
            Ok((answer, Channel::new(send, reader, limit, Arc::clone(&shared.counters))))
        }
        Ok(None) => Err(AskError::Dropped { peer: peer.to_owned() }),
        Err(failure) => Err(closed(failure.to_string())),
    }
}
