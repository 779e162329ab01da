//! Streams: records processed as they occur, by event time, with state that survives, each once.
//!
//! A topology is a graph of operators between topics, written with [`StreamBuilder`]. It falls into sub-topologies where
//! records go through a topic; a *task* is one sub-topology over one partition of its sources, and all that it knows is in
//! its state stores, whose changes are in changelog topics. What a task decides is pure: records in, records and changes
//! out, so that the same topology runs record by record in a test ([`TopologyDriver`]) and on a cluster.

pub mod approximate;
pub mod builder;
mod change_codec;
pub mod codec;
mod cogroup;
mod control;
mod driver;
pub mod event;
mod frame;
mod global;
mod graph;
mod grouped;
mod grouped_table;
mod join;
mod materialize;
mod operator;
mod poison;
mod processor;
pub mod query;
mod reset;
mod results;
mod routing;
pub mod run;
mod scope;
pub mod store;
mod stream;
mod suppress;
mod table;
mod task;
mod time;
mod topics;
pub mod window;

#[cfg(test)]
mod tests;

pub use builder::{Consumed, Grouped, Produced, StreamBuilder};
pub use codec::{Codec, CodecError, Coded, SharedCodec};
pub use cogroup::CogroupedStream;
pub use control::end_of_input;
pub use driver::{DriverError, TopologyDriver};
pub use event::{Change, Data, Event};
pub use global::GlobalTable;
pub use graph::{Topology, TopologyError};
pub use grouped::GroupedStream;
pub use grouped_table::GroupedTable;
pub use join::{ForeignKey, JoinWindows, Joined};
pub use poison::Poison;
pub use processor::{
    Access, Context, Processing, Processor, Punctuation, StateStore, Stores, ValueContext, ValueProcessor,
};
pub use query::{Page, PageToken, QueriedStore, QueryError, QueryRefusal};
pub use reset::{Reset, ResetDone, ResetError, ResetTo, clean_up};
pub use run::{Guarantee, Streams, StreamsError, StreamsSettings, StreamsState};
pub use scope::{Counts, Origin, StreamError};
pub use store::{StoreSize, Stored};
pub use stream::Stream;
pub use suppress::Buffer;
pub use table::Table;
