//! Tests of the codec.

mod corpus;
mod golden;
mod hostile;
mod reading;
mod tables;
mod writing;

use super::{CATALOGUE, Entry, Writer};

/// Bytes from hexadecimal digits; blanks between them are passed over.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits = text.chars().filter_map(|digit| digit.to_digit(16)).collect::<Vec<_>>();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

/// A valid message of the corpus.
pub(super) struct Sample {
    pub(super) entry: &'static Entry,
    pub(super) version: i16,
    /// Versions in which the Java client refuses to write it.
    pub(super) refused: Vec<i16>,
    pub(super) bytes: Vec<u8>,
}

/// Every message in each of its versions, with random content, as the Java client of Kafka 4.4.0 wrote it: name,
/// version, versions in which that client refuses to write the same, bytes.
pub(super) fn samples() -> Vec<Sample> {
    let mut samples = Vec::new();
    for line in include_str!("corpus.txt").lines() {
        let words = line.split(' ').collect::<Vec<_>>();
        let entry = CATALOGUE.iter().find(|entry| entry.name == words[0]).unwrap();
        let refused = words[2].split(',').filter_map(|version| version.parse().ok()).collect();
        samples.push(Sample { entry, version: words[1].parse().unwrap(), refused, bytes: hex(words[3]) });
    }
    samples
}

pub(super) fn rewritten(entry: &Entry, bytes: &[u8], from: i16, to: i16) -> Vec<u8> {
    let mut writer = Writer::new();
    (entry.rewrite)(bytes, from, to, &mut writer)
        .unwrap_or_else(|error| panic!("{} {from} to {to}: {error}", entry.name));
    writer.into_vec()
}
