//! Questions to the stores of an application that runs: from its own process, and from any client of the cluster.
//!
//! A question names a store and a partition, or a key whose partition is found as a producer finds it, and is answered in
//! bounded pages by the actor of the task between two of its steps: from what is committed, or through what is not yet.
//! `read` is pure. [`desk`] is where a cluster's nodes keep the questions that members of an application fetch.

pub mod desk;
mod error;
mod find;
pub mod message;
mod read;
mod store;
mod way;

#[cfg(test)]
mod golden;

pub use error::{QueryError, QueryRefusal};
pub(crate) use find::{Forms, Place, find};
pub use message::{StoreAnswered, StoreAsk, StoreQuery};
pub(crate) use read::{Form, View, read};
pub use store::{Page, PageToken, QueriedStore};
pub(crate) use way::{Asked, QueryWay};
