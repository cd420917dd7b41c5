//! The one place that turns what went wrong into what a caller is told: a gRPC status with
//! `google.rpc.ErrorInfo` and `google.rpc.BadRequest`, or the `Error` of a session.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use tercet_core::{
    model::{Cause, Outcome},
    refusal::Refusal,
};
use tercet_proto::{ERROR_DOMAIN, v1};
use tercet_store::StoreError;
use thiserror::Error;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Every stable reason code; `docs/errors/REASON.md` explains each.
pub const REASONS: &[&str] = &[
    "ACTION_REUSED",
    "ALREADY_DECIDED",
    "ATTACH_PROTOCOL",
    "BUSINESS_NOT_FOUND",
    "CONTENT_REFUSED",
    "CORRUPT_ROW",
    "DEADLINE_PASSED",
    "DECISION_CONFLICT",
    "DRAINING",
    "EXECUTE_DECIDES",
    "INVALID_ARGUMENT",
    "NOT_FAILED",
    "NOT_PARKED",
    "OUTCOME_UNKNOWN",
    "OVERLOADED",
    "PARTICIPANT_UNKNOWN",
    "PHASE_ONE_RUNS",
    "REQUEST_ID_OPEN",
    "SESSION_FULL",
    "STORE_UNAVAILABLE",
    "TX_ID_EXPIRED",
    "TX_ID_REUSED",
    "TX_NOT_FOUND",
];

/// Violations that one error carries; further ones are only counted, because the details of a status
/// travel in HTTP/2 headers, which are small.
pub const VIOLATIONS_REPORTED: usize = 24;

/// Violations that the message of an error repeats, for callers that do not read its details.
const VIOLATIONS_IN_MESSAGE: usize = 6;

/// One wrong field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its path: `actions[1].payload`.
    pub field: String,
    /// What is wrong, and what would be accepted.
    pub description: String,
}

/// Why a request gets no answer.
#[derive(Clone, Debug, Error)]
pub enum ApiError {
    /// The engine's reasons.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Fields are wrong.
    #[error("{}", told(.0))]
    Invalid(Vec<Violation>),
    /// Every field is right in itself, but participants that it names are not known.
    #[error("{}", told(.0))]
    ParticipantUnknown(Vec<Violation>),
    /// No transaction of this business.
    #[error(
        "there is no transaction with business type {business_type} and business id {business_id}"
    )]
    BusinessNotFound {
        /// As asked for.
        business_type: String,
        /// As asked for.
        business_id: String,
    },
    /// The session has an open request with this id.
    #[error("request {0} of this session is still open; number requests so that open ones differ")]
    RequestIdOpen(u64),
    /// The session has as many open requests as it may.
    #[error("this session has {0} open requests, the most it may; wait for answers")]
    SessionFull(usize),
    /// A participant does not keep to the protocol of Attach.
    #[error("{0}")]
    AttachProtocol(&'static str),
    /// The database does not answer.
    #[error("the database cannot be read now: {0}; try again a little later")]
    StoreUnavailable(String),
}

impl ApiError {
    /// The stable reason code.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.reason(),
            Self::Invalid(_) => "INVALID_ARGUMENT",
            Self::ParticipantUnknown(_) => "PARTICIPANT_UNKNOWN",
            Self::BusinessNotFound { .. } => "BUSINESS_NOT_FOUND",
            Self::RequestIdOpen(_) => "REQUEST_ID_OPEN",
            Self::SessionFull(_) => "SESSION_FULL",
            Self::AttachProtocol(_) => "ATTACH_PROTOCOL",
            Self::StoreUnavailable(_) => "STORE_UNAVAILABLE",
        }
    }

    /// The gRPC code.
    pub fn code(&self) -> Code {
        match self {
            Self::Refused(refusal) => code(refusal),
            Self::Invalid(_) => Code::InvalidArgument,
            Self::ParticipantUnknown(_) | Self::AttachProtocol(_) => Code::FailedPrecondition,
            Self::BusinessNotFound { .. } => Code::NotFound,
            Self::RequestIdOpen(_) => Code::AlreadyExists,
            Self::SessionFull(_) => Code::ResourceExhausted,
            Self::StoreUnavailable(_) => Code::Unavailable,
        }
    }

    /// Particulars, by name.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let pairs = match self {
            Self::Refused(refusal) => particulars(refusal),
            Self::BusinessNotFound {
                business_type,
                business_id,
            } => vec![
                ("business_type", business_type.clone()),
                ("business_id", business_id.clone()),
            ],
            _ => Vec::new(),
        };
        pairs
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }

    /// The wrong fields, at most [`VIOLATIONS_REPORTED`].
    pub fn violations(&self) -> Vec<Violation> {
        match self {
            Self::Invalid(list) | Self::ParticipantUnknown(list) => {
                list.iter().take(VIOLATIONS_REPORTED).cloned().collect()
            }
            Self::Refused(Refusal::InvalidArgument { field, why, .. }) => vec![Violation {
                field: field.clone(),
                description: why.clone(),
            }],
            _ => Vec::new(),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::StoreUnavailable(error.to_string())
    }
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        let metadata: HashMap<_, _> = error.metadata().into_iter().collect();
        let mut details = ErrorDetails::with_error_info(error.reason(), ERROR_DOMAIN, metadata);
        for violation in error.violations() {
            details.add_bad_request_violation(violation.field, violation.description);
        }
        Self::with_error_details(error.code(), error.to_string(), details)
    }
}

