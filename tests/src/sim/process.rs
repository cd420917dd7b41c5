//! The coordinator's process: the shipped engine and lane, driven as the server drives them, and
//! what only the process knows (streams, callers, calls under way).

use std::collections::{BTreeMap, BTreeSet};

use tercet_core::{
    engine::{Call, Engine, EngineConfig, Input, Output},
    id::{CallId, CallerId, StreamId, TxId},
    lane::{Lane, LaneCommand, LaneConfig},
    model::{Name, Owner},
    time::Timestamp,
};

use super::judge::Asked;

/// Who waits behind a caller's number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// A place in the plan; operators have none.
    pub client: Option<usize>,
    /// What was asked for.
    pub asked: Asked,
    /// The request's number at the client.
    pub ticket: u64,
    /// The transaction that the request is for.
    pub tx: TxId,
}

/// One incarnation of the coordinator.
#[derive(Debug)]
pub struct Process {
    /// Its name and epoch.
    pub owner: Owner,
    /// The shipped engine.
    pub engine: Engine,
    /// The shipped lane.
    pub lane: Lane,
    /// Streams that it takes for open, and the participant's place in the plan.
    pub streams: BTreeMap<StreamId, usize>,
    /// Calls to addresses that are under way.
    pub direct: BTreeMap<CallId, Call>,
    /// Callers that wait.
    pub callers: BTreeMap<CallerId, Waiter>,
    /// Callers that have left.
    pub left: BTreeSet<CallerId>,
    /// The engine's present; it never goes back.
    pub now: Timestamp,
    /// When it is to be woken.
    pub wakes: Option<Timestamp>,
    /// It stands still until then.
    pub paused_until: Timestamp,
    next_stream: u64,
    next_caller: u64,
}

impl Process {
    /// A process that has just started.
    pub fn start(config: EngineConfig, epoch: u64, seed: u64, now: Timestamp) -> Self {
        let owner = Owner {
            node: Name::from("node-1"),
            epoch,
        };
        Self {
            engine: Engine::new(config, owner.clone(), seed, now),
            lane: Lane::new(LaneConfig::default(), owner.clone()),
            owner,
            streams: BTreeMap::new(),
            direct: BTreeMap::new(),
            callers: BTreeMap::new(),
            left: BTreeSet::new(),
            now,
            wakes: None,
            paused_until: now,
            next_stream: 0,
            next_caller: 0,
        }
    }

    /// Tells the engine.
    pub fn handle(&mut self, input: Input) {
        self.engine.handle(self.now, input);
    }

    /// What the engine wants done; its writes have gone to the lane.
    pub fn outputs(&mut self) -> Vec<Output> {
        self.engine.drain()
    }

    /// The lane's next command.
    pub fn command(&mut self) -> Option<LaneCommand> {
        self.lane.next(self.now)
    }

    /// When the engine or the lane wants to be woken.
    pub fn next_wakeup(&self) -> Option<Timestamp> {
        match (self.engine.next_wakeup(), self.lane.next_wakeup()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, other) => one.or(other),
        }
    }

    /// A number for a new stream.
    pub fn open_stream(&mut self, service: usize) -> StreamId {
        self.next_stream += 1;
        let id = StreamId(self.next_stream);
        self.streams.insert(id, service);
        id
    }

    /// A number for a new caller.
    pub fn open_caller(&mut self, waiter: Waiter) -> CallerId {
        self.next_caller += 1;
        let id = CallerId(self.next_caller);
        self.callers.insert(id, waiter);
        id
    }
}
