//! Cleaning a compacted log, on leaders and followers alike. The work is done elsewhere, step by step; the replica says
//! what may be cleaned and takes in what came of it, as its log's only owner.

use std::time::Duration;

use actix::{Addr, Handler, Message, MessageResult};
use millstream_transport::world::Threads;

use super::Replica;
use crate::events::CleaningFailed;
use crate::log::{
    CleanerSettings, Cleaning, CleaningTurn, KnownProducers, LogError, Prepared, Replaced, Stepped,
};

/// The log's turn has come.
#[derive(Debug, Message)]
#[rtype(result = "Option<Box<Cleaning>>")]
pub(super) struct BeginCleaning;

/// A segment is ready to take the place of others.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<Replaced>, LogError>")]
pub(super) struct AdoptCleaned(std::sync::Arc<Prepared>);

/// A cleaning has ended, well or not. A completion: there is one at a time.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct CleaningEnded(Stepped);

impl Handler<BeginCleaning> for Replica {
    type Result = MessageResult<BeginCleaning>;

    fn handle(&mut self, _: BeginCleaning, _: &mut Self::Context) -> Self::Result {
        let _turn = self.turn();
        let stable = self.last_stable();
        let producers = &self.producers;
        let known = |end| KnownProducers {
            last_batches: producers.last_batches(end),
            aborted: producers.aborted_spans(end),
        };
        MessageResult(self.log.cleaning(stable, known))
    }
}

impl Handler<AdoptCleaned> for Replica {
    type Result = Result<Option<Replaced>, LogError>;

    fn handle(&mut self, adopt: AdoptCleaned, _: &mut Self::Context) -> Self::Result {
        let _turn = self.turn();
        self.log.adopt(&adopt.0)
    }
}

impl Handler<CleaningEnded> for Replica {
    type Result = ();

    fn handle(&mut self, ended: CleaningEnded, _: &mut Self::Context) {
        let _turn = self.turn();
        self.upkeep.is_cleaning = false;
        match ended.0 {
            Stepped::Cleaned(cleaned) => {
                self.log.cleaned(cleaned);
                self.forget_aborted_below(cleaned.upto);
                if cleaned.is_part {
                    self.look_whether_to_clean();
                }
            }
            Stepped::Failed(error, lacked) => {
                self.log.not_cleaned(lacked);
                self.shared
                    .events
                    .emit(CleaningFailed { partition: self.partition, cause: &error.to_string() });
                self.log_failed(&error);
            }
            Stepped::Nothing | Stepped::More(_) | Stepped::Prepared(..) => {}
        }
        self.settle();
    }
}

impl Replica {
    /// Sees to it that the log is cleaned when its turn comes, if there is anything to clean.
    pub(super) fn look_whether_to_clean(&mut self) {
        let (now_ms, stable) = (self.clock.wall_ms(), self.last_stable());
        if self.upkeep.is_cleaning || !self.log.wants_cleaning(stable, now_ms) {
            return;
        }
        let Some(myself) = self.myself.clone() else { return };
        self.upkeep.is_cleaning = true;
        let directory = self.log.directory();
        let (turn, settings) = (directory.cleaning_turn(), directory.cleaner_settings());
        let threads = self.shared.threads.clone();
        actix_rt::spawn(async move {
            let turn: CleaningTurn = turn.await;
            // Nobody is left to hear of it if the replica has stopped; what was begun is removed when its log is opened.
            if let Some(ended) = clean(&myself, &threads, settings).await {
                myself.do_send(CleaningEnded(ended));
            }
            drop(turn);
        });
    }
}

/// Does a whole cleaning, with pauses. `None` if the replica has stopped meanwhile.
async fn clean(replica: &Addr<Replica>, threads: &Threads, settings: CleanerSettings) -> Option<Stepped> {
    let Some(mut cleaning) = replica.send(BeginCleaning).await.ok()? else { return Some(Stepped::Nothing) };
    let mut moved_bytes = 0;
    loop {
        let stepped = threads.run_blocking(move || cleaning.step()).await;
        cleaning = match stepped {
            Stepped::More(cleaning) => cleaning,
            Stepped::Prepared(cleaning, prepared) => {
                let prepared = std::sync::Arc::from(prepared);
                let adopt = AdoptCleaned(std::sync::Arc::clone(&prepared));
                match replica.send(adopt).await.ok()? {
                    Ok(replaced) => cleaning.adopted(&prepared, replaced),
                    Err(error) => return Some(Stepped::Failed(error, None)),
                }
            }
            ended => return Some(ended),
        };
        if !replica.connected() {
            return None;
        }
        let now_moved = cleaning.moved_bytes();
        tokio::time::sleep(pause(now_moved.saturating_sub(moved_bytes), settings)).await;
        moved_bytes = now_moved;
    }
}

/// How long so many bytes are to take.
fn pause(bytes: u64, settings: CleanerSettings) -> Duration {
    let micros = u128::from(bytes) * 1_000_000 / u128::from(settings.bytes_per_second.max(1));
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX).min(60_000_000))
}
