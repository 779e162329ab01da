//! The actor in which a user's handler takes what lies on the desk of its source.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::super::handler::SourceHandler;
use super::desk::Desk;
use crate::custom::named::{ActorContext, Handled, NamedActor};
use crate::custom::{ActorMessage, CallError};

/// A chunk ends after so long: positions are committed in time, and the watch on long handlers tells of records that take
/// long and not of many.
const CHUNK_TIME: Duration = Duration::from_millis(250);

/// Says that there is something to handle. The records are not in it: they lie on the desk.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Take;

impl ActorMessage for Take {
    const NAME: &'static str = "millstream.source.take";
    type Answer = ();
}

/// The actor. Its state is the handler's.
pub(super) struct SourceActor<H> {
    pub(super) handler: H,
    pub(super) desk: Arc<Desk>,
}

impl<H: SourceHandler> NamedActor for SourceActor<H> {
    const KIND: &'static str = H::KIND;
    type Message = Take;

    async fn started(&mut self, context: &ActorContext) {
        self.handler.started(context).await;
    }

    async fn handle(&mut self, _: Take, context: &ActorContext) -> Handled<Take> {
        let chunk = self.desk.next().map_err(|error| CallError::Malformed(error.to_string()))?;
        let began = Instant::now();
        let (mut handled, mut failed) = (0, Ok(()));
        for record in chunk {
            failed = self.handler.handle(record, context).await;
            if failed.is_err() {
                break;
            }
            handled += 1;
            if began.elapsed() >= CHUNK_TIME {
                break;
            }
        }
        // What was handled before the failure counts, if it can be ended.
        self.handler.flush(context).await?;
        self.desk.handled(handled);
        failed
    }
}
