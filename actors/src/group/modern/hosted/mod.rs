//! Members of the classic protocol in a group of KIP-848, while it is rolled over from the one to the other.
//!
//! To them it looks as if another member led: each join is answered at once with the epoch that the member has reached,
//! each sync with what it owns in it, and a heartbeat says that the group rebalances when there is more to reach. A join
//! tells what the member still owns, which is how it gives partitions up: one of an eager protocol gives up all, one of
//! a cooperative protocol what its last assignment left out. So a partition is never told to two, whatever they speak.

mod heartbeat;
mod join;
mod leave;
mod sync;

use std::sync::Arc;

use super::turn::Turn;
use crate::error::Refusal;
use crate::group::classic::{Protocol, refusal};

impl Turn<'_> {
    /// The member of this id, if it speaks the classic protocol, and is its instance's.
    fn hosted(&self, id: &str, instance: Option<&str>) -> Result<Arc<str>, Refusal> {
        let (group, name) = (self.group(), &self.machine.id);
        if let Some(instance) = instance {
            match group.instance(instance) {
                None => return Err(refusal::unknown_instance(name, instance)),
                Some(holder) if **holder != *id => return Err(refusal::fenced(name, instance, id)),
                Some(_) => {}
            }
        }
        match group.members.get_key_value(id) {
            Some((member, metadata)) if metadata.classic.is_some() => Ok(Arc::clone(member)),
            _ => Err(refusal::unknown_member(name, id)),
        }
    }

    fn check_generation(&self, member: &str, came_with: i32) -> Result<(), Refusal> {
        let epoch = self.group().current(member).epoch;
        if came_with == epoch {
            return Ok(());
        }
        Err(refusal::generation(&self.machine.id, member, came_with, epoch))
    }

    /// The protocol that the member is answered in: this one, or the one it would have.
    fn spoken(&self, member: &str, named: Option<&str>) -> Option<&Protocol> {
        let mut protocols = self.group().members.get(member)?.classic.as_ref()?.protocols.iter();
        match named {
            Some(name) => protocols.find(|protocol| &*protocol.name == name),
            None => protocols.next(),
        }
    }
}
