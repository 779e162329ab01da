//! What the image holds of access: listeners, users, access control lists.

use std::sync::Arc;

use super::{Features, Image};
use crate::access::{ACLS_MAX, Acl, Acls, AdvertisedListener, Listeners, ScramChange, USERS_MAX, Users};
use crate::access::{InvalidAcl, InvalidCredential, check_listeners};
use crate::error::{ErrorCode, Refusal};
use crate::ids::{Incarnation, NodeId};

impl Image {
    pub(super) fn set_listeners(
        &mut self,
        node: NodeId,
        incarnation: Incarnation,
        listeners: &[AdvertisedListener],
    ) -> Result<(), Refusal> {
        self.features.require(Features::ACCESS)?;
        self.nodes.in_life(node, incarnation)?;
        check_listeners(listeners)
            .map_err(|wrong| Refusal::new(ErrorCode::InvalidRequest, format!("node {node}: {wrong}")))?;
        let mut all = Listeners::clone(&self.listeners);
        all.set(node, listeners.to_vec());
        self.listeners = Arc::new(all);
        Ok(())
    }

    /// A node's new life tells its own.
    pub(super) fn forget_listeners(&mut self, node: NodeId) {
        if self.listeners.of_node(node).is_some() {
            let mut all = Listeners::clone(&self.listeners);
            all.forget(node);
            self.listeners = Arc::new(all);
        }
    }

    pub(super) fn alter_scram(&mut self, change: &ScramChange) -> Result<(), Refusal> {
        self.features.require(Features::ACCESS)?;
        change.check().map_err(|wrong| unacceptable(&wrong))?;
        let ScramChange { user, mechanism, credential } = change;
        let is_there = self.users.credential(user, *mechanism).is_some();
        let mut users = Users::clone(&self.users);
        match credential {
            Some(_) if !is_there && users.len() >= USERS_MAX => {
                let text = format!("there are {USERS_MAX} credentials, as many as a cluster has at most");
                return Err(Refusal::new(ErrorCode::PolicyViolation, text));
            }
            Some(credential) => users.put(user, *mechanism, credential.clone()),
            None if !is_there => {
                let text = format!("user {user:?} has no credential of {}", mechanism.name());
                return Err(Refusal::new(ErrorCode::ResourceNotFound, text));
            }
            None => {
                users.remove(user, *mechanism);
            }
        }
        self.users = Arc::new(users);
        Ok(())
    }

    pub(super) fn create_acls(&mut self, added: &[Acl]) -> Result<(), Refusal> {
        self.features.require(Features::ACCESS)?;
        added.iter().try_for_each(Acl::check).map_err(|wrong| invalid_acl(&wrong))?;
        let mut acls = Acls::clone(&self.acls);
        for acl in added {
            acls.insert(acl.clone());
        }
        if acls.len() > ACLS_MAX {
            let text =
                format!("access control lists would have {} entries, {ACLS_MAX} are the most", acls.len());
            return Err(Refusal::new(ErrorCode::PolicyViolation, text));
        }
        self.acls = Arc::new(acls);
        Ok(())
    }

    pub(super) fn delete_acls(&mut self, removed: &[Acl]) -> Result<(), Refusal> {
        self.features.require(Features::ACCESS)?;
        let mut acls = Acls::clone(&self.acls);
        for acl in removed {
            acls.remove(acl);
        }
        self.acls = Arc::new(acls);
        Ok(())
    }
}

/// The refusal of a credential.
#[must_use]
pub fn unacceptable(wrong: &InvalidCredential) -> Refusal {
    Refusal::new(ErrorCode::UnacceptableCredential, wrong.to_string())
}

/// The refusal of an entry of an access control list.
#[must_use]
pub fn invalid_acl(wrong: &InvalidAcl) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, wrong.to_string())
}
