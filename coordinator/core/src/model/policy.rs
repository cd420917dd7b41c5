//! The policies by which calls and questions are repeated: as their caller gave them, and as they are in effect.
//!
//! A value that the caller left out is kept as left out, and its default takes its place only where it is used. So a
//! default that changes applies to what is under way too, and does not make a repeated request differ from its first:
//! see `docs/adr/0005`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Name;
use crate::limits;

/// The policy by which a call that did not succeed is repeated, as the caller gave it; `None`: left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// The back-off's first step.
    #[serde(
        with = "crate::time::millis::optional",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub first_delay: Option<Duration>,
    /// The back-off's cap.
    #[serde(
        with = "crate::time::millis::optional",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub max_delay: Option<Duration>,
    /// Calls of one operation in phase two before the action is FAILED; at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// Age after the decision from which on the action is FAILED when a call of it fails or finds no way.
    #[serde(
        with = "crate::time::millis::optional",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub max_age: Option<Duration>,
    /// The longest time of one call.
    #[serde(
        with = "crate::time::millis::optional",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub call_timeout: Option<Duration>,
}

/// The values of a [`RetryPolicy`] that are in effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryInEffect {
    /// The back-off's first step.
    pub first_delay: Duration,
    /// The back-off's cap.
    pub max_delay: Duration,
    /// Calls of one operation in phase two before the action is FAILED.
    pub max_attempts: u32,
    /// Age after the decision from which on the action is FAILED when a call of it fails or finds no way; `None`: no age.
    pub max_age: Option<Duration>,
    /// The longest time of one call.
    pub call_timeout: Duration,
}

/// The policy by which the initiator is asked for the outcome, as the caller gave it; `None`: left out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CheckBack {
    /// The initiator, by its name as a participant.
    pub participant: Name,
    /// Wait after the deadline before the first question.
    #[serde(
        with = "crate::time::millis::optional",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub first_delay: Option<Duration>,
    /// Wait after the first UNKNOWN, doubled each time.
    #[serde(
        with = "crate::time::millis::optional",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub interval: Option<Duration>,
    /// The cap of the wait.
    #[serde(
        with = "crate::time::millis::optional",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub max_interval: Option<Duration>,
    /// Questions after which FAILURE is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
}

/// The values of a [`CheckBack`] that are in effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckBackInEffect {
    /// Wait after the deadline before the first question.
    pub first_delay: Duration,
    /// Wait after the first UNKNOWN, doubled each time.
    pub interval: Duration,
    /// The cap of the wait.
    pub max_interval: Duration,
    /// Questions after which FAILURE is decided; `None`: ask without end.
    pub max_attempts: Option<u32>,
}

impl RetryPolicy {
    /// Returns the values in effect: those that were given, and the present defaults of the others.
    pub fn in_effect(&self) -> RetryInEffect {
        let (first_delay, max_delay) = step_and_cap(
            (self.first_delay, self.max_delay),
            (limits::FIRST_DELAY_DEFAULT, limits::MAX_DELAY_DEFAULT),
        );
        RetryInEffect {
            first_delay,
            max_delay,
            max_attempts: self.max_attempts.unwrap_or(limits::MAX_ATTEMPTS_DEFAULT),
            max_age: self.max_age,
            call_timeout: self.call_timeout.unwrap_or(limits::CALL_TIMEOUT_DEFAULT),
        }
    }

    /// Returns whether two requests ask for the same: both gave the same values, or what they gave has the same effect.
    pub fn is_same(&self, other: &Self) -> bool {
        self == other || self.in_effect() == other.in_effect()
    }
}

impl CheckBack {
    /// Makes the policy that has a default for everything but the participant.
    pub fn of(participant: Name) -> Self {
        Self {
            participant,
            first_delay: None,
            interval: None,
            max_interval: None,
            max_attempts: None,
        }
    }

    /// Returns the values in effect: those that were given, and the present defaults of the others.
    pub fn in_effect(&self) -> CheckBackInEffect {
        let (interval, max_interval) = step_and_cap(
            (self.interval, self.max_interval),
            (
                limits::CHECK_BACK_INTERVAL_DEFAULT,
                limits::CHECK_BACK_MAX_INTERVAL_DEFAULT,
            ),
        );
        CheckBackInEffect {
            first_delay: self.first_delay.unwrap_or_default(),
            interval,
            max_interval,
            max_attempts: self.max_attempts,
        }
    }

    /// Returns whether two requests ask for the same: both gave the same values, or what they gave has the same effect.
    pub fn is_same(&self, other: &Self) -> bool {
        self == other
            || self.participant == other.participant && self.in_effect() == other.in_effect()
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
