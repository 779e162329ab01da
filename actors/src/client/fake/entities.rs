//! Entities: no node of the fake hosts any.

use std::time::Duration;

use super::FakeCluster;
use crate::client::link::{Asking, Asks, Target};
use crate::custom::entity::message::AskEntity;
use crate::custom::{Answered, CallError};

impl Asks<AskEntity> for FakeCluster {
    fn ask(
        &self,
        _to: &Target,
        message: AskEntity,
        _deadline: Duration,
    ) -> Asking<Result<Answered, CallError>> {
        Box::pin(std::future::ready(Ok(Err(CallError::NoHost(message.kind)))))
    }
}
