//! Errors of stores.

use tercet_core::write::ApplyFailure;
use thiserror::Error;

/// The error of a store: the kind of failure, what was being done, and the reason.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{doing}: {what}")]
pub struct StoreError {
    /// The effect on the writes, where there were any; otherwise the prospect of another try.
    pub kind: ApplyFailure,
    /// The work that failed, and its object.
    pub doing: String,
    /// The reason, mostly in the database's words.
    pub what: String,
}

impl StoreError {
    /// Makes an error of this kind; the reason is a text or another error.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "most callers have no further use for it"
    )]
    pub fn new(kind: ApplyFailure, doing: impl Into<String>, what: impl ToString) -> Self {
        Self {
            kind,
            doing: doing.into(),
            what: what.to_string(),
        }
    }

    /// Makes the error of a read: nothing was changed, and another try may succeed.
    pub(crate) fn unread(doing: impl Into<String>, what: impl ToString) -> Self {
        Self::new(ApplyFailure::NotApplied, doing, what)
    }

    /// Makes an error that no other try can avoid.
    pub(crate) fn fatal(doing: impl Into<String>, what: impl ToString) -> Self {
        Self::new(ApplyFailure::Fatal, doing, what)
    }
}
