//! How long the record of a group is: it is written as a whole, and the log takes only so much at once. What would not fit is
//! refused to whoever brings it, before others depend on it.

use std::sync::Arc;

use super::member::Member;
use super::message::{JoinGroup, Protocol};
use super::record::{ClassicMember, ClassicMetadata};
use super::{ClassicGroup, refusal};
use crate::error::{ErrorCode, Refusal};
use crate::group::records::MAX_RECORD_BYTES;

/// Bytes of a text without its letters.
const TEXT: usize = 2;
/// Bytes of a member without texts, subscription and assignment: two numbers, and two lengths.
const MEMBER: usize = 16;
/// Bytes of a group without texts and members: version, generation, time, number of members.
const GROUP: usize = 18;

impl ClassicMetadata {
    /// The length of its record's value.
    pub(super) fn bytes(&self) -> usize {
        let text = |text: Option<&Arc<str>>| TEXT + text.map_or(0, |text| text.len());
        let own = text(Some(&self.protocol_type)) + text(self.protocol.as_ref()) + text(self.leader.as_ref());
        GROUP + own + self.members.iter().map(ClassicMember::bytes).sum::<usize>()
    }

    /// Whether its record may be written.
    pub(super) fn fits(&self) -> bool {
        self.bytes() <= MAX_RECORD_BYTES
    }
}

impl ClassicMember {
    fn bytes(&self) -> usize {
        let ids = (&*self.member, self.instance.as_ref());
        let subscription = self.subscription.len();
        of_member(ids, (&self.client_id, &self.client_host), subscription) + self.assignment.len()
    }
}

fn of_member(
    (id, instance): (&str, Option<&Arc<str>>),
    (client_id, client_host): (&str, &str),
    subscription: usize,
) -> usize {
    let texts =
        id.len() + instance.map_or(0, |instance| instance.len()) + client_id.len() + client_host.len();
    MEMBER + 4 * TEXT + texts + subscription
}

/// The longest of what is said in one of several protocols, of which the members will vote for one.
fn longest(protocols: &[Protocol]) -> usize {
    protocols.iter().map(|protocol| protocol.metadata.len()).max().unwrap_or_default()
}

impl Member {
    /// What it adds to the record at most, without an assignment.
    pub(super) fn bytes(&self) -> usize {
        let ids = (&*self.id, self.instance.as_ref());
        of_member(ids, (&self.client_id, &self.client_host), longest(&self.terms.protocols))
    }
}

impl ClassicGroup {
    /// Refuses a join of which no record can be written: where what it says is too long by itself, or where the group has no
    /// room for it. Kafka lets it in, and refuses what the leader assigns then to all members.
    pub(super) fn check_size(&self, request: &JoinGroup) -> Result<(), Refusal> {
        let invalid = |why: String| {
            let text = format!("group {}: what the member says cannot be kept: {why}", self.id);
            Err(Refusal::new(ErrorCode::InvalidRequest, text))
        };
        let id = if request.member.is_empty() { &request.new_member } else { &request.member };
        let texts = [id, &request.client_id, &request.client_host, &request.protocol_type];
        let names = request.protocols.iter().map(|protocol| &protocol.name);
        let mut texts = texts.into_iter().chain(&request.instance).chain(names);
        if let Some(long) = texts.find(|text| i16::try_from(text.len()).is_err()) {
            return invalid(format!("a name has {} bytes, at most {} fit", long.len(), i16::MAX));
        }
        let ids = (&**id, request.instance.as_ref());
        let bytes = of_member(ids, (&request.client_id, &request.client_host), longest(&request.protocols));
        if bytes > MAX_RECORD_BYTES {
            return invalid(format!("it has {bytes} bytes, at most {MAX_RECORD_BYTES} fit into a record"));
        }
        let holder = request.instance.as_ref().and_then(|instance| self.members.holder(instance));
        let place = self.members.get(holder.unwrap_or(id)).map_or(0, Member::bytes);
        if self.members.bytes() - place + bytes <= MAX_RECORD_BYTES {
            return Ok(());
        }
        let text = format!(
            "group {} has no room for {bytes} bytes more: what its members say has {}, at most {MAX_RECORD_BYTES} fit into \
             a record",
            self.id,
            self.members.bytes() - place
        );
        Err(Refusal::new(ErrorCode::GroupMaxSizeReached, text))
    }

    /// The refusal of an assignment that is too long to be written, as Kafka has it.
    pub(super) fn too_long(&self, written: &ClassicMetadata) -> Refusal {
        let text = format!("its record would have {} bytes, at most {MAX_RECORD_BYTES} fit", written.bytes());
        refusal::of_log(&self.id, &Refusal::new(ErrorCode::MessageTooLarge, text))
    }
}
