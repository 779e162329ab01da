//! What a client is told when its request is refused: Kafka's error codes, and a text for people.

use serde::{Deserialize, Serialize};

/// Kafka's error codes, those in use. The numbers are the protocol's; new ones stand at the end, because between nodes a
/// code is told by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(i16)]
pub enum ErrorCode {
    /// Something unforeseen; the text says what.
    UnknownServerError = -1,
    /// The offset is not in the partition.
    OffsetOutOfRange = 1,
    /// A checksum is wrong.
    CorruptMessage = 2,
    /// No such topic or partition here.
    UnknownTopicOrPartition = 3,
    /// The partition has no leader now.
    LeaderNotAvailable = 5,
    /// This node does not lead the partition.
    NotLeaderOrFollower = 6,
    /// Not done within the time asked for.
    RequestTimedOut = 7,
    /// The batch is larger than the topic allows.
    MessageTooLarge = 10,
    /// The coordinator is still reading its partition.
    CoordinatorLoadInProgress = 14,
    /// The coordinator cannot be reached or has no quorum.
    CoordinatorNotAvailable = 15,
    /// This node does not coordinate the group.
    NotCoordinator = 16,
    /// The name is not one a topic can have.
    InvalidTopic = 17,
    /// Fewer in-sync replicas than `min.insync.replicas`.
    NotEnoughReplicas = 19,
    /// Appended, but fewer in-sync replicas than `min.insync.replicas` have it.
    NotEnoughReplicasAfterAppend = 20,
    /// `acks` is none of 0, 1 and -1.
    InvalidRequiredAcks = 21,
    /// The member speaks from an older generation.
    IllegalGeneration = 22,
    /// The group id cannot be used.
    InvalidGroupId = 24,
    /// The group does not know the member.
    UnknownMemberId = 25,
    /// The group is rebalancing.
    RebalanceInProgress = 27,
    /// A topic of this name exists.
    TopicAlreadyExists = 36,
    /// The partition count cannot be had.
    InvalidPartitions = 37,
    /// The replication factor cannot be had.
    InvalidReplicationFactor = 38,
    /// The assignment of replicas cannot be had.
    InvalidReplicaAssignment = 39,
    /// A setting is unknown or has a wrong value.
    InvalidConfig = 40,
    /// This node is not the controller.
    NotController = 41,
    /// The request makes no sense; the text says why.
    InvalidRequest = 42,
    /// The broker does not speak this message or version.
    UnsupportedVersion = 35,
    /// A sequence number is not the one that follows.
    OutOfOrderSequenceNumber = 45,
    /// The batch was appended before.
    DuplicateSequenceNumber = 46,
    /// Another producer with the same id has taken over.
    InvalidProducerEpoch = 47,
    /// The log directory has failed.
    KafkaStorageError = 56,
    /// The producer id is not known here.
    UnknownProducerId = 59,
    /// The group still has members.
    NonEmptyGroup = 68,
    /// No such group.
    GroupIdNotFound = 69,
    /// The request's leader epoch is older than the partition's.
    FencedLeaderEpoch = 74,
    /// The request's leader epoch is newer than the one known here.
    UnknownLeaderEpoch = 75,
    /// The codec is not supported.
    UnsupportedCompressionType = 76,
    /// The new leader does not know its high watermark yet.
    OffsetNotAvailable = 78,
    /// Another member uses the same `group.instance.id`.
    FencedInstanceId = 82,
    /// A record is not valid; the text says why.
    InvalidRecord = 87,
    /// No topic of this id.
    UnknownTopicId = 100,
    /// The member's epoch is not the group's.
    FencedMemberEpoch = 110,
    /// The `group.instance.id` is still in use.
    UnreleasedInstanceId = 111,
    /// The assignor is not known.
    UnsupportedAssignor = 112,
    /// The member's epoch is older than the group's.
    StaleMemberEpoch = 113,
    /// The node is out of space, memory or another bounded thing: try again.
    ThrottlingQuotaExceeded = 89,
    /// The regular expression of a subscription is wrong.
    InvalidRegularExpression = 128,
    /// A timestamp is too far from the broker's clock, or of a type that only brokers give.
    InvalidTimestamp = 32,
    /// The node speaks from an earlier life than the one registered.
    StaleBrokerEpoch = 77,
    /// The in-sync set has changed since the one that the change was based on.
    InvalidUpdateVersion = 95,
    /// The replica cannot be a member of the in-sync set now.
    IneligibleReplica = 107,
    /// The committer's own words are too many.
    OffsetMetadataTooLarge = 12,
    /// The group has as many members as it may have.
    GroupMaxSizeReached = 81,
    /// Members of the group subscribe to the topic.
    GroupSubscribedToTopic = 86,
    /// The member's protocols do not go with the group's.
    InconsistentGroupProtocol = 23,
    /// The session timeout is not in the coordinator's bounds.
    InvalidSessionTimeout = 26,
    /// The member is to join again with the id that it is given here.
    MemberIdRequired = 79,
    /// What is asked for is not allowed by the topic's settings.
    PolicyViolation = 44,
    /// The partition is led as the election would have it.
    ElectionNotNeeded = 84,
    /// The preferred leader is away or not in sync.
    PreferredLeaderNotAvailable = 80,
    /// No replica is there that may lead.
    EligibleLeadersNotAvailable = 83,
    /// The transaction is not in a state in which that can be done.
    InvalidTxnState = 48,
    /// The producer id is not the one of the transactional id.
    InvalidProducerIdMapping = 49,
    /// The transaction's time-out is not in the coordinator's bounds.
    InvalidTransactionTimeout = 50,
    /// The producer's last transaction is still being ended.
    ConcurrentTransactions = 51,
    /// Another coordinator has taken over.
    TransactionCoordinatorFenced = 52,
    /// An offset is part of a transaction that is open.
    UnstableOffsetCommit = 88,
    /// A newer producer with the same transactional id has taken over.
    ProducerFenced = 90,
    /// No such transactional id.
    TransactionalIdNotFound = 105,
    /// The producer is to abort its transaction, and may go on then.
    TransactionAbortable = 120,
    /// The caller may not do that with the topic.
    TopicAuthorizationFailed = 29,
    /// The caller may not do that with the group.
    GroupAuthorizationFailed = 30,
    /// The caller may not do that with the cluster.
    ClusterAuthorizationFailed = 31,
    /// The caller may not do that with the transactional id.
    TransactionalIdAuthorizationFailed = 53,
    /// There are no access control lists here.
    SecurityDisabled = 54,
    /// No such user.
    ResourceNotFound = 91,
    /// The request names something twice.
    DuplicateResource = 92,
    /// The credential cannot be kept.
    UnacceptableCredential = 93,
    /// The mechanism is not known.
    UnsupportedSaslMechanism = 33,
    /// No reassignment of the partition is under way.
    NoReassignmentInProgress = 85,
    /// No such node is registered.
    BrokerIdNotRegistered = 102,
}

impl ErrorCode {
    /// Whether the same request may succeed later, perhaps at another node.
    #[must_use]
    pub const fn is_retriable(self) -> bool {
        matches!(
            self,
            Self::UnknownTopicOrPartition
                | Self::LeaderNotAvailable
                | Self::NotLeaderOrFollower
                | Self::RequestTimedOut
                | Self::CoordinatorLoadInProgress
                | Self::CoordinatorNotAvailable
                | Self::NotCoordinator
                | Self::NotEnoughReplicas
                | Self::NotEnoughReplicasAfterAppend
                | Self::NotController
                | Self::KafkaStorageError
                | Self::FencedLeaderEpoch
                | Self::UnknownLeaderEpoch
                | Self::OffsetNotAvailable
                | Self::UnknownTopicId
                | Self::ThrottlingQuotaExceeded
                | Self::ConcurrentTransactions
                | Self::UnstableOffsetCommit
        )
    }
}

/// A refusal: the code for programs, the text for people (what, where, what to do).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{text} ({code:?})")]
pub struct Refusal {
    /// Kafka's code.
    pub code: ErrorCode,
    /// What is wrong, where, and what to do.
    pub text: String,
}

impl Refusal {
    /// A refusal with its text.
    #[must_use]
    pub fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}
