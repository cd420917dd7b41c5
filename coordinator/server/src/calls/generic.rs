//! Generic invocation of any unary gRPC method: the action's payload is the request message's bytes, the context
//! travels as metadata, the response message's bytes are the result of a Try.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use tercet_core::{
    limits,
    model::{Operation, Outcome},
    port::{AskBack, Call, CallAnswer, CheckBackAnswer},
};
use tonic::Code;

use super::{
    connections::Connections,
    departure::Departure,
    unary::{self, Answer, Outgoing},
};
use crate::wire::{calls::too_large, context};

/// Calls a method; returns the participant's answer.
pub(super) async fn call(
    connections: &Connections,
    (address, path): (&str, &str),
    call: &Call,
    departure: &Departure,
    epoch: u64,
) -> CallAnswer {
    let metadata = match context::of_call(call, epoch).and_then(metadata) {
        Ok(metadata) => metadata,
        Err(error) => return CallAnswer::Unknown(error),
    };
    let outgoing = Outgoing {
        address,
        path,
        metadata,
        message: call.action.payload.clone(),
        keep: limits::RESULT_BYTES,
        limit: call.timeout,
        departure,
    };
    let answer = match unary::exchange(connections, outgoing).await {
        Ok(answer) => answer,
        Err(lost) => return lost.into(),
    };
    if let Some(refusal) = answer.refusal() {
        return refusal;
    }
    // A Confirm or Cancel has no result.
    if call.operation != Operation::Try {
        return CallAnswer::Ok(Bytes::new());
    }
    match answer.message {
        Some(message) if message.is_whole() => CallAnswer::Ok(message.bytes),
        Some(message) => too_large(message.length),
        None => CallAnswer::Unknown("the participant answered without a message".to_owned()),
    }
}

/// Asks an initiator back; returns its answer.
pub(super) async fn ask_back(
    connections: &Connections,
    (address, path): (&str, &str),
    ask: &AskBack,
    departure: &Departure,
    epoch: u64,
) -> CheckBackAnswer {
    let metadata = match metadata(context::of_ask(ask, epoch)) {
        Ok(metadata) => metadata,
        Err(error) => return CheckBackAnswer::Unknown(error),
    };
    let outgoing = Outgoing {
        address,
        path,
        metadata,
        message: Bytes::new(),
        keep: 0,
        limit: ask.timeout,
        departure,
    };
    match unary::exchange(connections, outgoing).await {
        Ok(answer) => outcome(&answer).into(),
        Err(lost) => lost.into(),
    }
}

/// Returns the outcome that an initiator answered with.
fn outcome(answer: &Answer) -> Result<Outcome, String> {
    if answer.code != Code::Ok {
        return Err(answer.words());
    }
    let outcome = answer.metadata.get(context::OUTCOME);
    context::outcome(outcome.and_then(|value| value.to_str().ok()))
}

fn metadata(pairs: Vec<(&'static str, String)>) -> Result<HeaderMap, String> {
    let pair = |(name, value): (&'static str, String)| {
        let value = HeaderValue::try_from(value)
            .map_err(|_| format!("the value of {name} cannot be metadata"))?;
        Ok((HeaderName::from_static(name), value))
    };
    pairs.into_iter().map(pair).collect()
}
