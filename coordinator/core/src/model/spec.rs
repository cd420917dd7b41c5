//! The parts of a transaction and its actions that never change.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{CheckBack, Decider, Ext, Mode, Name, Need, RetryPolicy};
use crate::{id::TxId, time::Timestamp};

/// The part of an action that never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionSpec {
    /// Unique in the transaction.
    pub name: Name,
    /// Its mode.
    pub mode: Mode,
    /// The participant to call.
    pub participant: Name,
    /// The participant's handler.
    pub handler: Name,
    /// The bytes handed to every operation.
    pub payload: Bytes,
    /// Actions whose Try comes first. Every one of them is in the transaction, and there is no cycle.
    pub after: Vec<Name>,
    /// Whether the Try is given the results of the actions in `after`.
    pub wants_results: bool,
    /// Whether it is the initiator's own share, whose Try was done before it was registered.
    pub already_tried: bool,
    /// The policy by which calls are repeated.
    pub retry: RetryPolicy,
    /// Properties passed on with every call.
    pub ext: Ext,
}

/// An action as it was begun, for people: an entry of `tx_info.participants_info`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// The action.
    pub action: Name,
    /// Its participant.
    pub participant: Name,
    /// Its mode.
    pub mode: Mode,
}

/// The part of a transaction that never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxSpec {
    /// Its id.
    pub id: TxId,
    /// The kind of business.
    pub business_type: Name,
    /// The business: an order number, for example.
    pub business_id: Name,
    /// Whether (`business_type`, `business_id`) is unique.
    pub unique_business: bool,
    /// The party that makes the Tries and decides.
    pub decider: Decider,
    /// The initiator to ask when no decision came in time.
    pub check_back: Option<CheckBack>,
    /// Properties that the caller attaches.
    pub ext: Ext,
    /// The actions that came with the begin: the first ones of the transaction.
    pub begun: Vec<Begun>,
    /// When it was begun.
    pub create_time: Timestamp,
    /// When phase one ends.
    pub deadline: Timestamp,
}

impl ActionSpec {
    /// Returns the ability that its calls need of an instance of the participant.
    pub fn need(&self) -> Need {
        Need::Handler(self.handler.clone(), self.mode)
    }

    /// Returns the first field in which an action of the same place or name differs.
    pub fn first_difference(&self, other: &Self) -> Option<&'static str> {
        let fields = [
            ("name", self.name == other.name),
            ("mode", self.mode == other.mode),
            ("participant", self.participant == other.participant),
            ("handler", self.handler == other.handler),
            ("payload", self.payload == other.payload),
            ("after", self.after == other.after),
            ("wants_results", self.wants_results == other.wants_results),
            ("already_tried", self.already_tried == other.already_tried),
            ("retry", self.retry == other.retry),
            ("ext_properties", self.ext == other.ext),
        ];
        fields
            .into_iter()
            .find(|(_, same)| !same)
            .map(|(field, _)| field)
    }
}

impl TxSpec {
    /// Returns whether the coordinator makes the Tries and decides.
    pub fn is_executed(&self) -> bool {
        self.decider == Decider::Coordinator
    }

    /// Returns the length of phase one.
    pub fn timeout(&self) -> Duration {
        self.deadline.since(self.create_time)
    }
}
