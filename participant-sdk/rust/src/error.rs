//! Errors of a participant.

use std::{error::Error, fmt};

/// The reason for which an action's code did not carry out its operation.
///
/// Every error converts into it with `?` and then means *unknown*: the local transaction is rolled
/// back and the coordinator calls again. A refusal for a business reason is returned explicitly:
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
/// It does not implement `std::error::Error`, because that would rule out the conversion from all
/// errors.
#[derive(Debug)]
pub enum ActionError {
    /// Definitely not done, and never later. In a Try: the effect is rolled back, the rejection is
    /// kept. In a Confirm or Cancel: everything is rolled back, and the action waits for a person.
    Rejected(String),
    /// Anything else: the outcome is unknown, and the call is made again.
    Failed(Box<dyn Error + Send + Sync>),
}

impl ActionError {
    /// Refuses for a business reason, of which at most 1,024 bytes are kept.
    pub fn rejected(reason: impl fmt::Display) -> Self {
        Self::Rejected(reason.to_string())
    }

    /// Fails for a reason that is not a `std::error::Error`, such as a string.
    pub fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(error.into())
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for ActionError {
    fn from(error: E) -> Self {
        Self::Failed(Box::new(error))
    }
}

/// The configuration of a participant is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct BuildError {
    /// The setting that is wrong: `participant`, `concurrency`, `handler "freeze"`, …
    pub field: String,
    /// The problem with it, and the values that are accepted.
    pub problem: String,
}

/// A payload that cannot be read or written as the type that the action expects.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot be read as {type_name}")]
pub struct PayloadError {
    what: &'static str,
    type_name: &'static str,
    source: Box<dyn Error + Send + Sync>,
}

impl PayloadError {
    /// Makes the error that `T` could not be read (or written) because of `source`.
    pub fn new<T>(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            what: "the payload",
            type_name: std::any::type_name::<T>(),
            source: source.into(),
        }
    }
}

/// Formats an error and its chain of causes on one line.
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
