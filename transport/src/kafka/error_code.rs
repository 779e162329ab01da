//! Error codes. Generated from `schemas/errors.table`.
#![allow(clippy::too_many_lines, reason = "generated: a line for each of the codes")]

include!(concat!(env!("OUT_DIR"), "/kafka_error_codes.rs"));

impl ErrorCode {
    /// Its number on the wire.
    #[must_use]
    pub const fn code(self) -> i16 {
        self as i16
    }
}

impl From<ErrorCode> for i16 {
    fn from(error: ErrorCode) -> Self {
        error.code()
    }
}
