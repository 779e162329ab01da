//! Quotas of clients (KIP-13, KIP-546): what operators asked for, kept and told. They are not enforced yet.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{ErrorCode, Refusal};

/// The most entities that have quotas.
const ENTITIES_MAX: usize = 10_000;

/// What part of a client's identity a quota is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum QuotaKind {
    /// Who it is.
    User,
    /// What it calls itself.
    ClientId,
    /// Where it comes from.
    Ip,
}

/// Whom quotas are for: of each kind named a name, or `None` for all that have no quota of their own. Never empty.
pub type QuotaEntity = BTreeMap<QuotaKind, Option<String>>;

/// A quota's value: a finite number, told apart from others by its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct QuotaValue(u64);

impl QuotaValue {
    /// The value of this number; `None` where it is none.
    #[must_use]
    pub fn new(number: f64) -> Option<Self> {
        number.is_finite().then_some(Self(number.to_bits()))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}

/// A change of one entity's quotas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaAlteration {
    /// Whose.
    pub entity: QuotaEntity,
    /// New values by Kafka's names; `None` removes one.
    pub changes: BTreeMap<String, Option<QuotaValue>>,
}

impl QuotaAlteration {
    /// About how many bytes it takes in an entry of the quorum's log.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let entity: usize = self.entity.values().map(|name| 4 + name.as_ref().map_or(0, String::len)).sum();
        entity + self.changes.keys().map(|name| 12 + name.len()).sum::<usize>()
    }
}

/// All quotas, by entity and Kafka's names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quotas(BTreeMap<QuotaEntity, BTreeMap<String, QuotaValue>>);

impl Quotas {
    /// All of them by entity.
    pub fn iter(&self) -> impl Iterator<Item = (&QuotaEntity, &BTreeMap<String, QuotaValue>)> {
        self.0.iter()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes all of these changes, or none.
    pub(super) fn alter(&mut self, alterations: &[QuotaAlteration]) -> Result<(), Refusal> {
        for QuotaAlteration { entity, changes } in alterations {
            let quotas = self.0.entry(entity.clone()).or_default();
            for (name, value) in changes {
                match value {
                    Some(value) => quotas.insert(name.clone(), *value),
                    None => quotas.remove(name),
                };
            }
            if quotas.is_empty() {
                self.0.remove(entity);
            }
        }
        if self.0.len() > ENTITIES_MAX {
            let text = format!("more than {ENTITIES_MAX} entities would have quotas; remove some first");
            return Err(Refusal::new(ErrorCode::InvalidRequest, text));
        }
        Ok(())
    }
}
