//! Why a request is refused: one list, each with a stable reason code and a page in `docs/errors`.

use thiserror::Error;

use crate::{
    id::TxId,
    model::{Cause, Outcome, TxStatus},
};

/// Why a request is refused. Nothing was changed, but for [`Refusal::OutcomeUnknown`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// There is no such transaction.
    #[error("there is no transaction {id}; begin it first, or check the id")]
    NotFound {
        /// As asked for.
        id: TxId,
    },
    /// The id is too old or too new for a begin.
    #[error(
        "transaction id {id} has no row and its time is outside of the window in which it may begin; \
         nothing was begun under it and nothing will be; make a new id"
    )]
    TxIdExpired {
        /// As given.
        id: TxId,
    },
    /// The same id with another body.
    #[error(
        "transaction {id} exists with another {field}; repeat the request as it was, or make a new id"
    )]
    TxIdReused {
        /// As given.
        id: TxId,
        /// The path of the first field that differs.
        field: String,
    },
    /// The same action name with another body.
    #[error("action {action} of transaction {id} exists with another {field}; choose another name")]
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
        /// Why it is so.
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
    /// What only the initiator of a Begin may do, in an Execute.
    #[error(
        "transaction {id} was handed over with Execute: the coordinator makes the Tries and decides \
         SUCCESS; only FAILURE can be decided for it"
    )]
    ExecuteDecides {
        /// The transaction.
        id: TxId,
    },
    /// A field does not fit the transaction it is for.
    #[error("{field} of transaction {id}: {why}")]
    InvalidArgument {
        /// The transaction.
        id: TxId,
        /// The field's path.
        field: String,
        /// What is wrong, and what would be accepted.
        why: String,
    },
    /// An operator's command for a transaction that is not parked.
    #[error("transaction {id} is {status}, not parked; there is nothing to retry or resolve")]
    NotParked {
        /// The transaction.
        id: TxId,
        /// What it is.
        status: TxStatus,
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
    #[error("the coordinator holds as many transactions as it may; try again a little later")]
    Overloaded,
    /// It is not known whether the request took effect.
    #[error(
        "it is not known whether the request for transaction {id} took effect; ask again with the same id"
    )]
    OutcomeUnknown {
        /// The transaction.
        id: TxId,
    },
    /// The database refuses a value.
    #[error("the database refuses a value of the request for transaction {id}")]
    Content {
        /// The transaction.
        id: TxId,
    },
    /// The row is not legal.
    #[error("{what}")]
    Corrupt {
        /// Which row, and what is wrong with it.
        what: String,
    },
    /// The node stops.
    #[error("this node is draining; send the request to another one, or again a little later")]
    Draining,
}

impl Refusal {
    /// The stable reason code.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "TX_NOT_FOUND",
            Self::TxIdExpired { .. } => "TX_ID_EXPIRED",
            Self::TxIdReused { .. } => "TX_ID_REUSED",
            Self::ActionReused { .. } => "ACTION_REUSED",
            Self::DecisionConflict { .. } => "DECISION_CONFLICT",
            Self::AlreadyDecided { .. } => "ALREADY_DECIDED",
            Self::DeadlinePassed { .. } => "DEADLINE_PASSED",
            Self::ExecuteDecides { .. } => "EXECUTE_DECIDES",
            Self::InvalidArgument { .. } => "INVALID_ARGUMENT",
            Self::NotParked { .. } => "NOT_PARKED",
            Self::PhaseOneRuns { .. } => "PHASE_ONE_RUNS",
            Self::NotFailed { .. } => "NOT_FAILED",
            Self::Overloaded => "OVERLOADED",
            Self::OutcomeUnknown { .. } => "OUTCOME_UNKNOWN",
            Self::Content { .. } => "CONTENT_REFUSED",
            Self::Corrupt { .. } => "CORRUPT_ROW",
            Self::Draining => "DRAINING",
        }
    }
}
