//! Does a cluster keep its promises whatever happens to it? In simulation: one thread, one seed, virtual time.

mod calm;
mod clients;
mod stops;
