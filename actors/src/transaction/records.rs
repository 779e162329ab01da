//! What `__transaction_state` holds: one record for each transactional id, in Kafka's own schemas (TransactionLogKey 0,
//! TransactionLogValue 0 and 1 read, 1 written).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_transport::kafka::messages::transaction_log::{
    TransactionLogKey, TransactionLogValue, TransactionPartition,
};
use millstream_transport::kafka::{DecodeError, Message};

use super::state::{NO_EPOCH, Transaction, TransactionState};
use crate::group::doors::Replaying;
use crate::group::pending::OfProducer;
use crate::group::records::LogRecord;
use crate::ids::ProducerId;
use crate::record::EndMarker;

/// The version written of key and value.
const KEY_VERSION: i16 = 0;
const VALUE_VERSION: i16 = 1;

/// For ids and times that there are not.
const NONE: i64 = -1;

/// Why a record is not one of a transactional id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Its bytes are not such a record.
    #[error(transparent)]
    Bytes(#[from] DecodeError),
    /// The state is not one known here.
    #[error("state {0} of a transaction is not known")]
    State(i8),
}

/// The record of a transactional id; without a transaction, the one that forgets it.
#[must_use]
pub fn encode(timestamp_ms: i64, id: &str, transaction: Option<&Transaction>) -> LogRecord {
    let key = TransactionLogKey { transactional_id: id.into() }.encode_versioned(KEY_VERSION);
    let value = transaction.map(|transaction| value_of(transaction).encode_versioned(VALUE_VERSION));
    LogRecord {
        timestamp_ms,
        // Ids longer than the format has room for are refused long before.
        key: key.unwrap_or_default().into(),
        value: value.map(|value| value.unwrap_or_default().into()),
    }
}

fn value_of(transaction: &Transaction) -> TransactionLogValue<'_> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, index) in &transaction.partitions {
        topics.entry(topic).or_default().push(*index);
    }
    let partitions = topics
        .into_iter()
        .map(|(topic, indexes)| TransactionPartition { topic: topic.into(), partition_ids: indexes.into() });
    let id = |id: Option<ProducerId>| id.map_or(NONE, |id| id.0);
    let is_empty = transaction.state == TransactionState::Empty;
    TransactionLogValue {
        producer_id: transaction.producer_id.0,
        previous_producer_id: id(transaction.previous_producer_id),
        next_producer_id: id(transaction.next_producer_id),
        producer_epoch: transaction.producer_epoch,
        next_producer_epoch: if transaction.next_producer_id.is_some() { 0 } else { NO_EPOCH },
        transaction_timeout_ms: transaction.timeout_ms,
        transaction_status: transaction.state as i8,
        transaction_partitions: (!is_empty).then(|| partitions.collect()),
        transaction_last_update_timestamp_ms: transaction.updated_ms,
        transaction_start_timestamp_ms: transaction.started_ms.unwrap_or(NONE),
        client_transaction_version: transaction.client_version,
    }
}

/// The transactional id of a record, and what is said of it; nothing if it is forgotten.
pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<(Arc<str>, Option<Transaction>), RecordError> {
    let key = TransactionLogKey::decode_versioned(key)?;
    let id = Arc::from(&*key.transactional_id);
    let Some(value) = value else { return Ok((id, None)) };
    let value = TransactionLogValue::decode_versioned(value)?;
    let state = TransactionState::from_number(value.transaction_status)
        .ok_or(RecordError::State(value.transaction_status))?;
    let known = |id: i64| (id >= 0).then_some(ProducerId(id));
    let mut partitions = BTreeSet::new();
    for topic in value.transaction_partitions.iter().flat_map(|topics| topics.iter()) {
        let name: Arc<str> = Arc::from(&*topic.topic);
        partitions.extend(topic.partition_ids.iter().map(|index| (Arc::clone(&name), index)));
    }
    let transaction = Transaction {
        producer_id: ProducerId(value.producer_id),
        previous_producer_id: known(value.previous_producer_id),
        next_producer_id: known(value.next_producer_id),
        producer_epoch: value.producer_epoch,
        last_producer_epoch: NO_EPOCH,
        timeout_ms: value.transaction_timeout_ms,
        state,
        partitions,
        started_ms: Some(value.transaction_start_timestamp_ms).filter(|ms| *ms >= 0),
        updated_ms: value.transaction_last_update_timestamp_ms,
        client_version: value.client_transaction_version,
    };
    Ok((id, Some(transaction)))
}

/// Transactional ids being read back from the log.
#[derive(Debug, Default)]
pub struct TransactionReplay {
    transactions: BTreeMap<Arc<str>, Transaction>,
    /// Ids whose last record could not be understood: what there was before is not how they stand.
    unreadable: BTreeSet<Arc<str>>,
    records: u64,
    undecodable: u64,
}

