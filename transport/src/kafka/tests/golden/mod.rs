//! Messages whose fields are all known, and their bytes as the Java client of Kafka 4.4.0 wrote them.
//!
//! The numbers and names count up, so that two fields that changed places are found.
#![allow(clippy::too_many_lines, reason = "a line for each field, and some messages have many")]

mod administration;
mod connections;
mod groups;
mod records;
mod transactions;

use std::fmt::Debug;

use super::hex;
use crate::kafka::{Message, Records, Uuid, Writer, messages};

/// Writing `message` gives these bytes, and reading them gives `message`.
fn is_written_as<'a, M: Message<'a> + Debug + PartialEq>(message: &M, version: i16, bytes: &str) {
    let bytes = hex(bytes).leak();
    let mut writer = Writer::new();
    message.write_to(version, &mut writer).unwrap();
    assert_eq!(writer.into_vec(), bytes);
    assert_eq!(&M::decode(bytes, version).unwrap(), message);
}
