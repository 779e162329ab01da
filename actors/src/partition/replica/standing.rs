//! What a replica tells of itself: to coordinators that live from its log, and to owners that confirm their epoch.

use actix::{Handler, Message};

use super::super::reply::Reply;
use super::super::state::Role;
use super::Replica;
use crate::error::Refusal;
use crate::ids::{LeaderEpoch, Member, Offset};

/// How a leader stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The epoch it leads in.
    pub epoch: LeaderEpoch,
    /// The end of its log when the epoch was opened. Who answers from memory what the log says has loaded everything
    /// when it has read up to here and the high watermark has passed it (rule 6).
    pub epoch_start: Offset,
    /// Its high watermark.
    pub high_watermark: Offset,
    /// Whether no greater one was ever told.
    pub is_confirmed: bool,
    /// First offset still there.
    pub log_start: Offset,
    /// The in-sync set.
    pub in_sync: Vec<Member>,
}

/// Asks a leader how it stands.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct StandingOf(pub Reply<Standing>);

/// Asks a replica how many bytes its log has.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SizeOf(pub Reply<u64>);

impl Handler<StandingOf> for Replica {
    type Result = ();

    fn handle(&mut self, asked: StandingOf, _: &mut Self::Context) {
        let _turn = self.turn();
        asked.0.send(self.standing());
    }
}

impl Handler<SizeOf> for Replica {
    type Result = ();

    fn handle(&mut self, asked: SizeOf, _: &mut Self::Context) {
        let _turn = self.turn();
        asked.0.send(Ok(self.log.bytes()));
    }
}

impl Replica {
    fn standing(&self) -> Result<Standing, Refusal> {
        self.check_leads(None)?;
        let Role::Leader(leader) = self.state.role() else { return Err(self.not_leader()) };
        Ok(Standing {
            epoch: leader.epoch(),
            epoch_start: leader.epoch_start(),
            high_watermark: self.state.high_watermark().value(),
            is_confirmed: self.state.high_watermark().is_confirmed(),
            log_start: self.log.start(),
            in_sync: leader.in_sync().committed().iter().copied().collect(),
        })
    }
}
