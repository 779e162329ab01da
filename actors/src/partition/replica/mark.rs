//! Ends transactions: markers that coordinators write.

use std::time::Duration;

use actix::{AsyncContext, Handler, Message};

use super::super::acknowledge::Waiting;
use super::super::append::{ActiveProducer, Validated};
use super::super::message::{Acks, Produced};
use super::super::reply::Reply;
use super::Replica;
use crate::error::{ErrorCode, Refusal};
use crate::ids::Offset;
use crate::record::{BatchHeader, EndMarker};

/// Writes a marker. Answered when it is committed.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct MarkOne {
    /// The marker.
    pub marker: EndMarker,
    /// Every end of the producer's transactions gives it another epoch (KIP-890 part 2).
    pub bumps: bool,
    /// How long that may take.
    pub timeout: Duration,
    /// Where the answer goes.
    pub reply: Reply<Produced>,
}

/// Asks for the producers that are known.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ProducersOne(pub Reply<Vec<ActiveProducer>>);

impl Handler<MarkOne> for Replica {
    type Result = ();

    fn handle(&mut self, message: MarkOne, context: &mut Self::Context) {
        let _turn = self.turn();
        let MarkOne { marker, bumps, timeout, reply } = message;
        match self.mark(marker, bumps) {
            Ok((None, produced)) => reply.send(Ok(produced)),
            Ok((Some(upto), produced)) => {
                let since = self.now();
                let waiting = Waiting { upto, deadline: since + timeout, since, produced, reply };
                self.gathered.await_write(Acks::All, waiting);
            }
            Err(refusal) => reply.send(Err(refusal)),
        }
        // It may have ended the transaction of a request that was being looked at.
        self.look_on();
        self.plan_write(|message| context.notify(message));
    }
}

impl Handler<ProducersOne> for Replica {
    type Result = ();

    fn handle(&mut self, asked: ProducersOne, _: &mut Self::Context) {
        let _turn = self.turn();
        asked.0.send(self.check_leads(None).map(|_| self.producers.active().collect()));
    }
}

impl Replica {
    /// Gathers a marker. Without an offset to wait for it has come before: the producer got on only when it was committed.
    fn mark(&mut self, marker: EndMarker, bumps: bool) -> Result<(Option<Offset>, Produced), Refusal> {
        let epoch = self.check_leads(None)?;
        self.check_room(Acks::All)?;
        if self.gathered.holds(marker.producer_id) {
            self.write_gathered();
            self.check_leads(Some(epoch))?;
        }
        self.producers.check_marker(&marker)?;
        let log_start_offset = self.log.start();
        if self.producers.has_marker(&marker, bumps) {
            let base_offset = self.log.end();
            return Ok((None, Produced { base_offset, log_append_time_ms: None, log_start_offset }));
        }
        self.void_verifications(&marker);
        let bytes = marker.batch(self.clock.wall_ms());
        let header = BatchHeader::parse(&bytes)
            .map_err(|error| Refusal::new(ErrorCode::UnknownServerError, error.to_string()))?;
        let batch = Validated { bytes, headers: vec![header] };
        let (base_offset, upto) = self.number(batch, epoch, None)?;
        self.gathered.marks(base_offset, marker);
        Ok((Some(upto), Produced { base_offset, log_append_time_ms: None, log_start_offset }))
    }
}
