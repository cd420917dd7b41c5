//! The thread that owns the engine and the lane, and the one queue into it.
//!
//! Nothing else touches either: network tasks send [`Message`]s, most of them batches; what comes out is
//! handed on in batches too, one wake of a stream's task for everything that one drain had for it.

mod run;
mod storing;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use tercet_core::{
    engine::{AskBack, Call, Engine, EngineConfig, Input, Reply, Request, Stats},
    id::{CallerId, StreamId, TxId},
    lane::{Lane, LaneConfig},
    model::{Name, Owner},
    refusal::Refusal,
};
use tercet_store::{Store, StoreError};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::{api::error::ApiError, clock::Clock, limits};

/// What ends the driver before it is told to stop.
#[derive(Debug, Error)]
pub enum DriverError {
    /// The database will never take a write again.
    #[error("the database takes no writes any more; repair it and start again")]
    Fatal(#[source] StoreError),
    /// The thread could not be started.
    #[error("the engine's thread could not be started")]
    Thread(#[source] std::io::Error),
}

/// One session, unique within a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SessionId(pub(crate) u64);

/// What one request of a session asks for.
pub(crate) enum Asked {
    /// Something that the engine answers.
    Engine(Request),
    /// A look at one transaction.
    Read(Lookup),
    /// Nothing: it was refused before.
    Refused(ApiError),
    /// The open request with this id is to be forgotten.
    Forget,
}

/// Which transaction to look at.
#[derive(Clone, Debug)]
pub(crate) enum Lookup {
    Id(TxId),
    Business(String, String),
}

/// What a session is answered.
pub(crate) enum Answered {
    State(Result<Reply, Refusal>),
    Read(Result<Box<tercet_proto::v1::Transaction>, ApiError>),
    Refused(ApiError),
}

pub(crate) type SessionSender = mpsc::UnboundedSender<Vec<(u64, Answered)>>;

/// What a stream to a participant carries.
pub(crate) enum ToParticipant {
    Calls(Vec<Call>, Vec<AskBack>),
    Drain,
}

pub(crate) type StreamSender = mpsc::UnboundedSender<ToParticipant>;

/// Calls to participants that do not attach.
pub(crate) type DirectSender = mpsc::UnboundedSender<(Vec<Call>, Vec<AskBack>)>;

/// What the driver is told.
pub(crate) enum Message {
    /// Things that nobody waits for.
    Inputs(Vec<Input>),
    /// One request, by a unary call.
    Ask {
        caller: CallerId,
        request: Request,
        reply: oneshot::Sender<Result<Reply, Refusal>>,
    },
    /// The unary call is gone.
    Left { caller: CallerId, id: TxId },
    /// A session opened.
    SessionOpened(SessionId, SessionSender),
    /// Requests of a session, by the caller's ids.
    SessionAsks(SessionId, Vec<(u64, Asked)>),
    /// A read of a session is done.
    SessionRead(
        SessionId,
        u64,
        Result<Box<tercet_proto::v1::Transaction>, ApiError>,
    ),
    /// The session is gone.
    SessionClosed(SessionId),
    /// A participant attached.
    Attached {
        stream: StreamId,
        participant: Name,
        concurrency: u32,
        sender: StreamSender,
    },
    /// It is gone.
    Detached(StreamId),
    /// How full everything is.
    Stats(oneshot::Sender<Box<Gauges>>),
    /// From now on, no new requests.
    Drain,
    /// End, whatever is under way.
    Stop,
}

/// How full everything is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gauges {
    /// The engine's own.
    pub engine: Stats,
    /// Callers that wait for an answer.
    pub callers: usize,
    /// Writes that wait or are under way.
    pub writes: usize,
    /// By participant: calls under way, and calls that wait.
    pub calls: HashMap<Name, (u32, u32)>,
}

impl Gauges {
    /// Calls of a participant under way, and those that wait.
    pub(crate) fn calls_of(&self, name: &str) -> (u32, u32) {
        self.calls.get(name).copied().unwrap_or_default()
    }

