//! A member of the classic protocol joins, or joins again.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::heartbeat::Standing;
use super::super::turn::Turn;
use super::super::{Notice, check};
use crate::error::{ErrorCode, Refusal};
use crate::group::classic::{CONSUMER, JoinGroup, Joined, refusal};
use crate::group::embedded::{self, Subscription};
use crate::group::records::{ClassicTerms, MemberMetadata};
use crate::ids::PartitionId;

/// From this version of JoinGroup, a dynamic member joins with an id that it was given before (KIP-394).
const ID_FIRST: i16 = 4;

impl Turn<'_> {
    pub(in super::super) fn join_hosted(&mut self, request: &JoinGroup) -> Result<Joined, Refusal> {
        let settings = self.around.settings;
        settings.classic.check_session_timeout(&self.machine.id, request.session_timeout_ms)?;
        self.check_place(request)?;
        self.check_protocols(request)?;
        let said = self.subscription(request)?;
        self.check_id(request)?;
        let (standing, member) = self.hosted_standing(request)?;
        let owned = self.still_owned(&member, &said);
        let metadata = self.hosted_metadata(&member, request, said);
        check::check_hosted(self.around, &self.machine.id, &member, &metadata)?;
        let replaced = match &standing {
            Standing::Replaces(old) => Some((Arc::clone(old), self.group().is_classic(old))),
            _ => None,
        };
        if let Some((old, _)) = &replaced {
            self.replace(old, &member);
        }
        self.describe_member(&member, metadata);
        self.follow_topics();
        self.reconcile_member(&member, &standing, Some(&owned));
        self.machine.touch(&member, self.around);
        self.machine.expect_sync(&member, self.around);
        if !matches!(standing, Standing::Known) {
            self.notices.push(Notice::Joined { member: Arc::clone(&member) });
        }
        let joined = self.joined(&member);
        if replaced.is_some_and(|(_, was_classic)| !was_classic) {
            self.downgrade_without(&[]);
        }
        Ok(joined)
    }

    /// What a member says that it owns. Of a topic of which this node has not heard, or not yet, it cannot be told which
    /// partitions are meant: while it speaks of such a topic, it has all that it was given and that lies in one.
    fn still_owned(&self, member: &str, said: &Subscription) -> BTreeSet<PartitionId> {
        let topics = self.around.topics;
        let mut owned = embedded::identified(&said.owned, topics);
        if said.owned.iter().any(|(name, _)| topics.named(name).is_none()) {
            let current = self.group().current(member);
            let given = current.assigned.iter().chain(&current.revoking);
            owned.extend(given.filter(|partition| topics.identified(partition.topic).is_none()));
        }
        owned
    }

    fn joined(&self, member: &str) -> Joined {
        Joined {
            generation: self.group().current(member).epoch,
            protocol_type: Some(CONSUMER.into()),
            protocol: self.spoken(member, None).map(|spoken| Arc::clone(&spoken.name)),
            // Nobody that could be asked: the coordinator assigns.
            leader: Arc::default(),
            skip_assignment: false,
            members: Vec::new(),
        }
    }

    fn check_place(&self, request: &JoinGroup) -> Result<(), Refusal> {
        let group = self.group();
        let has_place = group.members.contains_key(&request.member)
            || request.instance.as_ref().is_some_and(|instance| group.instance(instance).is_some());
        if has_place { Ok(()) } else { self.check_room(group.members.len()) }
    }

    /// Whether it is a consumer, and speaks something that all others of the classic protocol speak: they may be among
    /// themselves again.
    fn check_protocols(&self, request: &JoinGroup) -> Result<(), Refusal> {
        let names = request.protocols.iter().map(|protocol| &*protocol.name);
        let holder = request.instance.as_ref().and_then(|instance| self.group().instance(instance));
        let place = holder.into_iter().chain([&request.member]).map(|id| &**id).collect();
        if &*request.protocol_type == CONSUMER && self.group().speak_one_of(names, place) {
            return Ok(());
        }
        let text = format!(
            "a member that speaks {:?} of type {:?} cannot join group {}: all of its members are of type {CONSUMER}, and \
             those of the classic protocol need a protocol in common",
            request.protocols.iter().map(|protocol| &*protocol.name).collect::<Vec<_>>(),
            request.protocol_type,
            self.machine.id
        );
        Err(Refusal::new(ErrorCode::InconsistentGroupProtocol, text))
    }

    fn subscription(&self, request: &JoinGroup) -> Result<Subscription, Refusal> {
        let first = request.protocols.first();
        first.and_then(|protocol| embedded::subscription(&protocol.metadata)).ok_or_else(|| {
            let text = format!(
                "group {} assigns for its members of the classic protocol, and what this one subscribes to cannot be \
                 read",
                self.machine.id
            );
            Refusal::new(ErrorCode::InvalidRequest, text)
        })
    }

    /// Who has no id is given one first; nothing of it needs to be kept, because any id may join here.
    fn check_id(&self, request: &JoinGroup) -> Result<(), Refusal> {
        check::check_record_key(&self.machine.id, &request.member)?;
        check::check_record_key(&self.machine.id, &request.new_member)?;
        if request.version < ID_FIRST || !request.member.is_empty() || request.instance.is_some() {
            return Ok(());
        }
        let text = format!("group {}: join again with the id {}", self.machine.id, request.new_member);
        Err(Refusal::new(ErrorCode::MemberIdRequired, text))
    }

    /// Who joins. A static member takes the place of its instance, whichever protocol that spoke (KIP-345).
    fn hosted_standing(&self, request: &JoinGroup) -> Result<(Standing, Arc<str>), Refusal> {
        let (group, name, id) = (self.group(), &self.machine.id, &request.member);
        let new = || if id.is_empty() { Arc::clone(&request.new_member) } else { Arc::clone(id) };
        if let Some(instance) = &request.instance {
            match group.instance(instance) {
                Some(holder) if id.is_empty() => return Ok((Standing::Replaces(Arc::clone(holder)), new())),
                Some(holder) if holder != id => return Err(refusal::fenced(name, instance, id)),
                None if !id.is_empty() => return Err(refusal::unknown_instance(name, instance)),
                Some(_) | None => {}
            }
        }
        match group.members.get(id) {
            Some(metadata) if metadata.classic.is_some() => Ok((Standing::Known, new())),
            Some(_) => Err(refusal::unknown_member(name, id)),
            None => Ok((Standing::New, new())),
        }
    }

    fn hosted_metadata(&self, member: &str, request: &JoinGroup, said: Subscription) -> MemberMetadata {
        let known = self.group().members.get(member).and_then(|metadata| metadata.instance.clone());
        MemberMetadata {
            instance: request.instance.clone().or(known),
            rack: said.rack,
            client_id: request.client_id.to_string(),
            client_host: request.client_host.to_string(),
            topics: said.topics.into_iter().collect(),
            pattern: None,
            rebalance_timeout_ms: request.patience_ms(),
            assignor: None,
            classic: Some(ClassicTerms {
                session_timeout_ms: request.session_timeout_ms,
                protocols: request.protocols.clone(),
            }),
        }
    }
}
