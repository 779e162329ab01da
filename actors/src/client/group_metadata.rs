//! What a consumer's group is told of the consumer by others.

/// Who a consumer is in its group, for a transactional producer that commits offsets for it: so the group can tell that
/// another has taken its place (KIP-447).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetadata {
    pub(crate) group: String,
    /// Empty outside of the group.
    pub(crate) member: String,
    /// -1 outside of the group.
    pub(crate) member_epoch: i32,
    pub(crate) instance: Option<String>,
}

impl GroupMetadata {
    /// Of no member: the group cannot tell that another has taken over. For who assigns partitions by itself.
    #[must_use]
    pub fn without_member(group: impl Into<String>) -> Self {
        Self { group: group.into(), member: String::new(), member_epoch: -1, instance: None }
    }

    /// `group.id`.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }
}
