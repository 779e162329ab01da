//! Users and access control lists, from one node.

use super::{Answered, ClusterFront, done, unexpected};
use crate::access::acl::REMOVED_BYTES_MAX;
use crate::access::{Acl, AclFilter, ScramChange};
use crate::cluster::message::access::UserDescription;
use crate::cluster::message::nodes::{ClientAnswer, ClientRequest};
use crate::cluster::peers::Peers;
use crate::error::{ErrorCode, Refusal};

impl<P: Peers> ClusterFront<P> {
    /// Changes credentials; what became of each, in order. The log says who changed which.
    pub async fn alter_scram(
        &self,
        changes: Vec<ScramChange>,
        by: &str,
    ) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let told =
            changes.iter().map(|change| (change.user.clone(), change.mechanism, change.credential.is_none()));
        let told: Vec<_> = told.collect();
        let Answered { answer, repeated } = self.client(ClientRequest::AlterScram(changes)).await;
        let ClientAnswer::Each(mut each) = answer? else {
            return Err(unexpected(&"another answer"));
        };
        for (outcome, (user, mechanism, removes)) in each.iter_mut().zip(told) {
            // An earlier attempt, whose answer was lost, may have taken it away.
            let gone = outcome.as_ref().is_err_and(|refusal| refusal.code == ErrorCode::ResourceNotFound);
            if repeated && removes && gone {
                *outcome = Ok(());
            }
            if outcome.is_ok() {
                let (node, mechanism) = (self.parts().me, mechanism.name());
                tracing::info!(%node, by, user, mechanism, removes, "a user's credential was changed");
            }
        }
        Ok(each)
    }

    /// The users that have credentials, as this node knows them.
    #[must_use]
    pub fn describe_users(&self) -> Vec<UserDescription> {
        let image = self.image();
        let users = image.users().names().map(|user| UserDescription {
            user: user.to_owned(),
            mechanisms: image
                .users()
                .of_user(user)
                .map(|(mechanism, credential)| (mechanism, credential.iterations))
                .collect(),
        });
        users.collect()
    }

    /// Adds entries to access control lists, all or none.
    pub async fn create_acls(&self, acls: Vec<Acl>) -> Result<(), Refusal> {
        if acls.is_empty() {
            return Ok(());
        }
        done(self.client(ClientRequest::CreateAcls(acls)).await, |_| false)
    }

    /// Removes what the filters find; the entries for each. Where an answer was lost and the request repeated, entries
    /// that were removed by the first attempt are not told. Many are removed in several decisions: after an error some may
    /// be gone.
    pub async fn delete_acls(&self, filters: Vec<AclFilter>) -> Result<Vec<Vec<Acl>>, Refusal> {
        if filters.is_empty() {
            return Ok(Vec::new());
        }
        let mut removed = vec![Vec::new(); filters.len()];
        loop {
            let each = match self.client(ClientRequest::DeleteAcls(filters.clone())).await.answer? {
                ClientAnswer::DeletedAcls(each) => each,
                other => return Err(unexpected(&other)),
            };
            let bytes: usize = each.iter().flatten().map(Acl::bytes).sum();
            for (all, more) in removed.iter_mut().zip(each) {
                all.extend(more);
            }
            if bytes < REMOVED_BYTES_MAX {
                return Ok(removed);
            }
        }
    }
}
