//! Who may do what, who may come in, and where: access control lists, SCRAM credentials and advertised listeners, as
//! Kafka has them. Pure: the image keeps them, a node asks them.

pub mod acl;
mod acls;
mod listeners;
mod users;

pub use acl::{Acl, AclFilter, InvalidAcl, Operation, PatternFilter, PatternType, Permission, ResourceType};
pub use acls::{ACLS_MAX, Acls, Question, Ruling};
pub use listeners::{AdvertisedListener, InvalidListeners, Listeners, check_listeners};
pub use users::{
    InvalidCredential, ScramChange, ScramCredential, ScramMechanism, USERS_MAX, Users, check_user_name,
};

#[cfg(test)]
mod tests;
