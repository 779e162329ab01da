//! Users with SCRAM credentials, from outside.

use super::Admin;
use crate::access::ScramChange;
use crate::client::ClientError;
use crate::cluster::message::access::{AlterScram, DescribeUsers, UserDescription};
use crate::error::Refusal;

impl Admin {
    /// Gives users SCRAM credentials and takes them away; what became of each change, in order. Where an answer is lost it
    /// is asked again: a credential that was taken away by then is not there any more.
    pub async fn alter_scram(
        &self,
        changes: Vec<ScramChange>,
    ) -> Result<Vec<Result<(), Refusal>>, ClientError> {
        self.client.ask_any("changing users", AlterScram { changes }).await
    }

    /// The users that have credentials, by name.
    pub async fn describe_users(&self) -> Result<Vec<UserDescription>, ClientError> {
        self.client.ask_any("listing users", DescribeUsers {}).await
    }
}
