//! Produce requests that wait to be acknowledged.
//!
//! Each is released by an offset: the high watermark (`acks=all`) or the leader's own durable end (`acks=1`). Every
//! one gets exactly one answer: released, out of time, or refused because the leadership ended. Pure; bounded.

use std::collections::VecDeque;
use std::time::Duration;

use super::message::Produced;
use super::reply::Reply;
use crate::error::{ErrorCode, Refusal};
use crate::ids::Offset;
use crate::invariant::{Broken, Invariant};

/// Requests of one partition that may wait.
const WAITING_MAX: usize = 8192;

/// What releases a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitFor {
    /// The high watermark: every in-sync member has it.
    HighWatermark,
    /// The leader's own durable end.
    DurableEnd,
}

/// One request that waits.
#[derive(Debug)]
pub struct Waiting {
    /// Released when what it waits for has reached this.
    pub upto: Offset,
    /// Not longer than until then.
    pub deadline: Duration,
    /// When it came.
    pub since: Duration,
    /// The answer.
    pub produced: Produced,
    /// Where it goes.
    pub reply: Reply<Produced>,
}

/// The requests of one partition that wait.
#[derive(Debug, Default)]
pub struct Acknowledgements {
    by_high_watermark: VecDeque<Waiting>,
    by_durable_end: VecDeque<Waiting>,
    soonest: Option<Duration>,
}

impl Acknowledgements {
    /// Whether one more may wait, beside so many that are on their way here.
    #[must_use]
    pub fn has_room_beside(&self, coming: usize) -> bool {
        self.len() + coming < WAITING_MAX
    }

    /// More wait than may: a promise broken.
    #[must_use]
    pub fn over_bound(&self) -> Option<Broken> {
        let waiting = self.len();
        (waiting > WAITING_MAX).then(|| {
            let found = format!("{waiting} acknowledgements are waited for, where {WAITING_MAX} may be");
            Broken::new(Invariant::OneAnswer, found)
        })
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_high_watermark.len() + self.by_durable_end.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes one in.
    pub fn wait(&mut self, wait_for: WaitFor, waiting: Waiting) {
        self.soonest = Some(self.soonest.map_or(waiting.deadline, |soonest| soonest.min(waiting.deadline)));
        let queue = match wait_for {
            WaitFor::HighWatermark => &mut self.by_high_watermark,
            WaitFor::DurableEnd => &mut self.by_durable_end,
        };
        // Appends come in order; only a duplicate of an earlier batch stands further ahead.
        let at = queue.iter().rposition(|other| other.upto <= waiting.upto).map_or(0, |before| before + 1);
        queue.insert(at, waiting);
    }

    /// Answers what has been reached. With `enough` false there are fewer in-sync members than the topic wants, and
    /// `acks=all` is told so. `latency` hears how long each took.
    pub fn release(
        &mut self,
        high_watermark: Offset,
        durable_end: Offset,
        enough: bool,
        mut latency: impl FnMut(Duration),
    ) {
        while let Some(waiting) = pop_reached(&mut self.by_high_watermark, high_watermark) {
            latency(waiting.since);
            waiting.reply.send(if enough { Ok(waiting.produced) } else { Err(too_few()) });
        }
        while let Some(waiting) = pop_reached(&mut self.by_durable_end, durable_end) {
            latency(waiting.since);
            waiting.reply.send(Ok(waiting.produced));
        }
        if self.is_empty() {
            self.soonest = None;
        }
    }

    /// Answers those whose time is up: their records are appended, and may still be committed later.
    pub fn expire(&mut self, now: Duration) {
        if self.soonest.is_none_or(|soonest| soonest > now) {
            return;
        }
        for queue in [&mut self.by_high_watermark, &mut self.by_durable_end] {
            let (late, rest): (VecDeque<_>, _) = queue.drain(..).partition(|waiting| waiting.deadline <= now);
            *queue = rest;
            for waiting in late {
                let text = "appended, but not committed within the request's timeout: the same batch sent again is \
                            recognised if the producer is idempotent";
                waiting.reply.refuse(ErrorCode::RequestTimedOut, text);
            }
        }
        let all = self.by_high_watermark.iter().chain(&self.by_durable_end);
        self.soonest = all.map(|waiting| waiting.deadline).min();
    }

    /// Refuses all: this replica leads no more, or cannot.
    pub fn refuse_all(&mut self, refusal: &Refusal) {
        for waiting in self.by_high_watermark.drain(..).chain(self.by_durable_end.drain(..)) {
            waiting.reply.send(Err(refusal.clone()));
        }
        self.soonest = None;
    }

    /// When the next one's time is up.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        self.soonest
    }
}

fn pop_reached(queue: &mut VecDeque<Waiting>, reached: Offset) -> Option<Waiting> {
    if queue.front()?.upto <= reached { queue.pop_front() } else { None }
}

