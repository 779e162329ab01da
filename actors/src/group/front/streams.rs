//! Members of applications of streams.

use futures::future::BoxFuture;

use super::{GroupFront, GroupMessage};
use crate::group::message::streams::{DescribeStreamsGroup, StreamsHeartbeat};
use crate::group::request::GroupRequest;

impl GroupMessage for StreamsHeartbeat {
    fn ask(self, front: &GroupFront, host: &str) -> BoxFuture<'static, Self::Answer> {
        let (group, host) = (self.group.clone(), host.to_owned());
        front.ask_group(&group, |reply| GroupRequest::Streams { request: self, host, reply })
    }
}

impl GroupMessage for DescribeStreamsGroup {
    fn ask(self, front: &GroupFront, _host: &str) -> BoxFuture<'static, Self::Answer> {
        let group = self.group.clone();
        front.ask_group(&group, |reply| GroupRequest::DescribeStreams { request: self, reply })
    }
}
