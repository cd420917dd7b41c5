//! The events that the initiator's process prints for the demo, a line of JSON each.

use serde::{Deserialize, Serialize};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Event {
    /// The order of this line is on its way.
    Sent {
        /// Its line in the file.
        line: usize,
    },
    /// The order of this line was answered.
    Answered {
        /// Its line in the file.
        line: usize,
        /// The answer.
        answer: OrderAnswer,
    },
    /// Every order was answered.
    Done,
}

/// The answer to an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OrderAnswer {
    /// Its transaction is decided.
    Decided {
        /// The transaction.
        tx_id: String,
        /// The decision: SUCCESS or not.
        committed: bool,
        /// An earlier order of the same number began the transaction.
        repeated: bool,
    },
    /// No answer could be had, or none that helps.
    Failed {
        /// Why.
        error: String,
    },
}
