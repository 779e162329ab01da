//! What the image holds of access: listeners, users, access control lists.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Features, Image};
use crate::access::{ACLS_MAX, Acl, AdvertisedListener, ScramChange, USERS_MAX};
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
        Arc::make_mut(&mut self.listeners).set(node, listeners.to_vec());
        Ok(())
    }

    /// A node's new life tells its own.
    pub(super) fn forget_listeners(&mut self, node: NodeId) {
        if self.listeners.of_node(node).is_some() {
            Arc::make_mut(&mut self.listeners).forget(node);
        }
    }

    pub(super) fn alter_scram(&mut self, change: &ScramChange) -> Result<(), Refusal> {
        self.features.require(Features::ACCESS)?;
        change.check().map_err(|wrong| unacceptable(&wrong))?;
        let ScramChange { user, mechanism, credential } = change;
        let is_there = self.users.credential(user, *mechanism).is_some();
        match credential {
            Some(_) if !is_there && self.users.len() >= USERS_MAX => {
                let text = format!("there are {USERS_MAX} credentials, as many as a cluster has at most");
                return Err(Refusal::new(ErrorCode::PolicyViolation, text));
            }
            // Copied once for an entry, however many changes it holds: nobody else has the copy.
            Some(credential) => Arc::make_mut(&mut self.users).put(user, *mechanism, credential.clone()),
            None if !is_there => {
                let text = format!("user {user:?} has no credential of {}", mechanism.name());
                return Err(Refusal::new(ErrorCode::ResourceNotFound, text));
            }
            None => {
                Arc::make_mut(&mut self.users).remove(user, *mechanism);
            }
        }
        Ok(())
    }

    pub(super) fn create_acls(&mut self, added: &[Acl]) -> Result<(), Refusal> {
        self.features.require(Features::ACCESS)?;
        added.iter().try_for_each(Acl::check).map_err(|wrong| invalid_acl(&wrong))?;
        let new: BTreeSet<&Acl> = added.iter().filter(|acl| !self.acls.contains(acl)).collect();
        let would_be = self.acls.len() + new.len();
        if would_be > ACLS_MAX {
            let text = format!("access control lists would have {would_be} entries, {ACLS_MAX} are the most");
            return Err(Refusal::new(ErrorCode::PolicyViolation, text));
        }
        if !new.is_empty() {
            let acls = Arc::make_mut(&mut self.acls);
            for acl in new {
                acls.insert(acl.clone());
            }
        }
        Ok(())
    }

    pub(super) fn delete_acls(&mut self, removed: &[Acl]) -> Result<(), Refusal> {
        self.features.require(Features::ACCESS)?;
        if removed.iter().any(|acl| self.acls.contains(acl)) {
            let acls = Arc::make_mut(&mut self.acls);
            for acl in removed {
                acls.remove(acl);
            }
        }
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
