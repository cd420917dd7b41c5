//! The parts of a request: actions, their retry policy, and the check-back.

use std::{collections::BTreeMap, time::Duration};

use tercet_barrier::Mode;
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
    /// Makes an action in mode TCC: Try freezes, Confirm uses what was frozen, Cancel gives it back.
    pub fn tcc(name: impl Into<String>, participant: impl Into<String>) -> Self {
        Self::new(v1::Mode::Tcc, name.into(), participant.into())
    }

    /// Makes an action in mode COMPENSATE: Try takes effect; on FAILURE Cancel undoes it; on SUCCESS
    /// nothing is called.
    pub fn compensate(name: impl Into<String>, participant: impl Into<String>) -> Self {
        Self::new(v1::Mode::Compensate, name.into(), participant.into())
    }

    /// Makes an action in mode DELIVER: it has no Try; on SUCCESS Confirm is called until it is done;
    /// on FAILURE nothing is called.
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

    /// Sets the participant's handler; default: the action's name.
    pub fn handler(mut self, handler: impl Into<String>) -> Self {
        self.message.handler = handler.into();
        self
    }

    /// Sets the payload that every operation gets: a prost message, a serde type within
    /// [`Json`](crate::Json), or bytes within [`Raw`](crate::Raw); at most 64 KiB encoded. For generic
    /// invocation it is the request message. A value that cannot be encoded is refused when the
    /// request is sent.
    pub fn payload(mut self, payload: &impl Payload) -> Self {
        match payload.encode() {
            Ok(bytes) => self.message.payload = bytes.into(),
            Err(error) => self.problem = Some(chain(&error)),
        }
        self
    }

    /// Names actions whose Try comes first, and their Confirm too; Cancels go in the opposite order.
    pub fn after<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.message.after.extend(names.into_iter().map(Into::into));
        self
    }

    /// Hands the results of the actions named in [`after`](Self::after) to the Try.
    pub fn wants_results(mut self) -> Self {
        self.message.wants_results = true;
        self
    }

    /// Marks the initiator's own share as already tried, for a participant with a fence of its own: the
    /// action is never tried, and confirmed or cancelled like any other. **Behind this SDK's barrier its
    /// Confirm would be rejected and its Cancel do nothing**, because no row shows the Try: use
    /// [`AlreadyTried`](super::AlreadyTried), which writes the row.
    pub fn already_tried_without_barrier(self) -> Self {
        self.tried()
    }

    pub(super) fn tried(mut self) -> Self {
        self.message.already_tried = true;
        self
    }

    pub(super) fn name(&self) -> &str {
        &self.message.name
    }

    pub(super) fn properties(&self) -> &BTreeMap<String, String> {
        &self.message.ext_properties
    }

    pub(super) fn mode(&self) -> Mode {
        match self.message.mode() {
            v1::Mode::Compensate => Mode::Compensate,
            v1::Mode::Deliver => Mode::Deliver,
            v1::Mode::Tcc | v1::Mode::Unspecified => Mode::Tcc,
        }
    }

    /// Sets the policy by which a call that did not succeed is repeated.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.message.retry = Some(policy.0);
        self
    }

    /// Adds a property, which is passed on to the participant with every call.
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

/// The policy by which a call that did not succeed is repeated. A value that is not set is the
/// server's default.
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub struct RetryPolicy(v1::RetryPolicy);

impl RetryPolicy {
    /// Makes a policy of the server's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the back-off's first step; default 1 s, at most 1 h.
    pub fn first_delay(mut self, delay: Duration) -> Self {
        self.0.first_delay_ms = millis(delay);
        self
    }

    /// Sets the back-off's cap; default 60 s, at most 24 h.
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.0.max_delay_ms = millis(delay);
        self
    }

    /// Sets the number of calls per operation in phase two after which the action is FAILED; default
    /// 100.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.0.max_attempts = attempts;
        self
    }

    /// Sets the age after the decision from which on the action is FAILED when a call of it fails or its participant cannot be
    /// reached; default: none.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.0.max_age_ms = millis(age);
        self
    }

    /// Sets the time limit per call; default 10 s, at most 10 min.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.0.call_timeout_ms = millis(timeout);
        self
    }
}

/// The participant that is asked for the outcome when phase one ran out of time without a decision.
#[derive(Debug, Clone)]
#[must_use]
pub struct CheckBack(v1::CheckBack);

impl CheckBack {
    /// Asks this participant: the initiator's own name, under which it attaches or is registered.
    pub fn ask(participant: impl Into<String>) -> Self {
        Self(v1::CheckBack {
            participant: participant.into(),
            ..v1::CheckBack::default()
        })
    }

    /// Sets the wait between the deadline and the first question; default: none.
    pub fn first_delay(mut self, delay: Duration) -> Self {
        self.0.first_delay_ms = millis(delay);
        self
    }

    /// Sets the wait after the first answer UNKNOWN, which doubles each time; default 1 s.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.0.interval_ms = millis(interval);
        self
    }

    /// Sets the cap of the wait; default 60 s.
    pub fn max_interval(mut self, interval: Duration) -> Self {
        self.0.max_interval_ms = millis(interval);
        self
    }

    /// Sets the number of questions after which FAILURE is decided. By default the questions never
    /// end, because a guess could contradict what the initiator committed.
    pub fn max_attempts_then_failure(mut self, attempts: u32) -> Self {
        self.0.max_attempts = attempts;
        self
    }

    pub(super) fn into_message(self) -> v1::CheckBack {
        self.0
    }
}

/// Converts to whole milliseconds, at least 1 unless zero: 0 means "not given" on the wire.
pub(super) fn millis(duration: Duration) -> i64 {
    let rounded_up = duration.as_nanos().div_ceil(1_000_000);
    i64::try_from(rounded_up).unwrap_or(i64::MAX)
}
