//! Requests of callers, and the replies to them.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    id::TxId,
    model::{
        ActionSpec, ActionStatus, CheckBack, Decider, Ext, Name, Outcome, Transaction, bytes_of,
    },
    refusal::Refusal,
};

/// A request. The module [`check`](crate::check) has the rules for its fields; an engine relies on them.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Begin or Execute.
    Begin(Arc<NewTransaction>, Wait),
    /// `AddAction`.
    AddAction(TxId, Arc<ActionSpec>),
    /// Decide, by the initiator: the outcome and its reason.
    Decide(TxId, Outcome, String, Wait),
    /// A command of an operator.
    Operator(TxId, Command),
    /// A Begin or `AddAction` of what its participants do not serve now. It is answered as far as it repeats a request
    /// that took effect when they did, and is refused otherwise.
    OnlyRepeated(Box<Self>, Refusal),
}

/// A command of an operator, with its author and the reason for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The author: the column `operator_log.who`.
    pub who: Name,
    /// The author's reason.
    pub reason: String,
    /// The content.
    pub order: Order,
}

/// The content of an operator's command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Decide for an initiator that does not answer.
    Decide(Outcome),
    /// Put the FAILED actions of a parked transaction back to work.
    Retry,
    /// End FAILED actions by hand.
    Resolve {
        /// The actions.
        actions: Vec<Name>,
        /// [`ActionStatus::Confirmed`] or [`ActionStatus::Cancelled`].
        status: ActionStatus,
    },
}

impl fmt::Display for Order {
    /// Writes the order with its arguments: the column `operator_log.command`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decide(outcome) => write!(f, "DECIDE {outcome}"),
            Self::Retry => f.write_str("RETRY"),
            Self::Resolve { actions, status } => {
                write!(f, "RESOLVE {} AS {status}", actions.join(" "))
            }
        }
    }
}

impl Request {
    /// Returns the transaction that the request is for.
    pub fn id(&self) -> TxId {
        match self {
            Self::Begin(new, _) => new.id,
            Self::OnlyRepeated(request, _) => request.id(),
            Self::AddAction(id, _) | Self::Decide(id, ..) | Self::Operator(id, _) => *id,
        }
    }

    /// Returns the bytes that the request brings to its transaction, about: those of actions and properties.
    pub fn weight(&self) -> usize {
        match self {
            Self::Begin(new, _) => {
                let actions = new.actions.iter().map(|action| action.weight());
                bytes_of(&new.ext) + actions.sum::<usize>()
            }
            Self::AddAction(_, action) => action.weight(),
            Self::OnlyRepeated(request, _) => request.weight(),
            Self::Decide(..) | Self::Operator(..) => 0,
        }
    }

    /// Returns the begin, also where it is answered only if it repeats one.
    pub fn as_begin(&self) -> Option<(&Arc<NewTransaction>, Wait)> {
        match self {
            Self::Begin(new, wait) => Some((new, *wait)),
            Self::OnlyRepeated(request, _) => request.as_begin(),
            Self::AddAction(..) | Self::Decide(..) | Self::Operator(..) => None,
        }
    }
}

/// A transaction to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTransaction {
    /// Its id.
    pub id: TxId,
    /// The kind of business.
    pub business_type: Name,
    /// The business: an order number, for example.
    pub business_id: Name,
    /// Whether a second begin of the same business is answered with the first.
    pub unique_business: bool,
    /// The party that makes the Tries and decides.
    pub decider: Decider,
    /// The length of phase one; `None`: left out.
    pub timeout: Option<Duration>,
    /// The initiator to ask when no decision came in time.
    pub check_back: Option<CheckBack>,
    /// Properties that the caller attaches.
    pub ext: Ext,
    /// Its actions: names unique, `after` within them and without cycles.
    pub actions: Vec<Arc<ActionSpec>>,
}

/// When a caller is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wait {
    /// When the request's own effect is durable.
    Accepted,
    /// When the decision is durable.
    Decided,
    /// When the transaction is finished or parked, and that is durable.
    Completed,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The transaction as it durably stands.
    pub transaction: Transaction,
    /// Whether the request repeated an earlier one.
    pub repeated: bool,
}
