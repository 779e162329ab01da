//! One request on its way through the node, and the one answer that it gets.

use std::net::IpAddr;
use std::sync::Arc;

use actix::Addr;
use bytes::Bytes;
use millstream_transport::intake::Held;
use millstream_transport::kafka::{ApiKey, DecodeError, Request, Response, encode_response};

use super::connection::{Answered, Connection, Outcome};
use super::session::{Entrance, Session};
use crate::security::authorize::Rights;

/// The longest message of operators' APIs whose work is many times as long: some 30,000 partitions, or quotas.
const OPERATOR_BYTES_MAX: usize = 1 << 20;

/// A request: who sent it, what it says, where its answer goes.
#[derive(Debug)]
pub(super) struct Call {
    /// The API.
    pub(super) key: ApiKey,
    /// Its version, one that the table has.
    pub(super) version: i16,
    /// What the client calls itself.
    pub(super) client_id: Option<Arc<str>>,
    /// Where it comes from.
    pub(super) peer: IpAddr,
    session: Arc<Session>,
    rights: Rights,
    correlation_id: i32,
    body: Bytes,
    /// The place of its bytes among those of all clients, where they are kept until it is answered.
    held: Option<Held>,
    responder: Responder,
}

/// The place of the answer among those of the connection. Dropped without one, it ends the connection: whoever waits in
/// vain is to hear that.
#[derive(Debug)]
struct Responder {
    connection: Addr<Connection>,
    slot: u64,
    answered: bool,
}

impl Responder {
    fn send(mut self, outcome: Outcome) {
        self.answered = true;
        // A connection that has ended wants no answers; one that is there takes every answer it has a place for.
        self.connection.do_send(Answered { slot: self.slot, outcome });
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if !self.answered {
            let outcome = Outcome::End("a request was dropped without an answer".to_owned());
            self.connection.do_send(Answered { slot: self.slot, outcome });
        }
    }
}

/// What a call is made of.
#[derive(Debug)]
pub(super) struct CallParts {
    pub(super) key: ApiKey,
    pub(super) version: i16,
    pub(super) correlation_id: i32,
    pub(super) client_id: Option<Arc<str>>,
    pub(super) peer: IpAddr,
    pub(super) session: Arc<Session>,
    pub(super) rights: Rights,
    pub(super) body: Bytes,
    pub(super) connection: Addr<Connection>,
    pub(super) slot: u64,
}

impl Call {
    pub(super) fn new(parts: CallParts) -> Self {
        let CallParts { key, version, correlation_id, client_id, peer, body, .. } = parts;
        let responder = Responder { connection: parts.connection, slot: parts.slot, answered: false };
        let (session, rights) = (parts.session, parts.rights);
        Self { key, version, client_id, peer, session, rights, correlation_id, body, held: None, responder }
    }

    /// The connection that it came by.
    pub(super) const fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// The listener that it came by.
    pub(super) fn entrance(&self) -> &Arc<Entrance> {
        &self.session.entrance
    }

    /// What its sender may do.
    pub(super) const fn rights(&self) -> &Rights {
        &self.rights
    }

    /// Keeps the place of its bytes until it is answered, whatever becomes of its connection.
    pub(super) fn keep(&mut self, held: Held) {
        self.held = Some(held);
    }

    /// The bytes of the message: what was read of it borrows from them.
    pub(super) fn body(&self) -> Bytes {
        self.body.clone()
    }

    /// Reads the message, or ends the connection with what is wrong with it.
    ///
    /// Bytes may follow it, as with Kafka: where librdkafka asks for all topics (Metadata from version 9 on), the length
    /// of its list takes four bytes of zeros instead of one, so that three are left over at the end.
    pub(super) fn read<'a, R: Request<'a>>(self, body: &'a [u8]) -> Option<(R, Self)> {
        match R::decode_first(body, self.version) {
            // What waits for its answer does not hold the bytes that it came in.
            Ok((request, _)) => Some((request, Self { body: Bytes::new(), ..self })),
            Err(error) => {
                self.end_as_garbage(&error);
                None
            }
        }
    }

    /// Reads the message of an operator, which is worked on and answered with many times its own length, or ends the
    /// connection where it is longer than any has a reason to be.
    pub(super) fn read_of_operator<'a, R: Request<'a>>(self, body: &'a [u8]) -> Option<(R, Self)> {
        if body.len() > OPERATOR_BYTES_MAX {
            let (name, bytes) = (self.key.api().name, body.len());
            self.end(format!(
                "{name} of {bytes} bytes; {OPERATOR_BYTES_MAX} are the most, ask in several parts"
            ));
            return None;
        }
        self.read(body)
    }

    /// Answers.
    pub(super) fn answer<'m, R: Response<'m>>(self, response: &R) {
        let version = self.version;
        self.answer_in(version, response);
    }

    /// Answers in another version than was asked in.
    pub(super) fn answer_in<'m, R: Response<'m>>(self, version: i16, response: &R) {
        let outcome = match encode_response(self.correlation_id, version, response) {
            Ok(encoded) => Outcome::Answer(encoded),
            Err(error) => Outcome::End(format!("an answer cannot be written: {error}")),
        };
        self.responder.send(outcome);
    }

    /// Answers, and ends the connection.
    pub(super) fn answer_and_end<'m, R: Response<'m>>(self, response: &R, reason: String) {
        let outcome = match encode_response(self.correlation_id, self.version, response) {
            Ok(encoded) => Outcome::Last(encoded, reason),
            Err(error) => Outcome::End(format!("an answer cannot be written: {error}")),
        };
        self.responder.send(outcome);
    }

    /// There is no answer to this request: a produce request with `acks=0`.
    pub(super) fn no_answer(self) {
        self.responder.send(Outcome::Nothing);
    }

    /// Ends the connection, as Kafka does where a request has no way to say what is wrong.
    pub(super) fn end(self, reason: String) {
        self.responder.send(Outcome::End(reason));
    }

    fn end_as_garbage(self, error: &DecodeError) {
        let reason = format!("{} version {} cannot be read: {error}", self.key.api().name, self.version);
        self.end(reason);
    }
}
