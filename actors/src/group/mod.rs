//! Consumer groups.

pub mod assignor;
pub mod message;

pub mod modern;
pub mod offsets;
pub mod records;
pub mod settings;
pub mod topics;

#[cfg(test)]
mod fakes;
