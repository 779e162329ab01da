//! Listeners, users and access control lists: the commands that grant a request. They take [`Features::ACCESS`], which a
//! cluster reaches by itself once all of its nodes understand it.

use std::collections::BTreeSet;

use super::{Planned, done, lost, refusal, registration};
use crate::access::acl::REMOVED_BYTES_MAX;
use crate::access::{Acl, AclFilter, ScramChange};
use crate::cluster::message::access::RegisterListeners;
use crate::cluster::message::nodes::ClientAnswer;
use crate::cluster::request::Reply;
use crate::image::{Command, Features, Image, Outcome};

/// A registration, and the listeners if all nodes understand them: a cluster that is being upgraded goes on without, and
/// the node asks again once it is.
pub(super) fn register(request: RegisterListeners, reply: Reply<()>, image: &Image, now_ms: i64) -> Planned {
    let RegisterListeners { register, listeners } = request;
    let (node, incarnation) = (register.node, register.incarnation);
    let registration = registration(register, image, now_ms);
    if registration.is_none() && image.listeners().of_node(node).is_some_and(|known| *known == *listeners) {
        return Planned::answered(Ok(()), reply);
    }
    let registers = registration.is_some();
    let mut commands: Vec<Command> = registration.into_iter().collect();
    // Not before this node's own registration: its level counts, too.
    let all_understand = image
        .nodes()
        .iter()
        .all(|(id, known)| (id == node && registers) || known.feature_level >= Features::ACCESS);
    if all_understand {
        // With the first node of a cluster, all do from this very entry on.
        if image.features().level < Features::ACCESS {
            commands.push(Command::SetFeatureLevel { level: Features::ACCESS });
        }
        commands.push(Command::SetListeners { node, incarnation, listeners });
    }
    Planned::of(commands, reply, move |outcomes| {
        let first = if registers { outcomes.first().map_or_else(|| Err(lost()), done) } else { Ok(()) };
        first.and_then(|()| if all_understand { outcomes.iter().try_for_each(done) } else { Ok(()) })
    })
}

/// Changes of credentials, each for itself.
pub(super) fn alter_scram(changes: Vec<ScramChange>, reply: Reply<ClientAnswer>, image: &Image) -> Planned {
    if let Err(refusal) = image.features().require(Features::ACCESS) {
        return Planned::answered(Err(refusal), reply);
    }
    let commands = changes.into_iter().map(Command::AlterScram).collect();
    Planned::of(commands, reply, |outcomes| Ok(ClientAnswer::Each(outcomes.iter().map(done).collect())))
}

/// All entries or none.
pub(super) fn create_acls(acls: Vec<Acl>, reply: Reply<ClientAnswer>, image: &Image) -> Planned {
    if let Err(refusal) = image.features().require(Features::ACCESS) {
        return Planned::answered(Err(refusal), reply);
    }
    Planned::one(Command::CreateAcls { acls }, reply, |outcome| done(outcome).map(|()| ClientAnswer::Done))
}

