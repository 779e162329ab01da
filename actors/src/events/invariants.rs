//! Broken promises.

use metrics::Label;

use super::{Event, Events};
use crate::invariant::Invariant;

/// A promise was found broken: a defect in this program.
#[derive(Debug)]
pub struct InvariantBroken<'a> {
    /// Which.
    pub invariant: Invariant,
    /// What was seen, and where.
    pub found: &'a str,
}

impl Event for InvariantBroken<'_> {
    fn tell(&self, events: &Events) {
        let labels = vec![Label::new("invariant", self.invariant.name())];
        events.counter("millstream_invariant_broken_total", labels).increment(1);
        tracing::error!(node = %events.node(), invariant = %self.invariant, found = self.found, "a promise is broken");
        debug_assert!(false, "{} is broken: {}", self.invariant, self.found);
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "one_answer is broken: two answers")]
    fn a_broken_promise_ends_a_debug_build() {
        Events::uncounted().emit(InvariantBroken { invariant: Invariant::OneAnswer, found: "two answers" });
    }
}
