//! Calls and check-backs, and their results.

use bytes::Bytes;
use prost::Message as _;
use tercet_core::{
    id::{CallId, TxId},
    limits,
    model::{ActionStatus, Ext, Name, Operation, Outcome},
    port::{AskBack, Call, CallAnswer, CallResult, CheckBackResult, Route},
};
use tercet_proto::v1;
use uuid::Uuid;

use super::{compact, cut, millis, words};
use crate::bounds;

/// Converts a call.
pub(crate) fn call(call: &Call, epoch: u64) -> v1::Call {
    let action = &call.action;
    v1::Call {
        epoch,
        call_id: call.id.0,
        tx_id: call.tx.to_string(),
        action: action.name.to_string(),
        operation: words::operation(call.operation).into(),
        mode: words::mode(action.mode).into(),
        participant: action.participant.to_string(),
        handler: action.handler.to_string(),
        business_type: call.business_type.to_string(),
        business_id: call.business_id.to_string(),
        payload: action.payload.clone(),
        results: results(call),
        ext_properties: overlaid(&call.tx_ext, &action.ext),
        time_left_ms: Some(millis(call.time_left)),
        attempt: call.attempt,
    }
}

/// The bytes that a message may have around its only call.
const AROUND: usize = 32;

/// Converts a call with its payload, unless it is too long for a message of its own; the error says so.
pub(crate) fn call_that_fits(call: &Call, epoch: u64) -> Result<v1::Call, String> {
    let converted = self::call(call, epoch);
    let bytes = converted.encoded_len();
    if bytes + AROUND <= bounds::CALL_BYTES {
        return Ok(converted);
    }
    let results = call.results.iter().map(|(_, result)| result.len());
    Err(format!(
        "the {} of action {} was not sent to {}: it has {bytes} bytes, {} of them results of earlier actions; at most \
         {} are sent",
        call.operation,
        call.action.name,
        call.action.participant,
        results.sum::<usize>(),
        bounds::CALL_BYTES - AROUND
    ))
}

/// Converts the results that go with a call.
pub(super) fn results(call: &Call) -> Vec<v1::ActionState> {
    let result = |(name, result): &(Name, Bytes)| v1::ActionState {
        name: name.to_string(),
        // Only a Try that was answered with OK has a result.
        status: words::action_status(ActionStatus::Tried).into(),
        result: result.clone(),
    };
    call.results.iter().map(result).collect()
}

/// Returns the transaction's properties, overlaid with the action's.
pub(super) fn overlaid(tx: &Ext, action: &Ext) -> Ext {
    let mut all = tx.clone();
    all.extend(
        action
            .iter()
            .map(|(key, value)| (key.clone(), value.clone())),
    );
    all
}

/// Converts a question to an initiator.
pub(crate) fn ask_back(ask: &AskBack, epoch: u64) -> v1::CheckBackCall {
    v1::CheckBackCall {
        epoch,
        call_id: ask.id.0,
        tx_id: ask.tx.to_string(),
        participant: ask.participant.to_string(),
        business_type: ask.business_type.to_string(),
        business_id: ask.business_id.to_string(),
        ext_properties: ask.ext.clone(),
        attempt: ask.attempt,
        time_left_ms: Some(millis(ask.timeout)),
    }
}

/// Reads a result that came on this route; `None` without a right id and operation.
pub(crate) fn call_result(route: Route, result: v1::Result) -> Option<CallResult> {
    Some(CallResult {
        route,
        epoch: result.epoch,
        call: CallId(result.call_id),
        tx: tx_id(&result.tx_id)?,
        operation: words::operation_from(result.operation)?,
        action: result.action.into(),
        answer: call_answer(words::operation_from(result.operation)?, result.outcome),
    })
}

/// Reads a participant's answer to a call of this operation. Only a Try has a result, and so a size to keep.
pub(crate) fn call_answer(
    operation: Operation,
    outcome: Option<v1::result::Outcome>,
) -> CallAnswer {
    use v1::result::Outcome::{Done, Rejected, Unknown};
    match outcome {
        Some(Done(_)) if operation != Operation::Try => CallAnswer::Ok(Bytes::new()),
        Some(Done(done)) if done.result.len() > limits::RESULT_BYTES => {
            too_large(done.result.len() as u64)
        }
        Some(Done(done)) => CallAnswer::Ok(compact(&done.result)),
        Some(Rejected(rejected)) => CallAnswer::Rejected(cut(&rejected.reason)),
        Some(Unknown(unknown)) => CallAnswer::Unknown(cut(&unknown.error)),
        None => CallAnswer::Unknown("the participant answered without an outcome".to_owned()),
    }
}

/// Returns the answer of a Try that returned more than is accepted.
pub(crate) fn too_large(bytes: u64) -> CallAnswer {
    CallAnswer::Unknown(format!(
        "the participant returned {bytes} bytes; at most {} are accepted",
        limits::RESULT_BYTES
    ))
}

/// Reads the result of a question that came on this route; `None` without a right id.
pub(crate) fn check_back_result(
    route: Route,
    result: &v1::CheckBackResult,
) -> Option<CheckBackResult> {
    Some(CheckBackResult {
        route,
        epoch: result.epoch,
        call: CallId(result.call_id),
        tx: tx_id(&result.tx_id)?,
        answer: check_back_answer(result.outcome, &result.error).into(),
    })
}

/// Reads an initiator's answer to a question.
pub(crate) fn check_back_answer(outcome: i32, error: &str) -> Result<Outcome, String> {
    words::outcome_from(outcome).ok_or_else(|| {
        if outcome != v1::Outcome::Unspecified as i32 {
            format!(
                "the initiator answered with the unknown outcome {outcome}; known: {}",
                words::OUTCOMES
            )
        } else if error.is_empty() {
            "the initiator does not know the outcome".to_owned()
        } else {
            cut(error)
        }
    })
}

/// Reads the id of a transaction in any form of a UUID: the engine compares it with that of the call.
fn tx_id(text: &str) -> Option<TxId> {
    Uuid::parse_str(text).ok().map(TxId)
}
