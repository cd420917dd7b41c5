//! The outcome of a transaction, as a typed value.

use std::fmt;

use bytes::Bytes;
use tercet_proto::v1;
use uuid::Uuid;

use super::Error;
use crate::{error::chain, payload::Payload};

/// The decision of a transaction: made once, durable before anything acts on it, never changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Every action takes effect.
    Success,
    /// No action takes effect.
    Failure,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Success => "SUCCESS",
            Self::Failure => "FAILURE",
        })
    }
}

impl From<Decision> for v1::Outcome {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Success => Self::Success,
            Decision::Failure => Self::Failure,
        }
    }
}

/// The outcome of a transaction, as far as it is determined.
///
/// In [`Committed`](Outcome::Committed) and [`RolledBack`](Outcome::RolledBack) the decision is
/// durable and never changes; `finished` is set once every action is confirmed or cancelled as
/// decided. A [`Parked`](Outcome::Parked) transaction is decided too, and needs a person to finish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Decided SUCCESS: every action takes effect.
    #[non_exhaustive]
    Committed {
        /// The transaction; with `unique_business` possibly an earlier one.
        tx_id: Uuid,
        /// The version at which this was computed.
        version: u32,
        /// Set once every action is confirmed.
        finished: bool,
        /// Set if an earlier request, not this one, began the transaction.
        repeated: bool,
        /// The result of each Try.
        results: Results,
    },
    /// Decided FAILURE: no action takes effect.
    #[non_exhaustive]
    RolledBack {
        /// The transaction; with `unique_business` possibly an earlier one.
        tx_id: Uuid,
        /// The version at which this was computed.
        version: u32,
        /// Set once every action is cancelled.
        finished: bool,
        /// Set if an earlier request, not this one, began the transaction.
        repeated: bool,
        /// The cause: an action that was rejected, the deadline, the initiator, or an operator.
        cause: Cause,
    },
    /// Not decided yet.
    #[non_exhaustive]
    Running {
        /// The transaction; with `unique_business` possibly an earlier one.
        tx_id: Uuid,
        /// The version at which this was computed.
        version: u32,
        /// Set if an earlier request, not this one, began the transaction.
        repeated: bool,
        /// Set while the initiator is being asked back, because phase one ran out of time.
        asked_back: bool,
    },
    /// Decided, and phase two cannot finish by itself: a person must look.
    #[non_exhaustive]
    Parked {
        /// The transaction; with `unique_business` possibly an earlier one.
        tx_id: Uuid,
        /// The version at which this was computed.
        version: u32,
        /// Set if an earlier request, not this one, began the transaction.
        repeated: bool,
        /// The decision, which stands.
        decision: Decision,
        /// The cause of the decision.
        cause: Cause,
        /// The actions that cannot finish by themselves.
        failed: Vec<String>,
        /// The result of each Try.
        results: Results,
    },
}

impl Outcome {
    /// Returns the transaction's id.
    pub fn tx_id(&self) -> Uuid {
        match self {
            Self::Committed { tx_id, .. }
            | Self::RolledBack { tx_id, .. }
            | Self::Running { tx_id, .. }
            | Self::Parked { tx_id, .. } => *tx_id,
        }
    }

    /// Returns the version at which this was computed. An outcome with a smaller version than another
    /// one of the same transaction is stale.
    pub fn version(&self) -> u32 {
        match self {
            Self::Committed { version, .. }
            | Self::RolledBack { version, .. }
            | Self::Running { version, .. }
            | Self::Parked { version, .. } => *version,
        }
    }

    /// Returns true if an earlier request, not this one, began the transaction.
    pub fn is_repeated(&self) -> bool {
        match self {
            Self::Committed { repeated, .. }
            | Self::RolledBack { repeated, .. }
            | Self::Running { repeated, .. }
            | Self::Parked { repeated, .. } => *repeated,
        }
    }

