//! Sixteen bytes that name a topic or a directory.

use std::fmt;

/// A UUID as it is on the wire.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid(pub [u8; 16]);

/// The alphabet of base64 for URLs.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Uuid {
    /// Stands for "none".
    pub const ZERO: Self = Self([0; 16]);

    /// Whether it stands for "none".
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }
}

impl From<u128> for Uuid {
    fn from(value: u128) -> Self {
        Self(value.to_be_bytes())
    }
}

impl From<Uuid> for u128 {
    fn from(uuid: Uuid) -> Self {
        Self::from_be_bytes(uuid.0)
    }
}

/// As Kafka's tools show it: base64 for URLs, 22 letters.
impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 128 bits are 21 letters of six and one with the last two bits and four zeros.
        let bits = u128::from(*self);
        for letter in 0..22 {
            let six = if letter < 21 { bits >> (122 - 6 * letter) } else { bits << 4 } & 63;
            let letter = usize::try_from(six).ok().and_then(|six| ALPHABET.get(six)).copied().unwrap_or(b'?');
            write!(f, "{}", char::from(letter))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
