//! The queue into the thread, and the handle by which the other parts of the server use it.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tercet_core::{
    engine::Stats,
    id::{CallerId, StreamId, TxId},
    model::Name,
    port::{Abilities, Input, Reply, Request},
    refusal::Refusal,
};
use tercet_store::StoreError;
use tokio::sync::{mpsc, oneshot};

use super::{Calls, Queue, Replies};
use crate::{backlog::Taking, bounds};

/// One session, unique within a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SessionId(u64);

impl From<u64> for SessionId {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

/// A message in the queue.
pub(super) enum Message {
    /// Inputs of the engine, without a caller, and the bytes that they came with.
    Inputs(Vec<Input>, Option<Taking>),
    /// The input that a read led to, and its error.
    Read(Input, Option<StoreError>),
    /// One request of a caller outside of any session.
    Request {
        caller: CallerId,
        request: Request,
        reply: oneshot::Sender<Result<Reply, Refusal>>,
        /// The bytes that it came with.
        taking: Option<Taking>,
    },
    /// A caller no longer waits.
    CallerLeft { caller: CallerId, id: TxId },
    /// A session opened.
    SessionOpened(SessionId, Replies),
    /// Requests of a session, and the bytes that they came with.
    SessionRequests(SessionId, Vec<(CallerId, Request)>, Option<Taking>),
    /// Callers of a session no longer wait.
    SessionForgot(SessionId, Vec<(CallerId, TxId)>),
    /// A session is gone, with the callers that still wait.
    SessionClosed(SessionId, Vec<(CallerId, TxId)>),
    /// A participant attached.
    Attached {
        stream: StreamId,
        participant: Name,
        concurrency: u32,
        abilities: Abilities,
        calls: Calls,
    },
    /// A participant's stream is gone.
    Detached(StreamId),
    /// A write outside of the lane was applied.
    DatabaseWrites,
    /// Report the gauges.
    Gauges(oneshot::Sender<Box<Gauges>>),
    /// Refuse new requests from now on.
    Drain,
    /// Make no more calls: participants attach elsewhere.
    EndCalls,
    /// End, whatever is under way.
    Stop,
}

/// The sizes of everything that fills.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gauges {
    /// The engine's own.
    pub(crate) engine: Stats,
    /// Callers that wait for a reply.
    pub(crate) callers: usize,
    /// Writes that wait or are under way.
    pub(crate) writes: usize,
    /// Calls under way and calls that wait, by participant.
    pub(crate) calls: HashMap<Name, (u32, u32)>,
}

impl Gauges {
    /// Returns the calls of a participant that are under way, and those that wait.
    pub(crate) fn calls_of(&self, name: &str) -> (u32, u32) {
        self.calls.get(name).copied().unwrap_or_default()
    }

    /// Returns whether no caller waits and nothing is under way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.callers == 0 && self.is_answered() && self.writes == 0
    }

    /// Returns whether no call waits for its answer.
    pub(crate) fn is_answered(&self) -> bool {
        self.engine.calls == 0
    }
}

/// The handle of the engine's thread. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Driver {
    queue: mpsc::Sender<Message>,
    ids: Arc<AtomicU64>,
}

impl Driver {
    /// Makes the queue, before the thread: the parts that feed it may be built first.
    pub(crate) fn queue() -> (Self, Queue) {
        let (queue, messages) = mpsc::channel(bounds::QUEUE_MESSAGES);
        let ids = Arc::new(AtomicU64::new(1));
        (Self { queue, ids }, Queue(messages))
    }

    fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns a caller's id that was never used in this run.
    pub(crate) fn new_caller(&self) -> CallerId {
        CallerId(self.next_id())
    }

    /// Returns a stream's id that was never used in this run.
    pub(crate) fn new_stream(&self) -> StreamId {
        StreamId(self.next_id())
    }

    /// Puts a message into the queue, waiting for a place. A thread that has ended takes it and does nothing.
    async fn send(&self, message: Message) {
        let _ = self.queue.send(message).await;
    }

