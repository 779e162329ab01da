//! What reading and writing a message of Kafka's protocol takes: Produce with six partitions of 1 KiB of records each,
//! and Fetch with six partitions of 16 KiB each.
//!
//! `cargo bench --bench kafka_codec`. A line a case: nanoseconds of the best of several rounds. Reading is told twice:
//! the check alone, and the check with everything in the message looked at once.
#![allow(clippy::disallowed_methods, reason = "a benchmark measures the time of the world outside")]

use std::hint::black_box;
use std::io::{self, Write};
use std::time::Instant;

use bytes::Bytes;
use millstream_transport::kafka::messages::fetch::{
    FetchRequest, FetchResponse, request as ask, response as give,
};
use millstream_transport::kafka::messages::produce::{ProduceRequest, request as put};
use millstream_transport::kafka::{EncodeError, Message, Uuid, Writer, encode_response};

const ROUNDS: usize = 20;
const REPEATS: u32 = 20_000;
const PARTITIONS: i32 = 6;

/// Nanoseconds of one call of `work`, in the best round.
fn measure(mut work: impl FnMut()) -> u128 {
    let mut best = u128::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..REPEATS {
            work();
        }
        best = best.min(start.elapsed().as_nanos() / u128::from(REPEATS));
    }
    best
}

fn produce(records: &Bytes) -> ProduceRequest<'static> {
    let partition_data = (0..PARTITIONS)
        .map(|index| put::PartitionData { index, records: Some(records.clone().into()) })
        .collect();
    let topic = put::TopicData { name: "orders".into(), partition_data, ..Default::default() };
    ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic].into(), ..Default::default() }
}

fn fetch_request() -> FetchRequest<'static> {
    let partitions = (0..PARTITIONS)
        .map(|partition| ask::Partition {
            partition,
            fetch_offset: 1000,
            partition_max_bytes: 1 << 20,
            ..Default::default()
        })
        .collect();
    let topic = ask::Topic { topic_id: Uuid([7; 16]), partitions, ..Default::default() };
    FetchRequest { max_wait_ms: 500, min_bytes: 1, topics: vec![topic].into(), ..Default::default() }
}

fn fetch_response(records: &Bytes) -> FetchResponse<'static> {
    let partitions = (0..PARTITIONS)
        .map(|partition_index| give::Partition {
            partition_index,
            high_watermark: 5000,
            last_stable_offset: 5000,
            log_start_offset: 0,
            records: Some(records.clone().into()),
            ..Default::default()
        })
        .collect();
    let topic = give::FetchableTopicResponse { topic_id: Uuid([7; 16]), partitions, ..Default::default() };
    FetchResponse { session_id: 9, responses: vec![topic].into(), ..Default::default() }
}

fn written<'a>(message: &impl Message<'a>, version: i16) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::new();
    message.write_to(version, &mut writer)?;
    Ok(writer.into_vec().into())
}

fn read_produce(frame: &Bytes) {
    let Ok(request) = ProduceRequest::decode(frame, 11) else { return };
    for topic in &request.topic_data {
        for partition in &topic.partition_data {
            black_box(partition.records.map(|records| records.to_shared(frame)));
        }
    }
}

fn read_fetch_request(frame: &[u8]) {
    let Ok(request) = FetchRequest::decode(frame, 17) else { return };
    for topic in &request.topics {
        for partition in &topic.partitions {
            black_box(partition);
        }
    }
}

fn read_fetch_response(frame: &Bytes) {
    let Ok(response) = FetchResponse::decode(frame, 17) else { return };
    for topic in &response.responses {
        for partition in &topic.partitions {
            black_box(partition.records.map(|records| records.to_shared(frame)));
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (small, large) = (Bytes::from(vec![1; 1 << 10]), Bytes::from(vec![1; 16 << 10]));
    let produced = written(&produce(&small), 11)?;
    let asked = written(&fetch_request(), 17)?;
    let given = written(&fetch_response(&large), 17)?;
    let mut out = io::stdout();
    let mut tell = |case: &str, nanoseconds: u128| writeln!(out, "{case:<44} {nanoseconds:>6} ns");
    tell("Produce 11 request, check", measure(|| drop(black_box(ProduceRequest::decode(&produced, 11)))))?;
    tell("Produce 11 request, check and look", measure(|| read_produce(&produced)))?;
    tell("Produce 11 request, build and write", measure(|| drop(black_box(written(&produce(&small), 11)))))?;
    tell("Fetch 17 request, check", measure(|| drop(black_box(FetchRequest::decode(&asked, 17)))))?;
    tell("Fetch 17 request, check and look", measure(|| read_fetch_request(&asked)))?;
    tell("Fetch 17 request, build and write", measure(|| drop(black_box(written(&fetch_request(), 17)))))?;
    tell("Fetch 17 response, check", measure(|| drop(black_box(FetchResponse::decode(&given, 17)))))?;
    tell("Fetch 17 response, check and look", measure(|| read_fetch_response(&given)))?;
    let answer = || drop(black_box(encode_response(1, 17, &fetch_response(&large))));
    tell("Fetch 17 response, build and frame", measure(answer))?;
    Ok(())
}
