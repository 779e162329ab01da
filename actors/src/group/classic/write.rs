//! Records under way to the log, and what follows when they are committed or are not.

use std::collections::BTreeMap;

use super::message::{Answer, Ticket};
use super::notice::{Cause, Notice, Why};
use super::record::{ClassicMetadata, ClassicRecord, Token};
use super::replace::Replacement;
use super::sync::Assignment;
use super::turn::Turn;
use super::{ClassicGroup, ClassicState, refusal};
use crate::error::{ErrorCode, Refusal};

/// What a record tells.
#[derive(Debug)]
pub(super) enum Writing {
    /// The assignment of a generation.
    Assigned(Assignment),
    /// A static member's new id.
    Replaced(Replacement),
    /// That nobody is left.
    Emptied,
    /// That the group is no more.
    Ended,
}

/// The records under way.
#[derive(Debug, Default)]
pub(super) struct Writes {
    next: u64,
    /// Each with the answers that wait for it and for nothing else.
    under_way: BTreeMap<Token, (Writing, Vec<(Ticket, Answer)>)>,
}

impl Writes {
    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Whether an assignment of the generation is under way.
    pub(super) fn assigns(&self, generation: i32) -> bool {
        self.under_way.values().any(
            |(writing, _)| matches!(writing, Writing::Assigned(assigned) if assigned.generation == generation),
        )
    }

    /// Answers that wait; nothing is under way any more.
    pub(super) fn abandon(&mut self) -> Vec<(Ticket, Answer)> {
        std::mem::take(&mut self.under_way).into_values().flat_map(|(_, held)| held).collect()
    }
}

impl Turn<'_> {
    /// The log does not keep up: nothing is begun that may need it.
    pub(super) fn check_writes(&self) -> Result<(), Refusal> {
        let most = self.around.settings.max_writes;
        if self.machine.writes.under_way.len() < most {
            return Ok(());
        }
        let text = format!("group {} waits for {most} records to be committed: try again", self.machine.id);
        Err(Refusal::new(ErrorCode::CoordinatorNotAvailable, text))
    }

    pub(super) fn write(&mut self, writing: Writing, value: Option<ClassicMetadata>) {
        let writes = &mut self.machine.writes;
        let token = Token(writes.next);
        writes.next += 1;
        writes.under_way.insert(token, (writing, Vec::new()));
        self.machine.is_written = true;
        self.decision.records.push(ClassicRecord { token, value });
    }

    /// Answers when what was written in this decision is committed; at once if nothing was.
    pub(super) fn answer_when_written(&mut self, ticket: Ticket, answer: Answer) {
        let token = self.decision.records.last().map(|record| record.token);
        match token.and_then(|token| self.machine.writes.under_way.get_mut(&token)) {
            Some((_, held)) => held.push((ticket, answer)),
            None => self.answer(ticket, answer),
        }
    }

    pub(super) fn committed(&mut self, token: Token) {
        let Some((writing, held)) = self.machine.writes.under_way.remove(&token) else { return };
        match writing {
            Writing::Assigned(assignment) => self.assigned(assignment),
            Writing::Replaced(replacement) => self.replaced(&replacement),
            Writing::Emptied => {}
            Writing::Ended => self.start_over(),
        }
        self.decision.answers.extend(held);
    }

    pub(super) fn failed(&mut self, token: Token, error: &Refusal) {
        let Some((writing, held)) = self.machine.writes.under_way.remove(&token) else { return };
        let refusal = refusal::of_log(&self.machine.id, error);
        self.tell(Notice::WriteFailed { code: error.code });
        for (ticket, answer) in held {
            self.answer(ticket, answer.refused(refusal.clone()));
        }
        match writing {
            Writing::Assigned(assignment) if self.is_completing(assignment.generation) => {
                self.drop_assignments(&refusal);
                self.rebalance(Why::of(Cause::WriteFailed));
            }
            Writing::Assigned(_) => {}
            Writing::Replaced(replacement) => self.not_replaced(replacement, refusal),
            // The log may still tell of members. Whoever reads it back puts them out when their sessions end.
            Writing::Emptied => {}
            Writing::Ended => self.machine.state = ClassicState::Empty,
        }
    }

    /// The group is no more; whoever comes next makes it anew.
    fn start_over(&mut self) {
        let writes = std::mem::take(&mut self.machine.writes);
        let id = self.machine.id.clone();
        *self.machine = ClassicGroup { writes, ..ClassicGroup::nothing(id) };
        self.tell(Notice::Forgotten);
    }
}