/// What the filters find now, as far as it is less than [`REMOVED_BYTES_MAX`]; an entry that several find is told by the
/// first. Who asked goes on while so much is told: what filters find is no measure of the quorum's entry.
pub(super) fn delete_acls(filters: &[AclFilter], reply: Reply<ClientAnswer>, image: &Image) -> Planned {
    let (mut found, mut bytes) = (BTreeSet::new(), 0_usize);
    let mut each: Vec<Vec<Acl>> = Vec::with_capacity(filters.len());
    for filter in filters {
        let mut of_filter = Vec::new();
        for acl in image.acls().found(filter) {
            if bytes >= REMOVED_BYTES_MAX {
                break;
            }
            if found.insert(acl.clone()) {
                bytes += acl.bytes();
                of_filter.push(acl);
            }
        }
        each.push(of_filter);
    }
    if found.is_empty() {
        return Planned::answered(Ok(ClientAnswer::DeletedAcls(each)), reply);
    }
    let command = Command::DeleteAcls { acls: found.into_iter().collect() };
    Planned::one(command, reply, move |outcome| match outcome {
        Outcome::Done => Ok(ClientAnswer::DeletedAcls(each)),
        other => Err(refusal(other)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{
        AdvertisedListener, Operation, PatternType, Permission, ResourceType, ScramMechanism,
    };
    use crate::cluster::message::nodes::RegisterNode;
    use crate::error::{ErrorCode, Refusal};
    use crate::ids::NodeId;
    use crate::image::Registration;
    use crate::image::fixture::{done as apply, registration, topic};

    fn joins(node: u32, life: u64) -> RegisterListeners {
        let Registration { node, incarnation, address, directories, doubts, .. } = registration(node, life);
        let register =
            RegisterNode { node, incarnation, address, directories, doubts, feature_level: Features::ACCESS };
        let listener =
            AdvertisedListener { name: "SSL".to_owned(), host: format!("host-{node}"), port: 9093 };
        RegisterListeners { register, listeners: vec![listener] }
    }

    /// Carries a plan out, and gives its answer.
    fn carry_out<T>(
        image: &mut Image,
        plan: impl FnOnce(&Image, Reply<T>) -> Planned,
    ) -> (usize, Result<T, Refusal>)
    where
        T: Send + 'static,
    {
        let (reply, mut answer) = Reply::channel();
        let Planned { commands, settle, .. } = plan(image, reply);
        let index = image.version() + 1;
        let outcomes = image.apply_entry(index, &commands);
        settle(Ok(&outcomes));
        (commands.len(), answer.try_recv().unwrap())
    }

    fn join(image: &mut Image, node: u32, life: u64) -> (usize, Result<(), Refusal>) {
        carry_out(image, |image, reply| register(joins(node, life), reply, image, 0))
    }

    #[test]
    fn a_node_of_a_new_cluster_has_its_listeners_with_its_registration() {
        let mut image = Image::default();
        assert_eq!(join(&mut image, 1, 1), (3, Ok(())));
        assert_eq!(image.features().level, Features::ACCESS);
        assert_eq!(join(&mut image, 2, 1), (2, Ok(())));
        let told = image.listeners().of_node(NodeId(2)).unwrap();
        assert_eq!(told.first().map(|listener| listener.host.as_str()), Some("host-2"));
        // Repeated, because its answer was lost.
        assert_eq!(join(&mut image, 2, 1), (0, Ok(())));
    }

    #[test]
    fn while_a_node_does_not_understand_listeners_others_register_without_and_tell_them_later() {
        let mut image = Image::default();
        apply(&mut image, Command::RegisterNode(registration(1, 1)));
        assert_eq!(join(&mut image, 2, 1), (1, Ok(())));
        assert_eq!((image.features().level, image.listeners().is_empty()), (Features::FIRST, true));
        assert_eq!(join(&mut image, 1, 2), (3, Ok(())), "the last one was upgraded");
        assert_eq!(join(&mut image, 2, 1), (1, Ok(())));
        assert!([1, 2].iter().all(|node| image.listeners().of_node(NodeId(*node)).is_some()));
    }

    #[test]
    fn changes_of_users_have_an_outcome_each_and_none_before_all_nodes_understand_them() {
        let remove = |user: &str| ScramChange {
            user: user.to_owned(),
            mechanism: ScramMechanism::Sha256,
            credential: None,
        };
        let alter = |image: &mut Image| {
            let changes = vec![remove("alice"), remove("")];
            carry_out(image, |image, reply| alter_scram(changes, reply, image)).1
        };
        let mut image = Image::default();
        apply(&mut image, Command::RegisterNode(registration(1, 1)));
        assert_eq!(alter(&mut image).unwrap_err().code, ErrorCode::UnsupportedVersion);
        join(&mut image, 1, 2).1.unwrap();
        let Ok(ClientAnswer::Each(each)) = alter(&mut image) else { panic!("another answer") };
        let codes: Vec<_> = each.into_iter().map(|outcome| outcome.unwrap_err().code).collect();
        assert_eq!(codes, [ErrorCode::ResourceNotFound, ErrorCode::UnacceptableCredential]);
    }

    fn acl(name: String) -> Acl {
        Acl {
            resource: ResourceType::Topic,
            pattern: PatternType::Literal,
            name,
            principal: "User:alice".to_owned(),
            host: "*".to_owned(),
            operation: Operation::Read,
            permission: Permission::Allow,
        }
    }

    #[test]
    fn what_filters_find_is_removed_in_bounded_entries() {
        let mut image = Image::default();
        join(&mut image, 1, 1).1.unwrap();
        let acls: Vec<Acl> = (0..3_000).map(|number| acl(format!("a topic with a name {number}"))).collect();
        let all = acls.len();
        apply(&mut image, Command::CreateAcls { acls });
        let mut removed = Vec::new();
        while !image.acls().is_empty() {
            let delete = |image: &Image, reply| delete_acls(&[AclFilter::EVERY], reply, image);
            let Ok(ClientAnswer::DeletedAcls(each)) = carry_out(&mut image, delete).1 else {
                panic!("another answer");
            };
            let bytes: usize = each.iter().flatten().map(Acl::bytes).sum();
            let longest = each.iter().flatten().map(Acl::bytes).max().unwrap();
            assert!(bytes < REMOVED_BYTES_MAX + longest, "{bytes}");
            assert!(bytes >= REMOVED_BYTES_MAX || image.acls().is_empty(), "{bytes}: who asks would stop");
            removed.extend(each.into_iter().flatten());
        }
        assert_eq!(removed.len(), all);
    }

    #[test]
    fn an_entry_that_two_filters_find_is_told_by_the_first() {
        let mut image = Image::default();
        join(&mut image, 1, 1).1.unwrap();
        let acl = acl(topic(1).0.to_string());
        let acls = vec![acl.clone()];
        let made = carry_out(&mut image, |image, reply| create_acls(acls, reply, image));
        assert_eq!(made, (1, Ok(ClientAnswer::Done)));
        let filters = [AclFilter::EVERY, AclFilter::EVERY];
        let delete = |image: &mut Image| carry_out(image, |image, reply| delete_acls(&filters, reply, image));
        let told = ClientAnswer::DeletedAcls(vec![vec![acl], vec![]]);
        assert_eq!(delete(&mut image), (1, Ok(told)));
        assert_eq!(delete(&mut image), (0, Ok(ClientAnswer::DeletedAcls(vec![vec![], vec![]]))));
    }
}
