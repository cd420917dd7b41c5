//! The thread that owns the engine and the lane, and the one queue into it.
//!
//! Nothing else touches either. Network tasks put messages into the queue, most of them batches; the thread
//! hands work out in batches too, one wake of a stream's task for everything that one drain has for it. It
//! replies to requests with the caller's id and the engine's reply, and depends on no front end and no wire.
//!
//! | file | holds |
//! |---|---|
//! | `handle` | the queue, and the handle by which the other parts use the thread |
//! | `run` | the loop: take messages in, carry outputs out |
//! | `outgoing` | replies and calls on their way out, gathered per session and stream |
//! | `health` | whether the database takes writes and the process runs, made known once |
//! | `storing` | commands and reads of the store |

mod handle;
mod health;
mod outgoing;
mod run;
mod storing;

use std::{sync::Arc, thread};

use tercet_core::{
    config::EngineConfig,
    engine::Engine,
    id::{CallId, CallerId},
    lane::{Lane, LaneConfig},
    model::Owner,
    port::{AskBack, Call, Reply},
    refusal::Refusal,
};
use tercet_store::{Store, StoreError};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

use self::handle::Message;
pub(crate) use self::handle::{Driver, Gauges, SessionId};
use crate::{backlog::Outbox, clock::Clock, directory::Directory, observe::Observer, pulse::Pulse};

/// The reason why the thread ended before it was stopped.
#[derive(Debug, Error)]
pub enum DriverError {
    /// Every write failed for good, for [`FATAL_AFTER`](tercet_core::limits::FATAL_AFTER).
    #[error("the database no longer takes writes; repair it and start again")]
    Fatal(#[source] StoreError),
    /// The thread could not be started.
    #[error("the engine's thread could not be started")]
    Thread(#[source] std::io::Error),
}

/// The reply to a request of a session, with its caller.
pub(crate) type CallerReply = (CallerId, Result<Reply, Refusal>);

/// Work for a participant on a stream that it attached.
#[derive(Debug)]
pub(crate) enum ToParticipant {
    /// Carry out an operation.
    Call(Box<Call>),
    /// Say what became of a local transaction.
    Question(Box<AskBack>),
    /// No new calls come: open a stream elsewhere.
    Drain,
}

/// The replies that wait for a session, by their callers.
pub(crate) type Replies = Arc<Outbox<CallerReply>>;
/// The calls that wait for a participant's stream, by their ids.
pub(crate) type Calls = Arc<Outbox<ToParticipant>>;

/// Calls and questions to registered addresses that leave together.
#[derive(Default)]
pub(crate) struct CallBatch {
    pub(crate) calls: Vec<Call>,
    pub(crate) questions: Vec<AskBack>,
    /// Calls and questions of earlier batches that are not to leave any more.
    pub(crate) withdrawn: Vec<CallId>,
}

impl CallBatch {
    pub(crate) fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.questions.is_empty() && self.withdrawn.is_empty()
    }

    /// Removes a call or question; returns whether it was there.
    pub(crate) fn remove(&mut self, call: CallId) -> bool {
        let before = self.calls.len() + self.questions.len();
        self.calls.retain(|other| other.id != call);
        self.questions.retain(|other| other.id != call);
        self.calls.len() + self.questions.len() < before
    }
}

/// Everything that the thread works with.
pub(crate) struct Setup {
    pub(crate) engine: EngineConfig,
    pub(crate) lane: LaneConfig,
    pub(crate) owner: Owner,
    /// The seed of the engine's jitter.
    pub(crate) seed: u64,
    pub(crate) clock: Arc<Clock>,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) store: Arc<dyn Store>,
    /// Keeps which addresses are down.
    pub(crate) directory: Arc<Directory>,
    /// Takes the calls to registered addresses.
    pub(crate) direct: mpsc::UnboundedSender<CallBatch>,
    pub(crate) observer: Box<dyn Observer>,
    /// Takes whether the database takes writes.
    pub(crate) ready: watch::Sender<bool>,
    /// Runs the reads.
    pub(crate) runtime: tokio::runtime::Handle,
}

/// The receiving end of the queue, until the thread takes it.
pub(crate) struct Queue(mpsc::Receiver<Message>);

impl Driver {
    /// Starts the thread. The result is ready when it has ended.
    pub(crate) fn start(
        &self,
        queue: Queue,
        setup: Setup,
    ) -> Result<oneshot::Receiver<Result<(), DriverError>>, DriverError> {
        let now = setup.clock.now();
        let engine = Engine::new(setup.engine, setup.owner, setup.seed, now);
        let reads = storing::Reads {
            store: setup.store,
            driver: self.clone(),
            runtime: setup.runtime,
            patience: setup.lane.patience,
            pulse: Arc::clone(&setup.pulse),
        };
        let pulse = Arc::clone(&setup.pulse);
        let lane = Lane::new(setup.lane);
        let outgoing = outgoing::Outgoing::new(setup.direct);
        let health = health::Health::new(setup.ready, setup.observer, setup.pulse);
        let state = run::State::new(
            engine,
            lane,
            setup.clock,
            reads,
            outgoing,
            health,
            setup.directory,
        );
        let (end, ended) = oneshot::channel();
        thread::Builder::new()
            .name("engine".to_owned())
            .spawn(move || {
                // The receiver is gone only when the whole server is.
                let _ = end.send(run::run(state, queue.0));
                pulse.end();
            })
            .map_err(DriverError::Thread)?;
        Ok(ended)
    }
}
