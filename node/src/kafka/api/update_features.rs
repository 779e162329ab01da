//! UpdateFeatures: each feature is in force in the one version that this program has; what asks for another is refused
//! (KIP-584).

use std::sync::Arc;

use millstream_actors::access::Operation;
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_transport::kafka::messages::update_features::UpdateFeaturesRequest;
use millstream_transport::kafka::messages::update_features::request::FeatureUpdate;
use millstream_transport::kafka::messages::update_features::response::{
    UpdatableFeatureResult, UpdateFeaturesResponse,
};

use super::super::call::Call;
use super::super::error::{NONE, number};
use super::super::service::Service;
use super::api_versions::FEATURES;

/// The first version whose answer has one error for all.
const ONE_ERROR_FROM: i16 = 2;

/// The one kind of update that is no downgrade.
const UPGRADE: i8 = 1;
const UNSAFE_DOWNGRADE: i8 = 3;

pub(in super::super) fn serve(_: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<UpdateFeaturesRequest<'_>>(&body) else { return };
    if let Err(refusal) = call.rights().demand_of_cluster(Operation::Alter) {
        return call.answer(&UpdateFeaturesResponse {
            error_code: number(refusal.code),
            error_message: Some(refusal.text.into()),
            ..Default::default()
        });
    }
    let has_types = call.version > 0;
    let results = request.feature_updates.iter().map(|update| {
        let outcome = check(&update, has_types);
        (update.feature.into_owned(), outcome)
    });
    let results: Vec<(String, Result<(), Refusal>)> = results.collect();
    let first = results.iter().find_map(|(_, outcome)| outcome.as_ref().err());
    let whole = first.filter(|_| call.version >= ONE_ERROR_FROM);
    let (error_code, error_message) =
        whole.map_or((NONE, None), |refusal| (number(refusal.code), Some(refusal.text.clone().into())));
    let told = results.into_iter().map(|(feature, outcome)| UpdatableFeatureResult {
        feature: feature.into(),
        error_code: outcome.as_ref().err().map_or(NONE, |refusal| number(refusal.code)),
        error_message: outcome.err().map(|refusal| refusal.text.into()),
    });
    call.answer(&UpdateFeaturesResponse {
        error_code,
        error_message,
        results: told.collect(),
        ..Default::default()
    });
}

/// A refusal unless the feature is as the update would have it.
fn check(update: &FeatureUpdate<'_>, has_types: bool) -> Result<(), Refusal> {
    let invalid = |text: String| Err(Refusal::new(ErrorCode::InvalidUpdateVersion, text));
    let (name, wanted) = (&update.feature, update.max_version_level);
    if has_types && !(UPGRADE..=UNSAFE_DOWNGRADE).contains(&update.upgrade_type) {
        let text = format!("there is no upgrade type {}", update.upgrade_type);
        return Err(Refusal::new(ErrorCode::InvalidRequest, text));
    }
    match FEATURES.iter().find(|(known, ..)| *known == *name) {
        None => invalid(format!("there is no feature {name:?} here")),
        Some((.., level)) if *level == wanted => Ok(()),
        Some((.., level)) => invalid(format!(
            "{name} is in force in version {level}, the only one that this program has; {wanted} cannot be had"
        )),
    }
}
