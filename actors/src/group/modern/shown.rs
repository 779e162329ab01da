//! Which of the names that a regular expression matched somebody may know of.
//!
//! Coordinators share a thread with the quorum and with heartbeats of nodes, and there may be many thousands of topics. So a
//! group looks only so many names up in the access control lists at a time, goes on later where it left off, and looks none
//! up again that the same lists have answered.

use std::sync::Arc;

use super::pattern::Names;
use crate::access::Acls;
use crate::group::topics::TopicRights;

/// Names that a group looks up in [`WINDOW_MS`]; one takes some microseconds.
pub(super) const LOOK_UPS_MAX: usize = 4_096;

/// In milliseconds.
const WINDOW_MS: u64 = 100;

/// How many names may still be looked up.
#[derive(Debug, Default)]
pub(super) struct Budget {
    since_ms: u64,
    spent: usize,
}

impl Budget {
    /// Time has come to this, in milliseconds of the monotonic clock.
    pub(super) fn renew(&mut self, now_ms: u64) {
        if now_ms >= self.since_ms.saturating_add(WINDOW_MS) {
            *self = Self { since_ms: now_ms, spent: 0 };
        }
    }

    fn take(&mut self) -> bool {
        let is_left = self.spent < LOOK_UPS_MAX;
        self.spent += usize::from(is_left);
        is_left
    }
}

/// What lists showed somebody of names.
#[derive(Debug)]
struct Whole {
    lists: Arc<Acls>,
    of: Names,
    shown: Names,
}

/// The same, where only those before `next` have been looked up.
#[derive(Debug)]
struct Part {
    lists: Arc<Acls>,
    of: Names,
    next: usize,
    shown: Vec<Arc<str>>,
    /// Places in [`Whole::of`] and [`Whole::shown`] of the last: nothing before them is `next`.
    places: (usize, usize),
}

/// What somebody is shown of what an expression matched.
#[derive(Debug, Default)]
pub(super) struct Shown {
    last: Option<Whole>,
    /// It is ended under the lists that it began with, however often they change meanwhile.
    under_way: Option<Part>,
}

impl Shown {
    /// Those of `matched`, which are in order, that `lists` show; `None` while some are still to be looked up.
    pub(super) fn names(
        &mut self,
        (rights, lists): (&dyn TopicRights, &Arc<Acls>),
        matched: &Names,
        budget: &mut Budget,
    ) -> Option<Names> {
        loop {
            if let Some(last) = &self.last
                && Arc::ptr_eq(&last.lists, lists)
                && Arc::ptr_eq(&last.of, matched)
            {
                self.under_way = None;
                return Some(Arc::clone(&last.shown));
            }
            let mut part = self.under_way.take().unwrap_or_else(|| Part::new(lists, matched));
            if !part.go_on(self.last.as_ref(), rights, budget) {
                self.under_way = Some(part);
                return None;
            }
            self.last = Some(part.ended(self.last.take()));
        }
    }

    /// Whether names are still to be looked up.
    pub(super) const fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }
}

impl Part {
    fn new(lists: &Arc<Acls>, of: &Names) -> Self {
        let (lists, of) = (Arc::clone(lists), Arc::clone(of));
        Self { lists, of, next: 0, shown: Vec::new(), places: (0, 0) }
    }

    /// True once it is whole.
    fn go_on(&mut self, last: Option<&Whole>, rights: &dyn TopicRights, budget: &mut Budget) -> bool {
        let last = last.filter(|last| Arc::ptr_eq(&last.lists, &self.lists));
        while let Some(name) = self.of.get(self.next).map(Arc::clone) {
            let is_shown = match last.and_then(|last| self.known(last, &name)) {
                Some(is_shown) => is_shown,
                None if budget.take() => rights.may_describe(&self.lists, &name),
                None => return false,
            };
            if is_shown {
                self.shown.push(name);
            }
            self.next += 1;
        }
        true
    }

    /// What the same lists said of this name when others were looked up, if they did.
    fn known(&mut self, last: &Whole, name: &Arc<str>) -> Option<bool> {
        let (of, shown) = &mut self.places;
        for (place, names) in [(&mut *of, &last.of), (&mut *shown, &last.shown)] {
            while names.get(*place).is_some_and(|before| before < name) {
                *place += 1;
            }
        }
        (last.of.get(*of) == Some(name)).then(|| last.shown.get(*shown) == Some(name))
    }

    /// The same names as the last are the same list: who compares them sees at once that they are.
    fn ended(self, last: Option<Whole>) -> Whole {
        let shown = match last {
            Some(last) if *last.shown == *self.shown => last.shown,
            _ => self.shown.into(),
        };
        Whole { lists: self.lists, of: self.of, shown }
    }
}
