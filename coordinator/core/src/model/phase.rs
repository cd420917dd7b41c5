//! The decision, and the phases of a transaction.

use serde::{Deserialize, Serialize};

use super::{BizStatus, Name, Outcome, TxStatus};
use crate::time::Timestamp;

/// The cause of a decision.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Cause {
    /// Every Try answered OK.
    AllTried,
    /// A participant rejected its Try.
    Rejected {
        /// The action.
        action: Name,
        /// The participant's reason.
        reason: String,
    },
    /// Phase one ran out of time.
    Deadline {
        /// The action whose Try had no answer of OK; `None` where the initiator decides, and in rows of
        /// versions that did not keep it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        action: Option<Name>,
        /// The number of its attempts and the last error.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// The initiator decided FAILURE.
    Aborted {
        /// The initiator's reason.
        reason: String,
    },
    /// The initiator decided SUCCESS.
    Initiator {
        /// The initiator's reason.
        reason: String,
    },
    /// The initiator was asked back, and answered or not within the attempts allowed.
    CheckBack {
        /// Its answer, or that there was none.
        reason: String,
    },
    /// An operator decided.
    Operator {
        /// The operator's reason.
        reason: String,
    },
}

/// The decision: made once, durable before anything acts on it, never changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    /// The outcome.
    pub outcome: Outcome,
    /// The cause.
    pub cause: Cause,
}

/// The phase of a transaction. Each variant carries only the data that this phase has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Phase one runs.
    Trying,
    /// Phase one ran out of time; the initiator is asked at `next`.
    AskingBack {
        /// When the next question is due.
        next: Timestamp,
    },
    /// Phase two runs.
    Finishing {
        /// The decision being carried out.
        decision: Decision,
        /// When it was made.
        decided_at: Timestamp,
        /// When an operator last took the transaction out of [`Phase::Parked`]; `None`: none did.
        unparked_at: Option<Timestamp>,
    },
    /// Every action has a final status under the decision.
    Finished {
        /// The decision that was carried out.
        decision: Decision,
        /// When it was made.
        decided_at: Timestamp,
        /// When the last action reached its final status.
        finished_at: Timestamp,
    },
    /// Phase two cannot finish by itself.
    Parked {
        /// The decision that could not be carried out.
        decision: Decision,
        /// When it was made.
        decided_at: Timestamp,
    },
}

impl Phase {
    /// Returns the column `status`.
    pub fn status(&self) -> TxStatus {
        match self {
            Self::Trying | Self::AskingBack { .. } => TxStatus::ProcessWaiting,
            Self::Finishing { .. } => TxStatus::Processing,
            Self::Finished { .. } => TxStatus::Success,
            Self::Parked { .. } => TxStatus::Failure,
        }
    }

    /// Returns the column `biz_status`.
    pub fn biz_status(&self) -> BizStatus {
        match (self, self.decision()) {
            (Self::AskingBack { .. }, _) => BizStatus::Unknown,
            (_, None) => BizStatus::Init,
            (
                _,
                Some(Decision {
                    outcome: Outcome::Success,
                    ..
                }),
            ) => BizStatus::Success,
            (
                _,
                Some(Decision {
                    outcome: Outcome::Failure,
                    ..
                }),
            ) => BizStatus::Failure,
        }
    }

    /// Returns the decision, once made.
    pub fn decision(&self) -> Option<&Decision> {
        match self {
            Self::Trying | Self::AskingBack { .. } => None,
            Self::Finishing { decision, .. }
            | Self::Finished { decision, .. }
            | Self::Parked { decision, .. } => Some(decision),
        }
    }

    /// Returns the time of the decision.
    pub fn decided_at(&self) -> Option<Timestamp> {
        match self {
            Self::Trying | Self::AskingBack { .. } => None,
            Self::Finishing { decided_at, .. }
            | Self::Finished { decided_at, .. }
            | Self::Parked { decided_at, .. } => Some(*decided_at),
        }
    }

    /// Returns the time at which an operator last brought the transaction back to work.
    pub fn unparked_at(&self) -> Option<Timestamp> {
        match self {
            Self::Finishing { unparked_at, .. } => *unparked_at,
            _ => None,
        }
    }

    /// Returns the time from which the ages of the actions count: that of the decision, or of the operator's command that
    /// last brought the transaction back to work.
    pub fn ages_from(&self) -> Option<Timestamp> {
        self.unparked_at().or(self.decided_at())
    }

    /// Returns the time at which the transaction was finished.
    pub fn finished_at(&self) -> Option<Timestamp> {
        match self {
            Self::Finished { finished_at, .. } => Some(*finished_at),
            _ => None,
        }
    }

    /// Returns whether the coordinator has nothing left to do: finished or parked.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Finished { .. } | Self::Parked { .. })
    }
}
