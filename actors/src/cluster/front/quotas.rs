//! Quotas of clients as every node takes them.

use super::{ClusterFront, unexpected};
use crate::cluster::message::nodes::{ClientAnswer, ClientRequest};
use crate::cluster::peers::Peers;
use crate::error::Refusal;
use crate::image::QuotaAlteration;

/// Bytes of names in one request to the controller: together with what else it has to do, they fit into one entry.
const BYTES_A_REQUEST: usize = 100_000;

impl<P: Peers> ClusterFront<P> {
    /// Changes quotas; what became of each change. Many are made in several requests: once one of them is refused, so are
    /// those that it and the rest would have been for.
    pub async fn alter_quotas(&self, alterations: Vec<QuotaAlteration>) -> Vec<Result<(), Refusal>> {
        let mut done = Vec::with_capacity(alterations.len());
        let mut open = alterations.into_iter().peekable();
        while open.peek().is_some() {
            let (mut some, mut bytes) = (Vec::new(), 0);
            while let Some(alteration) = open.next_if(|_| bytes < BYTES_A_REQUEST) {
                bytes += alteration.bytes();
                some.push(alteration);
            }
            let count = some.len();
            let answered = match self.client(ClientRequest::AlterQuotas(some)).await.answer {
                Ok(ClientAnswer::Done) => Ok(()),
                Ok(other) => Err(unexpected(&other)),
                Err(refusal) => Err(refusal),
            };
            let is_over = answered.is_err();
            let told = if is_over { count + open.len() } else { count };
            done.extend(std::iter::repeat_n(answered, told));
            if is_over {
                break;
            }
        }
        done
    }
}
