//! One Attach stream: calls arrive, run side by side, and their results leave in the batches that
//! gathered meanwhile. A result leaves on the stream that carried its call, or not at all.

use std::{future::pending, mem, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tercet_failpoint::reach;
use tercet_proto::v1::{
    self, attach_reply, attach_request, participants_client::ParticipantsClient,
};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};
use tonic_types::StatusExt as _;

use super::link::{End, Link};
use crate::{error::chain, participant::Participant};

/// Messages queued for the connection: few, so that results gather meanwhile.
const OUTGOING_MESSAGES: usize = 2;
/// The largest number of results per message.
const MAX_BATCH: usize = 1_024;
/// The bytes of results after which no more are added to a message; a result has at most 64 KiB.
const MAX_BATCH_BYTES: usize = 1024 * 1024;
/// The length of the longest message that is accepted.
const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;
/// The time within which the coordinator must welcome the participant.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
/// The time within which the coordinator must close its side after the participant closed its own.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The reason code of a coordinator that ends.
const DRAINING: &str = "DRAINING";

/// A result on its way to the coordinator.
enum WireResult {
    Call(v1::Result),
    CheckBack(v1::CheckBackResult),
}

/// The next event on a stream.
enum Event {
    /// A result was gathered or sent.
    Moved,
    /// A message arrived.
    Received(v1::AttachReply),
    /// The participant ends, or leaves this coordinator.
    Stop,
    /// The time to drain is over.
    GiveUp,
    /// The stream is at its end.
    End(End),
}

/// One open stream.
pub(super) struct Stream {
    participant: Participant,
    incoming: Streaming<v1::AttachReply>,
    outgoing: mpsc::Sender<v1::AttachRequest>,
    open: FuturesUnordered<BoxFuture<'static, Option<WireResult>>>,
    gathered: Vec<WireResult>,
    /// Set once the coordinator drains.
    ending: bool,
}

impl Stream {
    /// Opens the stream and sends Hello.
    pub(super) async fn open(link: &Link, channel: Channel) -> Result<Self, String> {
        let (outgoing, messages) = mpsc::channel(OUTGOING_MESSAGES);
        let hello = hello(&link.participant, &link.options.instance);
        let sent = outgoing.try_send(request(attach_request::Message::Hello(hello)));
        sent.map_err(|_| "the stream was closed before it began".to_owned())?;
        let mut client =
            ParticipantsClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let incoming = tokio::time::timeout(
            WELCOME_TIMEOUT,
            client.attach(ReceiverStream::new(messages)),
        )
        .await
        .map_err(|_| format!("the stream was not opened within {WELCOME_TIMEOUT:?}"))?
        .map_err(|status| chain(&status))?
        .into_inner();
        Ok(Self {
            participant: link.participant.clone(),
            incoming,
            outgoing,
            open: FuturesUnordered::new(),
            gathered: Vec::new(),
            ending: false,
        })
    }

    /// Serves until the stream ends.
    pub(super) async fn serve(mut self, link: &Link) -> End {
        if let Err(end) = self.welcomed(link).await {
            return end;
        }
        let mut give_up = None;
        loop {
            if self.open.is_empty() && self.gathered.is_empty() {
                if give_up.is_some() {
                    return self.close(End::Stopped).await;
                }
                if self.ending {
                    return self.close(End::Draining).await;
                }
            }
            match self.next_event(link, give_up).await {
                Event::Moved => {}
                Event::Received(reply) => self.received(reply, link).await,
                Event::Stop => {
                    let end = Instant::now() + link.options.drain_timeout;
                    give_up = Some(end);
                    let drain = self
                        .outgoing
                        .send(request(attach_request::Message::Drain(v1::Drain {})));
                    if !matches!(tokio::time::timeout_at(end, drain).await, Ok(Ok(()))) {
                        return End::Stopped;
                    }
                }
                Event::GiveUp => {
                    tracing::warn!(
                        address = link.address,
                        open = self.open.len(),
                        "the time to drain is over, open calls are left"
                    );
                    return End::Stopped;
                }
                Event::End(end) => return end,
            }
        }
    }

    /// Waits for the next event. Cancellation safe.
    async fn next_event(&mut self, link: &Link, give_up: Option<Instant>) -> Event {
        let room = self.has_room();
        tokio::select! {
            biased;
            // Results first: those that are ready all go into the next message.
            Some(result) = self.open.next() => {
                self.gathered.extend(result);
                Event::Moved
            }
            permit = self.outgoing.reserve(), if !self.gathered.is_empty() => match permit {
                Ok(permit) => {
                    reach("participant.result.before");
                    permit.send(request(attach_request::Message::Results(take_batch(&mut self.gathered))));
                    reach("participant.result.after");
                    Event::Moved
                }
                Err(_) => Event::End(End::Broken("the connection ended".to_owned())),
            },
            message = self.incoming.message(), if room => match message {
                Ok(Some(reply)) => Event::Received(reply),
                Ok(None) => Event::End(End::Closed),
                Err(status) => Event::End(ended(&status)),
            },
            () = link.stop.cancelled(), if give_up.is_none() => Event::Stop,
            () = at(give_up) => Event::GiveUp,
        }
    }

