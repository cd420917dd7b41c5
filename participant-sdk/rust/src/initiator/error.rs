//! Errors between an initiator and the coordinator.

use std::{collections::BTreeMap, fmt};

use tercet_proto::v1;
use tonic::Code;
use tonic_types::StatusExt;
use uuid::Uuid;

use super::Decision;

/// The reason for which a request failed.
///
/// A caller distinguishes three kinds. After [`Refused`](Error::Refused) and
/// [`DecisionConflict`](Error::DecisionConflict) nothing was changed, and a repetition is refused too.
/// After [`OutcomeUnknown`](Error::OutcomeUnknown) the request may have taken effect: send it again
/// with the same id. After [`Unavailable`](Error::Unavailable) the request never left this process.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The coordinator refused the request. Nothing was changed.
    #[error("{0}")]
    Refused(Box<Refused>),
    /// The transaction is already decided the other way, and that decision stands.
    #[error("transaction {tx_id} is already decided: {stands} stands")]
    DecisionConflict {
        /// The transaction.
        tx_id: Uuid,
        /// The decision that was made, and never changes.
        stands: Decision,
    },
    /// The request was sent and no answer came in time: it may or may not have taken effect. To find
    /// out, send the same request with the same id, or call
    /// [`Client::outcome`](super::Client::outcome).
    #[error("no answer in time about transaction {tx_id} ({last}): ask again with the same id")]
    OutcomeUnknown {
        /// The transaction to ask for.
        tx_id: Uuid,
        /// The last thing that went wrong.
        last: String,
    },
    /// No coordinator could be reached in time. Nothing was sent.
    #[error("no coordinator reachable at {addresses}: {last}")]
    Unavailable {
        /// The addresses that were tried.
        addresses: String,
        /// The last thing that went wrong.
        last: String,
    },
    /// The client itself found the request invalid. Nothing was sent.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field that is wrong.
        field: String,
        /// The problem with it, and the values that are accepted.
        problem: String,
    },
    /// This version of the SDK cannot interpret the coordinator's answer.
    #[error("the coordinator's answer is not understood: {0}")]
    Reply(String),
}

impl Error {
    pub(super) fn invalid(field: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self::Invalid {
            field: field.into(),
            problem: problem.to_string(),
        }
    }

    /// Returns the stable reason code of a refusal; `docs/errors/` has a page for each.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Refused(refused) => Some(&refused.reason),
            Self::DecisionConflict { .. } => Some(reason::DECISION_CONFLICT),
            Self::OutcomeUnknown { .. } => Some(reason::OUTCOME_UNKNOWN),
            _ => None,
        }
    }

    /// Turns a refusal into the variant for its reason.
    pub(super) fn from_refusal(refused: Refused, tx_id: Option<Uuid>) -> Self {
        match (refused.reason.as_str(), tx_id) {
            (reason::DECISION_CONFLICT, Some(tx_id)) => match refused.standing_decision() {
                Some(stands) => Self::DecisionConflict { tx_id, stands },
                None => Self::Refused(Box::new(refused)),
            },
            (reason::OUTCOME_UNKNOWN | reason::CALLER_DEADLINE | reason::INTERNAL, Some(tx_id)) => {
                Self::OutcomeUnknown {
                    tx_id,
                    last: refused.message,
                }
            }
            _ => Self::Refused(Box::new(refused)),
        }
    }
}

/// A refusal by the coordinator, with the content of a gRPC status and its details.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// The gRPC code.
    pub code: Code,
    /// The stable reason code; `docs/errors/` has a page for each.
    pub reason: String,
    /// The problem, the object that it concerns, and the remedy.
    pub message: String,
    /// The fields that are wrong: the path of each, and its problem.
    pub violations: Vec<(String, String)>,
    /// Details, such as the field that differs or the transaction that is in the way.
    pub metadata: BTreeMap<String, String>,
}

