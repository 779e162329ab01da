//! Who moves the money, and who counts it.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use millstream::{CallError, EntityCaller, Random, RequestId};

use crate::account::{Account, BEGINS_WITH, Order};

/// How long one ask may take before the same request is asked again.
const ASK_WITHIN: Duration = Duration::from_secs(5);

/// How long one transfer may take, whatever happens to the nodes meanwhile. Shorter than requests are remembered
/// (`entity.dedupe.ms`): so long it happens once.
const TRANSFER_WITHIN: Duration = Duration::from_secs(60);

/// How long the accounts may take at the end.
const COUNT_WITHIN: Duration = Duration::from_secs(60);

/// Transfers that were acknowledged, by the account they are from.
pub type Acknowledged = Arc<Mutex<BTreeMap<u64, u64>>>;

/// Moves money at random, until `stop`. A transfer is asked with one id until there is an answer: so it happens once,
/// however often that takes. An error that does not pass ends it.
pub async fn work(
    caller: EntityCaller,
    accounts: u64,
    acknowledged: Acknowledged,
    stop: Arc<AtomicBool>,
) -> Result<(), CallError> {
    let random = Random::real();
    while !stop.load(Ordering::Relaxed) {
        let from = random.range(0, accounts);
        let cents = i64::try_from(random.range(1, 100)).unwrap_or(1);
        let order = Order::Transfer { to: random.range(0, accounts), cents };
        if transfer(&caller, from, &order, RequestId::draw(&random)).await? {
            let mut acknowledged = acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
            *acknowledged.entry(from).or_default() += 1;
        }
    }
    Ok(())
}

/// Whether the transfer was applied; it is not where there is too little on the account.
async fn transfer(
    caller: &EntityCaller,
    from: u64,
    order: &Order,
    request: RequestId,
) -> Result<bool, CallError> {
    let (account, until) = (caller.entity::<Account>(&from), tokio::time::Instant::now() + TRANSFER_WITHIN);
    loop {
        match account.ask_as(request, order, ASK_WITHIN).await {
            Ok(_) => return Ok(true),
            Err(CallError::Refused(_)) => return Ok(false),
            Err(error) if !may_pass(&error) || tokio::time::Instant::now() > until => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Whether the same request again may be answered otherwise.
fn may_pass(error: &CallError) -> bool {
    error.is_retriable() || matches!(error, CallError::Timeout { .. } | CallError::NoHost(_))
}

/// What was counted at the end.
pub struct Count {
    pub transfers: u64,
    pub cents: i64,
}

/// Asks every account, until all money has arrived, and holds what they say against what was acknowledged.
pub async fn count(
    caller: &EntityCaller,
    accounts: u64,
    acknowledged: &BTreeMap<u64, u64>,
) -> Result<Count, Box<dyn Error>> {
    let transfers: u64 = acknowledged.values().sum();
    let until = tokio::time::Instant::now() + COUNT_WITHIN;
    loop {
        let (mut cents, mut received) = (0, 0);
        for key in 0..accounts {
            let account = caller.entity::<Account>(&key).ask(&Order::Look, COUNT_WITHIN).await?;
            let wanted = acknowledged.get(&key).copied().unwrap_or(0);
            if account.sent != wanted {
                let sent = account.sent;
                return Err(format!("account {key}: {wanted} transfers acknowledged, {sent} applied").into());
            }
            cents += account.cents;
            received += account.received;
        }
        if received == transfers {
            let began = i64::try_from(accounts)? * BEGINS_WITH;
            if cents != began {
                return Err(format!("the accounts began with {began} cents and have {cents}").into());
            }
            return Ok(Count { transfers, cents });
        }
        if received > transfers || tokio::time::Instant::now() > until {
            return Err(format!("{transfers} transfers were acknowledged, {received} have come").into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
