//! What is said of users, access control lists and listeners. Kinds 240 to 249 of clients, 275 of nodes.

use millstream_transport::message::Message;
use serde::{Deserialize, Serialize};

use super::nodes::RegisterNode;
use crate::access::{AdvertisedListener, ScramChange, ScramMechanism};
use crate::error::Refusal;

/// Changes SCRAM credentials, each for itself: what became of them, in their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlterScram {
    /// The changes.
    pub changes: Vec<ScramChange>,
}

impl Message for AlterScram {
    const KIND: u16 = 240;
    type Answer = Result<Vec<Result<(), Refusal>>, Refusal>;
}

/// Asks for the users that have SCRAM credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeUsers {}

/// A user and what it may come in with; nothing of that is secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserDescription {
    /// The user.
    pub user: String,
    /// Each mechanism with the iterations of its credential.
    pub mechanisms: Vec<(ScramMechanism, u32)>,
}

impl Message for DescribeUsers {
    const KIND: u16 = 241;
    type Answer = Result<Vec<UserDescription>, Refusal>;
}

/// [`RegisterNode`], and where clients of Kafka's protocol find the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterListeners {
    /// The registration.
    pub register: RegisterNode,
    /// All listeners of the node. Kept once all nodes of the cluster understand them.
    pub listeners: Vec<AdvertisedListener>,
}

impl Message for RegisterListeners {
    const KIND: u16 = 275;
    type Answer = Result<(), Refusal>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::ScramCredential;
    use crate::access::{Acl, AclFilter, Operation, PatternFilter, PatternType, Permission, ResourceType};
    use crate::cluster::message::nodes::{ClientAnswer, ClientRequest};
    use crate::error::ErrorCode;
    use crate::ids::{Incarnation, NodeId};

    fn hex(value: &impl Serialize) -> String {
        postcard::to_stdvec(value).unwrap().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn messages() -> Vec<String> {
        let credential = ScramCredential {
            salt: vec![1; 8],
            stored_key: vec![2; 32],
            server_key: vec![3; 32],
            iterations: 4096,
        };
        let change = |credential| ScramChange {
            user: "alice".to_owned(),
            mechanism: ScramMechanism::Sha256,
            credential,
        };
        let changes = vec![change(Some(credential)), change(None)];
        let acl = Acl {
            resource: ResourceType::Topic,
            pattern: PatternType::Prefixed,
            name: "fl".to_owned(),
            principal: "User:alice".to_owned(),
            host: "*".to_owned(),
            operation: Operation::Read,
            permission: Permission::Allow,
        };
        let filter = AclFilter {
            resource: Some(ResourceType::Group),
            name: None,
            pattern: PatternFilter::Exactly(PatternType::Literal),
            principal: Some("User:alice".to_owned()),
            host: None,
            operation: Some(Operation::All),
            permission: Some(Permission::Deny),
        };
        let register = RegisterNode {
            node: NodeId(3),
            incarnation: Incarnation(7),
            address: "a:1".to_owned(),
            directories: Vec::new(),
            doubts: Vec::new(),
            feature_level: 2,
        };
        let listener = AdvertisedListener { name: "SSL".to_owned(), host: "a".to_owned(), port: 9093 };
        let described =
            UserDescription { user: "alice".to_owned(), mechanisms: vec![(ScramMechanism::Sha512, 4096)] };
        let each = vec![Ok(()), Err(Refusal::new(ErrorCode::ResourceNotFound, "no"))];
        vec![
            hex(&AlterScram { changes: changes.clone() }),
            hex(&DescribeUsers {}),
            hex(&described),
            hex(&RegisterListeners { register, listeners: vec![listener] }),
            hex(&ClientRequest::AlterScram(changes)),
            hex(&ClientRequest::CreateAcls(vec![acl.clone()])),
            hex(&ClientRequest::DeleteAcls(vec![filter])),
            hex(&ClientAnswer::Each(each)),
            hex(&ClientAnswer::DeletedAcls(vec![vec![acl]])),
        ]
    }

    #[test]
    fn the_bytes_of_version_1_stay() {
        let golden: Vec<&str> = include_str!("golden/access-v1.hex").lines().collect();
        assert_eq!(messages(), golden);
    }
}
