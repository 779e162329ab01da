//! Listeners, users and access control lists: the commands that grant a request. The first of them raises the feature
//! level where the cluster has not reached [`Features::ACCESS`] yet, which fails while a node does not understand it.

use std::collections::BTreeSet;

use super::{Planned, done, lost, refusal, registration};
use crate::access::{Acl, AclFilter, ScramChange};
use crate::cluster::message::access::RegisterListeners;
use crate::cluster::message::nodes::ClientAnswer;
use crate::cluster::request::Reply;
use crate::image::{Command, Features, Image, Outcome};

fn raised(image: &Image) -> Vec<Command> {
    let is_needed = image.features().level < Features::ACCESS;
    is_needed.then_some(Command::SetFeatureLevel { level: Features::ACCESS }).into_iter().collect()
}

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
        commands.extend(raised(image));
        commands.push(Command::SetListeners { node, incarnation, listeners });
    }
    Planned::of(commands, reply, move |outcomes| {
        let first = if registers { outcomes.first().map_or_else(|| Err(lost()), done) } else { Ok(()) };
        first.and_then(|()| if all_understand { outcomes.iter().try_for_each(done) } else { Ok(()) })
    })
}

/// Changes of credentials, each for itself.
pub(super) fn alter_scram(changes: Vec<ScramChange>, reply: Reply<ClientAnswer>, image: &Image) -> Planned {
    let mut commands = raised(image);
    let before = commands.len();
    commands.extend(changes.into_iter().map(Command::AlterScram));
    Planned::of(commands, reply, move |outcomes| {
        outcomes.iter().take(before).try_for_each(done)?;
        Ok(ClientAnswer::Each(outcomes.iter().skip(before).map(done).collect()))
    })
}

/// All entries or none.
pub(super) fn create_acls(acls: Vec<Acl>, reply: Reply<ClientAnswer>, image: &Image) -> Planned {
    let mut commands = raised(image);
    commands.push(Command::CreateAcls { acls });
    Planned::of(commands, reply, |outcomes| outcomes.iter().try_for_each(done).map(|()| ClientAnswer::Done))
}

/// What the filters find now; an entry that several find is told by the first.
pub(super) fn delete_acls(filters: &[AclFilter], reply: Reply<ClientAnswer>, image: &Image) -> Planned {
    let mut found = BTreeSet::new();
    let each: Vec<Vec<Acl>> = filters
        .iter()
        .map(|filter| {
            let new = image.acls().found(filter).into_iter().filter(|acl| found.insert(acl.clone()));
            new.collect()
        })
        .collect();
    if found.is_empty() {
        return Planned::answered(Ok(ClientAnswer::DeletedAcls(each)), reply);
    }
    let command = Command::DeleteAcls { acls: found.into_iter().collect() };
    Planned::one(command, reply, move |outcome| match outcome {
        Outcome::Done => Ok(ClientAnswer::DeletedAcls(each)),
        other => Err(refusal(other)),
    })
}
