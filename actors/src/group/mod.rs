//! Consumer groups.

pub mod assignor;
mod coordinator;
pub mod doors;
pub mod front;
pub mod lag;
pub mod message;
pub mod modern;
pub mod offsets;
pub mod records;
mod release;
mod request;
pub mod settings;
mod supervisor;
pub mod topics;

#[cfg(test)]
mod fakes;

#[cfg(test)]
mod tests;
