//! Calls to participants and questions to initiators, with the ways they take and the answers to them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    id::{CallId, StreamId, TxId},
    model::{ActionSpec, Ext, Mode, Name, Operation, Outcome},
};

/// The way on which a participant is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// On the streams that it attaches.
    Attach,
    /// At a registered address. A rejection in phase two has to be repeated before it counts (see
    /// [`limits::REJECTIONS_TO_BELIEVE`](crate::limits::REJECTIONS_TO_BELIEVE)).
    Direct {
        /// Calls made at once.
        concurrency: u32,
    },
}

/// The calls that one instance of a participant can answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Its handlers, by name and mode; without a mode: one for every mode.
    pub handlers: BTreeSet<(Name, Option<Mode>)>,
    /// Whether it answers check-backs.
    pub check_backs: bool,
}

/// The way on which a call leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// This stream; only there its answer counts.
    Stream(StreamId),
    /// The participant's registered address.
    Direct,
}

/// One call of one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The call.
    pub id: CallId,
    /// The way on which it leaves.
    pub route: Route,
    /// The transaction.
    pub tx: TxId,
    /// The transaction's business type.
    pub business_type: Name,
    /// The transaction's business id.
    pub business_id: Name,
    /// The transaction's properties.
    pub tx_ext: Ext,
    /// The action, as begun.
    pub action: Arc<ActionSpec>,
    /// The operation that the participant is to carry out.
    pub operation: Operation,
    /// The number of this call of the operation, from 1.
    pub attempt: u32,
    /// Try: results of the actions in `after`. Confirm and Cancel: the result of the action's own Try.
    pub results: Vec<(Name, Bytes)>,
    /// The longest wait for the answer.
    pub timeout: Duration,
    /// Try: the time left of phase one. Confirm and Cancel: equal to `timeout`.
    pub time_left: Duration,
}

/// One question to an initiator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskBack {
    /// The call.
    pub id: CallId,
    /// The way on which it leaves.
    pub route: Route,
    /// The transaction.
    pub tx: TxId,
    /// The initiator, by its name as a participant.
    pub participant: Name,
    /// The transaction's business type.
    pub business_type: Name,
    /// The transaction's business id.
    pub business_id: Name,
    /// The transaction's properties.
    pub ext: Ext,
    /// The number of this question, from 1.
    pub attempt: u32,
    /// The longest wait for the answer.
    pub timeout: Duration,
}

/// A participant's answer with the call that it names. It counts only while that call is open, in this epoch,
/// on the route that the call took, and for the same transaction, action and operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallResult {
    /// The way on which it came.
    pub route: Route,
    /// The epoch that it names.
    pub epoch: u64,
    /// The call that it names.
    pub call: CallId,
    /// The transaction that it names.
    pub tx: TxId,
    /// The action that it names.
    pub action: Name,
    /// The operation that it names.
    pub operation: Operation,
    /// The answer.
    pub answer: CallAnswer,
}

/// A participant's answer to a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CallAnswer {
    /// Done, with the result of a Try.
    Ok(Bytes),
    /// Definitely not done, with the reason.
    Rejected(String),
    /// Perhaps done, with the error.
    Unknown(String),
    /// Certainly not done, because the call never reached the participant: there was no connection, or it closed before
    /// the participant took the call. That is no attempt.
    Unsent(String),
}

/// An initiator's answer with the question that it names; it counts under the same conditions as a
/// [`CallResult`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckBackResult {
    /// The way on which it came.
    pub route: Route,
    /// The epoch that it names.
    pub epoch: u64,
    /// The call that it names.
    pub call: CallId,
    /// The transaction that it names.
    pub tx: TxId,
    /// The answer.
    pub answer: CheckBackAnswer,
}

/// An initiator's answer to a question.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CheckBackAnswer {
    /// The outcome.
    Decided(Outcome),
    /// No outcome, with the reason.
    Unknown(String),
    /// No outcome, because the question never reached the initiator. That is no question.
    Unsent(String),
}

impl From<Result<Outcome, String>> for CheckBackAnswer {
    fn from(answer: Result<Outcome, String>) -> Self {
        answer.map_or_else(Self::Unknown, Self::Decided)
    }
}
