//! A UDP socket of the simulated network, as QUIC drives it.

use std::collections::BTreeMap;
use std::io;
use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use quinn::udp::{EcnCodepoint, RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::time::{Instant, Sleep};

use super::SimulatedNetwork;

/// Bytes under way to one socket or waiting in it; more are lost, as in a kernel's buffer.
const INBOX_BYTES: usize = 32 << 20;

/// Datagrams that one send may carry: what QUIC itself uses at most.
const SEGMENTS: usize = 10;

/// One datagram on its way to a socket.
#[derive(Debug)]
pub(super) struct Arriving {
    pub(super) from: SocketAddr,
    pub(super) ecn: Option<EcnCodepoint>,
    pub(super) payload: Vec<u8>,
}

/// What is under way to a socket, by the time it arrives and the order it was sent in.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    arriving: BTreeMap<(Instant, u64), Arriving>,
    bytes: usize,
    closed: bool,
    reader: Option<Waker>,
    alarm: Option<Pin<Box<Sleep>>>,
}

fn lock(inbox: &Mutex<Inbox>) -> MutexGuard<'_, Inbox> {
    inbox.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts a datagram on its way; false if there is no room for it.
pub(super) fn deliver(inbox: &Mutex<Inbox>, sequence: u64, delay: Duration, datagram: Arriving) -> bool {
    let mut inbox = lock(inbox);
    if inbox.closed {
        return true;
    }
    if inbox.bytes + datagram.payload.len() > INBOX_BYTES {
        return false;
    }
    inbox.bytes += datagram.payload.len();
    let arrival = (Instant::now() + delay, sequence);
    inbox.arriving.insert(arrival, datagram);
    // The reader's alarm is set for the first arrival; only a new first one must set it anew.
    let is_first = inbox.arriving.first_key_value().is_some_and(|(first, _)| *first == arrival);
    let reader = if is_first { inbox.reader.take() } else { None };
    drop(inbox);
    if let Some(reader) = reader {
        reader.wake();
    }
    true
}

/// Ends the life of a socket whose host died. Its reader is left waiting: the dead are told nothing.
pub(super) fn close(inbox: &Mutex<Inbox>) {
    let dead = std::mem::replace(&mut *lock(inbox), Inbox { closed: true, ..Inbox::default() });
    // Outside the lock: a waker may be the last to hold the task that owns this very socket.
    drop(dead);
}

#[derive(Debug)]
pub(super) struct SimulatedSocket {
    pub(super) network: SimulatedNetwork,
    pub(super) address: SocketAddr,
    pub(super) inbox: Arc<Mutex<Inbox>>,
}

impl AsyncUdpSocket for SimulatedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if lock(&self.inbox).closed {
            return Ok(());
        }
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        for payload in transmit.contents.chunks(segment) {
            let datagram = Arriving { from: self.address, ecn: transmit.ecn, payload: payload.to_vec() };
            self.network.send(self.address, datagram, transmit.destination);
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut inbox = lock(&self.inbox);
        loop {
            let received = inbox.receive(self.address, buffers, meta);
            if received > 0 {
                return Poll::Ready(Ok(received));
            }
            inbox.reader = Some(context.waker().clone());
            let Some(&(first, _)) = inbox.arriving.first_key_value().map(|(arrival, _)| arrival) else {
                inbox.alarm = None;
                return Poll::Pending;
            };
            let mut alarm = match inbox.alarm.take() {
                Some(alarm) if alarm.deadline() == first => alarm,
                _ => Box::pin(tokio::time::sleep_until(first)),
            };
            let rang = alarm.as_mut().poll(context).is_ready();
            if !rang {
                inbox.alarm = Some(alarm);
                return Poll::Pending;
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn max_transmit_segments(&self) -> usize {
        SEGMENTS
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

impl Inbox {
    /// Hands out what has arrived by now, as far as there are buffers.
    fn receive(&mut self, to: SocketAddr, buffers: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> usize {
        let now = Instant::now();
        let mut received = 0;
        for (buffer, meta) in buffers.iter_mut().zip(meta) {
            let Some(first) = self.arriving.first_entry().filter(|first| first.key().0 <= now) else { break };
            let Arriving { from, ecn, payload } = first.remove();
            self.bytes -= payload.len();
            // As a kernel does, cut what does not fit; QUIC's buffers fit what it allows its peers to send.
            let length = payload.len().min(buffer.len());
            if let (Some(place), Some(bytes)) = (buffer.get_mut(..length), payload.get(..length)) {
                place.copy_from_slice(bytes);
            }
            *meta = RecvMeta { addr: from, len: length, stride: length.max(1), ecn, dst_ip: Some(to.ip()) };
            received += 1;
        }
        received
    }
}

impl Drop for SimulatedSocket {
    fn drop(&mut self) {
        super::forget(&self.network, self.address, &self.inbox);
    }
}

#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
