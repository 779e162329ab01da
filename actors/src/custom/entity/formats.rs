//! In which version of its form the state of a type is written: the latest that all its hosts read. A host that is away
//! counts, too: it may come back as it was and lead.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use super::types::EntityTypes;
use crate::events::{EntityFormatChanged, Events};
use crate::ids::{Incarnation, NodeId};
use crate::image::{HostedType, Image};

/// How long a node may take in a new life to say which types it hosts; until then it counts as in the life before.
const TELLS_WITHIN: Duration = Duration::from_secs(30);

/// A host of a type that does not read what this node could write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeldBack {
    pub(super) node: NodeId,
    /// The latest version that it reads.
    pub(super) version: u16,
}

/// What holds back the types hosted on a node. Cheap to clone; all clones see the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Formats(Arc<RwLock<BTreeMap<Arc<str>, HeldBack>>>);

impl Formats {
    /// The host that reads least of a type, if that is less than this node writes.
    pub(super) fn held_back(&self, kind: &str) -> Option<HeldBack> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(kind).copied()
    }

    /// Notes what the hosts of these types read.
    pub(super) fn heed(&self, hosts: &HostVersions, types: &EntityTypes, events: &Events) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (kind, latest) in types.versions() {
            let least = hosts.least(kind).filter(|least| least.version < latest);
            let before = match least {
                Some(least) => all.insert(Arc::clone(kind), least),
                None => all.remove(kind),
            };
            if before != least {
                let (version, by) =
                    (least.map_or(latest, |least| least.version), least.map(|least| least.node));
                events.emit(EntityFormatChanged { kind, version, held_back_by: by });
            }
        }
    }
}

#[cfg(test)]
impl Formats {
    pub(super) fn hold_back(&self, kind: &str, by: HeldBack) {
        self.0.write().unwrap().insert(Arc::from(kind), by);
    }

    pub(super) fn release(&self, kind: &str) {
        self.0.write().unwrap().remove(kind);
    }
}

/// What hosts have said that they read. Pure.
#[derive(Debug, Default)]
pub(super) struct HostVersions(BTreeMap<NodeId, Host>);

#[derive(Debug)]
struct Host {
    incarnation: Incarnation,
    types: Vec<HostedType>,
    /// Of one in a new life that has not said anything: until when what it said before counts.
    until: Option<Instant>,
}

impl HostVersions {
    /// Takes in what the image says.
    pub(super) fn look(&mut self, now: Instant, image: &Image) {
        let nodes = image.nodes();
        self.0.retain(|node, _| nodes.get(*node).is_some());
        for (node, known) in nodes.iter() {
            if let Some(host) = self.0.get_mut(&node)
                && host.incarnation != known.incarnation
                && known.entities.is_empty()
                && !host.types.is_empty()
                && *host.until.get_or_insert(now + TELLS_WITHIN) > now
            {
                continue;
            }
            let (incarnation, types) = (known.incarnation, known.entities.clone());
            self.0.insert(node, Host { incarnation, types, until: None });
        }
    }

    /// When to look again though the image does not change.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().filter_map(|host| host.until).min()
    }

    /// The host that reads least of a type.
    fn least(&self, kind: &str) -> Option<HeldBack> {
        let of_host = |(node, host): (&NodeId, &Host)| {
            let hosted = host.types.iter().find(|hosted| hosted.kind == kind)?;
            Some(HeldBack { node: *node, version: hosted.last })
        };
        self.0.iter().filter_map(of_host).min_by_key(|host| host.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::fixture::{done, fence, registration};
    use crate::image::{Command, Features, Registration};

    fn hosts(image: &mut Image, node: u32, life: u64, last: u16) {
        let types = vec![HostedType { kind: "account".to_owned(), first: 1, last }];
        let node = NodeId(node);
        done(image, Command::HostEntities { node, incarnation: Incarnation(life), types });
    }

    fn register(image: &mut Image, node: u32, life: u64) {
        let registration = Registration { feature_level: Features::HIGHEST, ..registration(node, life) };
        done(image, Command::RegisterNode(registration));
    }

    fn image() -> Image {
        let mut image = Image::default();
        for node in [1, 2, 3] {
            register(&mut image, node, 1);
        }
        done(&mut image, Command::SetFeatureLevel { level: Features::HIGHEST });
        for (node, last) in [(1, 2), (2, 1), (3, 2)] {
            hosts(&mut image, node, 1, last);
        }
        image
    }

    #[test]
    fn a_type_is_held_back_by_the_host_that_reads_least_also_where_that_is_away() {
        let (mut image, mut versions) = (image(), HostVersions::default());
        let least = HeldBack { node: NodeId(2), version: 1 };
        versions.look(Instant::now(), &image);
        assert_eq!((versions.least("account"), versions.least("other")), (Some(least), None));
        done(&mut image, fence(2, 1));
        versions.look(Instant::now(), &image);
        assert_eq!(versions.least("account"), Some(least));
        done(&mut image, Command::ForgetNode { node: NodeId(2) });
        versions.look(Instant::now(), &image);
        assert_eq!(versions.least("account").map(|least| least.version), Some(2));
    }

    #[test]
    fn a_host_in_a_new_life_counts_as_before_until_it_says_what_it_reads_or_its_time_is_up() {
        let (mut image, mut versions, now) = (image(), HostVersions::default(), Instant::now());
        versions.look(now, &image);
        register(&mut image, 2, 2);
        versions.look(now, &image);
        assert_eq!(versions.least("account").map(|least| least.version), Some(1));
        let until = versions.next().unwrap();
        hosts(&mut image, 2, 2, 2);
        versions.look(now, &image);
        assert_eq!(versions.least("account").map(|least| least.version), Some(2));
        assert_eq!(versions.next(), None);
        hosts(&mut image, 3, 1, 1);
        versions.look(now, &image);
        register(&mut image, 3, 2);
        versions.look(now, &image);
        assert_eq!(versions.least("account").map(|least| least.version), Some(1));
        versions.look(until, &image);
        assert_eq!(versions.least("account").map(|least| least.version), Some(2), "it hosts it no more");
    }
}
