//! `Attach`: a participant's stream. Calls go out in batches as the engine's thread hands them over; results go to the
//! engine as they come, and the engine decides which count.

use std::{collections::VecDeque, sync::Arc};

use futures::{Stream, stream};
use prost::Message as _;
use tercet_core::{
    id::StreamId,
    model::Name,
    port::{Abilities, Call, CallAnswer, CallResult, Input, Route},
};
use tercet_failpoint::reach;
use tercet_proto::v1::{self, attach_reply, attach_request};
use tokio::{sync::mpsc, time::timeout};
use tonic::{Status, Streaming};
use tracing::{info, warn};

use super::{Api, draining, room_after, sized, translate};
use crate::{
    backlog::{Inbound, Outbox, Peer, Taking, Unread},
    bounds,
    directory::Said,
    driver::{Calls, Driver, ToParticipant},
    error::RequestError,
    requests::Hello,
    wire,
};

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
    peer: Peer,
    inbound: Option<Inbound>,
    requests: Streaming<v1::AttachRequest>,
) -> impl Stream<Item = Result<v1::AttachReply, Status>> {
    let calls = Calls::new(Outbox::on(&peer));
    let (turn, turns) = mpsc::channel(2);
    let replying = Replying {
        peer: peer.clone(),
        driver: api.requests.driver.clone(),
        turns,
        calls: Arc::clone(&calls),
        welcome: Some(welcome(&api)),
        epoch: api.node.epoch,
        ready: VecDeque::new(),
        ended: None,
        over: false,
    };
    tokio::spawn(read(api, peer, Incoming { requests, inbound }, calls, turn));
    replying.stream()
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

/// The messages of a participant.
struct Incoming {
    requests: Streaming<v1::AttachRequest>,
    inbound: Option<Inbound>,
}

impl Incoming {
    /// Returns the next message, and its bytes, which count until it is taken in.
    async fn message(&mut self) -> Result<Option<(v1::AttachRequest, Option<Taking>)>, Status> {
        let message = self.requests.message().await?;
        Ok(message.map(|message| (message, self.inbound.as_ref().map(Inbound::take))))
    }
}

async fn read(
    api: Api,
    peer: Peer,
    mut incoming: Incoming,
    calls: Calls,
    turn: mpsc::Sender<Turn>,
) {
    let hello = match timeout(bounds::HELLO_TIMEOUT, incoming.message()).await {
        Ok(Ok(Some((
            v1::AttachRequest {
                message: Some(attach_request::Message::Hello(hello)),
            },
            _taking,
        )))) => welcomed(&api, hello).await,
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
    let _named = peer.name_stream(&format!(
        "participant {} (instance {})",
        hello.participant, hello.instance
    ));
    // The welcome goes before the first call can.
    let _ = turn.send(Turn::Welcome).await;
    let abilities = hello.abilities();
    let attached = Attached::new(&api, &hello, &abilities);
    let driver = &api.requests.driver;
    let (participant, concurrency) = (Arc::clone(&hello.participant), hello.concurrency);
    driver
        .attach(
            attached.stream,
            participant,
            concurrency,
            abilities,
            Arc::clone(&calls),
        )
        .await;
    info!(participant = %hello.participant, instance = hello.instance, concurrency, "attached");
    let most = usize::try_from(concurrency).unwrap_or(usize::MAX);
    let end = tokio::select! {
        end = results(&attached, &mut incoming, &turn) => end,
        unread = calls.unread(most.max(bounds::STREAM_BATCH)) => {
            cut(&peer, unread);
            Ok(())
        }
    };
    drop(attached);
    info!(participant = %hello.participant, instance = hello.instance, "detached");
    if let Err(status) = end {
        let _ = turn.send(Turn::End(status)).await;
    }
}

/// Cuts off a participant that does not read its calls.
fn cut(peer: &Peer, unread: Unread) {
    let Unread {
        number,
        bytes,
        time,
    } = unread;
    peer.cut(&format!(
        "it leaves {number} calls of {bytes} bytes unread since {} s",
        time.as_secs()
    ));
}

/// A stream that is attached until this is dropped, even by a panic.
struct Attached<'a> {
    api: &'a Api,
    stream: StreamId,
    participant: &'a Name,
    said: Arc<Said>,
}

impl<'a> Attached<'a> {
    fn new(api: &'a Api, hello: &'a Hello, abilities: &Abilities) -> Self {
        let participant = &hello.participant;
        let (stream, said) = (api.requests.driver.new_stream(), Arc::new(abilities.into()));
        let directory = &api.requests.directory;
        directory.attach(participant, stream, Arc::clone(&said));
        Self {
            api,
            stream,
            participant,
            said,
        }
    }
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        let directory = &self.api.requests.directory;
        directory.detach(self.participant, self.stream);
        self.api.requests.driver.detach(self.stream);
    }
}

