//! What a follower says, and what replicas answer to its questions.

use actix::{AsyncContext, Context, Handler};

use super::feeds::{News, Overdrawn, Subject};
use super::opening::{FeedOpened, OpenFeedGuard, SetLeft};
use super::{Feeder, OpenSlot};
use crate::partition::following::{FeedRefusal, FollowerReported, LeaveSet, OpenFeed, Opening};
use crate::replication::channel::SessionError;
use crate::replication::message::{Ask, FollowerTurn, Progress, Question, Reply};
use crate::replication::ports::ReplicaPort;

impl Feeder {
    pub(super) fn take_turn(
        &mut self,
        turn: FollowerTurn,
        context: &mut Context<Self>,
    ) -> Result<(), SessionError> {
        for slot in turn.stops {
            self.questions.stop(slot);
            self.stop_feeding(slot);
        }
        for ask in turn.asks {
            self.take_ask(ask, context)?;
        }
        for progress in turn.progress {
            self.take_progress(progress)
                .map_err(|Overdrawn| SessionError::Garbage("credit for bytes that were never sent".into()))?;
        }
        Ok(())
    }

    fn take_progress(&mut self, progress: Progress) -> Result<(), Overdrawn> {
        let Progress { slot, taken_bytes, ends } = progress;
        self.feeds.taken(slot, usize::try_from(taken_bytes).unwrap_or(usize::MAX))?;
        let Some(ends) = ends else { return Ok(()) };
        let Some((subject, took)) = self.feeds.reported(slot, ends.durable_end, self.clock.now()) else {
            return Ok(());
        };
        if let Some(took) = took {
            self.metrics.durable_seconds.record(took.as_secs_f64());
        }
        if let Some(open) = self.open.get(&slot) {
            let Subject { member, epoch, .. } = subject;
            // The replica runs on this thread and has its turn before much more of this can be read.
            open.port.reported.do_send(FollowerReported { member, epoch, ends });
        }
        Ok(())
    }

    fn take_ask(&mut self, ask: Ask, context: &mut Context<Self>) -> Result<(), SessionError> {
        let Ask { slot, partition, member, epoch, question } = ask;
        if self.last_slot.is_some_and(|last| slot <= last) {
            return Err(SessionError::Garbage(format!("slot {slot} after {:?}", self.last_slot)));
        }
        self.last_slot = Some(slot);
        if (member.node, member.incarnation) != (self.session.follower, self.session.incarnation) {
            return Err(SessionError::Garbage(format!(
                "{member:?} in a session of node {}",
                self.follower()
            )));
        }
        let subject = Subject { partition, member, epoch };
        let port = match self.ports.port(partition) {
            Some(port) if port.core == self.core => port,
            Some(ReplicaPort { core, .. }) => {
                let core = u32::try_from(core).unwrap_or(u32::MAX);
                self.turn.answers.push((slot, Reply::Elsewhere { core }));
                return Ok(());
            }
            None => {
                self.turn.answers.push((slot, Reply::Refused(FeedRefusal::NotLeading)));
                return Ok(());
            }
        };
        match question {
            Question::Subscribe(_) => {
                if let Some(earlier) = self.feeds.of(partition) {
                    self.stop_feeding(earlier);
                }
                if let Some(ask) = self.questions.open(ask) {
                    self.ask_to_open(&ask, port, context);
                }
            }
            Question::Leave => {
                if self.questions.leave(slot, subject) {
                    ask_to_leave(subject, &port, context);
                }
            }
        }
        Ok(())
    }

    fn ask_to_open(&self, ask: &Ask, port: ReplicaPort, context: &Context<Self>) {
        let (Question::Subscribe(log), Some(alarm)) = (ask.question, &self.alarm) else { return };
        let Ask { slot, partition, member, epoch, .. } = *ask;
        let subject = Subject { partition, member, epoch };
        let asked = port.open.send(OpenFeed { member, epoch, log, waker: alarm.waker(slot) });
        let me = context.address();
        actix_rt::spawn(async move {
            let answer = match asked.await {
                // From here on the guard tells the replica when nobody is fed any more, even if this actor is gone.
                Ok(Ok(opening)) => Ok((opening, OpenFeedGuard::new(&port, subject))),
                Ok(Err(refusal)) => Err(refusal),
                Err(_) => Err(FeedRefusal::NotLeading),
            };
            me.do_send(FeedOpened { slot, subject, port, answer });
        });
    }

    /// Asks again for a question that had to wait for the answer to one before it.
    fn ask_next(&mut self, ask: Ask, context: &Context<Self>) {
        match self.ports.port(ask.partition) {
            Some(port) if port.core == self.core => self.ask_to_open(&ask, port, context),
            _ => {
                let (is_wanted, _) = self.questions.opened(ask.slot, ask.partition);
                if is_wanted {
                    self.turn.answers.push((ask.slot, Reply::Refused(FeedRefusal::NotLeading)));
                }
            }
        }
    }
}

fn ask_to_leave(subject: Subject, port: &ReplicaPort, context: &Context<Feeder>) {
    let Subject { member, epoch, .. } = subject;
    let asked = port.leave.send(LeaveSet { member, epoch });
    let me = context.address();
    actix_rt::spawn(async move {
        let answer = asked.await.unwrap_or(Err(FeedRefusal::NotLeading));
        me.do_send(SetLeft { subject, answer });
    });
}

impl Handler<FeedOpened> for Feeder {
    type Result = ();

    fn handle(&mut self, opened: FeedOpened, context: &mut Context<Self>) {
        let _turn = self.seat.turn();
        let FeedOpened { slot, subject, port, answer } = opened;
        let (is_wanted, next) = self.questions.opened(slot, subject.partition);
        match answer {
            Ok((Opening::Accepted { .. }, guard)) if !is_wanted => drop(guard),
            Ok((opening @ Opening::Accepted { end, high_watermark, log_start }, guard)) => {
                self.turn.answers.push((slot, Reply::Opened(opening)));
                self.feeds.insert(slot, subject, end, News { high_watermark, log_start });
                self.open.insert(slot, OpenSlot { port, guard });
            }
            Ok((opening, guard)) => {
                guard.disarm();
                if is_wanted {
                    self.turn.answers.push((slot, Reply::Opened(opening)));
                }
            }
            Err(refusal) if is_wanted => self.turn.answers.push((slot, Reply::Refused(refusal))),
            Err(_) => {}
        }
        if let Some(next) = next {
            self.ask_next(next, context);
        }
        self.go_on(context);
    }
}

impl Handler<SetLeft> for Feeder {
    type Result = ();

    fn handle(&mut self, left: SetLeft, context: &mut Context<Self>) {
        let _turn = self.seat.turn();
        if let Some(slot) = self.questions.left(left.subject) {
            let reply = left.answer.map_or_else(Reply::Refused, Reply::Left);
            self.turn.answers.push((slot, reply));
        }
        self.go_on(context);
    }
}
