//! What happens to a client's batches before they are written: checked, held against what their producer sent before,
//! given their offsets.

mod counted;
mod producers;
mod sequence;
mod snapshot;
mod transactions;
mod validate;

pub use counted::NodeProducers;
pub use producers::{ActiveProducer, Check, ProducerLimits, ProducerTable};
pub use sequence::{Sequenced, Sequencer};
pub use snapshot::SnapshotError;
pub use transactions::AbortedTransaction;
pub use validate::{TIMESTAMP_AFTER_MAX_MS, Validated, keyed, validate};
