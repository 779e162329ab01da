//! SaslHandshake: a client says by which mechanism it will log in. Before it has, the gate answers it; here it logs in
//! again on a connection that goes on (KIP-368), by the mechanism of before.

use std::sync::Arc;

use millstream_transport::kafka::ErrorCode;
use millstream_transport::kafka::messages::sasl_handshake::{SaslHandshakeRequest, SaslHandshakeResponse};

use super::super::call::Call;
use super::super::service::Service;
use super::super::session::NotAgain;
use crate::security::checks::Asker;
use crate::security::sasl::Sasl;

/// The first version whose client wraps its messages in requests: on a connection that goes on they must be.
const WRAPS_FROM: i16 = 1;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<SaslHandshakeRequest<'_>>(&body) else { return };
    let Some(exchange) = service.sasl.begin(&request.mechanism, Asker::Known) else {
        return call.answer(&response(&service.sasl, false));
    };
    let begun = if call.version >= WRAPS_FROM {
        call.session().begin(exchange, service.world.clock.now())
    } else {
        Err(NotAgain::Nobody)
    };
    match begun {
        Ok(()) => call.answer(&response(&service.sasl, true)),
        Err(NotAgain::OtherMechanism) => call.answer(&response(&service.sasl, false)),
        Err(NotAgain::Nobody | NotAgain::TooSoon) => {
            let error_code = ErrorCode::IllegalSaslState.code();
            call.answer(&SaslHandshakeResponse { error_code, ..response(&service.sasl, true) });
        }
    }
}

/// What a client is told of the mechanism that it named.
pub(in super::super) fn response(sasl: &Sasl, is_enabled: bool) -> SaslHandshakeResponse<'static> {
    let error = if is_enabled { ErrorCode::None } else { ErrorCode::UnsupportedSaslMechanism };
    SaslHandshakeResponse {
        error_code: error.code(),
        mechanisms: sasl.mechanisms().into_iter().map(Into::into).collect(),
    }
}