    /// Returns the decision, once made.
    pub fn decision(&self) -> Option<Decision> {
        match self {
            Self::Committed { .. } => Some(Decision::Success),
            Self::RolledBack { .. } => Some(Decision::Failure),
            Self::Running { .. } => None,
            Self::Parked { decision, .. } => Some(*decision),
        }
    }

    /// Returns true if the decision is SUCCESS, also while the transaction is unfinished or parked.
    pub fn is_committed(&self) -> bool {
        self.decision() == Some(Decision::Success)
    }

    /// Returns true if every action is confirmed or cancelled as decided.
    pub fn is_finished(&self) -> bool {
        matches!(
            self,
            Self::Committed { finished: true, .. } | Self::RolledBack { finished: true, .. }
        )
    }

    pub(super) fn set_first(&mut self) {
        match self {
            Self::Committed { repeated, .. }
            | Self::RolledBack { repeated, .. }
            | Self::Running { repeated, .. }
            | Self::Parked { repeated, .. } => *repeated = false,
        }
    }

    pub(super) fn from_state(state: v1::TransactionState) -> Result<Self, Error> {
        let (status, biz_status) = (state.status(), state.biz_status());
        Shared {
            tx_id: parse_id(&state.tx_id)?,
            version: state.version,
            repeated: state.repeated,
            cause: state.cause,
            actions: state.actions,
        }
        .typed(status, biz_status)
    }

    pub(super) fn from_transaction(tx: v1::Transaction) -> Result<Self, Error> {
        let (status, biz_status) = (tx.status(), tx.biz_status());
        Shared {
            tx_id: parse_id(&tx.tx_id)?,
            version: tx.version,
            repeated: false,
            cause: tx.cause,
            actions: tx
                .actions
                .into_iter()
                .map(|view| v1::ActionState {
                    name: view.action.map(|action| action.name).unwrap_or_default(),
                    status: view.status,
                    result: view.result,
                })
                .collect(),
        }
        .typed(status, biz_status)
    }
}

/// The content that both messages about a transaction share.
struct Shared {
    tx_id: Uuid,
    version: u32,
    repeated: bool,
    cause: Option<v1::Cause>,
    actions: Vec<v1::ActionState>,
}

impl Shared {
    fn typed(self, status: v1::TxStatus, biz_status: v1::BizStatus) -> Result<Outcome, Error> {
        use v1::{BizStatus, TxStatus};
        let Self {
            tx_id,
            version,
            repeated,
            cause,
            actions,
        } = self;
        let decision = match biz_status {
            BizStatus::Success => Some(Decision::Success),
            BizStatus::Failure => Some(Decision::Failure),
            _ => None,
        };
        match (status, biz_status, decision) {
            (TxStatus::ProcessWaiting, BizStatus::Init | BizStatus::Unknown, _) => {
                Ok(Outcome::Running {
                    tx_id,
                    version,
                    repeated,
                    asked_back: biz_status == BizStatus::Unknown,
                })
            }
            (TxStatus::Processing | TxStatus::Success, _, Some(Decision::Success)) => {
                Ok(Outcome::Committed {
                    tx_id,
                    version,
                    finished: status == TxStatus::Success,
                    repeated,
                    results: Results::of(actions),
                })
            }
            (TxStatus::Processing | TxStatus::Success, _, Some(Decision::Failure)) => {
                Ok(Outcome::RolledBack {
                    tx_id,
                    version,
                    finished: status == TxStatus::Success,
                    repeated,
                    cause: Cause::of(cause),
                })
            }
            (TxStatus::Failure, _, Some(decision)) => Ok(Outcome::Parked {
                tx_id,
                version,
                repeated,
                decision,
                cause: Cause::of(cause),
                failed: failed(&actions),
                results: Results::of(actions),
            }),
            _ => Err(Error::Reply(format!(
                "transaction {tx_id} has the status {status:?} with the outcome {biz_status:?}"
            ))),
        }
    }
}

fn failed(actions: &[v1::ActionState]) -> Vec<String> {
    let failed = actions
        .iter()
        .filter(|action| action.status() == v1::ActionStatus::Failed);
    failed.map(|action| action.name.clone()).collect()
}

