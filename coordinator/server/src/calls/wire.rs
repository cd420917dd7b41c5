//! Calls and answers in the words of `tercet.v1`.

use bytes::Bytes;
use tercet_core::{
    engine::{AskBack, Call, CallOutcome},
    id::TxId,
    limits as model,
    model::{ActionStatus, Operation, Outcome},
};
use tercet_proto::v1;
use uuid::Uuid;

use crate::api::convert;

/// The transaction that a participant names.
pub(crate) fn tx_id(text: &str) -> Option<TxId> {
    Uuid::parse_str(text).ok().map(TxId)
}

/// Text of a participant, cut to what is kept.
pub(crate) fn cut(text: &str) -> String {
    // Replaced first: what stands for a NUL is longer than it.
    let mut text = text.replace('\0', "\u{fffd}");
    text.truncate(text.floor_char_boundary(model::REASON_BYTES));
    text
}

/// What becomes of a Try that returned too much.
pub(crate) fn too_large(bytes: usize) -> CallOutcome {
    CallOutcome::Unknown(format!(
        "the participant returned {bytes} bytes; at most {} are accepted",
        model::RESULT_BYTES
    ))
}

/// The same bytes in an allocation of their own.
pub(crate) fn compact(bytes: &Bytes) -> Bytes {
    if bytes.is_empty() {
        Bytes::new()
    } else {
        Bytes::copy_from_slice(bytes)
    }
}

/// The call, with or without its payload.
pub(crate) fn call(call: &Call, epoch: u64, payload: bool) -> v1::Call {
    let action = &call.action;
    let status = match call.operation {
        Operation::Try | Operation::Confirm | Operation::Cancel => ActionStatus::Tried,
    };
    v1::Call {
        epoch,
        call_id: call.id.0,
        tx_id: call.tx.to_string(),
        action: action.name.to_string(),
        operation: convert::operation(call.operation).into(),
        mode: convert::mode(action.mode).into(),
        participant: action.participant.to_string(),
        handler: action.handler.to_string(),
        business_type: call.business_type.to_string(),
        business_id: call.business_id.to_string(),
        payload: if payload {
            action.payload.clone()
        } else {
            Bytes::new()
        },
        results: call
            .results
            .iter()
            .map(|(name, result)| v1::ActionState {
                name: name.to_string(),
                status: convert::action_status(status).into(),
                result: result.clone(),
            })
            .collect(),
        ext_properties: convert::overlaid(&call.tx_ext, &action.ext),
        time_left_ms: convert::millis(call.time_left),
        attempt: call.attempt,
    }
}

/// The question.
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
        time_left_ms: convert::millis(ask.timeout),
    }
}

/// What an initiator says to a question.
pub(crate) fn check_back_outcome(outcome: i32, error: &str) -> Result<Outcome, String> {
    convert::outcome_from(outcome).ok_or_else(|| {
        if error.is_empty() {
            "the initiator cannot say".to_owned()
        } else {
            cut(error)
        }
    })
}
