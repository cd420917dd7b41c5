//! The policies by which calls and questions are repeated.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Name;
use crate::limits;

/// The policy by which a call that did not succeed is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// The back-off's first step.
    #[serde(with = "crate::time::millis")]
    pub first_delay: Duration,
    /// The back-off's cap.
    #[serde(with = "crate::time::millis")]
    pub max_delay: Duration,
    /// Calls of one operation in phase two before the action is FAILED; at least 1.
    pub max_attempts: u32,
    /// Age after the decision at which the action is FAILED at its next failing call.
    #[serde(with = "crate::time::millis::optional", default)]
    pub max_age: Option<Duration>,
    /// The longest time of one call.
    #[serde(with = "crate::time::millis")]
    pub call_timeout: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            first_delay: limits::FIRST_DELAY_DEFAULT,
            max_delay: limits::MAX_DELAY_DEFAULT,
            max_attempts: limits::MAX_ATTEMPTS_DEFAULT,
            max_age: None,
            call_timeout: limits::CALL_TIMEOUT_DEFAULT,
        }
    }
}

/// The policy by which the initiator is asked for the outcome.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CheckBack {
    /// The initiator, by its name as a participant.
    pub participant: Name,
    /// Wait after the deadline before the first question.
    #[serde(with = "crate::time::millis")]
    pub first_delay: Duration,
    /// Wait after the first UNKNOWN, doubled each time.
    #[serde(with = "crate::time::millis")]
    pub interval: Duration,
    /// The cap of the wait.
    #[serde(with = "crate::time::millis")]
    pub max_interval: Duration,
    /// Questions after which FAILURE is decided; `None`: ask without end.
    pub max_attempts: Option<u32>,
}

impl RetryPolicy {
    /// Makes a policy of the values that a caller gives and the defaults of the others.
    pub fn given(
        first_delay: Option<Duration>,
        max_delay: Option<Duration>,
        max_attempts: Option<u32>,
        max_age: Option<Duration>,
        call_timeout: Option<Duration>,
    ) -> Self {
        let default = Self::default();
        let (first_delay, max_delay) = step_and_cap(
            (first_delay, max_delay),
            (default.first_delay, default.max_delay),
        );
        Self {
            first_delay,
            max_delay,
            max_attempts: max_attempts.unwrap_or(default.max_attempts),
            max_age,
            call_timeout: call_timeout.unwrap_or(default.call_timeout),
        }
    }
}

impl CheckBack {
    /// Makes a policy of the values that a caller gives and the defaults of the others.
    pub fn given(
        participant: Name,
        first_delay: Option<Duration>,
        interval: Option<Duration>,
        max_interval: Option<Duration>,
        max_attempts: Option<u32>,
    ) -> Self {
        let (interval, max_interval) = step_and_cap(
            (interval, max_interval),
            (
                limits::CHECK_BACK_INTERVAL_DEFAULT,
                limits::CHECK_BACK_MAX_INTERVAL_DEFAULT,
            ),
        );
        Self {
            participant,
            first_delay: first_delay.unwrap_or_default(),
            interval,
            max_interval,
            max_attempts,
        }
    }
}

/// Completes a back-off's first step and cap: the default of one gives way to the given value of the other.
fn step_and_cap(
    given: (Option<Duration>, Option<Duration>),
    default: (Duration, Duration),
) -> (Duration, Duration) {
    match given {
        (Some(step), Some(cap)) => (step, cap),
        (Some(step), None) => (step, default.1.max(step)),
        (None, Some(cap)) => (default.0.min(cap), cap),
        (None, None) => default,
    }
}
