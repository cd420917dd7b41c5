//! Errors of requests, to a gRPC status with `google.rpc.ErrorInfo` and `google.rpc.BadRequest`, or to the
//! `Error` of a session.

use std::collections::{BTreeMap, HashMap};

use tercet_core::{
    model::{Cause, Outcome},
    refusal::Refusal,
    violation::{Invalid, Violation},
};
use tercet_proto::{ERROR_DOMAIN, v1};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::words;
use crate::{bounds, error::RequestError};

impl From<RequestError> for Status {
    fn from(error: RequestError) -> Self {
        let metadata: HashMap<_, _> = metadata(&error).into_iter().collect();
        let reason = error.reason().word();
        let mut details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, metadata);
        for violation in reported(&error) {
            details.add_bad_request_violation(&violation.field, &violation.description);
        }
        Self::with_error_details(code(&error), message(&error), details)
    }
}

impl From<RequestError> for v1::Error {
    fn from(error: RequestError) -> Self {
        Self {
            code: code(&error).into(),
            reason: error.reason().word().to_owned(),
            message: message(&error),
            metadata: metadata(&error),
            violations: reported(&error)
                .map(|violation| v1::FieldViolation {
                    field: violation.field.clone(),
                    description: violation.description.clone(),
                })
                .collect(),
        }
    }
}

/// Returns a status of the layers below the services, which know no reasons, with the one that it means.
pub(crate) fn with_reason(status: &Status) -> Status {
    let text = status.message();
    let error = match status.code() {
        Code::Internal if is_about_decoding(text) => RequestError::Malformed(text.to_owned()),
        Code::OutOfRange if text.contains("decoded message length too large") => {
            RequestError::TooLong
        }
        Code::Unimplemented if text.contains("is compressed") => {
            RequestError::Compressed(text.to_owned())
        }
        Code::Unimplemented => RequestError::MethodUnknown,
        Code::NotFound => RequestError::ServiceUnknown,
        Code::DeadlineExceeded => RequestError::CallerDeadline,
        _ => RequestError::Internal,
    };
    error.into()
}

/// Returns whether a text of tonic or prost is about a message that cannot be read.
fn is_about_decoding(text: &str) -> bool {
    let beginnings = [
        "failed to decode Protobuf message",
        "protocol error: received message",
        "Unexpected EOF decoding stream",
        "Missing request message",
    ];
    beginnings
        .iter()
        .any(|beginning| text.starts_with(beginning))
}

/// Returns the violations that travel. Their number and bytes are bounded: the details of a status are a header of
/// HTTP/2, of which clients accept 8 KiB in all by default, after its bytes have grown by a third.
fn reported(error: &RequestError) -> impl Iterator<Item = &Violation> {
    let mut bytes = 0;
    error
        .violations()
        .iter()
        .take(bounds::VIOLATIONS_REPORTED)
        .take_while(move |violation| {
            let first = bytes == 0;
            bytes += violation.field.len() + violation.description.len();
            first || bytes <= bounds::VIOLATIONS_BYTES
        })
}

/// Returns the message, cut to the bytes that a header carries, in which some take three.
fn message(error: &RequestError) -> String {
    let mut text = error.to_string();
    if text.len() > bounds::ERROR_MESSAGE_BYTES {
        text.truncate(text.floor_char_boundary(bounds::ERROR_MESSAGE_BYTES));
        text.push('…');
    }
    text
}

