//! A bank of entities: money moves between accounts, and is neither made nor lost.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use millstream::{CallError, Client, EntityCaller, EntityTypes, RequestId};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinHandle;

/// The example's.
#[path = "../../examples/bank/account.rs"]
mod account;

pub use account::{Account, BEGINS_WITH, Order};

/// The type, for nodes to host.
#[must_use]
pub fn accounts() -> EntityTypes {
    EntityTypes::new().and::<Account>().expect("it has a name")
}

/// Transfers that were acknowledged, by the account they are from.
type Acknowledged = Arc<Mutex<BTreeMap<u64, u64>>>;

/// Tellers that move money at random until they are told to stop.
#[derive(Debug)]
pub struct Bank {
    caller: EntityCaller,
    accounts: u64,
    acknowledged: Acknowledged,
    stop: tokio::sync::watch::Sender<bool>,
    tellers: Vec<JoinHandle<()>>,
}

/// How long one ask of a teller takes at most: shorter than a fault, so that the same request is asked again.
const ASK_WITHIN: Duration = Duration::from_secs(3);

/// How long a transfer may take, whatever happens to the nodes meanwhile.
const TRANSFER_WITHIN: Duration = Duration::from_secs(60);

impl Bank {
    /// Opens with so many accounts and tellers.
    #[must_use]
    pub fn open(client: &Client, accounts: u64, tellers: u64, seed: u64) -> Self {
        let (stop, caller) = (tokio::sync::watch::Sender::new(false), client.entities());
        let acknowledged = Acknowledged::default();
        let tellers = (0..tellers).map(|number| {
            let teller = Teller {
                caller: caller.clone(),
                random: SmallRng::seed_from_u64(seed.wrapping_add(number)),
                accounts,
                acknowledged: Arc::clone(&acknowledged),
            };
            tokio::spawn(teller.work(stop.subscribe()))
        });
        let tellers = tellers.collect();
        Self { caller, accounts, acknowledged, stop, tellers }
    }

    /// How many transfers were acknowledged.
    #[must_use]
    pub fn transfers(&self) -> u64 {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    /// Waits for so many more transfers to be acknowledged; panics where that takes longer than `within`.
    pub async fn flows(&self, transfers: u64, within: Duration) {
        let (wanted, until) = (self.transfers() + transfers, tokio::time::Instant::now() + within);
        while self.transfers() < wanted {
            assert!(tokio::time::Instant::now() < until, "{} of {wanted} transfers", self.transfers());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Closes, and counts: the sum of all balances is what it was, and every acknowledged transfer was applied once, at
    /// both its ends.
    pub async fn close(self, within: Duration) -> u64 {
        self.stop.send_replace(true);
        for teller in self.tellers {
            teller.await.expect("a teller does not panic");
        }
        let acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let wanted: u64 = acknowledged.values().sum();
        let until = tokio::time::Instant::now() + within;
        loop {
            let mut accounts = BTreeMap::new();
            for key in 0..self.accounts {
                let account = self.caller.entity::<Account>(&key);
                accounts
                    .insert(key, account.ask(&Order::Look, within).await.expect("an account can be asked"));
            }
            let received: u64 = accounts.values().map(|account| account.received).sum();
            assert!(received <= wanted, "{received} transfers have come, {wanted} were acknowledged");
            if received == wanted {
                let sum: i64 = accounts.values().map(|account| account.cents).sum();
                let began = i64::try_from(self.accounts).unwrap_or(i64::MAX) * BEGINS_WITH;
                assert_eq!(sum, began, "money was made or lost: {accounts:?}");
                for (key, account) in &accounts {
                    let sent = acknowledged.get(key).copied().unwrap_or(0);
                    assert_eq!(account.sent, sent, "account {key}: transfers applied and acknowledged");
                }
                return wanted;
            }
            assert!(tokio::time::Instant::now() < until, "{received} of {wanted} transfers have come");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

struct Teller {
    caller: EntityCaller,
    random: SmallRng,
    accounts: u64,
    acknowledged: Acknowledged,
}

impl Teller {
    async fn work(mut self, stopped: tokio::sync::watch::Receiver<bool>) {
        while !*stopped.borrow() {
            let from = self.random.random_range(0..self.accounts);
            let order = Order::Transfer {
                to: self.random.random_range(0..self.accounts),
                cents: self.random.random_range(1..100),
            };
            let account = self.caller.entity::<Account>(&from);
            let request = RequestId(uuid::Uuid::from_u128(self.random.random()));
            let until = tokio::time::Instant::now() + TRANSFER_WITHIN;
            loop {
                match account.ask_as(request, &order, ASK_WITHIN).await {
                    Ok(_) => {
                        let mut acknowledged =
                            self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
                        *acknowledged.entry(from).or_default() += 1;
                        break;
                    }
                    Err(CallError::Refused(_)) => break,
                    Err(error) if tokio::time::Instant::now() > until => panic!("a transfer: {error}"),
                    // The same request again finds out.
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        }
    }
}
