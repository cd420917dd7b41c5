//! The parts of a transaction and its actions that never change.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{CheckBack, Decider, Ext, Mode, Name, Need, RetryPolicy};
use crate::{id::TxId, limits, time::Timestamp};

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
    /// The policy by which calls are repeated, as it was given.
    pub retry: RetryPolicy,
    /// Properties passed on with every call.
    pub ext: Ext,
}

/// About what an action takes up beside the bytes that callers choose.
const ACTION_BYTES: usize = 512;

impl ActionSpec {
    /// Returns about how many bytes it takes up in memory.
    pub fn weight(&self) -> usize {
        ACTION_BYTES + self.payload.len() + bytes_of(&self.ext)
    }
}

/// Returns the bytes of all keys and values.
pub(crate) fn bytes_of(ext: &Ext) -> usize {
    ext.iter().map(|(key, value)| key.len() + value.len()).sum()
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
    /// The initiator to ask when no decision came in time; the policy as it was given.
    pub check_back: Option<CheckBack>,
    /// Properties that the caller attaches.
    pub ext: Ext,
    /// The actions that came with the begin: the first ones of the transaction.
    pub begun: Vec<Begun>,
    /// When it was begun.
    pub create_time: Timestamp,
    /// When phase one ends.
    pub deadline: Timestamp,
    /// Whether the caller gave the length of phase one; otherwise it is the default of the time of the begin.
    pub timeout_given: bool,
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
            ("retry", self.retry.is_same(&other.retry)),
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

    /// Returns whether a begin with this length of phase one asks for the same as the first; `None`: left out. Where one
    /// of the two left it out and the other gave it, they are the same if it is the default.
    pub(crate) fn is_same_timeout(&self, given: Option<Duration>) -> bool {
        match given {
            None => !self.timeout_given || self.timeout() == limits::TIMEOUT_DEFAULT,
            Some(timeout) => timeout == self.timeout(),
        }
    }

    /// Returns whether a begin with this policy of questions asks for the same as the first.
    pub(crate) fn is_same_check_back(&self, given: Option<&CheckBack>) -> bool {
        match (&self.check_back, given) {
            (Some(own), Some(given)) => own.is_same(given),
            (own, given) => own.is_none() && given.is_none(),
        }
    }
}