fn code(error: &RequestError) -> Code {
    match error {
        RequestError::Refused(refusal) => refusal_code(refusal),
        RequestError::Invalid(Invalid::Fields(_))
        | RequestError::Malformed(_)
        | RequestError::TooLong => Code::InvalidArgument,
        RequestError::Invalid(Invalid::UnreadableParticipants(_))
        | RequestError::ParticipantUnreadable { .. } => Code::DataLoss,
        RequestError::Invalid(Invalid::UnknownParticipants(_) | Invalid::Unserved(_))
        | RequestError::ParticipantRegistered { .. }
        | RequestError::AttachProtocol(_) => Code::FailedPrecondition,
        RequestError::BusinessNotFound { .. } | RequestError::ServiceUnknown => Code::NotFound,
        RequestError::RequestIdOpen(_) => Code::AlreadyExists,
        RequestError::SessionFull(_) => Code::ResourceExhausted,
        RequestError::Compressed(_) | RequestError::MethodUnknown => Code::Unimplemented,
        RequestError::CallerDeadline => Code::DeadlineExceeded,
        RequestError::Internal => Code::Internal,
        RequestError::StoreUnavailable(_) => Code::Unavailable,
    }
}

/// Returns particulars of the error, by name.
fn metadata(error: &RequestError) -> BTreeMap<String, String> {
    let pairs = match error {
        RequestError::Refused(refusal) => particulars(refusal),
        RequestError::BusinessNotFound {
            business_type,
            business_id,
        } => vec![
            ("business_type", business_type.clone()),
            ("business_id", business_id.clone()),
        ],
        RequestError::ParticipantUnreadable { participant, .. } => {
            vec![("participant", participant.clone())]
        }
        RequestError::ParticipantRegistered {
            participant,
            protocol,
            address,
        } => vec![
            ("participant", participant.to_string()),
            ("protocol", (*protocol).to_owned()),
            ("address", address.clone()),
        ],
        _ => Vec::new(),
    };
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn refusal_code(refusal: &Refusal) -> Code {
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
        | Refusal::HandlerUnknown { .. }
        | Refusal::NotFailed { .. } => Code::FailedPrecondition,
        Refusal::DoesNotFit { .. } | Refusal::Content { .. } => Code::InvalidArgument,
        Refusal::Overloaded => Code::ResourceExhausted,
        // Not UNAVAILABLE: frameworks repeat that by themselves, and a Begin without an id would
        // then begin a second transaction.
        Refusal::OutcomeUnknown { .. } => Code::Unknown,
        Refusal::Corrupt { .. } | Refusal::ParticipantUnreadable { .. } => Code::DataLoss,
        // Nothing was changed: what repeats it by itself begins no second transaction.
        Refusal::StoreUnavailable | Refusal::Draining => Code::Unavailable,
    }
}

fn particulars(refusal: &Refusal) -> Vec<(&'static str, String)> {
    match refusal {
        Refusal::NotFound { id }
        | Refusal::TxIdExpired { id, .. }
        | Refusal::DeadlinePassed { id }
        | Refusal::ExecuteDecides { id }
        | Refusal::PhaseOneRuns { id }
        | Refusal::OutcomeUnknown { id }
        | Refusal::HandlerUnknown { id, .. }
        | Refusal::ParticipantUnreadable { id, .. }
        | Refusal::Content { id } => vec![("tx_id", id.to_string())],
        Refusal::TxIdReused { id, field }
        | Refusal::DoesNotFit {
            id,
            violation: Violation { field, .. },
        } => {
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
        Refusal::NotParked {
            id,
            status,
            biz_status,
        } => vec![
            ("tx_id", id.to_string()),
            ("status", status.to_string()),
            ("biz_status", biz_status.to_string()),
        ],
        Refusal::NotFailed { id, action } => {
            vec![("tx_id", id.to_string()), ("action", action.clone())]
        }
        Refusal::Overloaded
        | Refusal::StoreUnavailable
        | Refusal::Corrupt { .. }
        | Refusal::Draining => Vec::new(),
    }
}

fn conflict(id: String, stands: Outcome, cause: &Cause) -> Vec<(&'static str, String)> {
    let cause = words::cause(cause);
    vec![
        ("tx_id", id),
        ("stands", stands.to_string()),
        ("cause_kind", cause.kind().as_str_name().to_owned()),
        ("cause_action", cause.action),
        ("cause_reason", cause.reason),
    ]
}
