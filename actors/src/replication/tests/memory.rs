//! Channels in memory: frames as the transport would write them, a few at a time, and a knife.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use millstream_transport::frame::{Form, Head, PREFIX_BYTES, Prefix, encode};
use millstream_transport::message::Message;
use millstream_transport::peer::{AskError, ChannelError};
use millstream_transport::world::watch;
use tokio::sync::mpsc;

use crate::ids::NodeId;
use crate::replication::channel::{
    Dial, FollowerChannel, Pending, SessionChannel, SessionError, TurnReceiver, TurnSender,
};
use crate::replication::message::{LeaderTurn, OpenSession, SessionOpened};
use crate::replication::sessions::FeedSessions;

const FRAME_LIMIT: usize = 64 << 20;

/// Frames that may wait to be read.
const FRAMES_UNDER_WAY: usize = 4;

/// A frame sent by a leader, in figures.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) header_bytes: usize,
    pub(super) body_bytes: usize,
    pub(super) parts: usize,
}

#[derive(Debug, Default)]
struct Network {
    leaders: BTreeMap<NodeId, FeedSessions>,
    cuts: Vec<watch::Sender<bool>>,
    is_down: bool,
    dials: usize,
    sent: Vec<Sent>,
    /// Instead of its next turn, a leader sends this.
    forged: Option<Bytes>,
}

/// Nodes that reach each other by channels in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct MemoryNetwork(Arc<Mutex<Network>>);

impl MemoryNetwork {
    pub(super) fn serve(&self, leader: NodeId, sessions: FeedSessions) {
        self.0.lock().unwrap().leaders.insert(leader, sessions);
    }

    pub(super) fn forget(&self, leader: NodeId) {
        self.0.lock().unwrap().leaders.remove(&leader);
    }

    /// Ends all sessions.
    pub(super) fn cut(&self) {
        for cut in self.0.lock().unwrap().cuts.drain(..) {
            cut.send_replace(true);
        }
    }

    /// Nobody is reached any more, or everybody again.
    pub(super) fn set_down(&self, is_down: bool) {
        self.0.lock().unwrap().is_down = is_down;
    }

    /// Sessions that followers tried to open.
    pub(super) fn dials(&self) -> usize {
        self.0.lock().unwrap().dials
    }

    /// Sessions that nobody has left yet.
    pub(super) fn sessions(&self) -> usize {
        self.0.lock().unwrap().cuts.iter().filter(|cut| cut.receiver_count() > 0).count()
    }

    /// Takes the figures of the leaders' frames so far.
    pub(super) fn take_sent(&self) -> Vec<Sent> {
        std::mem::take(&mut self.0.lock().unwrap().sent)
    }

    /// The next turn of any leader is replaced by this one.
    pub(super) fn forge(&self, turn: LeaderTurn) {
        self.0.lock().unwrap().forged = Some(to_frame(turn));
    }

    /// A channel from the outside: what a follower of any kind would have after opening it.
    pub(super) fn connect(&self, leader: NodeId, opening: OpenSession) -> (SessionOpened, FollowerChannel) {
        let (cut, is_cut) = watch::channel(false);
        let sessions = {
            let mut network = self.0.lock().unwrap();
            network.cuts.push(cut);
            network.leaders[&leader].clone()
        };
        let (down, from_leader) = mpsc::channel(FRAMES_UNDER_WAY);
        let (up, from_follower) = mpsc::channel(FRAMES_UNDER_WAY);
        let ours = SessionChannel {
            sender: Box::new(MemorySender { frames: up, network: None, is_cut: is_cut.clone() }) as Box<_>,
            receiver: Box::new(MemoryReceiver { frames: from_leader, is_cut: is_cut.clone() }) as Box<_>,
        };
        let theirs = SessionChannel {
            sender: Box::new(MemorySender {
                frames: down,
                network: Some(self.clone()),
                is_cut: is_cut.clone(),
            }) as Box<_>,
            receiver: Box::new(MemoryReceiver { frames: from_follower, is_cut }) as Box<_>,
        };
        let answer = sessions.answer(&opening);
        actix_rt::spawn(async move { sessions.begin(opening, theirs).await });
        (answer, ours)
    }
}

impl Dial for MemoryNetwork {
    fn dial(
        &self,
        leader: NodeId,
        opening: OpenSession,
    ) -> Pending<'static, Result<(SessionOpened, FollowerChannel), SessionError>> {
        let network = self.clone();
        Box::pin(async move {
            network.0.lock().unwrap().dials += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
            let is_known = network.0.lock().unwrap().leaders.contains_key(&leader);
            if network.0.lock().unwrap().is_down || !is_known {
                let (peer, reason) = (format!("node {leader}"), "nobody answers".to_owned());
                return Err(AskError::Unreachable { peer, reason }.into());
            }
            Ok(network.connect(leader, opening))
        })
    }
}

fn to_frame<M: Message>(mut message: M) -> Bytes {
    let bodies = message.take_bodies();
    let head = Head { form: Form::Item, kind: M::KIND, version: M::VERSION, correlation: 0 };
    let encoded = encode(head, &message, bodies, FRAME_LIMIT).unwrap();
    let mut frame = BytesMut::new();
    for chunk in encoded.chunks {
        frame.extend_from_slice(&chunk);
    }
    frame.freeze()
}

fn from_frame<M: Message>(mut frame: Bytes) -> Result<M, SessionError> {
    let garbage = |error: String| SessionError::Channel(ChannelError::Garbage(error));
    let prefix = frame.split_to(PREFIX_BYTES);
    let prefix = Prefix::parse(prefix.as_ref().try_into().unwrap(), FRAME_LIMIT)
        .map_err(|error| garbage(error.to_string()))?;
    let frame = prefix.decode(frame).map_err(|error| garbage(error.to_string()))?;
    Ok(frame.decode::<M>()?)
}

fn ended() -> SessionError {
    SessionError::Channel(ChannelError::Ended("cut".into()))
}

#[derive(Debug)]
struct MemorySender {
    frames: mpsc::Sender<Bytes>,
    /// Where a leader's frames are noted.
    network: Option<MemoryNetwork>,
    is_cut: watch::Receiver<bool>,
}

impl<T: Message> TurnSender<T> for MemorySender {
    fn send(&mut self, mut turn: T) -> Pending<'_, Result<(), SessionError>> {
        let bodies = turn.take_bodies();
        let (parts, body_bytes) = (bodies.len(), bodies.iter().map(Bytes::len).sum());
        turn.put_bodies(bodies).unwrap();
        let mut frame = to_frame(turn);
        if let Some(network) = &self.network {
            let mut network = network.0.lock().unwrap();
            network.sent.push(Sent { header_bytes: frame.len() - body_bytes, body_bytes, parts });
            frame = network.forged.take().unwrap_or(frame);
        }
        Box::pin(async move {
            tokio::select! {
                biased;
                _ = self.is_cut.wait_for(|is_cut| *is_cut) => Err(ended()),
                sent = self.frames.send(frame) => sent.map_err(|_| ended()),
            }
        })
    }
}

#[derive(Debug)]
struct MemoryReceiver {
    frames: mpsc::Receiver<Bytes>,
    is_cut: watch::Receiver<bool>,
}

impl<T: Message> TurnReceiver<T> for MemoryReceiver {
    fn receive(&mut self) -> Pending<'_, Result<Option<T>, SessionError>> {
        Box::pin(async move {
            let frame = tokio::select! {
                biased;
                _ = self.is_cut.wait_for(|is_cut| *is_cut) => return Err(ended()),
                frame = self.frames.recv() => frame,
            };
            frame.map(from_frame).transpose()
        })
    }
}