    /// Whether nobody waits and nothing is under way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.callers == 0 && self.engine.calls == 0 && self.writes == 0
    }
}

/// The way to the driver. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Driver {
    queue: mpsc::Sender<Message>,
    ids: Arc<AtomicU64>,
}

/// What the driver hands things to.
pub(crate) struct Outlets {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) reader: crate::api::read::Reader,
    pub(crate) direct: DirectSender,
    /// Where reads run.
    pub(crate) runtime: tokio::runtime::Handle,
}

/// A driver that runs.
pub(crate) struct Running {
    pub(crate) driver: Driver,
    /// Ready when the thread has ended.
    pub(crate) ended: oneshot::Receiver<Result<(), DriverError>>,
}

/// What a driver starts with.
pub(crate) struct Start {
    pub(crate) engine: EngineConfig,
    pub(crate) lane: LaneConfig,
    pub(crate) owner: Owner,
    pub(crate) seed: u64,
    pub(crate) clock: Arc<Clock>,
}

impl Driver {
    /// A driver's queue, before the driver: what feeds it may be built first.
    pub(crate) fn queue() -> (Self, mpsc::Receiver<Message>) {
        let (queue, messages) = mpsc::channel(limits::QUEUE_MESSAGES);
        let ids = Arc::new(AtomicU64::new(1));
        (Self { queue, ids }, messages)
    }

    /// Starts the thread.
    pub(crate) fn start(
        self,
        messages: mpsc::Receiver<Message>,
        start: Start,
        outlets: Outlets,
    ) -> Result<Running, DriverError> {
        let now = start.clock.now();
        let engine = Engine::new(start.engine, start.owner.clone(), start.seed, now);
        let lane = Lane::new(start.lane, start.owner);
        let (end, ended) = oneshot::channel();
        let state = run::State::new(engine, lane, start.clock, outlets, self.clone());
        thread::Builder::new()
            .name("engine".to_owned())
            .spawn(move || {
                // The receiver is gone only when the whole server is.
                let _ = end.send(run::run(state, messages));
            })
            .map_err(DriverError::Thread)?;
        Ok(Running {
            driver: self,
            ended,
        })
    }

    /// An id that was never used in this run.
    pub(crate) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Puts a message into the queue, waiting for a place. A driver that has stopped takes it and does
    /// nothing.
    pub(crate) async fn send(&self, message: Message) {
        let _ = self.queue.send(message).await;
    }

    /// Puts a message into the queue from where nothing can wait.
    pub(crate) fn post(&self, message: Message) {
        if let Err(mpsc::error::TrySendError::Full(message)) = self.queue.try_send(message) {
            let driver = self.clone();
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async move { driver.send(message).await });
            }
        }
    }

    /// Asks the engine and waits for its answer. Dropping this tells the engine that nobody waits.
    pub(crate) async fn ask(&self, request: Request) -> Result<Reply, Refusal> {
        let caller = CallerId(self.next_id());
        let id = request.id();
        let (reply, answer) = oneshot::channel();
        self.send(Message::Ask {
            caller,
            request,
            reply,
        })
        .await;
        let mut leaving = Leaving {
            driver: self,
            caller,
            id,
            waits: true,
        };
        let answer = answer.await;
        leaving.waits = false;
        // A driver that ended dropped the sender: what it had in hand may have taken effect.
        answer.unwrap_or(Err(Refusal::OutcomeUnknown { id }))
    }

    /// How full everything is; `None` when the driver has ended.
    pub(crate) async fn gauges(&self) -> Option<Box<Gauges>> {
        let (tell, told) = oneshot::channel();
        self.send(Message::Stats(tell)).await;
        told.await.ok()
    }
}

struct Leaving<'a> {
    driver: &'a Driver,
    caller: CallerId,
    id: TxId,
    waits: bool,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if self.waits {
            self.driver.post(Message::Left {
                caller: self.caller,
                id: self.id,
            });
        }
    }
}