impl Refused {
    /// Makes the refusal for a client whose runtime is shut down.
    pub(super) fn runtime_gone() -> Self {
        Self {
            code: Code::Aborted,
            reason: "RUNTIME_GONE".to_owned(),
            message: "the runtime on which this client was made is shut down".to_owned(),
            violations: Vec::new(),
            metadata: BTreeMap::new(),
        }
    }

    /// Returns true if the same request may soon be answered differently.
    pub(super) fn is_passing(&self) -> bool {
        matches!(
            self.reason.as_str(),
            reason::OUTCOME_UNKNOWN | reason::OVERLOADED | reason::DRAINING
        ) || matches!(self.code, Code::Unavailable | Code::ResourceExhausted)
    }

    fn standing_decision(&self) -> Option<Decision> {
        match self.metadata.get("stands").map(String::as_str) {
            Some("SUCCESS") => Some(Decision::Success),
            Some("FAILURE") => Some(Decision::Failure),
            _ => None,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)?;
        // The message repeats the first violations.
        let more = self.violations.iter().filter(|(field, problem)| {
            let said = |between| self.message.contains(&format!("{field}{between}{problem}"));
            !said(": ") && !said(" ")
        });
        for (field, problem) in more {
            write!(f, "; {field}: {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refused {}

impl From<v1::Error> for Refused {
    fn from(error: v1::Error) -> Self {
        Self {
            code: Code::from(error.code),
            reason: error.reason,
            message: error.message,
            violations: error
                .violations
                .into_iter()
                .map(|v| (v.field, v.description))
                .collect(),
            metadata: error.metadata,
        }
    }
}

impl From<&tonic::Status> for Refused {
    fn from(status: &tonic::Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info();
        Self {
            code: status.code(),
            reason: info.map_or_else(|| format!("{:?}", status.code()), |i| i.reason.clone()),
            message: status.message().to_owned(),
            violations: details.bad_request().map_or_else(Vec::new, |bad| {
                let violations = bad.field_violations.iter();
                violations
                    .map(|v| (v.field.clone(), v.description.clone()))
                    .collect()
            }),
            metadata: info.map_or_else(BTreeMap::new, |i| i.metadata.clone().into_iter().collect()),
        }
    }
}

/// Reason codes that this client acts upon.
mod reason {
    pub(super) const DECISION_CONFLICT: &str = "DECISION_CONFLICT";
    pub(super) const OUTCOME_UNKNOWN: &str = "OUTCOME_UNKNOWN";
    pub(super) const CALLER_DEADLINE: &str = "CALLER_DEADLINE";
    pub(super) const INTERNAL: &str = "INTERNAL";
    pub(super) const OVERLOADED: &str = "OVERLOADED";
    pub(super) const DRAINING: &str = "DRAINING";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(message: &str, violations: &[(&str, &str)]) -> String {
        let violations = violations
            .iter()
            .map(|(field, problem)| ((*field).to_owned(), (*problem).to_owned()));
        let refused = Refused {
            code: Code::InvalidArgument,
            reason: "INVALID_ARGUMENT".to_owned(),
            message: message.to_owned(),
            violations: violations.collect(),
            metadata: BTreeMap::new(),
        };
        Error::Refused(Box::new(refused)).to_string()
    }

    #[test]
    fn a_refusal_says_each_violation_once() {
        assert_eq!(
            refused("a: is empty; b: is 9", &[("a", "is empty"), ("b", "is 9")]),
            "INVALID_ARGUMENT: a: is empty; b: is 9"
        );
        assert_eq!(
            refused("transaction 1: b is 9", &[("b", "is 9")]),
            "INVALID_ARGUMENT: transaction 1: b is 9"
        );
        assert_eq!(
            refused(
                "a: is empty; and 1 more",
                &[("a", "is empty"), ("b", "is 9")]
            ),
            "INVALID_ARGUMENT: a: is empty; and 1 more; b: is 9"
        );
    }
}
