//! One Attach stream: calls come in, run side by side, and their results go out in the batches that
//! gathered meanwhile. A result leaves on the stream that carried its call, or not at all.

use std::{future::pending, mem, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tercet_failpoint::reach;
use tercet_proto::v1::{
    self, attach_reply::Message as Incoming, attach_request::Message as Outgoing,
    participants_client::ParticipantsClient,
};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

use super::link::{End, Link};
use crate::{error::chain, participant::Participant};

/// Messages handed to the connection and not yet taken by it: few, so that results gather meanwhile.
const OUTGOING_MESSAGES: usize = 2;
/// Results of one message.
const MAX_BATCH: usize = 1_024;
/// Bytes of results in one message after which no more are added; one result has at most 64 KiB.
const MAX_BATCH_BYTES: usize = 1024 * 1024;
/// The longest message that is accepted.
const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;
/// How long the coordinator may take to welcome a participant.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the coordinator may take to close its side after the participant closed its own.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What goes back.
enum Answer {
    Result(v1::Result),
    CheckBack(v1::CheckBackResult),
}

/// What comes next on a stream.
enum Event {
    /// A result was gathered or sent.
    Moved,
    /// A message came.
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
    open: FuturesUnordered<BoxFuture<'static, Option<Answer>>>,
    gathered: Vec<Answer>,
    /// The coordinator drains.
    ending: bool,
}

impl Stream {
    /// Opens the stream and says Hello.
    pub(super) async fn open(link: &Link, channel: Channel) -> Result<Self, String> {
        let (outgoing, messages) = mpsc::channel(OUTGOING_MESSAGES);
        let hello = hello(&link.participant, &link.options.instance);
        let sent = outgoing.try_send(request(Outgoing::Hello(hello)));
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
                    return self.close(End::Closed).await;
                }
            }
            match self.next_event(link, give_up).await {
                Event::Moved => {}
                Event::Received(reply) => self.received(reply, link).await,
                Event::Stop => {
                    let end = Instant::now() + link.options.drain_timeout;
                    give_up = Some(end);
                    let drain = self.outgoing.send(request(Outgoing::Drain(v1::Drain {})));
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

    /// Waits for what comes next. Cancellation safe.
    async fn next_event(&mut self, link: &Link, give_up: Option<Instant>) -> Event {
        let room = self.has_room();
        tokio::select! {
            biased;
            // First what is done: whatever is ready goes into the next message.
            Some(answer) = self.open.next() => {
                self.gathered.extend(answer);
                Event::Moved
            }
            permit = self.outgoing.reserve(), if !self.gathered.is_empty() => match permit {
                Ok(permit) => {
                    reach("participant.result.before");
                    permit.send(request(Outgoing::Results(take_batch(&mut self.gathered))));
                    reach("participant.result.after");
                    Event::Moved
                }
                Err(_) => Event::End(End::Broken("the connection ended".to_owned())),
            },
            message = self.incoming.message(), if room => match message {
                Ok(Some(reply)) => Event::Received(reply),
                Ok(None) => Event::End(End::Closed),
                Err(status) => Event::End(End::Broken(chain(&status))),
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
            Ok(Err(status)) => return Err(End::Broken(chain(&status))),
            Ok(Ok(None)) => return Err(End::Closed),
            Ok(Ok(Some(reply))) => reply,
        };
        let Some(Incoming::Welcome(welcome)) = reply.message else {
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

    /// Whether more calls are taken in. A coordinator that keeps to the concurrency it was told never
    /// sees the bound.
    fn has_room(&self) -> bool {
        self.open.len() + self.gathered.len() < 2 * self.concurrency()
    }

    fn concurrency(&self) -> usize {
        usize::try_from(self.participant.0.concurrency).unwrap_or(usize::MAX)
    }

    async fn received(&mut self, reply: v1::AttachReply, link: &Link) {
        match reply.message {
            Some(Incoming::Calls(calls)) => {
                reach("participant.call.received");
                for call in calls.calls {
                    self.start(call);
                }
                for check_back in calls.check_backs {
                    self.start_check_back(check_back);
                }
            }
            Some(Incoming::Replicas(replicas)) => link.hear(replicas.addresses).await,
            Some(Incoming::Drain(_)) => self.ending = true,
            Some(Incoming::Welcome(_)) | None => {
                tracing::warn!(
                    address = link.address,
                    "a message without meaning is ignored"
                );
            }
        }
    }

    /// Starts a call. One that waits for no database runs right here, and is often done at once.
    fn start(&mut self, call: v1::Call) {
        let participant = self.participant.clone();
        if participant.is_light(&call) {
            let mut running =
                Box::pin(async move { Some(Answer::Result(participant.call(call).await)) });
            match running.as_mut().now_or_never() {
                Some(answer) => self.gathered.extend(answer),
                None => self.open.push(running),
            }
        } else {
            let task = tokio::spawn(async move { participant.call(call).await });
            self.open
                .push(Box::pin(async move { task.await.ok().map(Answer::Result) }));
        }
    }

    fn start_check_back(&mut self, call: v1::CheckBackCall) {
        let participant = self.participant.clone();
        let task = tokio::spawn(async move { participant.answer_check_back(call).await });
        self.open.push(Box::pin(
            async move { task.await.ok().map(Answer::CheckBack) },
        ));
    }

    /// Closes this side and waits until the coordinator has closed its own, so that what was sent has
    /// arrived.
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

/// The point after which a result may be lost on its way.
fn take_batch(gathered: &mut Vec<Answer>) -> v1::Results {
    let mut bytes = 0;
    let fitting = gathered
        .iter()
        .take(MAX_BATCH)
        .take_while(|answer| {
            let fits = bytes < MAX_BATCH_BYTES;
            bytes += size(answer);
            fits
        })
        .count();
    let rest = gathered.split_off(fitting);
    let mut results = v1::Results::default();
    for answer in mem::replace(gathered, rest) {
        match answer {
            Answer::Result(result) => results.results.push(result),
            Answer::CheckBack(result) => results.check_backs.push(result),
        }
    }
    results
}

fn size(answer: &Answer) -> usize {
    match answer {
        Answer::Result(v1::Result {
            outcome: Some(v1::result::Outcome::Done(v1::Done { result })),
            ..
        }) => result.len(),
        _ => 0,
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

fn request(message: Outgoing) -> v1::AttachRequest {
    v1::AttachRequest {
        message: Some(message),
    }
}

/// Ready at `time`, or never.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => pending().await,
    }
}
