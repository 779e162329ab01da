//! AlterClientQuotas: keeps quotas of clients (KIP-546). They are told, and not enforced yet.

use std::sync::Arc;

use millstream_actors::access::Operation;
use millstream_actors::error::Refusal;
use millstream_actors::image::QuotaAlteration;
use millstream_transport::kafka::messages::alter_client_quotas::AlterClientQuotasRequest;
use millstream_transport::kafka::messages::alter_client_quotas::request::Entry as Wanted;
use millstream_transport::kafka::messages::alter_client_quotas::response::{
    AlterClientQuotasResponse, Entity, Entry,
};

use super::super::call::Call;
use super::super::error::{NONE, number};
use super::super::quotas::{changes, entity};
use super::super::service::Service;

/// The parts of an entity as they were given.
type Parts = Vec<(String, Option<String>)>;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read_of_operator::<AlterClientQuotasRequest<'_>>(&body) else { return };
    let allowed = call.rights().demand_of_cluster(Operation::AlterConfigs);
    let (mut told, mut alterations) = (Vec::new(), Vec::new());
    for wanted in &request.entries {
        let parts = parts(&wanted);
        let wish = allowed.clone().and_then(|()| wish(&parts, &wanted));
        told.push((parts, wish.map(|alteration| alterations.push(alteration))));
    }
    let (service, validate_only) = (Arc::clone(service), request.validate_only);
    actix_rt::spawn(async move {
        if !validate_only && !alterations.is_empty() {
            let done = service.cluster.alter_quotas(alterations).await;
            let open = told.iter_mut().map(|(_, result)| result).filter(|result| result.is_ok());
            for (result, done) in open.zip(done) {
                *result = done;
            }
        }
        let entries = told.into_iter().map(|(parts, result)| Entry {
            error_code: result.as_ref().err().map_or(NONE, |refusal| number(refusal.code)),
            error_message: result.err().map(|refusal| refusal.text.into()),
            entity: parts
                .into_iter()
                .map(|(kind, name)| Entity { entity_type: kind.into(), entity_name: name.map(Into::into) })
                .collect(),
        });
        call.answer(&AlterClientQuotasResponse { entries: entries.collect(), ..Default::default() });
    });
}

fn parts(wanted: &Wanted<'_>) -> Parts {
    let owned = |name: std::borrow::Cow<'_, str>| name.into_owned();
    wanted.entity.iter().map(|part| (owned(part.entity_type), part.entity_name.map(owned))).collect()
}

fn wish(parts: &Parts, wanted: &Wanted<'_>) -> Result<QuotaAlteration, Refusal> {
    let entity = entity(parts.iter().cloned())?;
    let asked = wanted.ops.iter().map(|op| (op.key.into_owned(), (!op.remove).then_some(op.value)));
    let changes = changes(&entity, asked)?;
    Ok(QuotaAlteration { entity, changes })
}
