//! The context of a call as metadata or headers: the same names for gRPC and HTTP.
//!
//! Every value is percent-encoded where it is not visible ASCII, `%` included.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tercet_core::engine::{AskBack, Call};

use crate::api::convert;

/// The answer to a check-back.
pub(crate) const OUTCOME: &str = "tercet-outcome";
/// The encoded `tercet.v1.Call` without its payload, or `tercet.v1.CheckBackCall`.
pub(crate) const BINARY: &str = "tercet-context-bin";

const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

fn encoded(value: &str) -> String {
    utf8_percent_encode(value, ENCODED).to_string()
}

/// The names and values of a call.
pub(crate) fn of_call(call: &Call, epoch: u64) -> Vec<(&'static str, String)> {
    vec![
        ("tercet-tx-id", call.tx.to_string()),
        ("tercet-action", encoded(&call.action.name)),
        ("tercet-operation", call.operation.to_string()),
        ("tercet-mode", call.action.mode.to_string()),
        ("tercet-business-type", encoded(&call.business_type)),
        ("tercet-business-id", encoded(&call.business_id)),
        (
            "tercet-time-left-ms",
            convert::millis(call.time_left).to_string(),
        ),
        ("tercet-attempt", call.attempt.to_string()),
        ("tercet-epoch", epoch.to_string()),
        ("tercet-call-id", call.id.0.to_string()),
    ]
}

/// The names and values of a question.
pub(crate) fn of_ask(ask: &AskBack, epoch: u64) -> Vec<(&'static str, String)> {
    vec![
        ("tercet-tx-id", ask.tx.to_string()),
        ("tercet-business-type", encoded(&ask.business_type)),
        ("tercet-business-id", encoded(&ask.business_id)),
        (
            "tercet-time-left-ms",
            convert::millis(ask.timeout).to_string(),
        ),
        ("tercet-attempt", ask.attempt.to_string()),
        ("tercet-epoch", epoch.to_string()),
        ("tercet-call-id", ask.id.0.to_string()),
    ]
}
