//! Every setting of a node, a file for each area.

mod actors;
mod clients;
mod cluster;
mod coordinators;
mod listeners;
mod log;
mod network;
mod node;
mod security;
mod topics;

use super::setting::{Applies, Kind, Setting};

const fn setting(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    applies: Applies,
    about: &'static str,
) -> Setting {
    Setting { name, kind, default, applies, about }
}

const fn whole(least: i64, most: i64, unit: &'static str) -> Kind {
    Kind::Whole { least, most, unit }
}

/// The name under which Kafka's clients read from leaders only.
const LEADER_SELECTOR: &str = "org.apache.kafka.common.replica.LeaderSelector";

/// The name under which they read from a replica of their own rack.
pub(super) const RACK_AWARE_SELECTOR: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// The areas, in the order in which they are told.
const AREAS: [&[Setting]; 10] = [
    node::NODE,
    network::NETWORK,
    listeners::LISTENERS,
    security::SECURITY,
    clients::CLIENTS,
    cluster::CLUSTER,
    topics::TOPICS,
    log::LOG,
    coordinators::COORDINATORS,
    actors::ACTORS,
];

/// Every setting, area by area.
pub fn all() -> impl Iterator<Item = &'static Setting> {
    AREAS.into_iter().flatten()
}

/// The setting of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Setting> {
    all().find(|setting| setting.name == name)
}

/// The name nearest to a wrong one, by edits.
#[must_use]
pub fn nearest(name: &str) -> &'static str {
    all()
        .map(|setting| setting.name)
        .min_by_key(|known| strsim::damerau_levenshtein(name, known))
        .unwrap_or("node.id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_within_its_own_bounds() {
        for setting in all() {
            assert_eq!(setting.check(setting.default), Ok(()), "{}", setting.name);
        }
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<_> = all().map(|setting| setting.name).collect();
        assert_eq!(names.len(), all().count());
    }
}
