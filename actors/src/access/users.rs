//! SCRAM credentials of users (RFC 5802, KIP-554). A password is never among them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The most credentials of a cluster.
pub const USERS_MAX: usize = 1 << 17;

/// The longest name of a user, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// Bytes of the shortest and of the longest salt.
const SALT_BYTES: std::ops::RangeInclusive<usize> = 8..=255;

/// A mechanism. Written by place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ScramMechanism {
    /// SCRAM-SHA-256 (RFC 7677).
    Sha256,
    /// SCRAM-SHA-512.
    Sha512,
}

impl ScramMechanism {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];
    /// The fewest iterations of a credential, as Kafka has it.
    pub const ITERATIONS_MIN: u32 = 4096;
    /// The most: a check of a password costs so many hashes.
    pub const ITERATIONS_MAX: u32 = 16384;

    /// Its number in Kafka's protocol.
    #[must_use]
    pub const fn code(self) -> i8 {
        match self {
            Self::Sha256 => 1,
            Self::Sha512 => 2,
        }
    }

    /// The one of this number.
    #[must_use]
    pub fn of_code(code: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.code() == code)
    }

    /// Its name among SASL's mechanisms.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    /// Bytes of its hash, and so of its keys.
    #[must_use]
    pub const fn key_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// What a node must know to let a user in who knows the password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScramCredential {
    /// Random, of this credential only.
    pub salt: Vec<u8>,
    /// The hash of the client's key.
    pub stored_key: Vec<u8>,
    /// With which the node shows that it knows the credential.
    pub server_key: Vec<u8>,
    /// Of the password's hash.
    pub iterations: u32,
}

/// Nothing of it but the cost: logs show what is debugged.
impl fmt::Debug for ScramCredential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ScramCredential")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// A credential that cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCredential {
    /// The name of the user is none.
    #[error("a user's name has from 1 to {NAME_BYTES_MAX} bytes, this one {0}")]
    Name(usize),
    /// So many iterations are not allowed.
    #[error("a credential has from 4096 to 16384 iterations, not {0}")]
    Iterations(u32),
    /// The salt is too short or too long.
    #[error("a salt has from 8 to 255 bytes, not {0}")]
    Salt(usize),
    /// A key is not one of the mechanism.
    #[error("keys of {0} have {1} bytes")]
    Key(&'static str, usize),
}

/// An error unless a user can have this name.
pub fn check_user_name(name: &str) -> Result<(), InvalidCredential> {
    if (1..=NAME_BYTES_MAX).contains(&name.len()) { Ok(()) } else { Err(InvalidCredential::Name(name.len())) }
}

impl ScramCredential {
    /// An error unless it is one of this mechanism.
    pub fn check(&self, mechanism: ScramMechanism) -> Result<(), InvalidCredential> {
        let bounds = ScramMechanism::ITERATIONS_MIN..=ScramMechanism::ITERATIONS_MAX;
        if !bounds.contains(&self.iterations) {
            return Err(InvalidCredential::Iterations(self.iterations));
        }
        if !SALT_BYTES.contains(&self.salt.len()) {
            return Err(InvalidCredential::Salt(self.salt.len()));
        }
        let length = mechanism.key_bytes();
        if [&self.stored_key, &self.server_key].iter().any(|key| key.len() != length) {
            return Err(InvalidCredential::Key(mechanism.name(), length));
        }
        Ok(())
    }
}

/// A change of one credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScramChange {
    /// The user.
    pub user: String,
    /// The mechanism.
    pub mechanism: ScramMechanism,
    /// The new credential; `None` takes it away.
    pub credential: Option<ScramCredential>,
}

impl ScramChange {
    /// An error unless it makes sense.
    pub fn check(&self) -> Result<(), InvalidCredential> {
        check_user_name(&self.user)?;
        self.credential.as_ref().map_or(Ok(()), |credential| credential.check(self.mechanism))
    }
}

/// All users that have credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users {
    each: BTreeMap<String, BTreeMap<ScramMechanism, ScramCredential>>,
    /// Of credentials.
    count: usize,
}

impl Users {
    /// How many credentials there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The credential of a user.
    #[must_use]
    pub fn credential(&self, user: &str, mechanism: ScramMechanism) -> Option<&ScramCredential> {
        self.each.get(user)?.get(&mechanism)
    }

    /// The credentials of a user by mechanism.
    pub fn of_user(&self, user: &str) -> impl Iterator<Item = (ScramMechanism, &ScramCredential)> {
        self.each.get(user).into_iter().flatten().map(|(mechanism, credential)| (*mechanism, credential))
    }

    /// The names of all users, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.each.keys().map(String::as_str)
    }

    /// All credentials, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, ScramMechanism, &ScramCredential)> {
        self.each.iter().flat_map(|(user, each)| {
            each.iter().map(|(mechanism, credential)| (user.as_str(), *mechanism, credential))
        })
    }

    /// Gives a user a credential, in place of the one before.
    pub fn put(&mut self, user: &str, mechanism: ScramMechanism, credential: ScramCredential) {
        let before = self.each.entry(user.to_owned()).or_default().insert(mechanism, credential);
        self.count += usize::from(before.is_none());
    }

    /// Takes a credential away; false if there was none.
    pub fn remove(&mut self, user: &str, mechanism: ScramMechanism) -> bool {
        let Some(each) = self.each.get_mut(user) else { return false };
        let was_there = each.remove(&mechanism).is_some();
        if each.is_empty() {
            self.each.remove(user);
        }
        self.count -= usize::from(was_there);
        was_there
    }
}
