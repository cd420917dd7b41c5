//! `Attach`: a participant's stream. Calls go out in batches as the driver hands them over, results come
//! in and go to the engine as they are: it judges which count.

use std::sync::Arc;

use futures::{Stream, stream};
use tercet_core::{
    engine::{Answer, AskBack, Call, CallOutcome, CheckBackAnswer, Input, Route},
    id::{CallId, StreamId},
    limits as model,
    model::Name,
};
use tercet_failpoint::reach;
use tercet_proto::v1::{
    self, attach_reply::Message as Out, attach_request::Message as In, result::Outcome,
};
use tokio::{sync::mpsc, time::timeout};
use tonic::{Status, Streaming};
use tracing::{info, warn};

use super::{
    Api, convert,
    error::ApiError,
    validate::{At, Violations},
};
use crate::{
    calls::{wire, wire::cut},
    directory::{Participant, Protocol},
    driver::{Message, StreamSender, ToParticipant},
    limits,
};

/// What the reading task tells the stream of replies besides calls.
enum Told {
    Welcome,
    Ended(Status),
}

/// Opens the stream. It is attached once Hello came, and detached when either side ends.
pub(super) fn open(
    api: Api,
    requests: Streaming<v1::AttachRequest>,
) -> impl Stream<Item = Result<v1::AttachReply, Status>> {
    let (calls, to_send) = mpsc::unbounded_channel();
    let (tell, told) = mpsc::channel(2);
    let welcome = welcome(&api);
    let epoch = api.node.epoch;
    tokio::spawn(read(api, requests, calls, tell));
    replies(told, to_send, welcome, epoch)
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
    calls: StreamSender,
    tell: mpsc::Sender<Told>,
) {
    let hello = match timeout(limits::HELLO_TIMEOUT, requests.message()).await {
        Ok(Ok(Some(v1::AttachRequest {
            message: Some(In::Hello(hello)),
        }))) => said(&api, hello).await,
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
            let _ = tell.send(Told::Ended(status)).await;
            return;
        }
    };
    let participant = Name::from(hello.participant);
    let stream = StreamId(api.driver.next_id());
    // The welcome goes before the first call can.
    let _ = tell.send(Told::Welcome).await;
    api.directory().attach(&participant);
    api.driver
        .send(Message::Attached {
            stream,
            participant: Arc::clone(&participant),
            concurrency: hello.concurrency,
            sender: calls,
        })
        .await;
    info!(%participant, instance = hello.instance, concurrency = hello.concurrency, "attached");
    let end = results(&api, stream, &participant, &mut requests, &tell).await;
    api.directory().detach(&participant);
    api.driver.send(Message::Detached(stream)).await;
    info!(%participant, instance = hello.instance, "detached");
    if let Err(status) = end {
        let _ = tell.send(Told::Ended(status)).await;
    }
}

fn protocol(what: &'static str) -> Status {
    ApiError::AttachProtocol(what).into()
}

/// Checks a Hello and makes its sender known.
async fn said(api: &Api, hello: v1::Hello) -> Result<v1::Hello, Status> {
    let mut v = Violations::default();
    v.name(&At::field("hello.participant"), &hello.participant);
    v.name(&At::field("hello.instance"), &hello.instance);
    if hello.concurrency == 0 || hello.concurrency > limits::STREAM_CONCURRENCY {
        v.add(
            "hello.concurrency",
            format!(
                "is {}; 1 to {} are accepted",
                hello.concurrency,
                limits::STREAM_CONCURRENCY
            ),
        );
    }
    if hello.handlers.len() > limits::HANDLERS {
        v.add(
            "hello.handlers",
            format!(
                "has {} handlers; at most {} are accepted",
                hello.handlers.len(),
                limits::HANDLERS
            ),
        );
    } else {
        let root = At::field("hello");
        for (i, handler) in hello.handlers.iter().enumerate() {
            v.name(&root.index("handlers", i).of("name"), &handler.name);
        }
    }
    v.finish()?;
    let known = api.directory().snapshot();
    let attaches = known
        .get(hello.participant.as_str())
        .is_some_and(|known| known.protocol == Protocol::Attach);
    if !attaches {
        let participant = Participant::attaching(hello.participant.as_str().into());
        api.register(participant).await?;
    }
    Ok(hello)
}

/// Takes in results until the stream ends.
async fn results(
    api: &Api,
    stream: StreamId,
    participant: &Name,
    requests: &mut Streaming<v1::AttachRequest>,
    tell: &mpsc::Sender<Told>,
) -> Result<(), Status> {
    loop {
        let message = tokio::select! {
            message = requests.message() => message,
            () = tell.closed() => return Ok(()),
            () = api.closing.cancelled() => {
                return Err(super::refused(tercet_core::refusal::Refusal::Draining));
            }
        };
        // A broken connection is an end like any other.
        let Ok(Some(request)) = message else {
            return Ok(());
        };
        let inputs = match request.message {
            Some(In::Results(results)) => {
                reach("coordinator.result.received");
                inputs(stream, participant, results)
            }
            Some(In::Drain(_)) => vec![Input::Draining(stream)],
            Some(In::Hello(_)) => {
                return Err(protocol("Hello came twice; it is said once a stream"));
            }
            None => {
                return Err(protocol(
                    "a message of Attach is empty; send results or drain",
                ));
            }
        };
        if !inputs.is_empty() {
            api.driver.send(Message::Inputs(inputs)).await;
        }
    }
}

