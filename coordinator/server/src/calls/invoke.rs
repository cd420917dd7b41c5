//! Calls to `tercet.v1.Participant` at a registered address.

use bytes::Bytes;
use http::HeaderMap;
use prost::{
    Message as _,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};
use tercet_core::{
    limits,
    model::{Operation, Outcome},
    port::{AskBack, Call, CallAnswer, CheckBackAnswer},
};
use tercet_proto::v1;
use tonic::Code;

use super::{
    connections::Connections,
    departure::Departure,
    unary::{self, Answer, Message, Outgoing, cut_bytes},
};
use crate::wire::calls;

/// Bytes of an answer besides its result.
const ENVELOPE_BYTES: usize = 16 * 1024;

const INVOKE: &str = "/tercet.v1.Participant/Invoke";
const CHECK_BACK: &str = "/tercet.v1.Participant/CheckBack";

/// Invokes the participant; returns its answer.
pub(super) async fn call(
    connections: &Connections,
    address: &str,
    call: &Call,
    departure: &Departure,
    epoch: u64,
) -> CallAnswer {
    let sent = match calls::call_that_fits(call, epoch) {
        Ok(sent) => sent,
        Err(error) => return CallAnswer::Unknown(error),
    };
    let outgoing = Outgoing {
        address,
        path: INVOKE,
        metadata: HeaderMap::new(),
        message: sent.encode_to_vec().into(),
        keep: limits::RESULT_BYTES + ENVELOPE_BYTES,
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
    let read = answer.message.and_then(|message| read(&message));
    let Some((result, outcome)) = read else {
        return CallAnswer::Unknown("the participant's answer cannot be read".to_owned());
    };
    let same = result.epoch == sent.epoch
        && result.call_id == sent.call_id
        && result.tx_id == sent.tx_id
        && result.action == sent.action
        && result.operation == sent.operation;
    if !same {
        return CallAnswer::Unknown("the participant answered for another call".to_owned());
    }
    match outcome {
        None => calls::call_answer(call.operation, result.outcome),
        Some(Cut::Done(_)) if call.operation != Operation::Try => CallAnswer::Ok(Bytes::new()),
        Some(Cut::Done(bytes)) => calls::too_large(bytes),
        Some(Cut::Rejected(reason)) => CallAnswer::Rejected(reason),
        Some(Cut::Unknown(error)) => CallAnswer::Unknown(error),
    }
}

/// Asks an initiator back; returns its answer.
pub(super) async fn ask_back(
    connections: &Connections,
    address: &str,
    ask: &AskBack,
    departure: &Departure,
    epoch: u64,
) -> CheckBackAnswer {
    let sent = calls::ask_back(ask, epoch);
    let outgoing = Outgoing {
        address,
        path: CHECK_BACK,
        metadata: HeaderMap::new(),
        message: sent.encode_to_vec().into(),
        keep: ENVELOPE_BYTES,
        limit: ask.timeout,
        departure,
    };
    match unary::exchange(connections, outgoing).await {
        Ok(answer) => outcome(&sent, answer).into(),
        Err(lost) => lost.into(),
    }
}

/// Returns the outcome that an initiator answered with.
fn outcome(sent: &v1::CheckBackCall, answer: Answer) -> Result<Outcome, String> {
    if answer.code != Code::Ok {
        return Err(answer.words());
    }
    // Of a message that is cut only the words may be missing.
    let message = answer.message.unwrap_or(Message {
        bytes: Bytes::new(),
        length: 0,
    });
    let result = v1::CheckBackResult::decode(split(&message.bytes).whole)
        .map_err(|error| format!("the initiator's answer cannot be read: {error}"))?;
    if (result.epoch, result.call_id) != (sent.epoch, sent.call_id) || result.tx_id != sent.tx_id {
        return Err("the initiator answered for another call".to_owned());
    }
    calls::check_back_answer(result.outcome, &result.error)
}

/// The outcome of an answer that is too long to be kept.
#[derive(Debug, PartialEq, Eq)]
enum Cut {
    /// Done, with a result of so many bytes.
    Done(u64),
    Rejected(String),
    Unknown(String),
}

/// Reads an answer; of one that was kept in part, the fields that are whole and the outcome that is cut.
fn read(message: &Message) -> Option<(v1::Result, Option<Cut>)> {
    let parts = split(&message.bytes);
    let result = v1::Result::decode(parts.whole).ok()?;
    if message.is_whole() {
        // Bytes that are no field make the whole unreadable.
        return parts.cut.is_none().then_some((result, None));
    }
    let Some((tag, mut inside)) = parts.cut else {
        return Some((result, None));
    };
    // Each outcome has one field, of bytes or text.
    let (_, wire_type) = decode_key(&mut inside).ok()?;
    if wire_type != WireType::LengthDelimited {
        return None;
    }
    let length = decode_varint(&mut inside).ok()?;
    let outcome = match tag {
        6 => Cut::Done(length),
        7 => Cut::Rejected(cut_bytes(inside)),
        8 => Cut::Unknown(cut_bytes(inside)),
        _ => return None,
    };
    Some((result, Some(outcome)))
}

/// The first bytes of a message.
struct Split<'a> {
    /// The fields that are there as a whole.
    whole: &'a [u8],
    /// The tag of the one after them, and what there is of its content.
    cut: Option<(u32, &'a [u8])>,
}

/// Splits the first bytes of a message after its last whole field.
fn split(bytes: &[u8]) -> Split<'_> {
    let mut rest = bytes;
    loop {
        let whole = &bytes[..bytes.len() - rest.len()];
        if rest.is_empty() {
            return Split { whole, cut: None };
        }
        let mut field = rest;
        let Ok((tag, wire_type)) = decode_key(&mut field) else {
            return Split {
                whole,
                cut: Some((0, rest)),
            };
        };
        let mut after = field;
        if skip_field(wire_type, tag, &mut after, DecodeContext::default()).is_ok() {
            rest = after;
            continue;
        }
        // The length, where the field has one.
        let content = match decode_varint(&mut field) {
            Ok(_) => field,
            Err(_) => &[],
        };
        return Split {
            whole,
            cut: Some((tag, content)),
        };
    }
}
