//! What a connection is known by: its listener, who its client is, and for how long.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::{SaslMechanism, SecurityProtocol};
use crate::security::principal::Principal;
use crate::security::sasl::Exchange;

/// Between one beginning to log in again and the next, as Kafka has it: each costs a check of a password.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A listener, to its connections.
#[derive(Debug)]
pub(crate) struct Entrance {
    /// Its name: clients are told the addresses of the same name.
    pub(crate) name: Arc<str>,
    pub(crate) protocol: SecurityProtocol,
}

/// A connection whose client was let in.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) entrance: Arc<Entrance>,
    pub(super) principal: Principal,
    /// Its address, as access control lists have it.
    pub(super) host: Arc<str>,
    /// Of a client that has logged in.
    login: Option<Mutex<Login>>,
}

#[derive(Debug)]
struct Login {
    mechanism: SaslMechanism,
    /// When the client last began to log in again.
    again_at: Option<Instant>,
    /// One that goes over the present one (KIP-368).
    next: Option<Exchange>,
    ends: Option<Instant>,
}

/// Why a client cannot begin to log in again (KIP-368).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotAgain {
    /// Nobody logs in here.
    Nobody,
    /// It did so by another mechanism.
    OtherMechanism,
    /// It has just begun to.
    TooSoon,
}

impl Session {
    /// Of a client that does not log in.
    pub(super) fn new(entrance: Arc<Entrance>, principal: Principal, peer: IpAddr) -> Self {
        Self { entrance, principal, host: peer.to_canonical().to_string().into(), login: None }
    }

    /// Of a client that has logged in by this mechanism.
    pub(super) fn logged_in(self, mechanism: SaslMechanism, ends: Option<Instant>) -> Self {
        Self { login: Some(Mutex::new(Login { mechanism, again_at: None, next: None, ends })), ..self }
    }

    /// Whether the client is to log in again before anything else.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.with_login(|login| login.ends.is_some_and(|ends| ends <= now)).unwrap_or(false)
    }

    /// Begins to log in again.
    pub(super) fn begin(&self, exchange: Exchange, now: Instant) -> Result<(), NotAgain> {
        let begun = self.with_login(|login| {
            if exchange.mechanism() != login.mechanism {
                return Err(NotAgain::OtherMechanism);
            }
            if login.again_at.is_some_and(|at| now.saturating_duration_since(at) < AGAIN_AFTER) {
                return Err(NotAgain::TooSoon);
            }
            (login.again_at, login.next) = (Some(now), Some(exchange));
            Ok(())
        });
        begun.unwrap_or(Err(NotAgain::Nobody))
    }

    /// The login that was taken goes on with the client's next message.
    pub(super) fn go_on(&self, exchange: Exchange) {
        self.with_login(|login| login.next = Some(exchange));
    }

    /// The login that has begun, to be taken further.
    pub(super) fn take_exchange(&self) -> Option<Exchange> {
        self.with_login(|login| login.next.take()).flatten()
    }

    /// It lasts on.
    pub(super) fn renew(&self, ends: Option<Instant>) {
        self.with_login(|login| login.ends = ends);
    }

    fn with_login<T>(&self, act: impl FnOnce(&mut Login) -> T) -> Option<T> {
        self.login.as_ref().map(|login| act(&mut login.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// As the log names a client.
impl fmt::Display for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} at {}", self.principal, self.host)
    }
}

/// When a login ends that lasts so long.
pub(super) fn ends(now: Instant, lasts: Option<Duration>) -> Option<Instant> {
    lasts.and_then(|lasts| now.checked_add(lasts))
}

/// As a client is told.
pub(super) fn lifetime_ms(lasts: Option<Duration>) -> i64 {
    lasts.map_or(0, |lasts| i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX))
}
