//! Reading a message of Kafka's protocol takes no memory, whatever the bytes are.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what fails here fails the test")]
#![allow(unsafe_code, reason = "only an allocator sees what is allocated, and that trait is unsafe")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use millstream_transport::kafka::messages::metadata::MetadataRequest;
use millstream_transport::kafka::messages::produce::ProduceRequest;
use millstream_transport::kafka::{CATALOGUE, Entry, Message};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends may allocate when its counter is gone.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as promised to this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as promised to this function.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Allocations of this thread while `work` runs.
fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn samples() -> Vec<(&'static Entry, i16, Vec<u8>)> {
    let mut samples = Vec::new();
    for line in include_str!("../src/kafka/tests/corpus.txt").lines() {
        let words = line.split(' ').collect::<Vec<_>>();
        let entry = CATALOGUE.iter().find(|entry| entry.name == words[0]).unwrap();
        samples.push((entry, words[1].parse().unwrap(), unhex(words[3])));
    }
    samples
}

#[test]
fn the_allocator_counts() {
    assert_eq!(allocations(|| drop(Vec::<u8>::with_capacity(10))), 1);
}

#[test]
fn reading_a_valid_message_allocates_nothing() {
    for (entry, version, bytes) in samples() {
        let count = allocations(|| assert!((entry.check)(&bytes, version).is_ok()));
        assert_eq!(count, 0, "{} {version}", entry.name);
    }
}

#[test]
fn reading_damaged_bytes_allocates_nothing() {
    for (entry, version, bytes) in samples() {
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xfe, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                let count = allocations(|| _ = (entry.check)(&damaged, version));
                assert_eq!(count, 0, "{} {version}, byte {at} made {value}", entry.name);
            }
        }
    }
}

#[test]
fn a_frame_of_30_bytes_with_a_count_of_two_thousand_million_allocates_nothing() {
    let mut frame = [0xff; 30];
    frame[..4].copy_from_slice(&i32::MAX.to_be_bytes());
    assert_eq!(allocations(|| assert!(MetadataRequest::decode(&frame, 4).is_err())), 0);
}

#[test]
fn iterating_what_was_read_allocates_nothing() {
    let bytes = unhex("ffff00010000000100000001000174000000020000000700000002616200000008ffffffff");
    let count = allocations(|| {
        let request = ProduceRequest::decode(&bytes, 3).unwrap();
        let partitions = request.topic_data.iter().map(|topic| topic.partition_data.iter().count());
        assert_eq!(partitions.sum::<usize>(), 2);
    });
    assert_eq!(count, 0);
}
