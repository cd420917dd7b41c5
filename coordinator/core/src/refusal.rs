//! The refusals of requests by the engine: one list, each with a stable reason code.

use thiserror::Error;

use crate::{
    id::TxId,
    model::{BizStatus, Cause, Outcome, TxStatus, standing},
    reason::Reason,
    violation::{Violation, in_words},
};

/// The refusal of a request. Nothing was changed, but for [`Refusal::OutcomeUnknown`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// There is no such transaction.
    #[error("there is no transaction {id}; begin it first, or check the id")]
    NotFound {
        /// The id of the request.
        id: TxId,
    },
    /// The id is too old for a begin, or too far ahead.
    #[error(
        "transaction id {id} has no row and its time is {} the window in which it may begin; nothing was begun under it; \
         make a new id",
        if *is_ahead { "ahead of" } else { "behind" },
    )]
    TxIdExpired {
        /// The id of the request.
        id: TxId,
        /// Whether its time is ahead of the window, rather than behind it.
        is_ahead: bool,
    },
    /// The same id with another body.
    #[error(
        "transaction {id} exists, and the request differs from it in {field}; repeat the request as it was, \
         or make a new id"
    )]
    TxIdReused {
        /// The id of the request.
        id: TxId,
        /// The path of the first field that differs.
        field: String,
    },
    /// The same action name with another body.
    #[error(
        "action {action} of transaction {id} exists, and the request differs from it in {field}; choose \
         another name"
    )]
    ActionReused {
        /// The transaction.
        id: TxId,
        /// The action.
        action: String,
        /// The field that differs.
        field: String,
    },
    /// Another decision stands.
    #[error("transaction {id} is decided: {stands}; a decision never changes")]
    DecisionConflict {
        /// The transaction.
        id: TxId,
        /// The decision.
        stands: Outcome,
        /// The cause of the decision.
        cause: Cause,
    },
    /// An action after the decision.
    #[error("transaction {id} is decided: {stands}; no action can be added any more")]
    AlreadyDecided {
        /// The transaction.
        id: TxId,
        /// The decision.
        stands: Outcome,
    },
    /// An action after the deadline.
    #[error("phase one of transaction {id} is over; no action can be added any more")]
    DeadlinePassed {
        /// The transaction.
        id: TxId,
    },
    /// A request for an Execute that only the initiator of a Begin may make.
    #[error(
        "transaction {id} was handed over with Execute: the coordinator makes the Tries and decides \
         SUCCESS; only FAILURE can be decided for it"
    )]
    ExecuteDecides {
        /// The transaction.
        id: TxId,
    },
    /// An action does not fit the transaction that it is added to.
    #[error("transaction {id}: {} {}", violation.field, violation.description)]
    DoesNotFit {
        /// The transaction.
        id: TxId,
        /// The field, and the rule that it breaks.
        violation: Violation,
    },
    /// A new action or check-back is for a participant that does not serve it.
    #[error("{}", in_words(violations))]
    HandlerUnknown {
        /// The transaction.
        id: TxId,
        /// The fields, each with what the participant does serve.
        violations: Vec<Violation>,
    },
    /// A new action or check-back is for a participant whose row cannot be read.
    #[error("{}", in_words(violations))]
    ParticipantUnreadable {
        /// The transaction.
        id: TxId,
        /// The fields, each with the fault of the row.
        violations: Vec<Violation>,
    },
    /// An operator's command for a transaction that is not parked.
    #[error("transaction {id} is {}, not parked; {}", standing(*status, *biz_status), instead(*status, *biz_status))]
    NotParked {
        /// The transaction.
        id: TxId,
        /// The transaction's status.
        status: TxStatus,
        /// The knowledge of its outcome.
        biz_status: BizStatus,
    },
    /// An operator's decision while phase one has time left.
    #[error("phase one of transaction {id} has time left; its initiator decides")]
    PhaseOneRuns {
        /// The transaction.
        id: TxId,
    },
    /// An operator resolves an action that is not FAILED.
    #[error("action {action} of transaction {id} is not FAILED; only such actions are resolved")]
    NotFailed {
        /// The transaction.
        id: TxId,
        /// The action.
        action: String,
    },
    /// Too much is under way.
    #[error("the coordinator holds as much as it may; try again a little later")]
    Overloaded,
    /// It is not known whether the request took effect.
    #[error(
        "it is not known whether the request for transaction {id} took effect; ask again with the same id"
    )]
    OutcomeUnknown {
        /// The transaction.
        id: TxId,
    },
    /// The database answers nothing, or takes no writes.
    #[error(
        "the database takes no writes, or does not answer; nothing was changed; try again a little later"
    )]
    StoreUnavailable,
    /// The database refuses a value.
    #[error("the database refuses a value of the request for transaction {id}")]
    Content {
        /// The transaction.
        id: TxId,
    },
    /// The row is not legal.
    #[error("{what}")]
    Corrupt {
        /// The row, and the rule that it breaks.
        what: String,
    },
    /// The node stops.
    #[error("this node is draining; send the request to another one, or again a little later")]
    Draining,
}

impl Refusal {
    /// Returns the stable reason code.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NotFound { .. } => Reason::TxNotFound,
            Self::TxIdExpired { .. } => Reason::TxIdExpired,
            Self::TxIdReused { .. } => Reason::TxIdReused,
            Self::ActionReused { .. } => Reason::ActionReused,
            Self::DecisionConflict { .. } => Reason::DecisionConflict,
            Self::AlreadyDecided { .. } => Reason::AlreadyDecided,
            Self::DeadlinePassed { .. } => Reason::DeadlinePassed,
            Self::ExecuteDecides { .. } => Reason::ExecuteDecides,
            Self::DoesNotFit { .. } => Reason::InvalidArgument,
            Self::HandlerUnknown { .. } => Reason::HandlerUnknown,
            Self::NotParked { .. } => Reason::NotParked,
            Self::PhaseOneRuns { .. } => Reason::PhaseOneRuns,
            Self::NotFailed { .. } => Reason::NotFailed,
            Self::Overloaded => Reason::Overloaded,
            Self::OutcomeUnknown { .. } => Reason::OutcomeUnknown,
            Self::StoreUnavailable => Reason::StoreUnavailable,
            Self::Content { .. } => Reason::ContentRefused,
            Self::Corrupt { .. } | Self::ParticipantUnreadable { .. } => Reason::CorruptRow,
            Self::Draining => Reason::Draining,
        }
    }
}

/// Returns the remedy for an operator whose command needs a parked transaction.
fn instead(status: TxStatus, biz_status: BizStatus) -> &'static str {
    match (status, biz_status) {
        (TxStatus::ProcessWaiting, BizStatus::Unknown) => {
            "its initiator is being asked for the outcome, and an operator may decide in its place"
        }
        (TxStatus::ProcessWaiting | TxStatus::Processing, _) => "the coordinator works on it still",
        (TxStatus::Success | TxStatus::Failure, _) => "there is nothing to retry or resolve",
    }
}
