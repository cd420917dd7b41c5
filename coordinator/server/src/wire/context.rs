//! The context of a call as metadata or headers: the same names for gRPC and HTTP.
//!
//! Every value is percent-encoded where it is not visible ASCII, `%` included.

use std::time::Duration;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use prost::Message;
use tercet_core::{
    id::CallId,
    model::{Operation, Outcome},
    port::{AskBack, Call},
};
use tercet_proto::v1;
use tonic::metadata::{Binary, MetadataValue};

use super::{calls, cut, millis};
use crate::bounds;

/// The answer to a check-back.
pub(crate) const OUTCOME: &str = "tercet-outcome";
/// The encoded `tercet.v1.Call` or `tercet.v1.CheckBackCall` with the parts that have no line of their own.
const BINARY: &str = "tercet-context-bin";
/// Bytes that a line takes beside its name and its value, as HTTP/2 counts.
const LINE_OVERHEAD: usize = 32;

const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

fn encoded(value: &str) -> String {
    utf8_percent_encode(value, ENCODED).to_string()
}

/// Returns the names and values for a call.
///
/// # Errors
/// The results that the Try wants do not fit. Everything else always fits: names and properties have their limits, and
/// a Confirm or Cancel gets no result, which is in the participant's own barrier row.
pub(crate) fn of_call(call: &Call, epoch: u64) -> Result<Vec<(&'static str, String)>, String> {
    let rest = rest_of_call(call)?;
    let mut headers = vec![
        ("tercet-tx-id", call.tx.to_string()),
        ("tercet-action", encoded(&call.action.name)),
        ("tercet-operation", call.operation.to_string()),
        ("tercet-mode", call.action.mode.to_string()),
    ];
    headers.extend(of_business(&call.business_type, &call.business_id));
    headers.extend(of_one_call(call.time_left, call.attempt, call.id, epoch));
    headers.push((BINARY, rest));
    Ok(headers)
}

/// Returns the names and values for a question.
pub(crate) fn of_ask(ask: &AskBack, epoch: u64) -> Vec<(&'static str, String)> {
    let mut rest = v1::CheckBackCall {
        participant: ask.participant.to_string(),
        ext_properties: ask.ext.clone(),
        ..v1::CheckBackCall::default()
    };
    if !fits(&rest) {
        rest.ext_properties.clear();
    }
    let mut headers = vec![("tercet-tx-id", ask.tx.to_string())];
    headers.extend(of_business(&ask.business_type, &ask.business_id));
    headers.extend(of_one_call(ask.timeout, ask.attempt, ask.id, epoch));
    headers.push((BINARY, base64(&rest.encode_to_vec())));
    headers
}

fn of_business(business_type: &str, business_id: &str) -> [(&'static str, String); 2] {
    [
        ("tercet-business-type", encoded(business_type)),
        ("tercet-business-id", encoded(business_id)),
    ]
}

fn of_one_call(
    time_left: Duration,
    attempt: u32,
    id: CallId,
    epoch: u64,
) -> [(&'static str, String); 4] {
    [
        ("tercet-time-left-ms", millis(time_left).to_string()),
        ("tercet-attempt", attempt.to_string()),
        ("tercet-epoch", epoch.to_string()),
        ("tercet-call-id", id.0.to_string()),
    ]
}

/// Returns the value of [`BINARY`] for a call: the parts of it that have no line of their own.
fn rest_of_call(call: &Call) -> Result<String, String> {
    let mut rest = v1::Call {
        participant: call.action.participant.to_string(),
        handler: call.action.handler.to_string(),
        ext_properties: calls::overlaid(&call.tx_ext, &call.action.ext),
        ..v1::Call::default()
    };
    if call.operation == Operation::Try {
        rest.results = calls::results(call);
    }
    if !fits(&rest) && !rest.results.is_empty() {
        return Err(format!(
            "the results for the TRY do not fit into metadata or headers, where one line has at most {} bytes; let the \
             participant attach or serve Participant/Invoke, or do without results",
            bounds::CONTEXT_LINE_BYTES
        ));
    }
    if !fits(&rest) {
        // Of a transaction that was begun when the limit was higher.
        rest.ext_properties.clear();
    }
    Ok(base64(&rest.encode_to_vec()))
}

/// Returns whether a message fits into the line [`BINARY`].
fn fits(rest: &impl Message) -> bool {
    let base64 = (rest.encoded_len() * 4).div_ceil(3);
    BINARY.len() + base64 + LINE_OVERHEAD <= bounds::CONTEXT_LINE_BYTES
}

/// Encodes bytes for a header, in the form in which gRPC carries binary metadata.
fn base64(bytes: &[u8]) -> String {
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

#[cfg(test)]
mod tests;
