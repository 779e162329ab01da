//! What a refusal is in Kafka's numbers.

use millstream_actors::error::{ErrorCode, Refusal};

/// No error.
pub(super) const NONE: i16 = 0;

/// The number of a code: ours are Kafka's.
pub(super) const fn number(code: ErrorCode) -> i16 {
    code as i16
}

/// For answers to requests of records, whose clients do not know a node that is out of space, memory or places: they look
/// for the leader and try again after an error of its storage.
pub(super) const fn of_records(code: ErrorCode) -> i16 {
    match code {
        ErrorCode::ThrottlingQuotaExceeded => ErrorCode::KafkaStorageError as i16,
        code => code as i16,
    }
}

/// The same for answers of coordinators.
pub(super) const fn of_groups(code: ErrorCode) -> i16 {
    match code {
        ErrorCode::ThrottlingQuotaExceeded | ErrorCode::RequestTimedOut => {
            ErrorCode::CoordinatorNotAvailable as i16
        }
        code => code as i16,
    }
}

/// The same for answers of transactions' coordinators; old clients know a producer that was fenced by its epoch only.
pub(super) const fn of_transactions(code: ErrorCode, tells_fenced: bool) -> i16 {
    match code {
        ErrorCode::ProducerFenced if !tells_fenced => ErrorCode::InvalidProducerEpoch as i16,
        code => of_groups(code),
    }
}

/// The number of an outcome of a coordinator.
pub(super) fn of_groups_outcome<T>(outcome: &Result<T, Refusal>) -> i16 {
    outcome.as_ref().err().map_or(NONE, |refusal| of_groups(refusal.code))
}

/// The number of an outcome.
pub(super) fn number_of<T>(outcome: &Result<T, Refusal>) -> i16 {
    outcome.as_ref().err().map_or(NONE, |refusal| number(refusal.code))
}
