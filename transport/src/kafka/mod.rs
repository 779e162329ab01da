//! Kafka's wire protocol: bytes ↔ messages. Pure.
//!
//! The messages are generated from `schemas/` by `build.rs`; what each of them needs lies in the files here.
//!
//! - **Reading borrows and allocates nothing.** One walk over a frame checks every length, count, text and tag against
//!   the bytes that are left; strings, bytes and [`Array`]s are slices of the frame. An array is a checked range that
//!   reads its elements again, one at a time, when it is iterated. So no number in a frame decides how much memory
//!   anybody takes, and a refused frame costs at most one walk over it.
//! - **Writing copies no records.** A [`Writer`] puts small parts into one buffer and remembers where the [`Records`] go
//!   between them; the result is a list of slices for one vectored write.
//! - **A message is one struct for both directions.** What was read can be written again, in another version too; what
//!   is written can borrow its strings from wherever they are.
//!
//! The price for having no memory: what lies in nested arrays is walked once by the check and once more per level that
//! is iterated. No message here has more than three levels of structs.

mod api;
mod array;
mod error;
mod error_code;
mod frame;
mod message;
pub mod messages;
mod read;
mod records;
#[cfg(test)]
mod tests;
mod uuid;
mod write;

pub use api::{APIS, Api, ApiKey, request_header_version, response_header_version};
pub use array::{Array, Iter};
pub use error::{DecodeError, DecodeFault, EncodeError, EncodeFault, RewriteError};
pub use error_code::ErrorCode;
pub use frame::{Encoded, Opened, Prelude, encode_request, encode_response, open_request, open_response};
pub use message::{Element, Entry, Message, Refused, Request, Response, Versions};
pub use messages::CATALOGUE;
pub use read::Reader;
pub use records::Records;
pub use uuid::Uuid;
pub use write::Writer;
