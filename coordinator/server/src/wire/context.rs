//! The context of a call as metadata or headers: the same names for gRPC and HTTP.
//!
//! Every value is percent-encoded where it is not visible ASCII, `%` included.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use prost::Message;
use tercet_core::{
    model::{Operation, Outcome},
    port::{AskBack, Call},
};
use tonic::metadata::{Binary, MetadataValue};

use super::{calls, cut, millis};
use crate::bounds;

/// The answer to a check-back.
pub(crate) const OUTCOME: &str = "tercet-outcome";
/// The encoded `tercet.v1.Call` without its payload, or `tercet.v1.CheckBackCall`.
pub(crate) const BINARY: &str = "tercet-context-bin";

const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

fn encoded(value: &str) -> String {
    utf8_percent_encode(value, ENCODED).to_string()
}

/// Returns the names and values for a call.
pub(crate) fn of_call(call: &Call, epoch: u64) -> Vec<(&'static str, String)> {
    vec![
        ("tercet-tx-id", call.tx.to_string()),
        ("tercet-action", encoded(&call.action.name)),
        ("tercet-operation", call.operation.to_string()),
        ("tercet-mode", call.action.mode.to_string()),
        ("tercet-business-type", encoded(&call.business_type)),
        ("tercet-business-id", encoded(&call.business_id)),
        ("tercet-time-left-ms", millis(call.time_left).to_string()),
        ("tercet-attempt", call.attempt.to_string()),
        ("tercet-epoch", epoch.to_string()),
        ("tercet-call-id", call.id.0.to_string()),
    ]
}

/// Returns the names and values for a question.
pub(crate) fn of_ask(ask: &AskBack, epoch: u64) -> Vec<(&'static str, String)> {
    vec![
        ("tercet-tx-id", ask.tx.to_string()),
        ("tercet-business-type", encoded(&ask.business_type)),
        ("tercet-business-id", encoded(&ask.business_id)),
        ("tercet-time-left-ms", millis(ask.timeout).to_string()),
        ("tercet-attempt", ask.attempt.to_string()),
        ("tercet-epoch", epoch.to_string()),
        ("tercet-call-id", ask.id.0.to_string()),
    ]
}

/// Encodes a call without its payload. For a Confirm or Cancel, a Try's result that does not fit is left out; for a
/// Try, results that do not fit are an error.
pub(crate) fn binary(call: &Call, epoch: u64) -> Result<Vec<u8>, String> {
    let mut context = calls::call(call, epoch, false);
    let bytes = context.encoded_len();
    if bytes > bounds::CONTEXT_BYTES {
        if call.operation == Operation::Try {
            return Err(format!(
                "the results for the TRY make a context of {bytes} bytes; at most {} travel as metadata; let the \
                 participant attach, or do without results",
                bounds::CONTEXT_BYTES
            ));
        }
        context.results.clear();
    }
    Ok(context.encode_to_vec())
}

/// Encodes bytes for a header, in the form in which gRPC carries binary metadata.
pub(crate) fn base64(bytes: &[u8]) -> String {
    let value = MetadataValue::<Binary>::from_bytes(bytes);
    String::from_utf8_lossy(value.as_encoded_bytes()).into_owned()
}

/// Reads an initiator's answer from its metadata or header [`OUTCOME`].
pub(crate) fn outcome(value: Option<&str>) -> Result<Outcome, String> {
    match value {
        Some("UNKNOWN") => Err("the initiator does not know the outcome".to_owned()),
        Some(word) => Outcome::from_word(word).ok_or_else(|| {
            cut(&format!(
                "{OUTCOME} is {word}; SUCCESS, FAILURE or UNKNOWN is accepted"
            ))
        }),
        None => Err(format!("the answer carries no {OUTCOME}")),
    }
}
