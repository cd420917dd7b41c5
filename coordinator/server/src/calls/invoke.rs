//! Calls to `tercet.v1.Participant` at a registered address.

use std::error::Error;

use tercet_core::{
    limits,
    model::Outcome,
    port::{AskBack, Call, CallAnswer},
};
use tercet_proto::v1::{self, participant_client::ParticipantClient};
use tonic::{Code, Status, transport::Channel};

use crate::wire::{calls, cut};

/// Bytes of an answer besides its result.
const ENVELOPE_BYTES: usize = 16 * 1024;

fn client(channel: Channel) -> ParticipantClient<Channel> {
    ParticipantClient::new(channel).max_decoding_message_size(limits::RESULT_BYTES + ENVELOPE_BYTES)
}

/// Invokes the participant; returns its answer.
pub(super) async fn call(channel: Channel, call: &Call, epoch: u64) -> CallAnswer {
    let message = match calls::call_that_fits(call, epoch) {
        Ok(message) => message,
        Err(error) => return CallAnswer::Unknown(error),
    };
    let same = |result: &v1::Result| {
        result.epoch == message.epoch
            && result.call_id == message.call_id
            && result.tx_id == message.tx_id
            && result.action == message.action
            && result.operation == message.operation
    };
    match client(channel).invoke(message.clone()).await {
        Err(status) => of_status(&status),
        Ok(result) if !same(result.get_ref()) => {
            CallAnswer::Unknown("the participant answered for another call".to_owned())
        }
        Ok(result) => calls::call_answer(result.into_inner().outcome),
    }
}

/// Asks an initiator back; returns its answer.
pub(super) async fn ask_back(
    channel: Channel,
    ask: &AskBack,
    epoch: u64,
) -> Result<Outcome, String> {
    let message = calls::ask_back(ask, epoch);
    let (epoch, call_id, tx_id) = (message.epoch, message.call_id, message.tx_id.clone());
    match client(channel).check_back(message).await {
        Err(status) => Err(text(&status)),
        Ok(result) => {
            let result = result.into_inner();
            if (result.epoch, result.call_id) != (epoch, call_id) || result.tx_id != tx_id {
                return Err("the initiator answered for another call".to_owned());
            }
            calls::check_back_answer(result.outcome, &result.error)
        }
    }
}

/// Returns the answer that a status other than OK stands for.
pub(super) fn of_status(status: &Status) -> CallAnswer {
    if status.code() == Code::Aborted {
        CallAnswer::Rejected(cut(status.message()))
    } else {
        CallAnswer::Unknown(text(status))
    }
}

/// Returns a status in words, down to the cause of a transport's error.
pub(super) fn text(status: &Status) -> String {
    let mut text = format!("{}: {}", status.code(), status.message());
    let mut source = status.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    cut(&text)
}