impl Replaying for TransactionReplay {
    fn record(&mut self, _: i64, key: Option<&[u8]>, value: Option<&[u8]>, _: Option<OfProducer>) {
        self.records += 1;
        match key.map(|key| decode(key, value)) {
            Some(Ok((id, Some(transaction)))) if transaction.state != TransactionState::Dead => {
                self.unreadable.remove(&id);
                self.transactions.insert(id, transaction);
            }
            Some(Ok((id, _))) => {
                self.unreadable.remove(&id);
                self.transactions.remove(&id);
            }
            None => {}
            Some(Err(_)) => {
                self.undecodable += 1;
                if let Some(id) = key.and_then(|key| TransactionLogKey::decode_versioned(key).ok()) {
                    let id = Arc::from(&*id.transactional_id);
                    self.transactions.remove(&id);
                    self.unreadable.insert(id);
                }
            }
        }
    }

    fn ended(&mut self, _: &EndMarker) {}
}

impl TransactionReplay {
    /// Records shown, and how many of them could not be understood.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.records, self.undecodable)
    }

    /// The transactional ids of which it is not known how they stand.
    #[must_use]
    pub const fn unreadable(&self) -> &BTreeSet<Arc<str>> {
        &self.unreadable
    }

    /// The transactional ids that there are.
    #[must_use]
    pub fn into_transactions(self) -> BTreeMap<Arc<str>, Transaction> {
        self.transactions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transaction() -> Transaction {
        Transaction {
            producer_id: ProducerId(1),
            previous_producer_id: None,
            next_producer_id: Some(ProducerId(2)),
            producer_epoch: 3,
            last_producer_epoch: NO_EPOCH,
            timeout_ms: 60_000,
            state: TransactionState::PrepareCommit,
            partitions: [("tp".into(), 258), ("tp".into(), 0), ("a".into(), 1)].into(),
            started_ms: Some(1_000),
            updated_ms: 1_001,
            client_version: 2,
        }
    }

    /// By hand from Kafka's schemas: version, producer, epoch, time-out, state, topics, times, tagged fields 1 to 3.
    #[test]
    fn a_transaction_lies_in_the_log_as_kafka_has_it() {
        let record = encode(7, "id", Some(&transaction()));
        assert_eq!(&record.key[..], b"\0\0\0\x02id");
        let value = b"\0\x01\0\0\0\0\0\0\0\x01\0\x03\0\0\xea\x60\x02\
            \x03\x02a\x02\0\0\0\x01\0\x03tp\x03\0\0\0\0\0\0\x01\x02\0\
            \0\0\0\0\0\0\x03\xe9\0\0\0\0\0\0\x03\xe8\
            \x03\x01\x08\0\0\0\0\0\0\0\x02\x02\x02\0\x02\x03\x02\0\0";
        assert_eq!(record.value.as_deref(), Some(&value[..]));
        assert_eq!(decode(&record.key, Some(value)), Ok(("id".into(), Some(transaction()))));
    }

    #[test]
    fn an_id_whose_last_record_is_not_understood_is_set_aside_until_the_next_one() {
        let record = encode(7, "id", Some(&transaction()));
        let later: &[u8] = b"\0\x63";
        let mut replay = TransactionReplay::default();
        replay.record(0, Some(&record.key), record.value.as_deref(), None);
        replay.record(0, Some(&record.key), Some(later), None);
        assert_eq!((replay.counts(), replay.unreadable().len()), ((2, 1), 1));
        assert!(replay.transactions.is_empty());
        replay.record(0, Some(&record.key), record.value.as_deref(), None);
        assert_eq!((replay.unreadable().len(), replay.into_transactions().len()), (0, 1));
    }

    #[test]
    fn an_empty_transaction_and_a_tombstone_are_read_back() {
        let empty = Transaction {
            state: TransactionState::Empty,
            partitions: [].into(),
            started_ms: None,
            next_producer_id: None,
            client_version: 0,
            ..transaction()
        };
        let record = encode(7, "id", Some(&empty));
        assert_eq!(decode(&record.key, record.value.as_deref()), Ok(("id".into(), Some(empty))));
        let forgotten = encode(7, "id", None);
        assert_eq!(forgotten.value, None);
        let mut replay = TransactionReplay::default();
        for record in [record, forgotten] {
            replay.record(0, Some(&record.key), record.value.as_deref(), None);
        }
        replay.record(0, Some(b"\0\x09"), None, None);
        assert_eq!(replay.counts(), (3, 1));
        assert!(replay.into_transactions().is_empty());
    }
}
