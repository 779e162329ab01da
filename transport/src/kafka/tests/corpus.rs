//! The corpus: what another implementation wrote is read, and written again to the same bytes.

use std::collections::BTreeSet;

use super::*;

#[test]
fn what_the_java_client_wrote_is_read_and_written_again_to_the_same_bytes() {
    for sample in samples() {
        let again = rewritten(sample.entry, &sample.bytes, sample.version, sample.version);
        assert_eq!(again, sample.bytes, "{} {}", sample.entry.name, sample.version);
    }
}

#[test]
fn the_corpus_has_every_message_in_every_version() {
    let found = samples().iter().map(|sample| (sample.entry.name, sample.version)).collect::<BTreeSet<_>>();
    let all = CATALOGUE
        .iter()
        .flat_map(|entry| {
            (entry.versions.first..=entry.versions.last).map(move |version| (entry.name, version))
        })
        .collect::<BTreeSet<_>>();
    assert_eq!(found, all);
}

#[test]
fn what_the_java_client_refuses_to_write_in_another_version_is_refused_here_too() {
    for Sample { entry, version, refused, bytes } in samples() {
        for other in entry.versions.first..=entry.versions.last {
            let written = (entry.rewrite)(&bytes, version, other, &mut Writer::new());
            assert_eq!(written.is_err(), refused.contains(&other), "{} {version} in {other}", entry.name);
        }
    }
}
