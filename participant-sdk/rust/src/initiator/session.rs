//! The stream to the coordinator: gathers the requests of many callers into batches, matches answers
//! by id, and sends the open requests again when the stream breaks.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use tercet_proto::v1::{SessionReplies, session_reply::Reply};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, client::Grpc, transport::Channel};

use super::frame::{self, BatchCodec};

/// The largest number of requests per message; the coordinator refuses more.
const MAX_BATCH: usize = 1_024;
/// The bytes after which no more requests are added to a message.
const MAX_BATCH_BYTES: usize = 1 << 20;
/// The number of requests prepared ahead of the stream; further ones stay in the queue.
const MAX_OUTGOING: usize = 2 * MAX_BATCH;
/// The length of the longest message of answers that is accepted.
const MAX_REPLIES_BYTES: usize = 64 << 20;
/// The time within which a stream must open before the next address is tried.
const OPEN_WITHIN: Duration = Duration::from_secs(5);
/// The waits between attempts to open a stream.
const RECONNECT: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(10))
    .with_max_delay(Duration::from_secs(1))
    .with_jitter()
    .without_max_times();

/// The callers' side.
#[derive(Debug)]
pub(super) struct Session {
    queue: mpsc::UnboundedSender<Command>,
    slots: Arc<Semaphore>,
    next_id: AtomicU64,
    pub(super) link: Arc<Link>,
}

/// A command of a caller to the session's task. The queue's length is bounded by the slots: one Ask
/// and one Forget per slot.
#[derive(Debug)]
enum Command {
    Ask(u64, Open),
    Forget(u64),
}

/// A request without an answer yet. Its slot is given back when it is dropped.
#[derive(Debug)]
struct Open {
    frame: Bytes,
    answer: oneshot::Sender<Reply>,
    _slot: OwnedSemaphorePermit,
}

impl Session {
    /// Starts the session's task, which ends when the session is dropped.
    pub(super) fn start(channels: Vec<Channel>, max_in_flight: usize) -> Self {
        let (queue, commands) = mpsc::unbounded_channel();
        let link = Arc::new(Link::default());
        let task = SessionTask {
            channels,
            commands,
            open: HashMap::new(),
            outgoing: VecDeque::new(),
            link: Arc::clone(&link),
        };
        tokio::spawn(task.run());
        Self {
            queue,
            slots: Arc::new(Semaphore::new(max_in_flight)),
            next_id: AtomicU64::new(1),
            link,
        }
    }

    /// Sends one request and waits for its answer, across as many streams as it takes. Dropping the
    /// future makes the coordinator forget the request. `None` if the task has ended with its runtime.
    pub(super) async fn ask(&self, body: &[u8]) -> Option<Reply> {
        let slot = Arc::clone(&self.slots).acquire_owned().await.ok()?;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        let open = Open {
            frame: frame::request(id, body),
            answer,
            _slot: slot,
        };
        self.queue.send(Command::Ask(id, open)).ok()?;
        let mut forget = ForgetOnDrop {
            id,
            queue: Some(&self.queue),
        };
        let reply = answered.await.ok();
        forget.queue = None;
        reply
    }
}

struct ForgetOnDrop<'a> {
    id: u64,
    queue: Option<&'a mpsc::UnboundedSender<Command>>,
}

impl Drop for ForgetOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(queue) = self.queue {
            // A task that has ended has nothing to forget.
            let _ = queue.send(Command::Forget(self.id));
        }
    }
}

/// The state of the connection, as callers see it.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// Odd while a stream is open; grows whenever one opens or breaks.
    changes: AtomicU64,
    up: watch::Sender<bool>,
    current: AtomicU64,
    last_error: Mutex<String>,
}

impl Link {
    /// Returns a mark for [`was_down_since`](Self::was_down_since).
    pub(super) fn mark(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Returns true if no stream was open at any time since the mark, so that nothing can have been
    /// sent.
    pub(super) fn was_down_since(&self, mark: u64) -> bool {
        mark.is_multiple_of(2) && self.mark() == mark
    }

    /// Waits until a stream is open.
    pub(super) async fn wait_up(&self) {
        // The sender is in `self`, so that the channel is not closed.
        let _ = self.up.subscribe().wait_for(|up| *up).await;
    }

    /// Returns the last error of a stream.
    pub(super) fn last_error(&self) -> String {
        let error = self.last_error.lock();
        error.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the index of the address in use.
    pub(super) fn current(&self) -> usize {
        usize::try_from(self.current.load(Ordering::Relaxed)).unwrap_or(0)
    }

    fn opened(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.up.send_replace(true);
    }

    fn broke(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.up.send_replace(false);
    }

    fn failed(&self, error: &Status, next: usize) {
        tracing::debug!(%error, next, "session stream failed; trying the next address");
        *self
            .last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = describe(error);
        self.current.store(next as u64, Ordering::Relaxed);
    }
}

/// Formats a status with its causes: tonic hides "connection refused" two sources deep.
fn describe(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        let message = error.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        source = error.source();
    }
    text
}

/// The task behind a client; it owns the stream.
struct SessionTask {
    channels: Vec<Channel>,
    commands: mpsc::UnboundedReceiver<Command>,
    open: HashMap<u64, Open>,
    outgoing: VecDeque<Bytes>,
    link: Arc<Link>,
}

/// The [`Session`] that sends the commands is dropped.
struct Abandoned;

/// The way in which a stream ended.
enum Ended {
    /// It broke; `answered` is set if it carried at least one answer.
    Broken { answered: bool, error: Status },
    /// The session is dropped.
    Abandoned,
}

impl SessionTask {
    async fn run(mut self) {
        let mut delays = RECONNECT.build();
        let mut current = 0;
        loop {
            let opened = match self.open_stream(current).await {
                Ok(opened) => opened,
                Err(Abandoned) => return,
            };
            let error = match opened {
                Ok((requests, replies)) => {
                    self.link.opened();
                    let ended = self.carry(requests, replies).await;
                    self.link.broke();
                    match ended {
                        Ended::Abandoned => return,
                        Ended::Broken { answered, error } => {
                            if answered {
                                delays = RECONNECT.build();
                            }
                            error
                        }
                    }
                }
                Err(error) => error,
            };
            current = (current + 1) % self.channels.len();
            self.link.failed(&error, current);
            // The iterator is without end.
            let delay = delays.next().unwrap_or(OPEN_WITHIN);
            if self.meanwhile(tokio::time::sleep(delay)).await.is_err() {
                return;
            }
        }
    }

