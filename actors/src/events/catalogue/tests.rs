use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::invariant::Invariant;
use crate::kinds::KINDS;

/// Where each series is named in the sources of the actors and of the node, with how it is asked for where that
/// stands right before the name.
fn named_in_sources() -> BTreeMap<String, Vec<(PathBuf, Option<Kind>)>> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for sources in [package.join("src"), package.join("../node/src")] {
        collect(&sources, &mut files);
    }
    let mut named: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let catalogue = package.join("src/events/catalogue");
    for file in files.into_iter().filter(|file| !file.with_extension("").starts_with(&catalogue)) {
        let text = fs::read_to_string(&file).unwrap();
        for (at, _) in text.match_indices("\"millstream_") {
            let name = text[at + 1..].split('"').next().unwrap();
            if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
                continue; // A line of a rendering, in a test.
            }
            let before = text[..at].trim_end();
            let kind =
                [("counter(", Kind::Counter), ("gauge(", Kind::Gauge), ("histogram(", Kind::Histogram)]
                    .into_iter()
                    .find_map(|(call, kind)| before.ends_with(call).then_some(kind));
            named.entry(name.to_owned()).or_default().push((file.clone(), kind));
        }
    }
    named
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn every_series_that_is_told_is_in_the_catalogue() {
    let known: BTreeMap<_, _> = all().map(|series| (series.name, series)).collect();
    for (name, places) in named_in_sources() {
        let series =
            known.get(&*name).unwrap_or_else(|| panic!("{name} of {places:?} is not in the catalogue"));
        for (file, kind) in places {
            assert!(
                kind.is_none_or(|kind| kind == series.kind),
                "{name} in {} is a {kind:?}",
                file.display()
            );
        }
    }
}

#[test]
fn every_series_of_the_catalogue_is_told_somewhere() {
    let named = named_in_sources();
    let silent: Vec<_> = all().map(|series| series.name).filter(|name| !named.contains_key(*name)).collect();
    assert!(silent.is_empty(), "nobody tells {silent:?}");
}

#[test]
fn no_name_stands_twice() {
    let names: BTreeSet<_> = all().map(|series| series.name).collect();
    assert_eq!(names.len(), all().count());
}

#[test]
fn names_say_kind_and_unit() {
    for Series { name, kind, .. } in all() {
        assert!(name.starts_with("millstream_"), "{name}");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
        assert!(*kind != Kind::Histogram || name.ends_with("_seconds"), "{name}: its buckets are of seconds");
        for reserved in ["_count", "_sum", "_bucket", "_ms", "_milliseconds", "_mb", "_info_total"] {
            assert!(!name.ends_with(reserved), "{name}");
        }
    }
}

#[test]
fn each_help_is_one_sentence() {
    for Series { name, help, .. } in all() {
        assert!(help.ends_with('.') && help.len() > 10, "{name}: {help}");
        assert!(!help.contains(['\n', '\\']) && !help.trim_end_matches('.').contains(". "), "{name}: {help}");
    }
}

#[test]
fn the_kinds_of_actors_and_the_invariants_are_those_there_are() {
    assert!(KINDS.iter().map(|kind| kind.name).eq(ACTORS.iter().copied()));
    assert!(Invariant::ALL.iter().map(|invariant| invariant.name()).eq(INVARIANTS.iter().copied()));
}

#[test]
fn units_come_from_names() {
    let unit = |name| counter(name, "").unit();
    assert_eq!(unit("millstream_sync_seconds"), Unit::Seconds);
    assert_eq!(unit("millstream_in_bytes_total"), Unit::Bytes);
    assert_eq!(unit("millstream_in_total"), Unit::Count);
}