fn too_few() -> Refusal {
    Refusal::new(
        ErrorCode::NotEnoughReplicasAfterAppend,
        "appended, but fewer replicas are in sync than min.insync.replicas; wait until they are back and send it again",
    )
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;

    use super::*;

    type Answers = Arc<Mutex<Vec<(usize, Result<Produced, Refusal>)>>>;

    fn produced(offset: i64) -> Produced {
        Produced { base_offset: Offset(offset), log_append_time_ms: None, log_start_offset: Offset::ZERO }
    }

    fn waiting(answers: &Answers, id: usize, upto: i64, deadline_ms: u64) -> Waiting {
        let answers = Arc::clone(answers);
        Waiting {
            upto: Offset(upto),
            deadline: Duration::from_millis(deadline_ms),
            since: Duration::ZERO,
            produced: produced(upto),
            reply: Reply::new(move |answer| answers.lock().unwrap().push((id, answer))),
        }
    }

    fn ids(answers: &Answers) -> Vec<usize> {
        answers.lock().unwrap().iter().map(|(id, _)| *id).collect()
    }

    #[test]
    fn the_high_watermark_releases_all_and_the_durable_end_releases_leader_only() {
        let answers = Answers::default();
        let mut acks = Acknowledgements::default();
        acks.wait(WaitFor::HighWatermark, waiting(&answers, 1, 5, 100));
        acks.wait(WaitFor::DurableEnd, waiting(&answers, 2, 5, 100));
        acks.release(Offset(4), Offset(5), true, |_| ());
        assert_eq!(ids(&answers), [2]);
        acks.release(Offset(5), Offset(5), true, |_| ());
        assert_eq!(ids(&answers), [2, 1]);
        assert_eq!(acks.next_deadline(), None);
    }

    #[test]
    fn too_few_members_are_told_to_acks_all_alone() {
        let answers = Answers::default();
        let mut acks = Acknowledgements::default();
        acks.wait(WaitFor::HighWatermark, waiting(&answers, 1, 5, 100));
        acks.wait(WaitFor::DurableEnd, waiting(&answers, 2, 5, 100));
        acks.release(Offset(5), Offset(5), false, |_| ());
        let answers = answers.lock().unwrap();
        let code = answers[0].1.as_ref().unwrap_err().code;
        assert_eq!((answers[0].0, code), (1, ErrorCode::NotEnoughReplicasAfterAppend));
        assert!(answers[1].1.is_ok());
    }

    #[test]
    fn a_duplicate_of_an_earlier_batch_does_not_wait_for_later_ones() {
        let answers = Answers::default();
        let mut acks = Acknowledgements::default();
        acks.wait(WaitFor::HighWatermark, waiting(&answers, 1, 9, 100));
        acks.wait(WaitFor::HighWatermark, waiting(&answers, 2, 4, 100));
        acks.release(Offset(4), Offset(9), true, |_| ());
        assert_eq!(ids(&answers), [2]);
    }

    #[test]
    fn more_that_wait_than_may_are_a_broken_promise() {
        let answers = Answers::default();
        let mut acks = Acknowledgements::default();
        for id in 0..WAITING_MAX {
            assert!(acks.has_room_beside(0));
            acks.wait(WaitFor::HighWatermark, waiting(&answers, id, 1, 100));
        }
        assert!(!acks.has_room_beside(0) && acks.over_bound().is_none());
        acks.wait(WaitFor::HighWatermark, waiting(&answers, WAITING_MAX, 1, 100));
        assert_eq!(acks.over_bound().unwrap().invariant, Invariant::OneAnswer);
    }

    #[test]
    fn what_is_on_its_way_takes_room() {
        let acks = Acknowledgements::default();
        assert!(acks.has_room_beside(WAITING_MAX - 1) && !acks.has_room_beside(WAITING_MAX));
    }

    #[derive(Clone, Debug)]
    enum Op {
        Wait(bool, i64, u64),
        Release(i64, i64),
        Expire(u64),
        Refuse,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => (any::<bool>(), 0..50_i64, 0..100_u64).prop_map(|(all, upto, at)| Op::Wait(all, upto, at)),
            2 => (0..50_i64, 0..50_i64).prop_map(|(mark, end)| Op::Release(mark, end)),
            1 => (0..100_u64).prop_map(Op::Expire),
            1 => Just(Op::Refuse),
        ]
    }

    proptest! {
        #[test]
        fn every_request_gets_exactly_one_answer(ops in prop::collection::vec(op(), 1..80)) {
            let answers = Answers::default();
            let mut acks = Acknowledgements::default();
            let mut asked = 0;
            for op in ops {
                match op {
                    Op::Wait(all, upto, deadline) => {
                        let wait_for = if all { WaitFor::HighWatermark } else { WaitFor::DurableEnd };
                        acks.wait(wait_for, waiting(&answers, asked, upto, deadline));
                        asked += 1;
                    }
                    Op::Release(mark, end) => acks.release(Offset(mark), Offset(end), true, |_| ()),
                    Op::Expire(now_ms) => {
                        acks.expire(Duration::from_millis(now_ms));
                        prop_assert!(acks.next_deadline().is_none_or(|at| at > Duration::from_millis(now_ms)));
                    }
                    Op::Refuse => acks.refuse_all(&Refusal::new(ErrorCode::NotLeaderOrFollower, "")),
                }
                prop_assert_eq!(acks.next_deadline().is_some(), !acks.is_empty());
            }
            drop(acks);
            let mut ids = ids(&answers);
            ids.sort_unstable();
            prop_assert_eq!(ids, (0..asked).collect::<Vec<_>>());
        }
    }
}
