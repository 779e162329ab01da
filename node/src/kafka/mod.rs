//! Kafka's wire protocol on TCP: every client and tool of Kafka's is one of ours.
//!
//! The way of a request: [`listener`] accepts and gives the stream to a core → `gate` finds out who the client is →
//! `frames` reads → `connection`, an actor, keeps the order of answers → `dispatch` finds the API in `table` → a file of `api` translates, asks an actor,
//! and translates back → `connection` writes. What is read of a request borrows from its frame; batches of records are
//! slices of it on their way to the log, and slices of the log's memory on their way back.

mod acls;
mod api;
mod call;
mod commits;
mod configs;
mod connection;
mod dispatch;
mod error;
pub(crate) mod fetch_session;
mod frames;
mod gate;
pub(crate) mod listener;
mod places;
mod quotas;
mod replicas;
pub(crate) mod service;
pub(crate) mod session;
mod table;
