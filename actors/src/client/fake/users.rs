//! The fake knows no users.

use std::time::Duration;

use super::FakeCluster;
use crate::client::link::{Asking, Asks, Target};
use crate::cluster::message::access::{AlterScram, DescribeUsers, UserDescription};
use crate::error::{ErrorCode, Refusal};

fn refusal() -> Refusal {
    Refusal::new(ErrorCode::UnsupportedVersion, "the fake has no users")
}

impl Asks<AlterScram> for FakeCluster {
    fn ask(
        &self,
        _: &Target,
        _: AlterScram,
        _: Duration,
    ) -> Asking<Result<Vec<Result<(), Refusal>>, Refusal>> {
        Box::pin(std::future::ready(Ok(Err(refusal()))))
    }
}

impl Asks<DescribeUsers> for FakeCluster {
    fn ask(
        &self,
        _: &Target,
        _: DescribeUsers,
        _: Duration,
    ) -> Asking<Result<Vec<UserDescription>, Refusal>> {
        Box::pin(std::future::ready(Ok(Err(refusal()))))
    }
}
