//! Deaths that come before their beginning is heard of.

use ractor::ActorId;

/// Actors that died before it was heard by their supervisor that they had begun. It keeps them while one of its actors
/// begins, no longer.
#[derive(Debug, Default)]
pub struct EarlyDeaths(Vec<(ActorId, String)>);

impl EarlyDeaths {
    /// This one has died, of this.
    pub fn note(&mut self, actor: ActorId, cause: &str) {
        self.0.push((actor, cause.to_owned()));
    }

    /// Of what an actor has died, if it has; told once.
    pub fn cause(&mut self, actor: ActorId) -> Option<String> {
        let place = self.0.iter().position(|(dead, _)| *dead == actor)?;
        Some(self.0.swap_remove(place).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_died_before_it_was_heard_that_it_had_begun_is_known_to_be_dead() {
        let mut dead = EarlyDeaths::default();
        dead.note(ActorId::Local(1), "so told");
        assert_eq!(dead.cause(ActorId::Local(2)), None);
        assert_eq!(dead.cause(ActorId::Local(1)), Some("so told".to_owned()));
        assert_eq!(dead.cause(ActorId::Local(1)), None);
    }
}
