//! Logins: from the client's messages to who it is.
//!
//! A user that there is not is led through the same exchange as one whose password is wrong: no word says which users
//! there are. It is no secret to who takes pains: each process makes salts of its own for users that there are not, and a
//! credential with other iterations or another salt than `millstream user` gives can be told from those.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use millstream_actors::access::{ScramCredential, ScramMechanism};
use millstream_actors::image::Image;
use millstream_transport::world::{Threads, watch};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use super::checks::{Asker, Checks};
use super::principal::Principal;
use super::scram::{Challenged, ClientFirst, is_password};
use crate::config::{SaslConfig, SaslMechanism};

/// Bytes of randomness in a nonce.
const NONCE_BYTES: usize = 18;

/// What logins are checked with.
pub(crate) struct Sasl {
    /// How clients may log in.
    pub(crate) config: SaslConfig,
    images: watch::Receiver<Arc<Image>>,
    threads: Threads,
    checks: Checks,
    /// Makes the salts of users that there are not: the same for the same name and mechanism, as real ones are.
    secret: hmac::Key,
}

impl fmt::Debug for Sasl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sasl").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The system has no randomness to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes")]
pub(crate) struct NoRandomness;

/// Cryptographic randomness comes from the system, as that of TLS does.
fn random<const BYTES: usize>() -> Result<[u8; BYTES], NoRandomness> {
    let mut bytes = [0; BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// A new salt.
pub(crate) fn salt() -> Result<Vec<u8>, NoRandomness> {
    random::<NONCE_BYTES>().map(Vec::from)
}

/// Why somebody is not let in; the client is told no more than that it failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{mechanism}{}: {reason}", user.as_ref().map(|user| format!(" of {user:?}")).unwrap_or_default())]
pub(crate) struct LoginFailed {
    mechanism: &'static str,
    user: Option<String>,
    reason: String,
}

/// What comes of a client's message.
#[derive(Debug)]
pub(crate) enum Step {
    /// The client is to answer this.
    Challenge(Vec<u8>),
    /// It is who it says; this is the last that it is told.
    Done(Principal, Vec<u8>),
    /// It is not let in.
    Failed(LoginFailed),
}

/// A login under way.
#[derive(Debug)]
pub(crate) struct Exchange {
    mechanism: SaslMechanism,
    asker: Asker,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing was said yet.
    Beginning,
    /// SCRAM's first messages were said; false for a user that there is not, who fails whatever the proof.
    Challenged(Box<Challenged>, bool),
    /// It has ended.
    Over,
}

impl Sasl {
    /// With these settings.
    pub(crate) fn new(
        config: SaslConfig,
        images: watch::Receiver<Arc<Image>>,
        threads: Threads,
    ) -> Result<Self, NoRandomness> {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &random::<32>()?);
        Ok(Self { config, images, threads, checks: Checks::new(), secret })
    }

    /// Begins a login by the mechanism of this name, if it is enabled.
    pub(crate) fn begin(&self, mechanism: &str, asker: Asker) -> Option<Exchange> {
        let known = self.config.mechanisms.iter().find(|known| known.name() == mechanism);
        known.map(|mechanism| Exchange { mechanism: *mechanism, asker, state: State::Beginning })
    }

    /// The names of the mechanisms that are enabled.
    pub(crate) fn mechanisms(&self) -> Vec<&'static str> {
        self.config.mechanisms.iter().map(|mechanism| mechanism.name()).collect()
    }

    fn credential(&self, user: &str, mechanism: ScramMechanism) -> Option<ScramCredential> {
        self.images.borrow().users().credential(user, mechanism).cloned()
    }

    /// One that nobody can prove, for a user that there is not.
    fn nobodys(&self, user: &str, mechanism: ScramMechanism) -> ScramCredential {
        let mut context = hmac::Context::with_key(&self.secret);
        context.update(mechanism.name().as_bytes());
        context.update(&[0]);
        context.update(user.as_bytes());
        let salt = context.sign();
        ScramCredential {
            salt: salt.as_ref().iter().take(NONCE_BYTES).copied().collect(),
            stored_key: vec![0; mechanism.key_bytes()],
            server_key: vec![0; mechanism.key_bytes()],
            iterations: ScramMechanism::ITERATIONS_MIN,
        }
    }
}

/// The mechanisms whose credentials PLAIN is checked with, the strongest first: those that are enabled, or all where it
/// is enabled alone. Of a credential of another mechanism a password may be left that was changed long ago.
fn of_plain(enabled: &[SaslMechanism]) -> impl Iterator<Item = ScramMechanism> {
    let is_enabled = |mechanism: &ScramMechanism| enabled.contains(&SaslMechanism::Scram(*mechanism));
    let is_alone = !ScramMechanism::ALL.iter().any(is_enabled);
    ScramMechanism::ALL.into_iter().rev().filter(move |mechanism| is_alone || is_enabled(mechanism))
}

