//! How followers get what their leaders append.

pub mod truncate;

#[cfg(test)]
mod model;
