//! What an initiator asks for: actions, their retry policy, and whom to ask back.

use std::time::Duration;

use tercet_proto::v1;

use super::Error;
use crate::{error::chain, payload::Payload};

/// One participant's share of a transaction.
///
/// ```
/// use tercet_sdk::{Json, initiator::Action};
///
/// let reserve = Action::tcc("reserve", "coupons")
///     .handler("reserve-coupon")
///     .payload(&Json(serde_json::json!({ "kind": "coffee" })))
///     .after(["freeze"])
///     .wants_results();
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Action {
    message: v1::Action,
    problem: Option<String>,
}

impl Action {
    /// Try freezes, Confirm uses what was frozen, Cancel gives it back.
    pub fn tcc(name: impl Into<String>, participant: impl Into<String>) -> Self {
        Self::new(v1::Mode::Tcc, name.into(), participant.into())
    }

    /// Try really does it; on FAILURE Cancel undoes it; on SUCCESS nothing is called.
    pub fn compensate(name: impl Into<String>, participant: impl Into<String>) -> Self {
        Self::new(v1::Mode::Compensate, name.into(), participant.into())
    }

    /// No Try; on SUCCESS Confirm delivers until it arrived; on FAILURE nothing is called.
    pub fn deliver(name: impl Into<String>, participant: impl Into<String>) -> Self {
        Self::new(v1::Mode::Deliver, name.into(), participant.into())
    }

    fn new(mode: v1::Mode, name: String, participant: String) -> Self {
        Self {
            message: v1::Action {
                name,
                mode: mode.into(),
                participant,
                ..v1::Action::default()
            },
            problem: None,
        }
    }

    /// The participant's handler; default: the action's name.
    pub fn handler(mut self, handler: impl Into<String>) -> Self {
        self.message.handler = handler.into();
        self
    }

    /// What is handed to every operation: a prost message as it is, a serde type within
    /// [`Json`](crate::Json), bytes within [`Raw`](crate::Raw); at most 64 KiB encoded. For generic
    /// invocation it is the request message. A value that cannot be encoded is refused when the
    /// request is sent.
    pub fn payload(mut self, payload: &impl Payload) -> Self {
        match payload.encode() {
            Ok(bytes) => self.message.payload = bytes.into(),
            Err(error) => self.problem = Some(chain(&error)),
        }
        self
    }

    /// Names of actions whose Try comes first; their Confirm too, and Cancel goes the other way.
    pub fn after<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.message.after.extend(names.into_iter().map(Into::into));
        self
    }

    /// The Try is given the results of the actions named in [`after`](Self::after).
    pub fn wants_results(mut self) -> Self {
        self.message.wants_results = true;
        self
    }

    /// The initiator's own share, whose Try is already done in its own database: it is never tried,
    /// and confirmed or cancelled like any other.
    pub fn already_tried(mut self) -> Self {
        self.message.already_tried = true;
        self
    }

    /// When and how often a call that did not succeed is repeated.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.message.retry = Some(policy.0);
        self
    }

    /// A word of the caller's own, passed on to the participant with every call.
    pub fn property(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.message.ext_properties.insert(key.into(), value.into());
        self
    }

    pub(super) fn into_message(self) -> Result<v1::Action, Error> {
        match self.problem {
            None => Ok(self.message),
            Some(problem) => Err(Error::invalid(
                format!("payload of action {:?}", self.message.name),
                problem,
            )),
        }
    }
}

/// When and how often a call that did not succeed is repeated. What is not set is the server's
/// default.
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub struct RetryPolicy(v1::RetryPolicy);

impl RetryPolicy {
    /// The server's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The back-off's first step; default 1 s, at most 1 h.
    pub fn first_delay(mut self, delay: Duration) -> Self {
        self.0.first_delay_ms = millis(delay);
        self
    }

    /// The back-off's cap; default 60 s, at most 24 h.
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.0.max_delay_ms = millis(delay);
        self
    }

    /// Calls of one operation in phase two before the action is FAILED; default 100.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.0.max_attempts = attempts;
        self
    }

    /// Age after the decision at which the action is FAILED; default: none.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.0.max_age_ms = millis(age);
        self
    }

    /// How long one call may take; default 10 s, at most 10 min.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.0.call_timeout_ms = millis(timeout);
        self
    }
}

/// Whom to ask for the outcome when phase one ran out of time without a decision.
#[derive(Debug, Clone)]
#[must_use]
pub struct CheckBack(v1::CheckBack);

impl CheckBack {
    /// Asks this registered participant: the initiator's own name as it attaches or is registered.
    pub fn ask(participant: impl Into<String>) -> Self {
        Self(v1::CheckBack {
            participant: participant.into(),
            ..v1::CheckBack::default()
        })
    }

    /// Wait after the deadline before the first question; default: none.
    pub fn first_delay(mut self, delay: Duration) -> Self {
        self.0.first_delay_ms = millis(delay);
        self
    }

    /// Wait after the first answer UNKNOWN, doubled each time; default 1 s.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.0.interval_ms = millis(interval);
        self
    }

    /// The cap of the wait; default 60 s.
    pub fn max_interval(mut self, interval: Duration) -> Self {
        self.0.max_interval_ms = millis(interval);
        self
    }

    /// Questions after which FAILURE is decided. By default it is asked without end, because a guess
    /// could contradict what the initiator committed.
    pub fn max_attempts_then_failure(mut self, attempts: u32) -> Self {
        self.0.max_attempts = attempts;
        self
    }

    pub(super) fn into_message(self) -> v1::CheckBack {
        self.0
    }
}

/// Whole milliseconds, at least 1 for what is not zero: 0 means "not given" on the wire.
pub(super) fn millis(duration: Duration) -> i64 {
    let rounded_up = duration.as_nanos().div_ceil(1_000_000);
    i64::try_from(rounded_up).unwrap_or(i64::MAX)
}