pub(super) fn inputs(stream: StreamId, participant: &Name, results: v1::Results) -> Vec<Input> {
    let mut inputs = Vec::with_capacity(results.results.len() + results.check_backs.len());
    for result in results.results {
        let (tx_id, call) = (result.tx_id.clone(), result.call_id);
        match answer(stream, result) {
            Some(answer) => inputs.push(Input::Answered(answer)),
            None => {
                warn!(%participant, tx_id, call, "a result without a right id or operation is dropped");
            }
        }
    }
    for result in results.check_backs {
        let (tx_id, call) = (result.tx_id.clone(), result.call_id);
        if let Some(answer) = asked_back(stream, &result) {
            inputs.push(Input::AskedBack(answer));
        } else {
            warn!(%participant, tx_id, call, "a check-back without a right id is dropped");
        }
    }
    inputs
}

fn answer(stream: StreamId, result: v1::Result) -> Option<Answer> {
    Some(Answer {
        route: Route::Stream(stream),
        epoch: result.epoch,
        call: CallId(result.call_id),
        tx: wire::tx_id(&result.tx_id)?,
        operation: convert::operation_from(result.operation)?,
        action: result.action.into(),
        outcome: outcome(result.outcome),
    })
}

fn asked_back(stream: StreamId, result: &v1::CheckBackResult) -> Option<CheckBackAnswer> {
    Some(CheckBackAnswer {
        route: Route::Stream(stream),
        epoch: result.epoch,
        call: CallId(result.call_id),
        tx: wire::tx_id(&result.tx_id)?,
        outcome: wire::check_back_outcome(result.outcome, &result.error),
    })
}

/// What a participant of the project's own protocol says.
pub(crate) fn outcome(outcome: Option<Outcome>) -> CallOutcome {
    match outcome {
        Some(Outcome::Done(done)) if done.result.len() > model::RESULT_BYTES => {
            wire::too_large(done.result.len())
        }
        // The result may be a slice of a large message: kept as it is, it would keep all of that.
        Some(Outcome::Done(done)) => CallOutcome::Ok(wire::compact(&done.result)),
        Some(Outcome::Rejected(rejected)) => CallOutcome::Rejected(cut(&rejected.reason)),
        Some(Outcome::Unknown(unknown)) => CallOutcome::Unknown(cut(&unknown.error)),
        None => CallOutcome::Unknown("the participant answered without an outcome".to_owned()),
    }
}

struct Replies {
    told: mpsc::Receiver<Told>,
    calls: mpsc::UnboundedReceiver<ToParticipant>,
    welcome: Option<v1::Welcome>,
    epoch: u64,
    ready: Vec<Out>,
    over: bool,
}

fn replies(
    told: mpsc::Receiver<Told>,
    calls: mpsc::UnboundedReceiver<ToParticipant>,
    welcome: v1::Welcome,
    epoch: u64,
) -> impl Stream<Item = Result<v1::AttachReply, Status>> {
    let state = Replies {
        told,
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

impl Replies {
    async fn next(&mut self) -> Option<Result<Out, Status>> {
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
                told = self.told.recv() => match told {
                    Some(Told::Welcome) => {
                        return self.welcome.take().map(|welcome| Ok(Out::Welcome(welcome)));
                    }
                    Some(Told::Ended(status)) => {
                        self.over = true;
                        return Some(Err(status));
                    }
                    None => return None,
                },
                received = self.calls.recv_many(&mut batches, limits::STREAM_BATCH),
                    if self.welcome.is_none() =>
                {
                    if received == 0 {
                        // The driver let go of the stream; its end follows.
                        self.calls.close();
                        return match self.told.recv().await {
                            Some(Told::Ended(status)) => {
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
            let ToParticipant::Calls(batch, asks) = batch else {
                drain = true;
                continue;
            };
            for call in batch {
                bytes += weight(&call);
                calls.calls.push(wire::call(&call, self.epoch, true));
                if bytes >= limits::STREAM_BATCH_BYTES || calls.calls.len() >= limits::STREAM_BATCH
                {
                    messages.push(Out::Calls(std::mem::take(&mut calls)));
                    bytes = 0;
                }
            }
            for ask in asks {
                calls.check_backs.push(ask_back(&ask, self.epoch));
            }
        }
        if !calls.calls.is_empty() || !calls.check_backs.is_empty() {
            messages.push(Out::Calls(calls));
        }
        if drain {
            messages.push(Out::Drain(v1::Drain {}));
        }
        messages.reverse();
        self.ready = messages;
    }
}

fn weight(call: &Call) -> usize {
    let results: usize = call.results.iter().map(|(_, result)| result.len()).sum();
    call.action.payload.len() + results
}

fn ask_back(ask: &AskBack, epoch: u64) -> v1::CheckBackCall {
    wire::ask_back(ask, epoch)
}
