//! The initiator's own row, `(tx_id, "")`: one truth about its local transaction.
//!
//! An initiator that commits something of its own inserts the row as SUCCESS in that same local
//! transaction. Its check-back inserts it as FAILURE. The key lets only one of them in.

use tercet_mutation::broken;

/// What the initiator's row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Truth {
    /// The initiator's local transaction committed.
    Success,
    /// It did not, and never will.
    Failure,
}

impl Truth {
    /// The word that is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::Failure => "FAILURE",
        }
    }

    /// What a stored word means; nothing for any other word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Success, Self::Failure]
            .into_iter()
            .find(|truth| truth.as_str() == word)
    }
}

/// What a check-back does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckBack {
    /// Insert the row as FAILURE; answer FAILURE if it goes in, otherwise ask again with the row.
    InsertFailure,
    /// Answer this.
    Answer(Truth),
    /// Nobody can say: the row may have been removed. Answer UNKNOWN.
    Expired,
}

/// What a check-back that finds `row` does. `expired`: the transaction was begun so long ago that
/// its row may have been removed, see [`expired`](crate::expired).
pub fn decide_check_back(row: Option<Truth>, expired: bool) -> CheckBack {
    match row {
        None if expired => CheckBack::Expired,
        None if broken("check_back_without_row") => CheckBack::Answer(Truth::Failure),
        None => CheckBack::InsertFailure,
        Some(truth) => CheckBack::Answer(truth),
    }
}
