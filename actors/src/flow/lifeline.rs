//! How the task behind a source or a sink is told to end, and heard to have ended.

use millstream_transport::world::watch;

/// How to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Not yet.
    No,
    /// After what is under way.
    Cleanly,
    /// Now: what is under way is done again by whoever goes on.
    AtOnce,
}

/// The end that is kept by who began it.
#[derive(Clone, Debug)]
pub(super) struct Lifeline {
    stop: watch::Sender<Stop>,
    ended: watch::Receiver<bool>,
}

/// The end in the task.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) stop: watch::Receiver<Stop>,
    ended: watch::Sender<bool>,
}

/// Both ends of a new one.
pub(super) fn lifeline() -> (Lifeline, Task) {
    let (stop, told) = watch::channel(Stop::No);
    let (ended, heard) = watch::channel(false);
    (Lifeline { stop, ended: heard }, Task { stop: told, ended })
}

impl Lifeline {
    /// Tells the task to end; a cleaner end than was said before is not meant.
    pub(super) fn say(&self, how: Stop) {
        self.stop.send_if_modified(|said| {
            let is_more = *said == Stop::No || how == Stop::AtOnce;
            let is_news = is_more && *said != how;
            if is_news {
                *said = how;
            }
            is_news
        });
    }

    /// The same, and waits for its end.
    pub(super) async fn stop(&self, how: Stop) {
        self.say(how);
        self.until_ended().await;
    }

    /// Waits for its end. A task whose thread is gone has ended, too.
    pub(super) async fn until_ended(&self) {
        let mut ended = self.ended.clone();
        // An error says that the task is gone.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> bool {
        *self.ended.borrow() || self.ended.has_changed().is_err()
    }
}

impl Task {
    /// What was said so far; where nobody is left who could say more, its node is gone: it ends.
    pub(super) fn said(&self) -> Stop {
        let said = *self.stop.borrow();
        if said == Stop::No && self.stop.has_changed().is_err() { Stop::Cleanly } else { said }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.ended.send_replace(true);
    }
}
