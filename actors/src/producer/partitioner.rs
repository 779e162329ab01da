//! Which partition a record goes to.

use std::fmt::Debug;

use millstream_transport::world::Random;

use crate::record::key_hash::partition_for_key;

/// Chooses partitions; makes what remembers for one topic.
pub trait Partitioner: Debug + Send + Sync {
    /// A chooser for one topic, used by one producer, one record at a time.
    fn for_topic(&self, topic: &str) -> Box<dyn TopicPartitioner>;
}

/// Chooses the partitions of one topic's records.
pub trait TopicPartitioner: Debug + Send {
    /// The partition of a record; taken as it is, so it must be one that the topic has.
    fn choose(&mut self, choice: &Choice<'_>) -> i32;
}

/// What there is to choose by.
pub struct Choice<'a> {
    /// The record's key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Its bytes in a batch.
    pub bytes: usize,
    /// Partitions that the topic has.
    pub partitions: i32,
    /// Those with a leader, in order; all where none has one. Never empty.
    pub available: &'a [i32],
    /// `batch.size`.
    pub batch_bytes: usize,
    /// Randomness.
    pub random: &'a Random,
    /// Bytes that wait for a partition.
    pub queued_bytes: &'a dyn Fn(i32) -> usize,
}

impl Debug for Choice<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Choice").field("partitions", &self.partitions).finish_non_exhaustive()
    }
}

impl Choice<'_> {
    fn by_key(&self) -> Option<i32> {
        let partition = partition_for_key(self.key?, self.partitions.unsigned_abs());
        i32::try_from(partition).ok()
    }

    /// One of the available partitions at random.
    fn any(&self) -> i32 {
        let count = u64::try_from(self.available.len()).unwrap_or(0);
        let place = usize::try_from(self.random.range(0, count)).unwrap_or(0);
        self.available.get(place).copied().unwrap_or(0)
    }
}

/// Kafka's default: murmur2 of the key; without one it stays with a partition for `batch.size` bytes (KIP-480, KIP-794)
/// and then takes the less burdened of two drawn at random, so that a slow partition gets less.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultPartitioner;

impl Partitioner for DefaultPartitioner {
    fn for_topic(&self, _: &str) -> Box<dyn TopicPartitioner> {
        Box::new(Sticky { partition: None, bytes_left: 0 })
    }
}

#[derive(Debug)]
struct Sticky {
    partition: Option<i32>,
    bytes_left: usize,
}

impl TopicPartitioner for Sticky {
    fn choose(&mut self, choice: &Choice<'_>) -> i32 {
        if let Some(partition) = choice.by_key() {
            return partition;
        }
        let stay = self
            .partition
            .filter(|partition| self.bytes_left > 0 && choice.available.binary_search(partition).is_ok());
        let partition = stay.unwrap_or_else(|| {
            self.bytes_left = choice.batch_bytes;
            let (one, other) = (choice.any(), choice.any());
            if (choice.queued_bytes)(other) < (choice.queued_bytes)(one) { other } else { one }
        });
        self.partition = Some(partition);
        self.bytes_left = self.bytes_left.saturating_sub(choice.bytes);
        partition
    }
}

/// One partition after the other, whatever the key.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundRobin;

impl Partitioner for RoundRobin {
    fn for_topic(&self, _: &str) -> Box<dyn TopicPartitioner> {
        Box::new(Turn { next: 0 })
    }
}

#[derive(Debug)]
struct Turn {
    next: usize,
}

impl TopicPartitioner for Turn {
    fn choose(&mut self, choice: &Choice<'_>) -> i32 {
        let place = self.next.checked_rem(choice.available.len()).unwrap_or(0);
        self.next = self.next.wrapping_add(1);
        choice.available.get(place).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(
        chooser: &mut dyn TopicPartitioner,
        key: Option<&[u8]>,
        available: &[i32],
        queued: &dyn Fn(i32) -> usize,
        random: &Random,
    ) -> i32 {
        chooser.choose(&Choice {
            key,
            value: None,
            bytes: 100,
            partitions: 6,
            available,
            batch_bytes: 1000,
            random,
            queued_bytes: queued,
        })
    }

    #[test]
    fn a_key_has_its_partition_whether_it_has_a_leader_or_not() {
        let mut chooser = DefaultPartitioner.for_topic("t");
        let random = Random::seeded(1);
        let expected = i32::try_from(partition_for_key(b"foobar", 6)).unwrap();
        assert_eq!(choose(&mut *chooser, Some(b"foobar"), &[0], &|_| 0, &random), expected);
    }

    #[test]
    fn without_a_key_a_partition_is_kept_for_a_batch_and_all_get_their_share() {
        let mut chooser = DefaultPartitioner.for_topic("t");
        let random = Random::seeded(1);
        let mut counts = [0; 6];
        for _ in 0..600 {
            let first = choose(&mut *chooser, None, &[0, 1, 2, 3, 4, 5], &|_| 0, &random);
            for _ in 1..10 {
                assert_eq!(choose(&mut *chooser, None, &[0, 1, 2, 3, 4, 5], &|_| 0, &random), first);
            }
            counts[usize::try_from(first).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (60..140).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_burdened_partition_gets_less_and_one_without_a_leader_nothing() {
        let mut chooser = DefaultPartitioner.for_topic("t");
        let random = Random::seeded(1);
        let mut counts = [0; 6];
        for _ in 0..6000 {
            let chosen = choose(&mut *chooser, None, &[0, 1, 2, 4], &|p| usize::from(p == 0), &random);
            counts[usize::try_from(chosen).unwrap()] += 1;
        }
        assert_eq!((counts[3], counts[5]), (0, 0));
        assert!(counts[0] < counts[1] / 2, "{counts:?}");
    }

    #[test]
    fn round_robin_takes_turns() {
        let mut chooser = RoundRobin.for_topic("t");
        let random = Random::seeded(1);
        let chosen: Vec<i32> =
            (0..5).map(|_| choose(&mut *chooser, Some(b"k"), &[1, 2, 4], &|_| 0, &random)).collect();
        assert_eq!(chosen, [1, 2, 4, 1, 2]);
    }
}
