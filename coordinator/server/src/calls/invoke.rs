//! Calls to `tercet.v1.Participant` at a registered address.

use std::error::Error;

use tercet_core::{
    engine::{AskBack, Call, CallOutcome},
    limits as model,
    model::Outcome,
};
use tercet_proto::v1::{self, participant_client::ParticipantClient};
use tonic::{Code, Status, transport::Channel};

use super::wire::{self, cut};
use crate::api;

/// Room for what an answer carries besides its result.
const ENVELOPE_BYTES: usize = 16 * 1024;

fn client(channel: Channel) -> ParticipantClient<Channel> {
    ParticipantClient::new(channel).max_decoding_message_size(model::RESULT_BYTES + ENVELOPE_BYTES)
}

pub(super) async fn call(channel: Channel, call: &Call, epoch: u64) -> CallOutcome {
    let asked = wire::call(call, epoch, true);
    let same = |result: &v1::Result| {
        result.epoch == asked.epoch
            && result.call_id == asked.call_id
            && result.tx_id == asked.tx_id
            && result.action == asked.action
            && result.operation == asked.operation
    };
    match client(channel).invoke(asked.clone()).await {
        Err(status) => of_status(&status),
        Ok(answer) if !same(answer.get_ref()) => {
            CallOutcome::Unknown("the participant answered for another call".to_owned())
        }
        Ok(answer) => api::outcome(answer.into_inner().outcome),
    }
}

pub(super) async fn ask(channel: Channel, ask: &AskBack, epoch: u64) -> Result<Outcome, String> {
    let asked = wire::ask_back(ask, epoch);
    let (epoch, call_id, tx_id) = (asked.epoch, asked.call_id, asked.tx_id.clone());
    match client(channel).check_back(asked).await {
        Err(status) => Err(text(&status)),
        Ok(answer) => {
            let answer = answer.into_inner();
            if (answer.epoch, answer.call_id) != (epoch, call_id) || answer.tx_id != tx_id {
                return Err("the initiator answered for another call".to_owned());
            }
            wire::check_back_outcome(answer.outcome, &answer.error)
        }
    }
}

/// What a status other than OK means.
pub(super) fn of_status(status: &Status) -> CallOutcome {
    if status.code() == Code::Aborted {
        CallOutcome::Rejected(cut(status.message()))
    } else {
        CallOutcome::Unknown(text(status))
    }
}

/// The status in words, down to the cause of a transport's error.
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