fn protocol(what: &'static str) -> Status {
    RequestError::AttachProtocol(what).into()
}

/// Checks a Hello and makes its sender known.
async fn welcomed(api: &Api, hello: v1::Hello) -> Result<Hello, Status> {
    let hello = translate::hello(hello)?;
    if api.calls_ended.is_cancelled() {
        return Err(draining());
    }
    let said = Said::from(&hello.abilities());
    api.requests.welcome(&hello.participant, &said).await?;
    Ok(hello)
}

/// Takes in results until the stream ends.
async fn results(
    attached: &Attached<'_>,
    incoming: &mut Incoming,
    turn: &mpsc::Sender<Turn>,
) -> Result<(), Status> {
    let Attached {
        api,
        stream,
        participant,
        ref said,
    } = *attached;
    let mut changes = api.requests.directory.changes();
    loop {
        let message = tokio::select! {
            message = incoming.message() => message,
            // The directory outlives the stream, so this ends only with a change.
            _ = changes.changed() => {
                // Another registration than that of this stream may have been made, or one without its handlers.
                api.requests.welcome(participant, said).await?;
                continue;
            }
            () = turn.closed() => return Ok(()),
            () = api.closing.cancelled() => {
                return Err(draining());
            }
        };
        // The status names the message that cannot be read; after a broken connection no peer is left to get it.
        let Some((request, taking)) = message? else {
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
            api.requests.driver.take_in(inputs, taking).await;
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
    peer: Peer,
    driver: Driver,
    turns: mpsc::Receiver<Turn>,
    calls: Calls,
    welcome: Option<v1::Welcome>,
    epoch: u64,
    ready: VecDeque<attach_reply::Message>,
    /// The status with which the stream ends, after the messages that are ready.
    ended: Option<Status>,
    over: bool,
}

impl Replying {
    fn stream(self) -> impl Stream<Item = Result<v1::AttachReply, Status>> {
        stream::unfold(self, |mut state| async move {
            let next = state.next().await?;
            let reply = next.map(|message| v1::AttachReply {
                message: Some(message),
            });
            Some((reply, state))
        })
    }

    async fn next(&mut self) -> Option<Result<attach_reply::Message, Status>> {
        loop {
            if self.over {
                return None;
            }
            if let Some(message) = self.ready.pop_front() {
                return Some(Ok(message));
            }
            if let Some(status) = self.ended.take() {
                self.over = true;
                return Some(Err(status));
            }
            tokio::select! {
                biased;
                turn = self.turns.recv() => match turn {
                    Some(Turn::Welcome) => {
                        let welcome = self.welcome.take()?;
                        return Some(Ok(attach_reply::Message::Welcome(welcome)));
                    }
                    Some(Turn::End(status)) => return Some(self.end(status)),
                    None => return None,
                },
                () = room_after(&self.peer, self.calls.waits()), if self.welcome.is_none() => {
                    let Some(taken) = self.calls.take(bounds::STREAM_BATCH, bounds::STREAM_BATCH_BYTES) else {
                        // The engine's thread removed the stream; its end follows.
                        return match self.turns.recv().await {
                            Some(Turn::End(status)) => Some(self.end(status)),
                            _ => None,
                        };
                    };
                    let unsent = self.fill(taken);
                    if !unsent.is_empty() {
                        self.driver.inform(unsent).await;
                    }
                }
            }
        }
    }

    /// Ends the stream, after a Drain if one waits.
    fn end(&mut self, status: Status) -> Result<attach_reply::Message, Status> {
        let waiting = self.calls.take(usize::MAX, usize::MAX).unwrap_or_default();
        let drains = waiting
            .iter()
            .any(|item| matches!(item, ToParticipant::Drain));
        if drains {
            self.ended = Some(status);
            return Ok(attach_reply::Message::Drain(v1::Drain {}));
        }
        self.over = true;
        Err(status)
    }

    /// Puts calls into messages of a bounded size. Returns the answers to calls that are too long to be sent.
    fn fill(&mut self, taken: Vec<ToParticipant>) -> Vec<Input> {
        let mut batches = Batches::default();
        let mut drain = false;
        let mut unsent = Vec::new();
        for item in taken {
            match item {
                ToParticipant::Call(call) => match wire::calls::call_that_fits(&call, self.epoch) {
                    Ok(converted) => batches.call(converted),
                    Err(error) => unsent.push(unsent_call(&call, self.epoch, error)),
                },
                ToParticipant::Question(ask) => {
                    batches.question(wire::calls::ask_back(&ask, self.epoch));
                }
                ToParticipant::Drain => drain = true,
            }
        }
        self.ready
            .extend(batches.finish().map(attach_reply::Message::Calls));
        if drain {
            self.ready
                .push_back(attach_reply::Message::Drain(v1::Drain {}));
        }
        unsent
    }
}

/// Makes the answer to a call that is not sent.
fn unsent_call(call: &Call, epoch: u64, error: String) -> Input {
    Input::CallResult(CallResult {
        route: call.route,
        epoch,
        call: call.id,
        tx: call.tx,
        action: Arc::clone(&call.action.name),
        operation: call.operation,
        answer: CallAnswer::Unknown(error),
    })
}

/// Messages of calls and questions, none longer than a batch unless one call is.
#[derive(Default)]
struct Batches {
    full: Vec<v1::Calls>,
    open: v1::Calls,
    bytes: usize,
}

impl Batches {
    fn call(&mut self, call: v1::Call) {
        self.make_room(call.encoded_len());
        self.open.calls.push(call);
    }

    fn question(&mut self, question: v1::CheckBackCall) {
        self.make_room(question.encoded_len());
        self.open.check_backs.push(question);
    }

    /// Begins another message if the open one has no room for an item of these bytes.
    fn make_room(&mut self, bytes: usize) {
        let bytes = sized(bytes);
        let number = self.open.calls.len() + self.open.check_backs.len();
        let full =
            number >= bounds::STREAM_BATCH || self.bytes + bytes > bounds::STREAM_BATCH_BYTES;
        if full && number > 0 {
            self.full.push(std::mem::take(&mut self.open));
            self.bytes = 0;
        }
        self.bytes += bytes;
    }

    fn finish(mut self) -> impl Iterator<Item = v1::Calls> {
        if !self.open.calls.is_empty() || !self.open.check_backs.is_empty() {
            self.full.push(self.open);
        }
        self.full.into_iter()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use prost::Message as _;
    use tercet_proto::v1;

    use super::Batches;
    use crate::bounds;

    /// Bytes count wherever they are: in payloads, results, properties and questions.
    #[test]
    fn no_message_is_longer_than_a_batch_unless_one_call_is() {
        let text = |bytes: usize| "x".repeat(bytes);
        let of_properties = |bytes| v1::Call {
            ext_properties: [("key".to_owned(), text(bytes))].into(),
            ..v1::Call::default()
        };
        let of_results = |bytes| v1::Call {
            results: vec![v1::ActionState {
                result: text(bytes).into(),
                ..v1::ActionState::default()
            }],
            ..v1::Call::default()
        };
        let question = |bytes| v1::CheckBackCall {
            ext_properties: [("key".to_owned(), text(bytes))].into(),
            ..v1::CheckBackCall::default()
        };
        let mut batches = Batches::default();
        batches.call(of_properties(600_000));
        batches.question(question(600_000));
        batches.call(of_results(400_000));
        batches.call(of_results(2 * bounds::STREAM_BATCH_BYTES));
        (0..300).for_each(|_| batches.question(question(4_000)));
        (0..2_000).for_each(|_| batches.call(v1::Call::default()));

        let messages: Vec<_> = batches.finish().collect();

        let numbers: Vec<_> = messages
            .iter()
            .map(|message| (message.calls.len(), message.check_backs.len()))
            .collect();
        assert_eq!(
            numbers,
            [(1, 0), (1, 1), (1, 0), (0, 261), (985, 39), (1_015, 0)]
        );
        for message in messages {
            let alone = message.calls.len() + message.check_backs.len() == 1;
            let bytes = message.encoded_len();
            assert!(alone || bytes <= bounds::STREAM_BATCH_BYTES, "{bytes}");
        }
    }
}
