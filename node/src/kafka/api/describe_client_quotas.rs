//! DescribeClientQuotas: the quotas that a filter finds, from this node's image (KIP-546).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_actors::access::Operation;
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::image::{QuotaEntity, QuotaKind, QuotaValue};
use millstream_transport::kafka::messages::describe_client_quotas::DescribeClientQuotasRequest;
use millstream_transport::kafka::messages::describe_client_quotas::request::Component;
use millstream_transport::kafka::messages::describe_client_quotas::response::{
    DescribeClientQuotasResponse, Entity, Entry, Value,
};

use super::super::call::Call;
use super::super::error::number;
use super::super::quotas::{invalid, kind, name_of};
use super::super::service::Service;

/// How a part of an entity is looked for.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;

/// What an entity must be to be told.
#[derive(Debug, Default, PartialEq, Eq)]
struct Filter {
    /// Parts with these names, or for all others.
    exact: QuotaEntity,
    /// Parts of whatever name.
    any: BTreeSet<QuotaKind>,
    /// No other parts.
    is_strict: bool,
}

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<DescribeClientQuotasRequest<'_>>(&body) else { return };
    let allowed = call.rights().demand_of_cluster(Operation::DescribeConfigs);
    let filter = match allowed.and_then(|()| filter(request.components.iter(), request.strict)) {
        Ok(filter) => filter,
        Err(refusal) => {
            return call.answer(&DescribeClientQuotasResponse {
                error_code: number(refusal.code),
                error_message: Some(refusal.text.into()),
                entries: None,
                ..Default::default()
            });
        }
    };
    let image = service.image();
    let found = image.quotas().iter().filter(|(entity, _)| filter.finds(entity)).map(told);
    call.answer(&DescribeClientQuotasResponse { entries: Some(found.collect()), ..Default::default() });
}

fn filter<'a>(
    components: impl IntoIterator<Item = Component<'a>>,
    is_strict: bool,
) -> Result<Filter, Refusal> {
    let mut filter = Filter { is_strict, ..Filter::default() };
    for Component { entity_type, match_type, r#match: name } in components {
        let kind = kind(&entity_type).ok_or_else(|| match entity_type.is_empty() {
            true => invalid("a part of the filter has no entity type"),
            false => {
                let text = format!("there is no entity type {entity_type:?}");
                Refusal::new(ErrorCode::UnsupportedVersion, text)
            }
        })?;
        if filter.exact.contains_key(&kind) || filter.any.contains(&kind) {
            return Err(invalid(format!("{entity_type} stands twice in the filter")));
        }
        match (match_type, name) {
            (EXACT, Some(name)) => drop(filter.exact.insert(kind, Some(name.into_owned()))),
            (DEFAULT, None) => drop(filter.exact.insert(kind, None)),
            (ANY, None) => drop(filter.any.insert(kind)),
            (EXACT, None) => return Err(invalid(format!("a name of {entity_type} is needed to match it"))),
            (DEFAULT | ANY, Some(_)) => {
                return Err(invalid(format!("{entity_type} is to be matched without a name, and has one")));
            }
            (other, _) => return Err(invalid(format!("there is no match type {other}"))),
        }
    }
    let has = |kind: QuotaKind| filter.exact.contains_key(&kind) || filter.any.contains(&kind);
    if has(QuotaKind::Ip) && (has(QuotaKind::User) || has(QuotaKind::ClientId)) {
        return Err(invalid("an ip cannot be combined with a user or a client-id"));
    }
    Ok(filter)
}

impl Filter {
    fn finds(&self, entity: &QuotaEntity) -> bool {
        let is_exact = self.exact.iter().all(|(kind, name)| entity.get(kind) == Some(name));
        let has_all = self.any.iter().all(|kind| entity.contains_key(kind));
        let has_others = entity.len() > self.exact.len() + self.any.len();
        is_exact && has_all && !(self.is_strict && has_others)
    }
}

fn told((entity, quotas): (&QuotaEntity, &BTreeMap<String, QuotaValue>)) -> Entry<'static> {
    let parts = entity.iter().map(|(kind, name)| Entity {
        entity_type: name_of(*kind).into(),
        entity_name: name.clone().map(Into::into),
    });
    let values = quotas.iter().map(|(name, value)| Value { key: name.clone().into(), value: value.get() });
    Entry { entity: parts.collect(), values: values.collect() }
}
