//! The entity: an account, its messages, its handler. All that a user of entities writes.

use millstream::{ActorMessage, Entity, Refused, Turn};
use serde::{Deserialize, Serialize};

/// What every account begins with.
pub const BEGINS_WITH: i64 = 1_000;

/// The state: written after each turn that changes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// What is on it.
    pub cents: i64,
    /// Transfers from it.
    pub sent: u64,
    /// Transfers to it.
    pub received: u64,
}

/// What an account is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    /// Moves money to another account.
    Transfer {
        /// The other.
        to: u64,
        /// How much.
        cents: i64,
    },
    /// Money from another account.
    Receive {
        /// How much.
        cents: i64,
    },
    /// How the account stands.
    Look,
}

impl ActorMessage for Order {
    const NAME: &'static str = "order";
    type Answer = Account;
}

impl Entity for Account {
    const TYPE: &'static str = "account";
    type Key = u64;
    type Message = Order;

    fn new(_: &u64) -> Self {
        Self { cents: BEGINS_WITH, sent: 0, received: 0 }
    }

    fn handle(&mut self, order: Order, turn: &mut Turn<'_, Self>) -> Result<Self, Refused> {
        match order {
            Order::Transfer { cents, .. } if cents > self.cents => {
                return Err("not that much is there".into());
            }
            Order::Transfer { to, cents } => {
                self.cents -= cents;
                self.sent += 1;
                // Leaves with this very turn, or not at all; arrives once.
                turn.send::<Self>(&to, &Order::Receive { cents });
            }
            Order::Receive { cents } => {
                self.cents += cents;
                self.received += 1;
            }
            Order::Look => {}
        }
        Ok(self.clone())
    }
}
