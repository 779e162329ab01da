//! What a node asks of the controller for the actors of users that run on it. Kind 400.

use millstream_transport::message::Message;
use serde::{Deserialize, Serialize};

use crate::error::Refusal;
use crate::ids::{Incarnation, NodeId};
use crate::image::NameAlteration;

/// Changes names and groups of a node's own actors. May be repeated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlterNames {
    /// The node.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// The change.
    pub alteration: NameAlteration,
}

impl Message for AlterNames {
    const KIND: u16 = 400;
    type Answer = Result<(), Refusal>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_change_of_names_stay() {
        let alteration = NameAlteration::Register { name: "a".to_owned(), kind: "k".to_owned(), serial: 7 };
        let message = AlterNames { node: NodeId(3), incarnation: Incarnation(300), alteration };
        let bytes = postcard::to_stdvec(&message).unwrap();
        assert_eq!(bytes, [3, 0xac, 2, 0, 1, b'a', 1, b'k', 7]);
    }
}