pub(super) fn parse_id(text: &str) -> Result<Uuid, Error> {
    Uuid::try_parse(text)
        .map_err(|error| Error::Reply(format!("tx_id {text:?} is not a UUID: {error}")))
}

/// The cause of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cause {
    /// The kind of cause.
    pub kind: CauseKind,
    /// The action that was rejected, with [`CauseKind::Rejected`]; one that was not tried in time, with
    /// [`CauseKind::Deadline`].
    pub action: Option<String>,
    /// The reason given by the participant, the initiator or the operator; with [`CauseKind::Deadline`] the number of
    /// the action's attempts and the last error. May be empty.
    pub reason: String,
}

impl Cause {
    fn of(cause: Option<v1::Cause>) -> Self {
        let cause = cause.unwrap_or_default();
        Self {
            kind: match cause.kind() {
                v1::CauseKind::AllTried => CauseKind::AllTried,
                v1::CauseKind::Rejected => CauseKind::Rejected,
                v1::CauseKind::Deadline => CauseKind::Deadline,
                v1::CauseKind::Aborted => CauseKind::Aborted,
                v1::CauseKind::Initiator => CauseKind::Initiator,
                v1::CauseKind::CheckBack => CauseKind::CheckBack,
                v1::CauseKind::Operator => CauseKind::Operator,
                v1::CauseKind::Unspecified => CauseKind::Other,
            },
            action: (!cause.action.is_empty()).then_some(cause.action),
            reason: cause.reason,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.action, self.kind) {
            (Some(action), CauseKind::Rejected) => write!(f, "{action} was rejected")?,
            (Some(action), CauseKind::Deadline) => write!(f, "{action} was not tried in time")?,
            (_, kind) => write!(f, "{kind}")?,
        }
        if !self.reason.is_empty() {
            write!(f, ": {}", self.reason)?;
        }
        Ok(())
    }
}

/// The kinds of cause of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CauseKind {
    /// Every Try was OK.
    AllTried,
    /// A participant rejected its Try.
    Rejected,
    /// Phase one did not end in time.
    Deadline,
    /// The initiator decided FAILURE.
    Aborted,
    /// The initiator decided SUCCESS.
    Initiator,
    /// The initiator answered a check-back, or did not within the attempts that were allowed.
    CheckBack,
    /// A person decided.
    Operator,
    /// A kind that this version of the SDK does not know.
    Other,
}

impl fmt::Display for CauseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AllTried => "every Try was OK",
            Self::Rejected => "a Try was rejected",
            Self::Deadline => "phase one did not end in time",
            Self::Aborted | Self::Initiator => "the initiator decided",
            Self::CheckBack => "the initiator was asked back",
            Self::Operator => "an operator decided",
            Self::Other => "a cause that this version does not know",
        })
    }
}

/// The results of the Tries, by action, in the order of the transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Results(Vec<(String, Bytes)>);

impl Results {
    fn of(actions: Vec<v1::ActionState>) -> Self {
        Self(actions.into_iter().map(|a| (a.name, a.result)).collect())
    }

    /// Returns the bytes that the action's Try returned; empty if it returned nothing, `None` if there
    /// is no such action.
    pub fn bytes(&self, action: &str) -> Option<&Bytes> {
        let mut found = self.0.iter().filter(|(name, _)| name == action);
        found.next().map(|(_, result)| result)
    }

    /// Reads the result of an action as the type that it returns.
    pub fn read<T: Payload>(&self, action: &str) -> Result<T, Error> {
        let bytes = self.bytes(action).ok_or_else(|| {
            Error::invalid("action", format!("the transaction has no {action:?}"))
        })?;
        T::decode(bytes)
            .map_err(|error| Error::Reply(format!("result of {action:?}: {}", chain(&error))))
    }

    /// Iterates over the actions' names and the bytes that their Tries returned.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.0.iter().map(|(name, result)| (name.as_str(), result))
    }
}