impl From<ApiError> for v1::Error {
    fn from(error: ApiError) -> Self {
        Self {
            code: error.code().into(),
            reason: error.reason().to_owned(),
            message: error.to_string(),
            metadata: error.metadata(),
            violations: error
                .violations()
                .into_iter()
                .map(|violation| v1::FieldViolation {
                    field: violation.field,
                    description: violation.description,
                })
                .collect(),
        }
    }
}

fn told(violations: &[Violation]) -> String {
    let mut text = String::new();
    for violation in violations.iter().take(VIOLATIONS_IN_MESSAGE) {
        if !text.is_empty() {
            text.push_str("; ");
        }
        text.push_str(&violation.field);
        text.push_str(": ");
        text.push_str(&violation.description);
    }
    if violations.len() > VIOLATIONS_IN_MESSAGE {
        let _ = write!(
            text,
            "; and {} more",
            violations.len() - VIOLATIONS_IN_MESSAGE
        );
    }
    text
}

fn code(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::NotFound { .. } => Code::NotFound,
        Refusal::TxIdReused { .. } | Refusal::ActionReused { .. } => Code::AlreadyExists,
        Refusal::TxIdExpired { .. }
        | Refusal::DecisionConflict { .. }
        | Refusal::AlreadyDecided { .. }
        | Refusal::DeadlinePassed { .. }
        | Refusal::ExecuteDecides { .. }
        | Refusal::NotParked { .. }
        | Refusal::PhaseOneRuns { .. }
        | Refusal::NotFailed { .. } => Code::FailedPrecondition,
        Refusal::InvalidArgument { .. } | Refusal::Content { .. } => Code::InvalidArgument,
        Refusal::Overloaded => Code::ResourceExhausted,
        // Not UNAVAILABLE: frameworks repeat that by themselves, and a Begin without an id would
        // then begin a second transaction.
        Refusal::OutcomeUnknown { .. } => Code::Unknown,
        Refusal::Corrupt { .. } => Code::DataLoss,
        Refusal::Draining => Code::Unavailable,
    }
}

fn particulars(refusal: &Refusal) -> Vec<(&'static str, String)> {
    match refusal {
        Refusal::NotFound { id }
        | Refusal::TxIdExpired { id }
        | Refusal::DeadlinePassed { id }
        | Refusal::ExecuteDecides { id }
        | Refusal::PhaseOneRuns { id }
        | Refusal::OutcomeUnknown { id }
        | Refusal::Content { id } => vec![("tx_id", id.to_string())],
        Refusal::TxIdReused { id, field } | Refusal::InvalidArgument { id, field, .. } => {
            vec![("tx_id", id.to_string()), ("field", field.clone())]
        }
        Refusal::ActionReused { id, action, field } => vec![
            ("tx_id", id.to_string()),
            ("action", action.clone()),
            ("field", field.clone()),
        ],
        Refusal::DecisionConflict { id, stands, cause } => conflict(id.to_string(), *stands, cause),
        Refusal::AlreadyDecided { id, stands } => {
            vec![("tx_id", id.to_string()), ("stands", stands.to_string())]
        }
        Refusal::NotParked { id, status } => {
            vec![("tx_id", id.to_string()), ("status", status.to_string())]
        }
        Refusal::NotFailed { id, action } => {
            vec![("tx_id", id.to_string()), ("action", action.clone())]
        }
        Refusal::Overloaded | Refusal::Corrupt { .. } | Refusal::Draining => Vec::new(),
    }
}

fn conflict(id: String, stands: Outcome, cause: &Cause) -> Vec<(&'static str, String)> {
    let cause = super::convert::cause(cause);
    vec![
        ("tx_id", id),
        ("stands", stands.to_string()),
        ("cause_kind", cause.kind().as_str_name().to_owned()),
        ("cause_action", cause.action),
        ("cause_reason", cause.reason),
    ]
}
