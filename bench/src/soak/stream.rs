//! Attach streams of participants that read badly, without the SDK.

use std::sync::Arc;
use std::time::Duration;

use tercet_proto::v1::participants_client::ParticipantsClient;
use tercet_proto::v1::{self, attach_reply, attach_request};
use tercet_sdk::CallAnswer;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;

use crate::ledger::Ledger;
use crate::names::{MODES, handler};

/// Calls that the stream takes at once.
const CONCURRENCY: u32 = 64;
/// The pause before a stream is opened again.
const REOPEN_AFTER: Duration = Duration::from_secs(1);
/// The window of the stream, as most clients have it.
const WINDOW: u32 = 65_535;
/// The length of the longest message that is accepted, as most clients have it.
const MESSAGE: usize = 4 << 20;

/// The ways to read a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Reads every call and answers it.
    Answers,
    /// Reads every call and answers none.
    Ignores,
    /// Reads the Welcome and no more.
    Stops,
}

/// Attaches again and again.
pub(crate) async fn attach_for_ever(address: &str, ledger: &Arc<Ledger>, reading: Reading) {
    loop {
        // Its end is what it is for: the coordinator cuts it off, or goes away.
        let _ = attach(address, ledger, reading).await;
        tokio::time::sleep(REOPEN_AFTER).await;
    }
}

async fn attach(address: &str, ledger: &Ledger, reading: Reading) -> anyhow::Result<()> {
    let channel = Endpoint::from_shared(address.to_owned())?
        .initial_stream_window_size(WINDOW)
        .connect()
        .await?;
    let (outgoing, messages) = mpsc::channel(1);
    outgoing.send(hello(ledger.name)).await?;
    let mut client = ParticipantsClient::new(channel).max_decoding_message_size(MESSAGE);
    let mut incoming = client
        .attach(ReceiverStream::new(messages))
        .await?
        .into_inner();
    while let Some(reply) = incoming.message().await? {
        match (reading, reply.message) {
            (Reading::Stops, _) => {
                outgoing.closed().await;
                return Ok(());
            }
            (Reading::Answers, Some(attach_reply::Message::Calls(calls))) => {
                outgoing.send(answers(ledger, calls)).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn hello(name: &str) -> v1::AttachRequest {
    let handlers = MODES.map(|mode| v1::Handler {
        name: handler(mode).to_owned(),
        mode: mode.into(),
    });
    request(attach_request::Message::Hello(v1::Hello {
        participant: name.to_owned(),
        instance: "soak".to_owned(),
        concurrency: CONCURRENCY,
        handlers: handlers.to_vec(),
        answers_check_back: false,
    }))
}

fn answers(ledger: &Ledger, calls: v1::Calls) -> v1::AttachRequest {
    let results = calls.calls.into_iter().map(|call| {
        let outcome = match ledger.carry_out(&call) {
            CallAnswer::Done(result) => v1::result::Outcome::Done(v1::Done {
                result: result.into(),
            }),
            CallAnswer::Rejected(reason) => v1::result::Outcome::Rejected(v1::Rejected { reason }),
            CallAnswer::Unknown(error) => v1::result::Outcome::Unknown(v1::Unknown { error }),
        };
        v1::Result {
            epoch: call.epoch,
            call_id: call.call_id,
            tx_id: call.tx_id,
            action: call.action,
            operation: call.operation,
            outcome: Some(outcome),
        }
    });
    request(attach_request::Message::Results(v1::Results {
        results: results.collect(),
        ..v1::Results::default()
    }))
}

fn request(message: attach_request::Message) -> v1::AttachRequest {
    v1::AttachRequest {
        message: Some(message),
    }
}
