//! AlterUserScramCredentials: gives users SCRAM credentials and takes them away (KIP-554). The client salts and hashes the
//! password itself; it is never sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_actors::access::{Operation, ScramChange, ScramMechanism};
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::image::unacceptable;
use millstream_transport::kafka::messages::alter_user_scram_credentials::AlterUserScramCredentialsRequest;
use millstream_transport::kafka::messages::alter_user_scram_credentials::request::{Deletion, Upsertion};
use millstream_transport::kafka::messages::alter_user_scram_credentials::response::{
    AlterUserScramCredentialsResponse, AlterUserScramCredentialsResult,
};

use super::super::call::Call;
use super::super::error::number_of;
use super::super::service::Service;
use crate::security::scram::credential;

/// What is wished for each user; nothing of it is done where one wish cannot be.
type Wishes = BTreeMap<String, Result<Vec<ScramChange>, Refusal>>;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<AlterUserScramCredentialsRequest<'_>>(&body) else { return };
    let mut wishes = wishes(&request);
    if let Err(refusal) = call.rights().demand_of_cluster(Operation::Alter) {
        wishes.values_mut().for_each(|wish| *wish = Err(refusal.clone()));
    }
    let service = Arc::clone(service);
    actix_rt::spawn(async move {
        let changes: Vec<ScramChange> = wishes.values().flatten().flatten().cloned().collect();
        let of: Vec<String> = changes.iter().map(|change| change.user.clone()).collect();
        let mut done: BTreeMap<String, Result<(), Refusal>> = BTreeMap::new();
        let by = call.session().to_string();
        match service.cluster.alter_scram(changes, &by).await {
            Ok(each) => {
                for (user, outcome) in of.into_iter().zip(each) {
                    let known = done.entry(user).or_insert(Ok(()));
                    *known = known.clone().and(outcome);
                }
            }
            Err(refusal) => done.extend(of.into_iter().map(|user| (user, Err(refusal.clone())))),
        }
        let results = wishes.into_iter().map(|(user, wish)| {
            let outcome = wish.and_then(|_| done.remove(&user).unwrap_or_else(|| Err(missing())));
            AlterUserScramCredentialsResult {
                user: user.into(),
                error_code: number_of(&outcome),
                error_message: outcome.err().map(|refusal| refusal.text.into()),
            }
        });
        call.answer(&AlterUserScramCredentialsResponse { results: results.collect(), ..Default::default() });
    });
}

fn missing() -> Refusal {
    Refusal::new(ErrorCode::UnknownServerError, "what became of a credential was not told")
}

fn wishes(request: &AlterUserScramCredentialsRequest<'_>) -> Wishes {
    let deletions = request.deletions.iter().map(|deletion| (deletion.name.to_string(), removed(&deletion)));
    let upsertions =
        request.upsertions.iter().map(|upsertion| (upsertion.name.to_string(), given(&upsertion)));
    let (mut wishes, mut seen) = (Wishes::new(), BTreeSet::new());
    for (user, change) in deletions.chain(upsertions) {
        let change = change.and_then(|change| {
            if seen.insert((user.clone(), change.mechanism)) {
                return Ok(change);
            }
            let text = format!("the request changes {} of {user:?} twice", change.mechanism.name());
            Err(Refusal::new(ErrorCode::DuplicateResource, text))
        });
        let of_user = wishes.entry(user).or_insert_with(|| Ok(Vec::new()));
        match (of_user, change) {
            (Ok(changes), Ok(change)) => changes.push(change),
            (of_user @ Ok(_), Err(refusal)) => *of_user = Err(refusal),
            (Err(_), _) => {}
        }
    }
    wishes
}

fn mechanism(code: i8) -> Result<ScramMechanism, Refusal> {
    let unknown = || {
        Refusal::new(
            ErrorCode::UnsupportedSaslMechanism,
            format!("{code} is no mechanism of SCRAM: 1 and 2 are"),
        )
    };
    ScramMechanism::of_code(code).ok_or_else(unknown)
}

fn removed(deletion: &Deletion<'_>) -> Result<ScramChange, Refusal> {
    let mechanism = mechanism(deletion.mechanism)?;
    checked(ScramChange { user: deletion.name.to_string(), mechanism, credential: None })
}

fn given(upsertion: &Upsertion<'_>) -> Result<ScramChange, Refusal> {
    let mechanism = mechanism(upsertion.mechanism)?;
    if upsertion.salted_password.is_empty() {
        return Err(Refusal::new(ErrorCode::UnacceptableCredential, "the salted password is empty"));
    }
    let iterations = u32::try_from(upsertion.iterations).unwrap_or(0);
    let salt = upsertion.salt.to_vec();
    let credential = credential(mechanism, &upsertion.salted_password, salt, iterations);
    checked(ScramChange { user: upsertion.name.to_string(), mechanism, credential: Some(credential) })
}

fn checked(change: ScramChange) -> Result<ScramChange, Refusal> {
    change.check().map_err(|wrong| unacceptable(&wrong))?;
    Ok(change)
}
