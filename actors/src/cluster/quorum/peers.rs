//! Voters over peer links: what carries questions between nodes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use millstream_transport::message::{Answer, BodyMismatch, Message};
use millstream_transport::peer::{Answering, Caller, Endpoint, Fault, FaultCode, Handlers, Lane};
use serde::{Deserialize, Serialize};

use super::Quorum;
use super::storage::lock;
use super::wire::{Question, QuorumWire, Reply, Request, Unanswered};
use crate::ids::NodeId;

/// A [`Question`], as it travels. Its bytes are a body: entries may be large.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct QuorumQuestion {
    #[serde(skip)]
    question: Bytes,
}

/// A [`Reply`], as it travels.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct QuorumReply {
    #[serde(skip)]
    reply: Bytes,
}

fn only_body(bodies: Vec<Bytes>) -> Result<Bytes, BodyMismatch> {
    let found = bodies.len();
    let [body] = <[Bytes; 1]>::try_from(bodies).map_err(|_| BodyMismatch { expected: 1, found })?;
    Ok(body)
}

impl Message for QuorumQuestion {
    const KIND: u16 = 280;
    type Answer = QuorumReply;

    fn take_bodies(&mut self) -> Vec<Bytes> {
        vec![std::mem::take(&mut self.question)]
    }

    fn put_bodies(&mut self, bodies: Vec<Bytes>) -> Result<(), BodyMismatch> {
        self.question = only_body(bodies)?;
        Ok(())
    }
}

impl Answer for QuorumReply {
    fn take_bodies(&mut self) -> Vec<Bytes> {
        vec![std::mem::take(&mut self.reply)]
    }

    fn put_bodies(&mut self, bodies: Vec<Bytes>) -> Result<(), BodyMismatch> {
        self.reply = only_body(bodies)?;
        Ok(())
    }
}

/// Reaches the other voters through an endpoint.
#[derive(Debug)]
pub struct PeerWire {
    endpoint: Endpoint,
}

impl PeerWire {
    /// Over this endpoint, whose directory is told where members are.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint }
    }
}

impl QuorumWire for PeerWire {
    fn ask(
        &self,
        node: NodeId,
        question: Question,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Reply, Unanswered>> {
        // A piece of a snapshot must not hold up heartbeats.
        let lane = if matches!(question.request, Request::Snapshot(_)) { Lane::Data } else { Lane::Control };
        let encoded = match postcard::to_stdvec(&question) {
            Ok(bytes) => QuorumQuestion { question: bytes.into() },
            Err(error) => return Box::pin(std::future::ready(Err(Unanswered(error.to_string())))),
        };
        let asked = self.endpoint.peer(node).ask(lane, encoded, deadline);
        Box::pin(async move {
            let answer = asked.await.map_err(|error| Unanswered(error.to_string()))?;
            postcard::from_bytes(&answer.reply)
                .map_err(|error| Unanswered(format!("the answer makes no sense: {error}")))
        })
    }

    fn learn(&self, node: NodeId, address: &str) {
        self.endpoint.directory().set(node, address);
    }
}

/// Where questions come in. An endpoint is there before its quorum, so this stands between them: until it is opened,
/// whoever asks is told to come again.
#[derive(Clone, Debug, Default)]
pub struct QuorumDoor {
    quorum: Arc<Mutex<Option<Quorum>>>,
}

impl QuorumDoor {
    /// A door with nobody behind it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on this quorum answers.
    pub fn open(&self, quorum: Quorum) {
        *lock(&self.quorum) = Some(quorum);
    }

    /// Nobody answers any more.
    pub fn close(&self) {
        *lock(&self.quorum) = None;
    }

    /// Who answers now.
    pub(super) fn behind(&self) -> Option<Quorum> {
        lock(&self.quorum).clone()
    }

    /// Takes the questions of other voters.
    pub(super) fn questions(&self) -> Handlers {
        let door = self.clone();
        Handlers::new()
            .on_nodes(move |caller: &Caller, message, answering| door.take(caller, &message, answering))
    }

    fn take(&self, caller: &Caller, message: &QuorumQuestion, answering: Answering<QuorumQuestion>) {
        let Some(from) = caller.node else { return };
        let question = match postcard::from_bytes::<Question>(&message.question) {
            Ok(question) => question,
            Err(error) => {
                let text = format!("the question makes no sense: {error}");
                return answering.refuse(Fault::new(FaultCode::Unreadable, text));
            }
        };
        let quorum = self.behind();
        tokio::spawn(async move {
            let reply = match quorum {
                Some(quorum) => quorum.answer(from, question).await,
                None => Reply::Silent("the quorum is not there yet".into()),
            };
            match postcard::to_stdvec(&reply) {
                Ok(bytes) => answering.answer(QuorumReply { reply: bytes.into() }),
                Err(error) => answering.refuse(Fault::new(FaultCode::TooLong, error.to_string())),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_an_error_and_no_panic() {
        for bytes in [&b""[..], b"\xff", b"\x01\x10", &[0xff; 64], &[0; 64]] {
            assert!(postcard::from_bytes::<Question>(bytes).is_err() || bytes.len() == 64);
            let _reply = postcard::from_bytes::<Reply>(bytes);
        }
    }
}
