//! The messages, a module per API, each with `request` and `response`. Generated: see `schemas/` and `build/`.

/// What the messages are made of.
mod parts {
    pub(super) use std::borrow::Cow;
    pub(super) use std::fmt;

    pub(super) use crate::kafka::{
        Array, Element, Message, Reader, Records, Refused, Request, Response, Uuid, Versions, Writer,
    };
}

use crate::kafka::{Entry, Message as _, Versions};

include!(concat!(env!("OUT_DIR"), "/kafka_messages.rs"));
