//! The errors of requests, whatever the front end.

use tercet_core::{
    model::Name,
    reason::Reason,
    refusal::Refusal,
    violation::{Invalid, Violation, in_words},
};
use tercet_store::StoreError;
use thiserror::Error;

use crate::bounds;

/// The reason why a request gets no answer.
#[derive(Clone, Debug, Error)]
pub enum RequestError {
    /// The engine refuses it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Fields are wrong, or name participants that are not known, cannot be read, or do not serve what they are named for.
    #[error("{}", in_words(.0.violations()))]
    Invalid(Invalid),
    /// No transaction of this business exists.
    #[error(
        "there is no transaction with business type {business_type} and business id {business_id}"
    )]
    BusinessNotFound {
        /// The business type of the request.
        business_type: String,
        /// The business id of the request.
        business_id: String,
    },
    /// The session has an open request with this id.
    #[error("request {0} of this session is still open; number requests so that open ones differ")]
    RequestIdOpen(u64),
    /// The session has as many open requests as it may.
    #[error("this session has {0} open requests, the most it may; wait for answers")]
    SessionFull(usize),
    /// An instance attaches under the name of a participant that is registered at an address.
    #[error(
        "participant {participant} is registered at {address} ({protocol}), so no instance of it attaches: register it \
         with PROTOCOL_ATTACH (tercet participants register {participant} --protocol attach), or attach under another \
         name"
    )]
    ParticipantRegistered {
        /// The participant.
        participant: Name,
        /// The protocol by which it is called.
        protocol: &'static str,
        /// The address at which it is called.
        address: String,
    },
    /// An instance attaches whose participant's row cannot be read.
    #[error(
        "the row of participant {participant} in participant_info cannot be read: {what}; repair it, or register the \
         participant again (tercet participants register {participant} --protocol attach)"
    )]
    ParticipantUnreadable {
        /// The participant.
        participant: String,
        /// The column, and its fault.
        what: String,
    },
    /// A participant does not keep to the protocol of Attach.
    #[error("{0}")]
    AttachProtocol(&'static str),
    /// The request's bytes are no message.
    #[error("the request cannot be read: {0}")]
    Malformed(String),
    /// The request is too long.
    #[error(
        "the message is too long; at most {} bytes are accepted",
        bounds::MESSAGE_BYTES
    )]
    TooLong,
    /// The request is compressed.
    #[error("{0}; send it without compression")]
    Compressed(String),
    /// No such method exists.
    #[error("this server has no such method; it may be older than its caller")]
    MethodUnknown,
    /// The health of a service that does not exist is asked for.
    #[error("this server has no such service; it may be older than its caller")]
    ServiceUnknown,
    /// The caller's own deadline passed before the answer.
    #[error(
        "the caller's own deadline passed; the request may have taken effect: ask again with the same id"
    )]
    CallerDeadline,
    /// A part of the server failed.
    #[error("a part of the server failed; its log has the reason")]
    Internal,
    /// The database does not answer.
    #[error("the database cannot be read now: {0}; try again a little later")]
    StoreUnavailable(String),
}

impl RequestError {
    /// Returns the stable reason code.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Refused(refusal) => refusal.reason(),
            Self::Invalid(Invalid::Fields(_)) => Reason::InvalidArgument,
            Self::Invalid(Invalid::UnknownParticipants(_)) => Reason::ParticipantUnknown,
            Self::Invalid(Invalid::Unserved(_)) => Reason::HandlerUnknown,
            Self::BusinessNotFound { .. } => Reason::BusinessNotFound,
            Self::RequestIdOpen(_) => Reason::RequestIdOpen,
            Self::SessionFull(_) => Reason::SessionFull,
            Self::ParticipantRegistered { .. } => Reason::ParticipantRegistered,
            Self::Invalid(Invalid::UnreadableParticipants(_))
            | Self::ParticipantUnreadable { .. } => Reason::CorruptRow,
            Self::AttachProtocol(_) => Reason::AttachProtocol,
            Self::Malformed(_) => Reason::MalformedMessage,
            Self::TooLong => Reason::MessageTooLong,
            Self::Compressed(_) => Reason::CompressionUnknown,
            Self::MethodUnknown | Self::ServiceUnknown => Reason::MethodUnknown,
            Self::CallerDeadline => Reason::CallerDeadline,
            Self::Internal => Reason::Internal,
            Self::StoreUnavailable(_) => Reason::StoreUnavailable,
        }
    }

    /// Returns the wrong fields.
    pub fn violations(&self) -> &[Violation] {
        match self {
            Self::Invalid(invalid) => invalid.violations(),
            Self::Refused(Refusal::DoesNotFit { violation, .. }) => std::slice::from_ref(violation),
            Self::Refused(
                Refusal::HandlerUnknown { violations, .. }
                | Refusal::ParticipantUnreadable { violations, .. },
            ) => violations,
            _ => &[],
        }
    }
}

impl From<Invalid> for RequestError {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

impl From<Violation> for RequestError {
    fn from(violation: Violation) -> Self {
        Self::Invalid(violation.into())
    }
}

impl From<StoreError> for RequestError {
    fn from(error: StoreError) -> Self {
        Self::StoreUnavailable(error.to_string())
    }
}
