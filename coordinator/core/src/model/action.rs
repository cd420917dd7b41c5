//! One action of a transaction: its stored state, and the knowledge that is held only in memory.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{ActionSpec, ActionStatus, AttemptOutcome, Decider, Operation};
use crate::time::{Moment, Timestamp};

/// One participant's share of the work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// The part that never changes.
    pub spec: Arc<ActionSpec>,
    /// The part that changes and is stored.
    pub state: ActionState,
    /// The part that changes and is never stored.
    pub live: Live,
}

/// The columns of `action_info` that change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ActionState {
    /// The progress of the action.
    pub status: ActionStatus,
    /// The result of its Try.
    pub result: Bytes,
    /// Calls of phase two that were authorised after the first. See `docs/adr/0010`.
    pub retry_count: u32,
    /// The last error; empty: none.
    pub last_error: String,
    /// The last [`limits::ATTEMPTS_KEPT`](crate::limits::ATTEMPTS_KEPT) calls that did not succeed at once.
    pub attempts: Vec<Attempt>,
    /// The number of writes of the row; 0: not yet written.
    pub version: u32,
    /// When the action reached its final status.
    pub finished_at: Option<Timestamp>,
}

/// One call that did not succeed at once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attempt {
    /// The operation.
    pub operation: Operation,
    /// When it was sent, in microseconds (see [`Timestamp`]).
    pub at: i64,
    /// The duration, in microseconds.
    pub took: u64,
    /// The number of this call, from 1; 0 for [`AttemptOutcome::Unreachable`], which is no call.
    pub number: u32,
    /// Its outcome.
    pub outcome: AttemptOutcome,
    /// The error of the participant or the transport.
    pub error: String,
    /// When the next call is due, in microseconds; `None`: no next call.
    pub next: Option<i64>,
}

/// The last question to an initiator that brought no outcome: the column `tx_info.last_check_back`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Unanswered {
    /// Its number, from 1.
    pub number: u32,
    /// When it was answered, or the wait for an answer was over.
    #[serde(with = "crate::time::micros")]
    pub at: Timestamp,
    /// The initiator's reason, or why there was no answer.
    pub error: String,
    /// When the next one is due; `None`: no next one.
    #[serde(
        with = "crate::time::micros::optional",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub next: Option<Timestamp>,
}

/// This incarnation's knowledge of an action's Try. A loaded action has [`Sent::Perhaps`], unless the row was at rest
/// and says that no Try was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sent {
    /// Certainly not sent.
    Never,
    /// Sent once, by this incarnation, which wrote the action and has had it in hand ever since.
    Once,
    /// Sent several times, or perhaps sent by another.
    Perhaps,
}

/// The part of an action that is held only in memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Live {
    /// The sendings of its Try, as far as they are known.
    pub sent: Sent,
    /// Whether a call of phase two may be sent: given by a durable write, used up by the call.
    pub permit: bool,
    /// No call is sent before this moment.
    pub not_before: Moment,
    /// Tries sent by this incarnation.
    pub tries: u32,
    /// Rejections of phase two in a row.
    pub rejections: u32,
    /// Whether the row differs from the database.
    pub dirty: bool,
}

impl Action {
    /// Makes an action that has no row yet.
    pub fn new(spec: Arc<ActionSpec>, decider: Decider) -> Self {
        let status = if spec.already_tried {
            ActionStatus::Tried
        } else {
            ActionStatus::Init
        };
        let sent = match decider {
            Decider::Coordinator if !spec.already_tried => Sent::Never,
            _ => Sent::Perhaps,
        };
        Self {
            spec,
            state: ActionState {
                status,
                result: Bytes::new(),
                retry_count: 0,
                last_error: String::new(),
                attempts: Vec::new(),
                version: 0,
                finished_at: None,
            },
            live: Live {
                sent,
                ..Live::new()
            },
        }
    }

    /// Sets the status in which the action ends.
    pub(crate) fn end(&mut self, status: ActionStatus, now: Timestamp) {
        self.state.status = status;
        self.state.finished_at = Some(now);
        self.live.dirty = true;
    }
}

impl Live {
    /// Makes the state in which nothing is known and nothing may be called.
    pub fn new() -> Self {
        Self {
            sent: Sent::Perhaps,
            permit: false,
            not_before: Moment::default(),
            tries: 0,
            rejections: 0,
            dirty: false,
        }
    }
}

impl Default for Live {
    fn default() -> Self {
        Self::new()
    }
}
