//! DescribeUserScramCredentials: which users there are, by which mechanisms they may log in, and what that costs (KIP-554).

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_actors::access::{Operation, Users};
use millstream_actors::error::ErrorCode;
use millstream_transport::kafka::messages::describe_user_scram_credentials::DescribeUserScramCredentialsRequest;
use millstream_transport::kafka::messages::describe_user_scram_credentials::response::{
    CredentialInfo, DescribeUserScramCredentialsResponse, DescribeUserScramCredentialsResult,
};

use super::super::call::Call;
use super::super::error::number;
use super::super::service::Service;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<DescribeUserScramCredentialsRequest<'_>>(&body) else { return };
    if let Err(refusal) = call.rights().demand_of_cluster(Operation::Describe) {
        return call.answer(&DescribeUserScramCredentialsResponse {
            error_code: number(refusal.code),
            error_message: Some(refusal.text.into()),
            ..Default::default()
        });
    }
    let image = service.image();
    let users = image.users();
    let named = request.users.as_ref().filter(|named| !named.is_empty());
    let results: Vec<DescribeUserScramCredentialsResult<'_>> = match named {
        None => users.names().map(|user| described(users, user)).collect(),
        Some(named) => {
            let mut times: BTreeMap<String, usize> = BTreeMap::new();
            for user in named {
                *times.entry(user.name.to_string()).or_default() += 1;
            }
            let told = |(user, times): (String, usize)| {
                if times > 1 {
                    return failed(user, ErrorCode::DuplicateResource, "the request names the user twice");
                }
                if users.of_user(&user).next().is_none() {
                    return failed(user, ErrorCode::ResourceNotFound, "there is no such user");
                }
                described(users, &user)
            };
            times.into_iter().map(told).collect()
        }
    };
    call.answer(&DescribeUserScramCredentialsResponse { results: results.into(), ..Default::default() });
}

fn described(users: &Users, user: &str) -> DescribeUserScramCredentialsResult<'static> {
    let infos = users.of_user(user).map(|(mechanism, credential)| CredentialInfo {
        mechanism: mechanism.code(),
        iterations: i32::try_from(credential.iterations).unwrap_or(i32::MAX),
    });
    DescribeUserScramCredentialsResult {
        user: user.to_owned().into(),
        credential_infos: infos.collect(),
        ..Default::default()
    }
}

fn failed(user: String, code: ErrorCode, text: &'static str) -> DescribeUserScramCredentialsResult<'static> {
    DescribeUserScramCredentialsResult {
        user: user.into(),
        error_code: number(code),
        error_message: Some(text.into()),
        ..Default::default()
    }
}
