//! Who the clients of Kafka's protocol are, and what they may do.
//!
//! A listener's protocol says how a client shows who it is: by the certificate of TLS (`tls`, `mapping`), or by a
//! login (`sasl`, `scram`). What it may do is then asked of `authorize`.

pub(crate) mod authorize;
pub(crate) mod checks;
pub mod mapping;
pub(crate) mod origin;
pub(crate) mod principal;
pub(crate) mod sasl;
pub(crate) mod scram;
pub(crate) mod subject;
pub mod tls;
