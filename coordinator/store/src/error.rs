//! What a store could not do.

use tercet_core::write::ApplyFailure;
use thiserror::Error;

/// What a store could not do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{doing}: {what}")]
pub struct StoreError {
    /// What became of the writes, where there were any; what to expect of another try, otherwise.
    pub kind: ApplyFailure,
    /// What was being done, to what.
    pub doing: String,
    /// What the database said.
    pub what: String,
}

impl StoreError {
    /// An error of this kind.
    pub fn new(kind: ApplyFailure, doing: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            kind,
            doing: doing.into(),
            what: what.into(),
        }
    }
}
