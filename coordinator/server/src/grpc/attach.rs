//! `Attach`: a participant's stream. Calls go out in batches as the engine's thread hands them over; results go to the
//! engine as they come, and the engine decides which count.

use std::sync::Arc;

use futures::{Stream, stream};
use tercet_core::{
    id::StreamId,
    model::Name,
    port::{Call, Input, Route},
};
use tercet_failpoint::reach;
use tercet_proto::v1::{self, attach_reply, attach_request};
use tokio::{sync::mpsc, time::timeout};
use tonic::{Status, Streaming};
use tracing::{info, warn};

use super::{Api, draining, translate};
use crate::{bounds, driver::ToParticipant, error::RequestError, requests::Hello, wire};

/// A turn of the stream of replies that the reading task gives, besides calls.
enum Turn {
    /// The participant is attached: send the welcome.
    Welcome,
    /// The stream ends with this status.
    End(Status),
}

/// Opens the stream. It is attached once Hello came, and detached when either side ends.
pub(super) fn open(
    api: Api,
    requests: Streaming<v1::AttachRequest>,
) -> impl Stream<Item = Result<v1::AttachReply, Status>> {
    let (calls, to_send) = mpsc::unbounded_channel();
    let (turn, turns) = mpsc::channel(2);
    let welcome = welcome(&api);
    let epoch = api.node.epoch;
    tokio::spawn(read(api, requests, calls, turn));
    replies(turns, to_send, welcome, epoch)
}

fn welcome(api: &Api) -> v1::Welcome {
    v1::Welcome {
        node: api.node.name.to_string(),
        epoch: api.node.epoch,
        replicas: Some(v1::Replicas {
            addresses: vec![api.node.address.to_string()],
        }),
    }
}

async fn read(
    api: Api,
    mut requests: Streaming<v1::AttachRequest>,
    calls: mpsc::UnboundedSender<ToParticipant>,
    turn: mpsc::Sender<Turn>,
) {
    let hello = match timeout(bounds::HELLO_TIMEOUT, requests.message()).await {
        Ok(Ok(Some(v1::AttachRequest {
            message: Some(attach_request::Message::Hello(hello)),
        }))) => welcomed(&api, hello).await,
        Ok(Ok(None)) => return,
        Ok(Err(status)) => Err(status),
        Ok(Ok(Some(_))) => Err(protocol("the first message of Attach must be Hello")),
        Err(_) => Err(protocol(
            "no Hello came in time; send it as soon as the stream is open",
        )),
    };
    let hello = match hello {
        Ok(hello) => hello,
        Err(status) => {
            let _ = turn.send(Turn::End(status)).await;
            return;
        }
    };
    let participant = hello.participant;
    let (driver, directory) = (&api.requests.driver, &api.requests.directory);
    let stream = driver.new_stream();
    // The welcome goes before the first call can.
    let _ = turn.send(Turn::Welcome).await;
    directory.attach(&participant);
    driver
        .attach(stream, Arc::clone(&participant), hello.concurrency, calls)
        .await;
    info!(%participant, instance = hello.instance, concurrency = hello.concurrency, "attached");
    let end = results(&api, stream, &participant, &mut requests, &turn).await;
    directory.detach(&participant);
    driver.detach(stream).await;
    info!(%participant, instance = hello.instance, "detached");
    if let Err(status) = end {
        let _ = turn.send(Turn::End(status)).await;
    }
}

fn protocol(what: &'static str) -> Status {
    RequestError::AttachProtocol(what).into()
}

/// Checks a Hello and makes its sender known.
async fn welcomed(api: &Api, hello: v1::Hello) -> Result<Hello, Status> {
    let hello = translate::hello(hello)?;
    api.requests.welcome(&hello).await?;
    Ok(hello)
}

/// Takes in results until the stream ends.
async fn results(
    api: &Api,
    stream: StreamId,
    participant: &Name,
    requests: &mut Streaming<v1::AttachRequest>,
    turn: &mpsc::Sender<Turn>,
) -> Result<(), Status> {
    let mut changes = api.requests.directory.changes();
    loop {
        let message = tokio::select! {
            message = requests.message() => message,
            // The directory outlives the stream, so this ends only with a change.
            _ = changes.changed() => {
                // Another registration than that of this stream may have been made.
                api.requests.is_welcome(participant)?;
                continue;
            }
            () = turn.closed() => return Ok(()),
            () = api.closing.cancelled() => {
                return Err(draining());
            }
        };
        // A broken connection is an end like any other.
        let Ok(Some(request)) = message else {
            return Ok(());
        };
        let inputs = match request.message {
            Some(attach_request::Message::Results(results)) => {
                reach("coordinator.result.received");
                inputs(stream, participant, results)
            }
            Some(attach_request::Message::Drain(_)) => vec![Input::Draining(stream)],
            Some(attach_request::Message::Hello(_)) => {
                return Err(protocol("Hello came twice; send it once per stream"));
            }
            None => {
                return Err(protocol(
                    "a message of Attach is empty; send results or drain",
                ));
            }
        };
        if !inputs.is_empty() {
            api.requests.driver.inform(inputs).await;
        }
    }
}

