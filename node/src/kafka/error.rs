//! What a refusal is in Kafka's numbers.

use millstream_actors::error::{ErrorCode, Refusal};

/// No error.
pub(super) const NONE: i16 = 0;

/// The number of a code: ours are Kafka's.
pub(super) const fn number(code: ErrorCode) -> i16 {
    code as i16
}

/// The number of an outcome.
pub(super) fn number_of<T>(outcome: &Result<T, Refusal>) -> i16 {
    outcome.as_ref().err().map_or(NONE, |refusal| number(refusal.code))
}
