//! Whom quotas are for and what they are, in the words and by the rules of Kafka (KIP-546).

use std::collections::BTreeMap;
use std::net::IpAddr;

use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::image::{QuotaEntity, QuotaKind, QuotaValue};

/// The longest name of an entity, in bytes. Kafka has no bound; here it travels to every node.
const NAME_BYTES_MAX: usize = 1024;

/// How far from a whole number a value may be that has to be one.
const WHOLE_WITHIN: f64 = 1e-6;

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Range {
    /// Any positive number.
    Real,
    /// A positive whole number up to this one.
    Whole { most: f64 },
}

const INT: Range = Range::Whole { most: 2_147_483_647.0 };
const LONG: Range = Range::Whole { most: 9_223_372_036_854_775_807.0 };

const OF_CLIENTS: [(&str, Range); 4] = [
    ("producer_byte_rate", LONG),
    ("consumer_byte_rate", LONG),
    ("request_percentage", Range::Real),
    ("controller_mutation_rate", Range::Real),
];

const OF_ADDRESSES: [(&str, Range); 1] = [("connection_creation_rate", INT)];

pub(super) fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, text)
}

/// The kind of this name.
pub(super) fn kind(name: &str) -> Option<QuotaKind> {
    [QuotaKind::User, QuotaKind::ClientId, QuotaKind::Ip].into_iter().find(|kind| name_of(*kind) == name)
}

/// Kafka's name of a kind.
pub(super) const fn name_of(kind: QuotaKind) -> &'static str {
    match kind {
        QuotaKind::User => "user",
        QuotaKind::ClientId => "client-id",
        QuotaKind::Ip => "ip",
    }
}

/// An entity of these parts, or what is wrong with them.
pub(super) fn entity(
    parts: impl IntoIterator<Item = (String, Option<String>)>,
) -> Result<QuotaEntity, Refusal> {
    let mut entity = QuotaEntity::new();
    for (kind_name, name) in parts {
        let kind =
            kind(&kind_name).ok_or_else(|| invalid(format!("there is no entity type {kind_name:?}")))?;
        if name.as_ref().is_some_and(String::is_empty) {
            return Err(invalid(format!("an empty {kind_name} is not supported")));
        }
        if name.as_ref().is_some_and(|name| name.len() > NAME_BYTES_MAX) {
            return Err(invalid(format!("a {kind_name} is longer than {NAME_BYTES_MAX} bytes")));
        }
        if entity.insert(kind, name).is_some() {
            return Err(invalid(format!("{kind_name} stands twice in an entity")));
        }
    }
    match entity.get(&QuotaKind::Ip) {
        _ if entity.is_empty() => Err(invalid("an entity without parts cannot have quotas")),
        Some(_) if entity.len() > 1 => Err(invalid("an ip cannot be combined with a user or a client-id")),
        Some(Some(address)) if address.parse::<IpAddr>().is_err() => {
            Err(invalid(format!("{address:?} is no IP address")))
        }
        _ => Ok(entity),
    }
}

/// A change of quotas of an entity: a new value by name, or none to remove it.
pub(super) fn changes(
    entity: &QuotaEntity,
    asked: impl IntoIterator<Item = (String, Option<f64>)>,
) -> Result<BTreeMap<String, Option<QuotaValue>>, Refusal> {
    let is_address = entity.contains_key(&QuotaKind::Ip);
    let known: &[(&str, Range)] = if is_address { &OF_ADDRESSES } else { &OF_CLIENTS };
    let mut changes = BTreeMap::new();
    for (name, number) in asked {
        let range = known.iter().find(|(known, _)| *known == name).map(|(_, range)| *range);
        let value = match (range, number) {
            // What does not exist is not there, as asked for.
            (None, None) => continue,
            (None, Some(_)) => return Err(invalid(format!("there is no quota {name:?} of such an entity"))),
            (Some(_), None) => None,
            (Some(range), Some(number)) => Some(value(&name, range, number)?),
        };
        if changes.insert(name.clone(), value).is_some() {
            return Err(invalid(format!("{name} stands twice in a change of one entity")));
        }
    }
    Ok(changes)
}

fn value(name: &str, range: Range, number: f64) -> Result<QuotaValue, Refusal> {
    let value = QuotaValue::new(number).ok_or_else(|| invalid(format!("{name} is no number")))?;
    if number <= 0.0 {
        return Err(invalid(format!("{name} must be greater than 0")));
    }
    match range {
        Range::Whole { most } if number > most => Err(invalid(format!("{name} must be at most {most}"))),
        Range::Whole { .. } if number % 1.0 > WHOLE_WITHIN => {
            Err(invalid(format!("{name} must be a whole number")))
        }
        Range::Real | Range::Whole { .. } => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: &[(&str, Option<&str>)]) -> Result<QuotaEntity, Refusal> {
        entity(parts.iter().map(|(kind, name)| ((*kind).to_owned(), name.map(ToOwned::to_owned))))
    }

    #[test]
    fn entities_that_kafka_knows_are_taken_and_no_others() {
        for parts in [
            &[("user", Some("ann"))][..],
            &[("user", None), ("client-id", Some("x"))],
            &[("ip", None)],
            &[("ip", Some("10.0.0.1"))],
        ] {
            assert_eq!(of(parts).unwrap().len(), parts.len());
        }
        for parts in [
            &[][..],
            &[("group", None)],
            &[("user", Some(""))],
            &[("user", None), ("user", None)],
            &[("ip", None), ("user", None)],
            &[("ip", Some("nowhere"))],
        ] {
            assert_eq!(of(parts).unwrap_err().code, ErrorCode::InvalidRequest, "{parts:?}");
        }
    }

    #[test]
    fn values_are_positive_and_whole_where_they_count_something() {
        let user = of(&[("user", None)]).unwrap();
        let address = of(&[("ip", None)]).unwrap();
        let change = |entity: &QuotaEntity, name: &str, number: Option<f64>| {
            changes(entity, [(name.to_owned(), number)]).map(|changes| changes.len())
        };
        assert_eq!(change(&user, "producer_byte_rate", Some(1e9)), Ok(1));
        assert_eq!(change(&user, "request_percentage", Some(12.5)), Ok(1));
        assert_eq!(change(&user, "consumer_byte_rate", None), Ok(1));
        assert_eq!(change(&user, "nothing", None), Ok(0));
        assert_eq!(change(&address, "connection_creation_rate", Some(7.0)), Ok(1));
        for (entity, name, number) in [
            (&user, "producer_byte_rate", 0.0),
            (&user, "producer_byte_rate", 1.5),
            (&user, "producer_byte_rate", f64::NAN),
            (&user, "producer_byte_rate", 1e30),
            (&user, "connection_creation_rate", 1.0),
            (&address, "connection_creation_rate", 3e9),
            (&address, "producer_byte_rate", 1.0),
        ] {
            assert!(change(entity, name, Some(number)).is_err(), "{name} {number}");
        }
    }
}
