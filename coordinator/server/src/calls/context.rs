//! The context of a call as metadata or headers: the same names for gRPC and HTTP.
//!
//! Every value is percent-encoded where it is not visible ASCII, `%` included.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use prost::Message;
use tercet_core::{
    engine::{AskBack, Call},
    model::Operation,
};
use tonic::metadata::{Binary, MetadataValue};

use super::wire;
use crate::{api::convert, limits};

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

/// The call without its payload, encoded. Its own Try's result is left out where it does not fit; results
/// that a Try asked for and that do not fit are an error.
pub(crate) fn binary(call: &Call, epoch: u64) -> Result<Vec<u8>, String> {
    let mut context = wire::call(call, epoch, false);
    let bytes = context.encoded_len();
    if bytes > limits::CONTEXT_BYTES {
        if call.operation == Operation::Try {
            return Err(format!(
                "the results that the TRY asks for make a context of {bytes} bytes; at most {} travel \
                 as metadata; let the participant attach, or do without results",
                limits::CONTEXT_BYTES
            ));
        }
        context.results.clear();
    }
    Ok(context.encode_to_vec())
}

/// Bytes as a header has them: in the form in which gRPC carries binary metadata.
pub(crate) fn base64(bytes: &[u8]) -> String {
    let value = MetadataValue::<Binary>::from_bytes(bytes);
    String::from_utf8_lossy(value.as_encoded_bytes()).into_owned()
}
