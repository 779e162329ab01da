//! Logins: from the client's messages to who it is.
//!
//! A user that there is not is led through the same exchange as one whose password is wrong, with a salt as
//! `millstream user` makes them and the fewest iterations: a wrong name and a wrong password are answered alike.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use millstream_actors::access::{ScramCredential, ScramMechanism};
use millstream_actors::image::Image;
use millstream_transport::world::{Threads, watch};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::Semaphore;

use super::principal::Principal;
use super::scram::{Challenged, ClientFirst, is_password};
use crate::config::{SaslConfig, SaslMechanism};

/// Passwords of PLAIN that are checked at a time: each keeps a processor busy for some milliseconds.
const CHECKS_AT_A_TIME: usize = 2;

/// Bytes of randomness in a nonce.
const NONCE_BYTES: usize = 18;

/// What logins are checked with.
pub(crate) struct Sasl {
    /// How clients may log in.
    pub(crate) config: SaslConfig,
    images: watch::Receiver<Arc<Image>>,
    threads: Threads,
    checks: Semaphore,
    /// Makes the salts of users that there are not: the same for the same name, as real ones are.
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
        Ok(Self { config, images, threads, checks: Semaphore::new(CHECKS_AT_A_TIME), secret })
    }

    /// Begins a login by the mechanism of this name, if it is enabled.
    pub(crate) fn begin(&self, mechanism: &str) -> Option<Exchange> {
        let known = self.config.mechanisms.iter().find(|known| known.name() == mechanism);
        known.map(|mechanism| Exchange { mechanism: *mechanism, state: State::Beginning })
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
        let salt = hmac::sign(&self.secret, user.as_bytes());
        ScramCredential {
            salt: salt.as_ref().iter().take(NONCE_BYTES).copied().collect(),
            stored_key: vec![0; mechanism.key_bytes()],
            server_key: vec![0; mechanism.key_bytes()],
            iterations: ScramMechanism::ITERATIONS_MIN,
        }
    }
}

impl Exchange {
    /// Takes the client's next message.
    pub(crate) async fn step(&mut self, sasl: &Sasl, message: &[u8]) -> Step {
        let state = std::mem::replace(&mut self.state, State::Over);
        match (self.mechanism, state) {
            (SaslMechanism::Scram(mechanism), State::Beginning) => self.challenge(sasl, mechanism, message),
            (SaslMechanism::Scram(mechanism), State::Challenged(challenged, is_known)) => {
                finish(mechanism, *challenged, is_known, message)
            }
            (SaslMechanism::Plain, State::Beginning) => plain(sasl, message).await,
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

/// PLAIN (RFC 4616): on whose behalf, the user, the password, with a zero between them.
async fn plain(sasl: &Sasl, message: &[u8]) -> Step {
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
    let found = ScramMechanism::ALL
        .into_iter()
        .find_map(|mechanism| sasl.credential(&user, mechanism).map(|credential| (mechanism, credential)));
    let is_known = found.is_some();
    let (mechanism, credential) =
        found.unwrap_or_else(|| (ScramMechanism::Sha256, sasl.nobodys(&user, ScramMechanism::Sha256)));
    // It is never closed: an error is none.
    let _one_of_few = sasl.checks.acquire().await;
    let password = password.to_vec();
    let check = move || is_password(mechanism, &credential, &password);
    if sasl.threads.run_blocking(check).await && is_known {
        return Step::Done(Principal::user(&user), Vec::new());
    }
    failed(name, Some(user), if is_known { "the password is wrong" } else { "there is no such user" })
}

fn failed(mechanism: &'static str, user: Option<String>, reason: impl fmt::Display) -> Step {
    Step::Failed(LoginFailed { mechanism, user, reason: reason.to_string() })
}
