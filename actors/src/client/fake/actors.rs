//! The fake has no actors of users, and nobody asks stores of streams there.

use std::time::Duration;

use millstream_transport::message::Message;

use super::FakeCluster;
use crate::client::link::{Asking, Asks, LinkError, Target};
use crate::custom::named::message::{AskActor, FindName, GroupMembers, TellActor, WatchActor, WatchName};
use crate::streams::query::message::{AskStore, ListStreams, StreamsPoll};
use crate::supervision::listing::ListActors;

macro_rules! refused {
    ($($message:ty),*) => {
        $(impl Asks<$message> for FakeCluster {
            fn ask(&self, _: &Target, _: $message, _: Duration) -> Asking<<$message as Message>::Answer> {
                let refused = LinkError::Refused("the fake has no actors".to_owned());
                Box::pin(std::future::ready(Err(refused)))
            }
        })*
    };
}

refused!(AskActor, TellActor, FindName, WatchActor, WatchName, GroupMembers, ListActors);
refused!(AskStore, StreamsPoll, ListStreams);