impl Exchange {
    /// By which mechanism.
    pub(crate) const fn mechanism(&self) -> SaslMechanism {
        self.mechanism
    }

    /// Takes the client's next message.
    pub(crate) async fn step(&mut self, sasl: &Sasl, message: &[u8]) -> Step {
        let state = std::mem::replace(&mut self.state, State::Over);
        match (self.mechanism, state) {
            (SaslMechanism::Scram(mechanism), State::Beginning) => self.challenge(sasl, mechanism, message),
            (SaslMechanism::Scram(mechanism), State::Challenged(challenged, is_known)) => {
                finish(mechanism, *challenged, is_known, message)
            }
            (SaslMechanism::Plain, State::Beginning) => plain(sasl, self.asker, message).await,
            (mechanism, State::Challenged(..) | State::Over) => {
                failed(mechanism.name(), None, "a message came after the end of the login")
            }
        }
    }

    fn challenge(&mut self, sasl: &Sasl, mechanism: ScramMechanism, message: &[u8]) -> Step {
        let first = match ClientFirst::parse(message) {
            Ok(first) => first,
            Err(error) => return failed(mechanism.name(), None, error),
        };
        let nonce = match random::<NONCE_BYTES>() {
            Ok(nonce) => STANDARD.encode(nonce),
            Err(error) => return failed(mechanism.name(), None, error),
        };
        let known = sasl.credential(&first.user, mechanism);
        let is_known = known.is_some();
        let credential = known.unwrap_or_else(|| sasl.nobodys(&first.user, mechanism));
        let (challenged, message) = Challenged::new(mechanism, credential, first, &nonce);
        self.state = State::Challenged(Box::new(challenged), is_known);
        Step::Challenge(message)
    }
}

fn finish(mechanism: ScramMechanism, challenged: Challenged, is_known: bool, message: &[u8]) -> Step {
    let user = challenged.user().to_owned();
    match challenged.finish(message) {
        Ok(last) if is_known => Step::Done(Principal::user(&user), last),
        Ok(_) => failed(mechanism.name(), Some(user), "there is no such user"),
        Err(error) if is_known => failed(mechanism.name(), Some(user), error),
        Err(_) => failed(mechanism.name(), Some(user), "there is no such user"),
    }
}

/// PLAIN (RFC 4616): on whose behalf, the user, the password, with a zero between them. Where a user has credentials of
/// several mechanisms, the strongest alone counts.
async fn plain(sasl: &Sasl, asker: Asker, message: &[u8]) -> Step {
    let name = SaslMechanism::Plain.name();
    let parts: Vec<&[u8]> = message.split(|byte| *byte == 0).collect();
    let [on_behalf, user, password] = parts.as_slice() else {
        return failed(name, None, "a message is not one of PLAIN");
    };
    let Ok(user) = std::str::from_utf8(user).map(str::to_owned) else {
        return failed(name, None, "the user's name is not UTF-8");
    };
    if !on_behalf.is_empty() && *on_behalf != user.as_bytes() {
        return failed(name, Some(user), "it is on behalf of somebody else");
    }
    if user.is_empty() || password.is_empty() {
        return failed(name, Some(user), "the user or the password is empty");
    }
    let found = of_plain(&sasl.config.mechanisms)
        .find_map(|mechanism| sasl.credential(&user, mechanism).map(|credential| (mechanism, credential)));
    let is_known = found.is_some();
    let strongest = of_plain(&sasl.config.mechanisms).next().unwrap_or(ScramMechanism::Sha512);
    let (mechanism, credential) = found.unwrap_or_else(|| (strongest, sasl.nobodys(&user, strongest)));
    let (turn, password) = (sasl.checks.turn(asker).await, password.to_vec());
    let check = move || {
        let is_right = is_password(mechanism, &credential, &password);
        // Given back when the work is done, though nobody may wait for it any more.
        drop(turn);
        is_right
    };
    if sasl.threads.run_blocking(check).await && is_known {
        return Step::Done(Principal::user(&user), Vec::new());
    }
    failed(name, Some(user), if is_known { "the password is wrong" } else { "there is no such user" })
}

fn failed(mechanism: &'static str, user: Option<String>, reason: impl fmt::Display) -> Step {
    Step::Failed(LoginFailed { mechanism, user, reason: reason.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_is_checked_with_the_strongest_mechanism_that_is_enabled() {
        use ScramMechanism::{Sha256, Sha512};
        let of = |enabled: &[SaslMechanism]| of_plain(enabled).collect::<Vec<_>>();
        let (plain, scram) = (SaslMechanism::Plain, SaslMechanism::Scram);
        assert_eq!(of(&[plain]), [Sha512, Sha256], "alone");
        assert_eq!(of(&[scram(Sha256), scram(Sha512), plain]), [Sha512, Sha256]);
        assert_eq!(of(&[scram(Sha256), plain]), [Sha256]);
        assert_eq!(of(&[plain, scram(Sha512)]), [Sha512]);
    }
}