/// Translates results for the engine; those without a right id are dropped, and logged.
pub(super) fn inputs(stream: StreamId, participant: &Name, results: v1::Results) -> Vec<Input> {
    let mut inputs = Vec::with_capacity(results.results.len() + results.check_backs.len());
    for result in results.results {
        let (tx_id, call) = (result.tx_id.clone(), result.call_id);
        match wire::calls::call_result(Route::Stream(stream), result) {
            Some(result) => inputs.push(Input::CallResult(result)),
            None => {
                warn!(%participant, tx_id, call, "a result without a right id or operation is dropped");
            }
        }
    }
    for result in results.check_backs {
        let (tx_id, call) = (result.tx_id.clone(), result.call_id);
        match wire::calls::check_back_result(Route::Stream(stream), &result) {
            Some(result) => inputs.push(Input::CheckBackResult(result)),
            None => {
                warn!(%participant, tx_id, call, "a check-back without a right id is dropped");
            }
        }
    }
    inputs
}

struct Replying {
    turns: mpsc::Receiver<Turn>,
    calls: mpsc::UnboundedReceiver<ToParticipant>,
    welcome: Option<v1::Welcome>,
    epoch: u64,
    ready: Vec<attach_reply::Message>,
    over: bool,
}

fn replies(
    turns: mpsc::Receiver<Turn>,
    calls: mpsc::UnboundedReceiver<ToParticipant>,
    welcome: v1::Welcome,
    epoch: u64,
) -> impl Stream<Item = Result<v1::AttachReply, Status>> {
    let state = Replying {
        turns,
        calls,
        welcome: Some(welcome),
        epoch,
        ready: Vec::new(),
        over: false,
    };
    stream::unfold(state, |mut state| async move {
        let next = state.next().await?;
        let reply = next.map(|message| v1::AttachReply {
            message: Some(message),
        });
        Some((reply, state))
    })
}

impl Replying {
    async fn next(&mut self) -> Option<Result<attach_reply::Message, Status>> {
        loop {
            if self.over {
                return None;
            }
            if let Some(message) = self.ready.pop() {
                return Some(Ok(message));
            }
            let mut batches = Vec::new();
            tokio::select! {
                biased;
                turn = self.turns.recv() => match turn {
                    Some(Turn::Welcome) => {
                        let welcome = self.welcome.take()?;
                        return Some(Ok(attach_reply::Message::Welcome(welcome)));
                    }
                    Some(Turn::End(status)) => {
                        self.over = true;
                        return Some(Err(status));
                    }
                    None => return None,
                },
                received = self.calls.recv_many(&mut batches, bounds::STREAM_BATCH),
                    if self.welcome.is_none() =>
                {
                    if received == 0 {
                        // The engine's thread removed the stream; its end follows.
                        self.calls.close();
                        return match self.turns.recv().await {
                            Some(Turn::End(status)) => {
                                self.over = true;
                                Some(Err(status))
                            }
                            _ => None,
                        };
                    }
                }
            }
            self.fill(batches);
        }
    }

    /// Puts batches into messages of a bounded size; `ready` is taken from its end.
    fn fill(&mut self, batches: Vec<ToParticipant>) {
        let mut messages = Vec::new();
        let mut calls = v1::Calls::default();
        let mut bytes = 0;
        let mut drain = false;
        for batch in batches {
            let ToParticipant::Calls(batch) = batch else {
                drain = true;
                continue;
            };
            for call in batch.calls {
                bytes += weight(&call);
                calls.calls.push(wire::calls::call(&call, self.epoch, true));
                if bytes >= bounds::STREAM_BATCH_BYTES || calls.calls.len() >= bounds::STREAM_BATCH
                {
                    messages.push(attach_reply::Message::Calls(std::mem::take(&mut calls)));
                    bytes = 0;
                }
            }
            for ask in batch.questions {
                let question = wire::calls::ask_back(&ask, self.epoch);
                calls.check_backs.push(question);
            }
        }
        if !calls.calls.is_empty() || !calls.check_backs.is_empty() {
            messages.push(attach_reply::Message::Calls(calls));
        }
        if drain {
            messages.push(attach_reply::Message::Drain(v1::Drain {}));
        }
        messages.reverse();
        self.ready = messages;
    }
}

fn weight(call: &Call) -> usize {
    let results: usize = call.results.iter().map(|(_, result)| result.len()).sum();
    call.action.payload.len() + results
}
