//! ListTransactions: the transactional ids that are coordinated here (KIP-664).

use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::transaction::front::ListedTransaction;
use millstream_actors::transaction::state::TransactionState as State;
use millstream_transport::kafka::messages::list_transactions::ListTransactionsRequest;
use millstream_transport::kafka::messages::list_transactions::response::{
    ListTransactionsResponse, TransactionState,
};
use regex_lite::Regex;

use super::super::call::Call;
use super::super::error::{NONE, of_transactions};
use super::super::service::Service;

/// What is asked for; nothing filters where a list is empty.
struct Filter {
    states: Vec<State>,
    /// States were named, of which none is known: nothing is found.
    no_state_known: bool,
    producers: Vec<i64>,
    open_ms: i64,
    pattern: Option<Regex>,
}

impl Filter {
    fn takes(&self, listed: &ListedTransaction) -> bool {
        let state = self.states.is_empty() || self.states.contains(&listed.state);
        let producer = self.producers.is_empty() || self.producers.contains(&listed.producer_id.0);
        let is_open = self.open_ms < 0
            || (listed.state == State::Ongoing && listed.open_ms.is_some_and(|ms| ms > self.open_ms));
        let named = self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(&listed.id));
        !self.no_state_known && state && producer && is_open && named
    }
}

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<ListTransactionsRequest<'_>>(&body) else { return };
    let state = |name: &str| State::ALL.into_iter().find(|state| state.name() == name);
    let unknown = request.state_filters.iter().filter(|name| state(name).is_none());
    let unknown: Vec<String> = unknown.map(std::borrow::Cow::into_owned).collect();
    let states: Vec<State> = request.state_filters.iter().filter_map(|name| state(&name)).collect();
    let pattern = request.transactional_id_pattern.filter(|pattern| !pattern.is_empty());
    // The whole id is to match.
    let Ok(pattern) = pattern.map(|pattern| Regex::new(&format!("^(?:{pattern})$"))).transpose() else {
        let error_code = millstream_transport::kafka::ErrorCode::InvalidRegularExpression.code();
        return call.answer(&ListTransactionsResponse { error_code, ..Default::default() });
    };
    let filter = Filter {
        no_state_known: states.is_empty() && !unknown.is_empty(),
        states,
        producers: request.producer_id_filters.iter().collect(),
        open_ms: request.duration_filter,
        pattern,
    };
    let listing = service.transactions.list();
    actix_rt::spawn(async move {
        let unknown_state_filters = unknown.into_iter().map(Into::into).collect();
        let response = match listing.await {
            Ok(listed) => {
                let rights = call.rights();
                let may = |id: &str| rights.may(Operation::Describe, ResourceType::TransactionalId, id);
                let found = listed.into_iter().filter(|listed| filter.takes(listed) && may(&listed.id));
                let states = found.map(|listed| TransactionState {
                    transactional_id: listed.id.to_string().into(),
                    producer_id: listed.producer_id.0,
                    transaction_state: listed.state.name().into(),
                });
                ListTransactionsResponse {
                    error_code: NONE,
                    unknown_state_filters,
                    transaction_states: states.collect(),
                    ..Default::default()
                }
            }
            Err(refusal) => ListTransactionsResponse {
                error_code: of_transactions(refusal.code, true),
                unknown_state_filters,
                ..Default::default()
            },
        };
        call.answer(&response);
    });
}
