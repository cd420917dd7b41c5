//! What goes wrong in a participant.

use std::{error::Error, fmt};

/// Why an action's code did not do what it was asked.
///
/// Every error converts into it with `?` and then means *unknown*: the local transaction is rolled
/// back and the coordinator asks again. A refusal for a business reason is said on purpose:
///
/// ```
/// # use tercet_sdk::ActionError;
/// fn freeze(available: i64, wanted: i64) -> Result<(), ActionError> {
///     if available < wanted {
///         return Err(ActionError::rejected(format!("short of points: has {available}, needs {wanted}")));
///     }
///     Ok(())
/// }
/// # assert!(freeze(1, 2).is_err());
/// ```
///
/// It is not itself a `std::error::Error`, because that would forbid the conversion from all of them.
#[derive(Debug)]
pub enum ActionError {
    /// Definitely not, and never later. In a Try: the effect is rolled back and the rejection is kept.
    /// In a Confirm or Cancel: everything is rolled back, and the action waits for a person.
    Rejected(String),
    /// Anything else: nobody can say yet, so it is asked again.
    Failed(Box<dyn Error + Send + Sync>),
}

impl ActionError {
    /// Refuses for a business reason; at most 1,024 bytes of it are kept.
    pub fn rejected(reason: impl fmt::Display) -> Self {
        Self::Rejected(reason.to_string())
    }

    /// Failed for a reason that is not a `std::error::Error`, such as a string.
    pub fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(error.into())
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for ActionError {
    fn from(error: E) -> Self {
        Self::Failed(Box::new(error))
    }
}

/// A participant that cannot be built as configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct BuildError {
    /// What is wrong: `participant`, `concurrency`, `handler "freeze"`, …
    pub field: String,
    /// What is wrong with it, and what would be accepted.
    pub problem: String,
}

/// Bytes that are not what the action expects.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot be read as {type_name}")]
pub struct PayloadError {
    what: &'static str,
    type_name: &'static str,
    source: Box<dyn Error + Send + Sync>,
}

impl PayloadError {
    /// Says that `T` could not be read (or written) because of `source`.
    pub fn new<T>(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            what: "the payload",
            type_name: std::any::type_name::<T>(),
            source: source.into(),
        }
    }
}

/// The chain of an error, one line: what happened, then each cause.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}
