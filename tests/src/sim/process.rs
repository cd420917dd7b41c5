//! The coordinator's process: engine and lane, driven as the server drives them, with the state that
//! only the process has (streams, callers, calls under way).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tercet_core::{
    config::EngineConfig,
    engine::Engine,
    id::{CallId, CallerId, StreamId, TxId},
    lane::{Lane, LaneCommand, LaneConfig, LaneResult},
    model::{Name, Owner},
    port::{Call, Input, Output, Route},
    time::{Estimate, Moment, Now, Timestamp},
    write::WriteResult,
};

use super::{judge::RequestKind, world::Letter};

/// The shortest window.
const WINDOW_MIN: usize = 16;

/// A stream that the coordinator takes for open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenStream {
    /// The participant's place in the plan.
    pub service: usize,
    /// The instance.
    pub instance: usize,
    /// Calls that it takes at once.
    pub places: u32,
}

/// The client behind a caller's number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// The client's place in the plan; operators have none.
    pub client: Option<usize>,
    /// The kind of the request.
    pub kind: RequestKind,
    /// The client's number for the request.
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
    /// Streams that it takes for open.
    pub streams: BTreeMap<StreamId, OpenStream>,
    /// Calls under way to addresses.
    pub direct: BTreeMap<CallId, Call>,
    /// Calls and questions that no connection has taken yet.
    pub outbox: BTreeMap<CallId, (Route, Letter)>,
    /// Callers that wait for a reply.
    pub callers: BTreeMap<CallerId, Waiter>,
    /// Callers that have left.
    pub left: BTreeSet<CallerId>,
    /// The present, as it was at the last event.
    pub now: Now,
    /// What it knows of the database's clock.
    pub estimate: Estimate,
    /// The moment at which it is to wake up.
    pub wakes: Option<Moment>,
    /// The most places of each participant at once, by its place in the plan.
    pub widest: BTreeMap<usize, u32>,
    /// Transactions that a page of due rows listed, and that have not been read since.
    pub listed: BTreeSet<TxId>,
    /// Transactions that were read because a page listed them.
    pub from_table: BTreeSet<TxId>,
    /// Calls that left to each participant in a row while calls of transactions from the table waited for it, and how many of
    /// these waited at the last one.
    pub in_a_row: BTreeMap<Name, (u32, usize)>,
    /// The calls from the table that waited for each participant when the process had last done what there was to do.
    pub waited: BTreeMap<Name, usize>,
    /// The end of its pause, by the world's time.
    pub paused_until: Timestamp,
    /// The time for which it stood still and has not noticed yet.
    pub unnoticed: Duration,
    /// The time for which it stood still in all, as far as it has noticed.
    pub stood_still: Duration,
    /// When it gave the lane's command under way, on the clock that stops while it stands still.
    pub commanded_at: Option<Moment>,
    /// The same of the first command that failed since one succeeded.
    pub failing_since: Option<Moment>,
    next_stream: u64,
    next_caller: u64,
}

impl Process {
    /// Starts a process, which reads the database's clock at once.
    pub fn start(config: EngineConfig, epoch: u64, seed: u64, now: Now) -> Self {
        let owner = Owner {
            node: Name::from("node-1"),
            epoch,
        };
        Self {
            engine: Engine::new(config, owner.clone(), seed, now),
            lane: Lane::new(LaneConfig::default()),
            owner,
            estimate: Estimate::new(now.time, now.moment),
            streams: BTreeMap::new(),
            direct: BTreeMap::new(),
            outbox: BTreeMap::new(),
            callers: BTreeMap::new(),
            left: BTreeSet::new(),
            now,
            wakes: None,
            widest: BTreeMap::new(),
            listed: BTreeSet::new(),
            from_table: BTreeSet::new(),
            in_a_row: BTreeMap::new(),
            waited: BTreeMap::new(),
            paused_until: Timestamp::default(),
            unnoticed: Duration::ZERO,
            stood_still: Duration::ZERO,
            commanded_at: None,
            failing_since: None,
            next_stream: 0,
            next_caller: 0,
        }
    }

    /// Lets time come to the process.
    pub fn comes_to(&mut self, moment: Moment) {
        self.now = self.estimate.now(moment);
    }

    /// Lets the process notice that it stood still.
    pub fn notice_standstill(&mut self, moment: Moment) {
        self.comes_to(moment);
        let by = std::mem::take(&mut self.unnoticed);
        if by > Duration::ZERO {
            self.stood_still += by;
            self.lane.stood_still(by);
            self.engine.handle(self.now, Input::StoodStill(by));
        }
    }

    /// Returns the present on the clock that stops while the process stands still.
    fn running(&self) -> Moment {
        self.now.moment - self.stood_still
    }

    /// Returns for how long the database has been silent or refused every commit, while the process ran.
    pub fn silence(&self) -> Duration {
        let since = self.failing_since.or(self.commanded_at);
        since.map_or(Duration::ZERO, |since| self.running().since(since))
    }

    /// Takes in the result of the lane's command.
    pub fn commanded(&mut self, result: LaneResult) -> Vec<(TxId, WriteResult)> {
        let commanded_at = self.commanded_at.take();
        match result {
            LaneResult::Applied(Ok(())) => self.failing_since = None,
            LaneResult::Applied(Err(_)) | LaneResult::Standing(Err(_)) => {
                self.failing_since = self.failing_since.or(commanded_at);
            }
            LaneResult::Standing(Ok(_)) => {}
        }
        self.lane.done(self.now.moment, result)
    }

    /// Hands an input to the engine.
    pub fn handle(&mut self, input: Input) {
        self.engine.handle(self.now, input);
    }

    /// Returns the engine's outputs.
    pub fn outputs(&mut self) -> Vec<Output> {
        self.engine.drain()
    }

    /// Returns the lane's next command.
    pub fn command(&mut self) -> Option<LaneCommand> {
        let command = self.lane.next(self.now.moment)?;
        self.commanded_at = Some(self.running());
        Some(command)
    }

    /// Returns when the engine or the lane is to wake up.
    pub fn next_wakeup(&self) -> Option<Moment> {
        match (self.engine.next_wakeup(), self.lane.next_wakeup()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, other) => one.or(other),
        }
    }

    /// Opens a stream of a participant and returns its number.
    pub fn open_stream(&mut self, stream: OpenStream) -> StreamId {
        self.next_stream += 1;
        let id = StreamId(self.next_stream);
        self.streams.insert(id, stream);
        let of_the_service = |other: &&OpenStream| other.service == stream.service;
        let streams = self.streams.values().filter(of_the_service).count();
        let places = stream.places * u32::try_from(streams).unwrap_or(u32::MAX);
        let widest = self.widest.entry(stream.service).or_default();
        *widest = places.max(*widest);
        id
    }

    /// Returns the most calls to a participant that may wait in one queue for a place: its window at its widest.
    pub fn window(&self, service: usize, places: u32) -> usize {
        let widest = self.widest.get(&service).copied().unwrap_or(0).max(places);
        (2 * widest as usize).max(WINDOW_MIN)
    }

    /// Makes a number for a new caller.
    pub fn open_caller(&mut self, waiter: Waiter) -> CallerId {
        self.next_caller += 1;
        let id = CallerId(self.next_caller);
        self.callers.insert(id, waiter);
        id
    }
}