    /// Takes commands while waiting for `other`.
    async fn meanwhile<T>(&mut self, other: impl Future<Output = T>) -> Result<T, Abandoned> {
        tokio::pin!(other);
        loop {
            tokio::select! {
                done = &mut other => return Ok(done),
                command = self.commands.recv() => match command {
                    Some(command) => self.take(command, false),
                    None => return Err(Abandoned),
                },
            }
        }
    }

    /// Opens a stream on one channel and queues all open requests for it, before any new one.
    async fn open_stream(
        &mut self,
        index: usize,
    ) -> Result<Result<(mpsc::Sender<Bytes>, Streaming<SessionReplies>), Status>, Abandoned> {
        let channel = self.channels[index].clone();
        let opening = tokio::time::timeout(OPEN_WITHIN, open(channel));
        let opened = self.meanwhile(opening).await?;
        let mut again: Vec<u64> = self.open.keys().copied().collect();
        again.sort_unstable();
        self.outgoing = again.iter().map(|id| self.open[id].frame.clone()).collect();
        Ok(opened.unwrap_or_else(|_| {
            let within = format!("no answer to opening a stream within {OPEN_WITHIN:?}");
            Err(Status::deadline_exceeded(within))
        }))
    }

    /// Carries requests and answers until the stream ends. Reads and writes never wait for each other.
    async fn carry(
        &mut self,
        requests: mpsc::Sender<Bytes>,
        mut replies: Streaming<SessionReplies>,
    ) -> Ended {
        let mut answered = false;
        let mut commands = Vec::with_capacity(MAX_BATCH);
        loop {
            tokio::select! {
                place = requests.reserve(), if !self.outgoing.is_empty() => {
                    let Ok(place) = place else {
                        let error = Status::unavailable("the stream of requests was closed");
                        return Ended::Broken { answered, error };
                    };
                    place.send(self.next_batch());
                }
                taken = self.commands.recv_many(&mut commands, MAX_BATCH),
                    if self.outgoing.len() < MAX_OUTGOING =>
                {
                    if taken == 0 {
                        return Ended::Abandoned;
                    }
                    for command in commands.drain(..) {
                        self.take(command, true);
                    }
                }
                message = replies.message() => match message {
                    Ok(Some(message)) => {
                        answered = true;
                        self.answer(message);
                    }
                    Ok(None) => {
                        let error = Status::unavailable("the coordinator closed the stream");
                        return Ended::Broken { answered, error };
                    }
                    Err(error) => return Ended::Broken { answered, error },
                },
            }
        }
    }

    /// Takes a command and, if a stream is open, queues it.
    fn take(&mut self, command: Command, up: bool) {
        match command {
            Command::Ask(id, open) => {
                if up {
                    self.outgoing.push_back(open.frame.clone());
                }
                self.open.insert(id, open);
            }
            Command::Forget(id) => {
                if self.open.remove(&id).is_some() && up {
                    self.outgoing.push_back(frame::forget(id));
                }
            }
        }
    }

    fn next_batch(&mut self) -> Bytes {
        let mut batch = Vec::new();
        for _ in 0..MAX_BATCH {
            let Some(frame) = self.outgoing.front() else {
                break;
            };
            if !batch.is_empty() && batch.len() + frame.len() > MAX_BATCH_BYTES {
                break;
            }
            batch.extend_from_slice(frame);
            self.outgoing.pop_front();
        }
        batch.into()
    }

    fn answer(&mut self, message: SessionReplies) {
        for reply in message.replies {
            // Without an entry, the answer crossed a Forget. If sending fails, the caller has just
            // left.
            if let (Some(open), Some(reply)) = (self.open.remove(&reply.id), reply.reply) {
                let _ = open.answer.send(reply);
            }
        }
    }
}

async fn open(
    channel: Channel,
) -> Result<(mpsc::Sender<Bytes>, Streaming<SessionReplies>), Status> {
    let mut grpc = Grpc::new(channel).max_decoding_message_size(MAX_REPLIES_BYTES);
    grpc.ready()
        .await
        .map_err(|error| Status::from_error(Box::new(error)))?;
    let (sender, receiver) = mpsc::channel(1);
    let request = tonic::Request::new(ReceiverStream::new(receiver));
    let path = http::uri::PathAndQuery::from_static("/tercet.v1.Coordinator/Session");
    let response = grpc.streaming(request, path, BatchCodec).await?;
    Ok((sender, response.into_inner()))
}
