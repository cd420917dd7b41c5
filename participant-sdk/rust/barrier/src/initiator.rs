//! The initiator's own row, `(tx_id, "")`: the one truth about its local transaction.
//!
//! An initiator that commits something of its own inserts the row as SUCCESS in that same local
//! transaction. Its check-back inserts it as FAILURE. The key lets only one of them in.

use tercet_mutation::broken;

/// The content of the initiator's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Truth {
    /// The initiator's local transaction committed.
    Success,
    /// The local transaction did not commit, and never will.
    Failure,
}

impl Truth {
    /// Returns the stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::Failure => "FAILURE",
        }
    }

    /// Reads a stored word; returns `None` for any other word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Success, Self::Failure]
            .into_iter()
            .find(|truth| truth.as_str() == word)
    }
}

/// The action that a check-back takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckBack {
    /// Insert the row as FAILURE. If it is inserted, answer FAILURE, otherwise decide again with the
    /// row that is there.
    InsertFailure,
    /// Answer this.
    Answer(Truth),
    /// The row may have been removed: answer UNKNOWN.
    Expired,
}

/// Decides what a check-back that finds `row` does. `expired` is set if the transaction was begun so
/// long ago that its row may have been removed, see [`expired`](crate::expired).
pub fn decide_check_back(row: Option<Truth>, expired: bool) -> CheckBack {
    match row {
        None if expired => CheckBack::Expired,
        None if broken("check_back_without_row") => CheckBack::Answer(Truth::Failure),
        None => CheckBack::InsertFailure,
        Some(truth) => CheckBack::Answer(truth),
    }
}