    /// Puts a message into the queue from a place that cannot wait.
    fn post(&self, message: Message) {
        if let Err(mpsc::error::TrySendError::Full(message)) = self.queue.try_send(message) {
            let driver = self.clone();
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async move { driver.send(message).await });
            }
        }
    }

    /// Gives inputs to the engine.
    pub(crate) async fn inform(&self, inputs: Vec<Input>) {
        self.send(Message::Inputs(inputs, None)).await;
    }

    /// Gives inputs to the engine that came from a peer, and whose bytes count until the engine has them.
    pub(crate) async fn take_in(&self, inputs: Vec<Input>, taking: Option<Taking>) {
        self.send(Message::Inputs(inputs, taking)).await;
    }

    /// Gives the engine the input that a read led to.
    pub(super) async fn finish_read(&self, input: Input, error: Option<StoreError>) {
        self.send(Message::Read(input, error)).await;
    }

    /// Makes a request and waits for its reply. Dropping the future withdraws the caller, not the request.
    pub(crate) async fn request(
        &self,
        request: Request,
        taking: Option<Taking>,
    ) -> Result<Reply, Refusal> {
        let caller = self.new_caller();
        let id = request.id();
        let (sender, reply) = oneshot::channel();
        self.send(Message::Request {
            caller,
            request,
            reply: sender,
            taking,
        })
        .await;
        let mut leaving = Leaving {
            driver: self,
            caller,
            id,
            waits: true,
        };
        let reply = reply.await;
        leaving.waits = false;
        // A thread that ended dropped the sender: the requests that it had in hand may have taken effect.
        reply.unwrap_or(Err(Refusal::OutcomeUnknown { id }))
    }

    /// Opens a session whose replies go to `replies`.
    pub(crate) async fn open_session(&self, replies: Replies) -> SessionId {
        let id = SessionId::from(self.next_id());
        self.send(Message::SessionOpened(id, replies)).await;
        id
    }

    /// Makes requests of a session; their replies go to its outbox.
    pub(crate) async fn request_for(
        &self,
        session: SessionId,
        requests: Vec<(CallerId, Request)>,
        taking: Option<Taking>,
    ) {
        let message = Message::SessionRequests(session, requests, taking);
        self.send(message).await;
    }

    /// Withdraws callers of a session; their requests go on. A reply that waits already is dropped.
    pub(crate) async fn forget(&self, session: SessionId, callers: Vec<(CallerId, TxId)>) {
        self.send(Message::SessionForgot(session, callers)).await;
    }

    /// Closes a session with the callers that still wait.
    pub(crate) fn close_session(&self, session: SessionId, waiting: Vec<(CallerId, TxId)>) {
        self.post(Message::SessionClosed(session, waiting));
    }

    /// Adds a participant's stream; its calls go to `calls`.
    pub(crate) async fn attach(
        &self,
        stream: StreamId,
        participant: Name,
        concurrency: u32,
        abilities: Abilities,
        calls: Calls,
    ) {
        self.send(Message::Attached {
            stream,
            participant,
            concurrency,
            abilities,
            calls,
        })
        .await;
    }

    /// Removes a participant's stream.
    pub(crate) fn detach(&self, stream: StreamId) {
        self.post(Message::Detached(stream));
    }

    /// Returns the gauges; `None` when the thread has ended.
    pub(crate) async fn gauges(&self) -> Option<Box<Gauges>> {
        let (report, reported) = oneshot::channel();
        self.send(Message::Gauges(report)).await;
        reported.await.ok()
    }

    /// Notes that a write outside of the lane was applied.
    pub(crate) async fn database_writes(&self) {
        self.send(Message::DatabaseWrites).await;
    }

    /// Refuses new requests from now on.
    pub(crate) async fn drain(&self) {
        self.send(Message::Drain).await;
    }

    /// Makes no more calls from now on, and asks participants to attach elsewhere. Results of open calls still count.
    pub(crate) async fn end_calls(&self) {
        self.send(Message::EndCalls).await;
    }

    /// Ends the thread, whatever is under way.
    pub(crate) async fn stop(&self) {
        self.send(Message::Stop).await;
    }
}

/// Withdraws a caller whose request is dropped before its reply.
struct Leaving<'a> {
    driver: &'a Driver,
    caller: CallerId,
    id: TxId,
    waits: bool,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if self.waits {
            self.driver.post(Message::CallerLeft {
                caller: self.caller,
                id: self.id,
            });
        }
    }
}
