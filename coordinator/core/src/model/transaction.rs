//! One transaction, and the incarnation that owns it.

use std::{fmt, sync::Arc};

use super::{Action, ActionStatus, Mode, Moments, Name, Phase, Rest, TxSpec, Unanswered, bytes_of};
use crate::id::TxId;

/// About what a transaction takes up beside the bytes that callers choose.
const TRANSACTION_BYTES: usize = 1_024;

/// The incarnation of a node that has a transaction in hand.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// The node's name.
    pub node: Name,
    /// Its incarnation, raised at each start.
    pub epoch: u64,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.node, self.epoch)
    }
}

/// One transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The part that never changes.
    pub spec: Arc<TxSpec>,
    /// Its phase.
    pub phase: Phase,
    /// The number of questions to the initiator: the column `retry_count`.
    pub check_backs: u32,
    /// The last question to the initiator that brought no outcome.
    pub last_check_back: Option<Box<Unanswered>>,
    /// The number of writes of the transaction: the fence; 0: not yet written.
    pub version: u32,
    /// The incarnation that wrote it last, and has it in hand unless it rests.
    pub owner: Owner,
    /// Where it rests; `None`: it is in hand of its owner, or over.
    pub rest: Option<Box<Rest>>,
    /// The actions, in the order in which they were begun or added.
    pub actions: Vec<Action>,
    /// Its times on the monotonic clock, which are never stored.
    pub moments: Moments,
}

impl Transaction {
    /// Returns its id.
    pub fn id(&self) -> TxId {
        self.spec.id
    }

    /// Returns about how many bytes it takes up in memory.
    pub fn weight(&self) -> usize {
        let action = |action: &Action| action.spec.weight() + action.state.result.len();
        TRANSACTION_BYTES
            + bytes_of(&self.spec.ext)
            + self.actions.iter().map(action).sum::<usize>()
    }

    /// Returns the action with this name, and its place.
    pub fn action(&self, name: &str) -> Option<(usize, &Action)> {
        self.actions
            .iter()
            .enumerate()
            .find(|(_, a)| &*a.spec.name == name)
    }

    /// Returns whether every action that has a Try has answered it with OK.
    pub fn is_tried(&self) -> bool {
        self.actions
            .iter()
            .all(|a| a.spec.mode == Mode::Deliver || a.state.status == ActionStatus::Tried)
    }
}
