//! What transactional producers, and readers of what is committed, ask of a partition's leader.

use bytes::Bytes;
use millstream_transport::message::{Answer, BodyMismatch, Message};
use serde::{Deserialize, Serialize};

use super::{Fetch, FetchAnswer, Fetched, Produce, ProduceAnswer};
use crate::ids::{Offset, ProducerId};
use crate::partition::append::AbortedTransaction;

/// Appends batches as part of a producer's transaction. Their partitions become part of it where they are not yet
/// (KIP-890 part 2).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProduceInTransaction {
    /// The producer's `transactional.id`.
    pub id: String,
    /// What to append; `acks` is `All`, as what is part of a transaction is there when it ends.
    pub produce: Produce,
}

impl Message for ProduceInTransaction {
    const KIND: u16 = 120;
    type Answer = ProduceAnswer;

    fn take_bodies(&mut self) -> Vec<Bytes> {
        self.produce.take_bodies()
    }

    fn put_bodies(&mut self, bodies: Vec<Bytes>) -> Result<(), BodyMismatch> {
        self.produce.put_bodies(bodies)
    }
}

/// Reads batches below the last stable offset: for who wants nothing of transactions that are open or were aborted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FetchStable(pub Fetch);

impl Message for FetchStable {
    const KIND: u16 = 121;
    type Answer = FetchStableAnswer;
}

/// Answers to [`FetchStable`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FetchStableAnswer {
    fetched: FetchAnswer,
    /// Of each part that was read, in its order.
    stable: Vec<Stable>,
}

/// What readers of committed records are told of a partition besides its batches.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stable {
    last_stable_offset: Offset,
    /// Producer, first offset and marker of the aborted transactions that the batches are part of.
    aborted: Vec<(ProducerId, Offset, Offset)>,
}

impl Answer for FetchStableAnswer {
    fn take_bodies(&mut self) -> Vec<Bytes> {
        self.fetched.take_bodies()
    }

    fn put_bodies(&mut self, bodies: Vec<Bytes>) -> Result<(), BodyMismatch> {
        BodyMismatch::check(self.stable.len(), bodies.len())?;
        self.fetched.put_bodies(bodies)
    }
}

impl From<FetchAnswer> for FetchStableAnswer {
    fn from(fetched: FetchAnswer) -> Self {
        let read = fetched.parts.iter().filter_map(|(_, part)| part.as_ref().ok());
        let stable = read.map(Stable::of).collect();
        Self { fetched, stable }
    }
}

impl From<FetchStableAnswer> for FetchAnswer {
    fn from(answer: FetchStableAnswer) -> Self {
        let FetchStableAnswer { mut fetched, stable } = answer;
        let read = fetched.parts.iter_mut().filter_map(|(_, part)| part.as_mut().ok());
        for (part, stable) in read.zip(stable) {
            stable.tell(part);
        }
        fetched
    }
}

impl Stable {
    fn of(fetched: &Fetched) -> Self {
        let told = |aborted: &AbortedTransaction| (aborted.producer_id, aborted.first, aborted.last);
        Self {
            last_stable_offset: fetched.last_stable_offset,
            aborted: fetched.aborted.iter().map(told).collect(),
        }
    }

    fn tell(self, fetched: &mut Fetched) {
        let last_stable = self.last_stable_offset;
        let aborted =
            |(producer_id, first, last)| AbortedTransaction { producer_id, first, last, last_stable };
        fetched.last_stable_offset = last_stable;
        fetched.aborted = self.aborted.into_iter().map(aborted).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Acks, FetchPart, Nearby, ProducePart};
    use super::*;
    use crate::error::{ErrorCode, Refusal};
    use crate::ids::{PartitionId, TopicId};

    const PARTITION: &str = "10abababababababababababababababab04";

    fn partition() -> PartitionId {
        PartitionId { topic: TopicId(uuid::Uuid::from_bytes([0xab; 16])), index: 2 }
    }

    fn hex(value: &impl Serialize) -> String {
        postcard::to_stdvec(value).unwrap().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn answer() -> FetchAnswer {
        let aborted = AbortedTransaction {
            producer_id: ProducerId(5),
            first: Offset(3),
            last: Offset(6),
            last_stable: Offset(8),
        };
        let fetched = Fetched {
            high_watermark: Offset(9),
            log_start_offset: Offset(1),
            diverging: None,
            preferred: None,
            last_stable_offset: Offset(8),
            aborted: vec![aborted],
            batches: Bytes::from_static(b"batches"),
        };
        let refusal = Refusal::new(ErrorCode::OffsetOutOfRange, "no");
        FetchAnswer { parts: vec![(partition(), Err(refusal)), (partition(), Ok(fetched))] }
    }

    #[test]
    fn the_bytes_of_version_1() {
        let part = ProducePart {
            partition: partition(),
            leader_epoch: None,
            batches: Bytes::new(),
            transaction: None,
        };
        let produce = Produce { acks: Acks::All, timeout_ms: 300, parts: vec![part] };
        let message = ProduceInTransaction { id: "id".to_owned(), produce };
        assert_eq!(hex(&message), format!("02696402ac0201{PARTITION}00"));
        let part = FetchPart {
            partition: partition(),
            leader_epoch: None,
            last_fetched_epoch: None,
            offset: Offset(5),
            max_bytes: 1,
            stable_only: true,
            nearby: Nearby::default(),
        };
        let fetch = FetchStable(Fetch { max_wait_ms: 1, min_bytes: 2, max_bytes: 3, parts: vec![part] });
        assert_eq!(hex(&fetch), format!("01020301{PARTITION}00000a01"));
        let mut answer = FetchStableAnswer::from(answer());
        assert_eq!(answer.take_bodies().len(), 1);
        let expected = format!("02{PARTITION}0101026e6f{PARTITION}001202000110010a060c");
        assert_eq!(hex(&answer), expected);
    }

    #[test]
    fn what_is_told_of_transactions_arrives_with_the_batches() {
        let mut sent = FetchStableAnswer::from(answer());
        let bodies = sent.take_bodies();
        let bytes = postcard::to_stdvec(&sent).unwrap();
        let mut received: FetchStableAnswer = postcard::from_bytes(&bytes).unwrap();
        assert!(received.put_bodies(Vec::new()).is_err());
        received.put_bodies(bodies).unwrap();
        let FetchAnswer { parts } = received.into();
        assert!(parts[0].1.is_err());
        let fetched = parts[1].1.as_ref().unwrap();
        assert_eq!((fetched.last_stable_offset, &fetched.batches[..]), (Offset(8), &b"batches"[..]));
        assert_eq!((fetched.aborted[0].first, fetched.aborted[0].last), (Offset(3), Offset(6)));
    }
}