    /// Waits for the Welcome.
    async fn welcomed(&mut self, link: &Link) -> Result<(), End> {
        let first = tokio::select! {
            () = link.stop.cancelled() => return Err(End::Stopped),
            first = tokio::time::timeout(WELCOME_TIMEOUT, self.incoming.message()) => first,
        };
        let reply = match first {
            Err(_) => {
                return Err(End::Broken(format!(
                    "no Welcome within {WELCOME_TIMEOUT:?}"
                )));
            }
            Ok(Err(status)) => return Err(ended(&status)),
            Ok(Ok(None)) => return Err(End::Closed),
            Ok(Ok(Some(reply))) => reply,
        };
        let Some(attach_reply::Message::Welcome(welcome)) = reply.message else {
            return Err(End::Broken("the first message was not Welcome".to_owned()));
        };
        if !link.nodes.take(&welcome.node, &link.address) {
            return Err(End::Duplicate(welcome.node));
        }
        tracing::info!(
            address = link.address,
            node = welcome.node,
            epoch = welcome.epoch,
            "attached"
        );
        if let Some(replicas) = welcome.replicas {
            link.hear(replicas.addresses).await;
        }
        Ok(())
    }

    /// Returns true if more calls are accepted. A coordinator that respects the announced concurrency
    /// never reaches the bound.
    fn has_room(&self) -> bool {
        self.open.len() + self.gathered.len() < 2 * self.concurrency()
    }

    fn concurrency(&self) -> usize {
        usize::try_from(self.participant.0.concurrency).unwrap_or(usize::MAX)
    }

    async fn received(&mut self, reply: v1::AttachReply, link: &Link) {
        match reply.message {
            Some(attach_reply::Message::Calls(calls)) => {
                reach("participant.call.received");
                for call in calls.calls {
                    self.start(call);
                }
                for check_back in calls.check_backs {
                    self.start_check_back(check_back);
                }
            }
            Some(attach_reply::Message::Replicas(replicas)) => link.hear(replicas.addresses).await,
            Some(attach_reply::Message::Drain(_)) => self.ending = true,
            Some(attach_reply::Message::Welcome(_)) | None => {
                tracing::warn!(
                    address = link.address,
                    "a message without meaning is ignored"
                );
            }
        }
    }

    /// Starts a call. One that waits for no database runs within this task, and is often done at once.
    fn start(&mut self, call: v1::Call) {
        let participant = self.participant.clone();
        if participant.is_light(&call) {
            let mut running =
                Box::pin(async move { Some(WireResult::Call(participant.call(call).await)) });
            match running.as_mut().now_or_never() {
                Some(result) => self.gathered.extend(result),
                None => self.open.push(running),
            }
        } else {
            let task = tokio::spawn(async move { participant.call(call).await });
            self.open.push(Box::pin(
                async move { task.await.ok().map(WireResult::Call) },
            ));
        }
    }

    fn start_check_back(&mut self, call: v1::CheckBackCall) {
        let participant = self.participant.clone();
        let task = tokio::spawn(async move { participant.answer_check_back(call).await });
        self.open.push(Box::pin(async move {
            task.await.ok().map(WireResult::CheckBack)
        }));
    }

    /// Closes this side and waits until the coordinator has closed its own, so that all results sent
    /// have arrived.
    async fn close(self, end: End) -> End {
        let Self {
            mut incoming,
            outgoing,
            ..
        } = self;
        drop(outgoing);
        let closing = async { while let Ok(Some(_)) = incoming.message().await {} };
        if tokio::time::timeout(CLOSE_TIMEOUT, closing).await.is_err() {
            tracing::debug!("the coordinator did not close its side of the stream");
        }
        end
    }
}

/// Takes the results of the next message. From here on they may be lost on their way.
fn take_batch(gathered: &mut Vec<WireResult>) -> v1::Results {
    let mut bytes = 0;
    let fitting = gathered
        .iter()
        .take(MAX_BATCH)
        .take_while(|result| {
            let fits = bytes < MAX_BATCH_BYTES;
            bytes += size(result);
            fits
        })
        .count();
    let rest = gathered.split_off(fitting);
    let mut results = v1::Results::default();
    for result in mem::replace(gathered, rest) {
        match result {
            WireResult::Call(call) => results.results.push(call),
            WireResult::CheckBack(check_back) => results.check_backs.push(check_back),
        }
    }
    results
}

fn size(result: &WireResult) -> usize {
    match result {
        WireResult::Call(v1::Result {
            outcome: Some(v1::result::Outcome::Done(v1::Done { result })),
            ..
        }) => result.len(),
        _ => 0,
    }
}

/// Returns the end that a status is.
fn ended(status: &Status) -> End {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.as_str());
    if reason == Some(DRAINING) {
        End::Draining
    } else {
        End::Broken(chain(status))
    }
}

fn hello(participant: &Participant, instance: &str) -> v1::Hello {
    v1::Hello {
        participant: participant.name().to_owned(),
        instance: instance.to_owned(),
        concurrency: participant.0.concurrency,
        handlers: participant.handlers(),
        answers_check_back: participant.0.check_back.is_some(),
    }
}

fn request(message: attach_request::Message) -> v1::AttachRequest {
    v1::AttachRequest {
        message: Some(message),
    }
}

/// Waits until `time`, or for ever.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => pending().await,
    }
}
