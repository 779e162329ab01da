//! SaslAuthenticate: a message of a login. Before the client has logged in, the gate answers it; here it logs in again on
//! a connection that goes on, as the same user (KIP-368).

use std::sync::Arc;

use millstream_transport::kafka::ErrorCode;
use millstream_transport::kafka::messages::sasl_authenticate::{
    SaslAuthenticateRequest, SaslAuthenticateResponse,
};

use super::super::call::Call;
use super::super::service::Service;
use super::super::session::{ends, lifetime_ms};
use crate::security::sasl::Step;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<SaslAuthenticateRequest<'_>>(&body) else { return };
    let Some(mut exchange) = call.session().take_exchange() else {
        return call.answer(&refusal(ErrorCode::IllegalSaslState));
    };
    let (length, most) = (request.auth_bytes.len(), service.sasl.config.request_max_bytes);
    if length > most {
        let reason = format!(
            "a message of {length} bytes of a login, {most} are the most (sasl.server.max.receive.size)"
        );
        return call.answer_and_end(&refusal(ErrorCode::SaslAuthenticationFailed), reason);
    }
    let (service, message) = (Arc::clone(service), request.auth_bytes.to_vec());
    actix_rt::spawn(async move {
        let step = exchange.step(&service.sasl, &message).await;
        drop(message);
        let reason = match step {
            Step::Challenge(message) => {
                call.session().go_on(exchange);
                return call.answer(&challenge(message));
            }
            Step::Done(principal, message) if principal == call.session().principal => {
                let lasts = service.sasl.config.lasts;
                call.session().renew(ends(service.world.clock.now(), lasts));
                return call.answer(&success(message, lifetime_ms(lasts)));
            }
            Step::Done(principal, _) => format!("it logged in again as {principal}"),
            Step::Failed(failed) => failed.to_string(),
        };
        tokio::time::sleep(service.sasl.config.failed_delay).await;
        call.answer_and_end(&refusal(ErrorCode::SaslAuthenticationFailed), reason);
    });
}

/// The client is to answer this.
pub(in super::super) fn challenge(message: Vec<u8>) -> SaslAuthenticateResponse<'static> {
    success(message, 0)
}

/// The client is in.
pub(in super::super) fn success(
    message: Vec<u8>,
    session_lifetime_ms: i64,
) -> SaslAuthenticateResponse<'static> {
    SaslAuthenticateResponse { auth_bytes: message.into(), session_lifetime_ms, ..Default::default() }
}

/// The client is not let in. Why is for the log: who guesses learns nothing from it.
pub(in super::super) fn refusal(error: ErrorCode) -> SaslAuthenticateResponse<'static> {
    let text = match error {
        ErrorCode::SaslAuthenticationFailed => "the user or the password is wrong",
        _ => "a login begins with SaslHandshake, on a listener where clients log in",
    };
    SaslAuthenticateResponse {
        error_code: error.code(),
        error_message: Some(text.into()),
        ..Default::default()
    }
}
