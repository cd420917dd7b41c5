//! The state of a small world, and the moves that are possible in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use tercet_barrier::{Arrival, CallAnswer};
use tercet_core::{
    config::EngineConfig,
    engine::Engine,
    id::{CallerId, StreamId, TxId},
    lane::{Lane, LaneCommand, LaneConfig, LaneResult},
    model::{ActionSpec, Decider, Ext, Name, Operation, Owner},
    port::{
        Abilities, Call, CallResult, Input, NewTransaction, Output, Reach, Read, Request, Wait,
    },
    time::Timestamp,
    write::{ApplyFailure, Fence, Write},
};

use super::worlds::{Budget, SmallWorld};
use crate::sim::{
    books::{Admission, Books, answer_to_core, mode, operation},
    clocks,
    history::DAWN,
    judge::{Breach, Judge, RequestKind, Scene, Way},
    tables::{Obstacle, Tables},
};

/// The limit of wake-ups in a row that change nothing.
const IDLE: u32 = 12;

/// The same while a participant is away.
const IDLE_AWAY: u32 = 3;

/// The streams of the last action's participant: before it leaves, and after it has returned.
const LAST_STREAM: StreamId = StreamId(100);
const LATER_STREAM: StreamId = StreamId(101);

/// A message, commit or read under way.
#[derive(Clone, Debug, PartialEq)]
enum Pending {
    Request,
    Apply(Arc<Vec<Write>>),
    Standing(Arc<Vec<Write>>),
    Load(Vec<TxId>),
    /// A commit whose sender received an unknown outcome, or has died.
    Late(Arc<Vec<Write>>),
    Call(u64, Box<Call>),
    CallResult(CallResult),
}

impl Pending {
    fn rank(&self) -> (u8, u64, u64, Operation) {
        match self {
            Self::Request => (0, 0, 0, Operation::Try),
            Self::Apply(_) => (1, 0, 0, Operation::Try),
            Self::Standing(_) => (2, 0, 0, Operation::Try),
            Self::Load(_) => (3, 0, 0, Operation::Try),
            Self::Late(_) => (4, 0, 0, Operation::Try),
            Self::Call(epoch, call) => (5, *epoch, call.id.0, call.operation),
            Self::CallResult(result) => (6, result.epoch, result.call.0, result.operation),
        }
    }
}

/// A move: one thing that may happen next.
#[derive(Clone, Debug)]
pub enum Move {
    /// The pending item at this place arrives or is carried out.
    Arrives(usize),
    /// The pending item at this place is lost.
    Lost(usize),
    /// The pending item at this place arrives, and is pending once more.
    Repeated(usize),
    /// The commit at this place is applied and reports an unknown outcome.
    AppliedUnknown(usize),
    /// The commit at this place is given up; it is applied later, or never.
    GivenUp(usize),
    /// A commit that was given up is never applied.
    Vanishes(usize),
    /// The coordinator dies and starts again.
    Crash,
    /// The last action's participant ends its stream.
    Leaves,
    /// It opens another one.
    Returns,
    /// Time passes until the next wake-up.
    TimePasses,
}

/// One state of a small world.
#[derive(Clone)]
pub struct Small {
    world: SmallWorld,
    now: Timestamp,
    epoch: u64,
    engine: Engine,
    lane: Lane,
    tables: Tables,
    books: BTreeMap<Name, Books>,
    judge: Judge,
    pending: Vec<Pending>,
    budget: Budget,
    idle: u32,
    callers: u64,
    /// The stream of the last action's participant; `None`: it is away.
    last_stream: Option<StreamId>,
}

impl fmt::Debug for Small {
    /// Writes every part by which two states differ.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            now,
            epoch,
            engine,
            lane,
            tables,
            books,
            judge,
            pending,
            budget,
            last_stream,
            ..
        } = self;
        write!(
            f,
            "{now:?}{epoch}{engine:?}{lane:?}{tables:?}{books:?}{judge:?}{pending:?}{budget:?}{last_stream:?}"
        )
    }
}

fn abilities(action: &ActionSpec) -> Abilities {
    Abilities {
        handlers: BTreeSet::from([(action.handler.clone(), Some(action.mode))]),
        check_backs: false,
    }
}

fn id() -> TxId {
    let millis = u64::try_from(DAWN.as_micros() / 1_000).unwrap_or(0);
    TxId(uuid::Builder::from_unix_timestamp_millis(millis, &[7; 10]).into_uuid())
}

fn start(epoch: u64, now: Timestamp) -> (Engine, Lane) {
    let owner = Owner {
        node: "node-1".into(),
        epoch,
    };
    let config = EngineConfig {
        lease: Duration::from_secs(5),
        hold: Duration::from_secs(5),
        poll: Duration::from_secs(1),
        ..EngineConfig::default()
    };
    let lane = LaneConfig {
        linger: Duration::ZERO,
        ..LaneConfig::default()
    };
    (
        Engine::new(config, owner.clone(), epoch, clocks::present(now)),
        Lane::new(lane),
    )
}

impl Small {
    /// Makes the world's first state: a request is on its way.
    pub fn new(world: SmallWorld) -> Self {
        let (engine, lane) = start(1, DAWN);
        let mut small = Self {
            world,
            now: DAWN,
            epoch: 1,
            engine,
            lane,
            tables: Tables::default(),
            books: BTreeMap::new(),
            judge: Judge::default(),
            pending: vec![Pending::Request],
            budget: world.budget(),
            idle: 0,
            callers: 0,
            last_stream: Some(LAST_STREAM),
        };
        small.attach();
        small
    }

    fn attach(&mut self) {
        let actions = self.world.actions();
        for (number, action) in (1..).zip(&actions) {
            let stream = if usize::try_from(number) == Ok(actions.len()) {
                self.last_stream
            } else {
                Some(StreamId(number))
            };
            self.deliver(Input::Participant {
                name: action.participant.clone(),
                reach: Reach::Attach,
            });
            if let Some(stream) = stream {
                self.attach_one(stream, action);
            }
        }
    }

    fn attach_one(&mut self, stream: StreamId, action: &ActionSpec) {
        self.deliver(Input::Attached {
            stream,
            participant: action.participant.clone(),
            concurrency: 4,
            abilities: abilities(action),
        });
    }

    fn leaves(&mut self) -> String {
        self.budget.leaves -= 1;
        if let Some(stream) = self.last_stream.take() {
            self.deliver(Input::Detached(stream));
        }
        "the last action's participant leaves".into()
    }

    fn returns(&mut self) -> String {
        self.idle = 0;
        self.last_stream = Some(LATER_STREAM);
        if let Some(action) = self.world.actions().pop() {
            self.attach_one(LATER_STREAM, &action);
        }
        "it returns".into()
    }

    /// Returns the first breach.
    pub fn breach(&self) -> Option<&Breach> {
        self.judge.breach()
    }

    /// Checks the invariants of the end.
    pub fn end(&mut self) {
        let scene = Scene {
            now: self.now,
            tables: &self.tables,
            books: &self.books,
        };
        self.judge.at_the_end(&scene, &BTreeSet::new());
    }

    /// Returns every move that is possible.
    pub fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        for (place, pending) in self.pending.iter().enumerate() {
            moves.push(Move::Arrives(place));
            match pending {
                Pending::Request | Pending::Call(..) | Pending::CallResult(_) => {
                    if self.budget.lost > 0 {
                        moves.push(Move::Lost(place));
                    }
                    if self.budget.repeated > 0 {
                        moves.push(Move::Repeated(place));
                    }
                }
                Pending::Apply(_) if self.budget.unknown > 0 => {
                    moves.push(Move::AppliedUnknown(place));
                    moves.push(Move::GivenUp(place));
                }
                Pending::Late(_) => moves.push(Move::Vanishes(place)),
                Pending::Apply(_) | Pending::Standing(_) | Pending::Load(_) => {}
            }
        }
        let busy = self.engine.stats().transactions > 0 || !self.lane.is_empty();
        let over = self.is_over() && !busy;
        if over && self.pending.is_empty() {
            return moves;
        }
        if self.budget.crash > 0 {
            moves.push(Move::Crash);
        }
        if self.budget.leaves > 0 {
            moves.push(Move::Leaves);
        }
        if self.last_stream.is_none() {
            moves.push(Move::Returns);
        }
        let waiting = |pending: &Pending| !matches!(pending, Pending::Late(_));
        let waits = self.pending.iter().any(waiting);
        // A transaction at rest may wait for the absent one without end.
        if self.last_stream.is_none() && self.idle >= IDLE_AWAY {
            return moves;
        }
        if (!waits && !over) || (waits && self.budget.early > 0) {
            moves.push(Move::TimePasses);
        }
        moves
    }

    fn is_over(&self) -> bool {
        self.tables.rows().all(|(_, row)| row.head.phase.is_over())
    }

    /// Makes a move, and returns its description.
    pub fn make(&mut self, next: &Move) -> String {
        let word = self.make_one(next);
        // The order in which items became pending makes no difference.
        self.pending.sort_by_key(Pending::rank);
        word
    }

    fn make_one(&mut self, next: &Move) -> String {
        match *next {
            Move::Arrives(place) => {
                let pending = self.pending.remove(place);
                let word = format!("arrives: {}", word(&pending));
                self.arrives(pending);
                word
            }
            Move::Repeated(place) => {
                self.budget.repeated -= 1;
                let pending = self.pending[place].clone();
                let word = format!("arrives and is repeated: {}", word(&pending));
                self.arrives(pending);
                word
            }
            Move::Lost(place) => {
                self.budget.lost -= 1;
                format!("lost: {}", word(&self.pending.remove(place)))
            }
            Move::AppliedUnknown(place) => {
                self.budget.unknown -= 1;
                if let Pending::Apply(batch) = self.pending.remove(place) {
                    let _ = self.apply(&batch);
                }
                self.lane_done(LaneResult::Applied(Err(ApplyFailure::Unknown)));
                "the commit is applied, with an unknown outcome".into()
            }
            Move::GivenUp(place) => {
                self.budget.unknown -= 1;
                if let Pending::Apply(batch) = self.pending.remove(place) {
                    self.pending.push(Pending::Late(batch));
                }
                self.lane_done(LaneResult::Applied(Err(ApplyFailure::Unknown)));
                "the commit is given up, with an unknown outcome".into()
            }
            Move::Vanishes(place) => {
                self.pending.remove(place);
                "the commit that was given up is never applied".into()
            }
            Move::Crash => self.crash(),
            Move::Leaves => self.leaves(),
            Move::Returns => self.returns(),
            Move::TimePasses => self.time_passes(),
        }
    }

    fn crash(&mut self) -> String {
        self.budget.crash -= 1;
        self.epoch += 1;
        self.pending
            .retain(|pending| !matches!(pending, Pending::Standing(_) | Pending::Load(_)));
        for pending in &mut self.pending {
            if let Pending::Apply(batch) = pending {
                *pending = Pending::Late(batch.clone());
            }
        }
        (self.engine, self.lane) = start(self.epoch, self.now);
        self.judge
            .started(self.epoch, self.now, self.now, &self.tables);
        self.attach();
        "the coordinator dies and starts again".into()
    }

    fn time_passes(&mut self) -> String {
        let waiting = |pending: &Pending| !matches!(pending, Pending::Late(_));
        if self.pending.iter().any(waiting) {
            self.budget.early -= 1;
        }
        let wakes = [self.engine.next_wakeup(), self.lane.next_wakeup()];
        let at = wakes.into_iter().flatten().min();
        self.now = at.map_or(self.now, |at| self.now.max(clocks::time(at)));
        self.idle += 1;
        if self.idle > IDLE {
            let what = "it wakes up again and again, and nothing changes".to_owned();
            self.judge
                .record("I7 nothing stays unfinished", Some(id()), what);
        }
        self.deliver(Input::Tick);
        format!("time passes until {}", crate::sim::history::Clock(self.now))
    }

    fn arrives(&mut self, pending: Pending) {
        self.idle = 0;
        match pending {
            Pending::Request => {
                self.callers += 1;
                let request = Request::Begin(Arc::new(self.new_transaction()), Wait::Completed);
                let caller = CallerId(self.callers);
                self.deliver(Input::Request { caller, request });
            }
            Pending::Apply(batch) => {
                let result = self.apply(&batch);
                self.lane_done(LaneResult::Applied(result));
            }
            Pending::Late(batch) => {
                let _ = self.apply(&batch);
            }
            Pending::Standing(batch) => {
                let standing = self.tables.standing(&batch);
                self.lane_done(LaneResult::Standing(Ok(standing)));
            }
            Pending::Load(ids) => {
                let loaded = self.tables.load(&ids);
                self.deliver(Input::Loaded(loaded));
            }
            Pending::Call(epoch, call) => self.called(epoch, &call),
            Pending::CallResult(result) => self.deliver(Input::CallResult(result)),
        }
    }

    fn new_transaction(&self) -> NewTransaction {
        NewTransaction {
            id: id(),
            business_type: "exchange".into(),
            business_id: "1".into(),
            unique_business: false,
            decider: Decider::Coordinator,
            timeout: Some(Duration::from_secs(30)),
            check_back: None,
            ext: Ext::new(),
            actions: self.world.actions(),
        }
    }

    fn apply(&mut self, batch: &Arc<Vec<Write>>) -> Result<(), ApplyFailure> {
        match self.tables.apply(batch) {
            Ok(changes) => {
                let scene = Scene {
                    now: self.now,
                    tables: &self.tables,
                    books: &self.books,
                };
                for change in changes {
                    self.judge.changed(&change, &scene);
                }
                Ok(())
            }
            Err(Obstacle::Failure(failure)) => Err(failure),
            Err(Obstacle::Corrupt(tx, what)) => {
                let invariant = "I10 the fence: other rows change with their tx_info row";
                self.judge.record(invariant, Some(tx), what);
                Err(ApplyFailure::Fatal)
            }
        }
    }

    fn lane_done(&mut self, result: LaneResult) {
        let results = self.lane.done(clocks::moment(self.now), result);
        for (id, result) in &results {
            self.judge.written(self.epoch, *id, *result, &self.tables);
        }
        self.deliver(Input::Written(results));
    }

    /// Runs a participant's local transaction from its beginning to its end.
    fn called(&mut self, epoch: u64, call: &Call) {
        let key = (call.tx, call.action.name.clone());
        let arrival = Arrival {
            mode: mode(call.action.mode),
            operation: operation(call.operation),
            external: false,
            expired: false,
        };
        let books = self
            .books
            .entry(call.action.participant.clone())
            .or_default();
        let answer = match books.arrive(&key, arrival) {
            Admission::Answer(answer) => answer,
            Admission::Run(then) => {
                let tries = call.operation == Operation::Try;
                let answer = if tries && self.world.refuses(&call.action.name) {
                    CallAnswer::Rejected("sold out".into())
                } else if tries {
                    CallAnswer::Done(call.action.name.as_bytes().to_vec())
                } else {
                    CallAnswer::done()
                };
                if let Err(what) = books.commit(&key, arrival, then, &answer) {
                    let invariant = "I3 I4 I5 an action takes effect once, or not at all";
                    self.judge.record(invariant, Some(call.tx), what);
                }
                answer
            }
        };
        self.pending.push(Pending::CallResult(CallResult {
            route: call.route,
            epoch,
            call: call.id,
            tx: call.tx,
            action: call.action.name.clone(),
            operation: call.operation,
            answer: answer_to_core(answer),
        }));
    }

    fn deliver(&mut self, input: Input) {
        self.engine.handle(clocks::present(self.now), input);
        loop {
            let outputs = self.engine.drain();
            let idle = outputs.is_empty();
            for output in outputs {
                self.carry_out(output);
            }
            match self.lane.next(clocks::moment(self.now)) {
                Some(LaneCommand::Apply(batch)) => self.pending.push(Pending::Apply(batch)),
                Some(LaneCommand::Standing(batch)) => self.pending.push(Pending::Standing(batch)),
                None if idle => return,
                None => {}
            }
        }
    }

    fn carry_out(&mut self, output: Output) {
        let scene = Scene {
            now: self.now,
            tables: &self.tables,
            books: &self.books,
        };
        match output {
            Output::Write(write) => {
                if let Fence::Absent(spec) = &write.fence {
                    self.judge.begins(write.id, spec, self.now);
                }
                self.lane.push(clocks::moment(self.now), *write);
            }
            Output::Call(call) => {
                let abilities = abilities(&call.action);
                let way = Way {
                    epoch: self.epoch,
                    abilities: Some(&abilities),
                };
                self.judge.called(&way, &call, &scene);
                self.pending.push(Pending::Call(self.epoch, Box::new(call)));
            }
            Output::Reply(_, result) => {
                self.judge
                    .replied(id(), &RequestKind::Begin, &result, &scene);
            }
            Output::Read(Read::Transactions(ids)) => self.pending.push(Pending::Load(ids)),
            Output::Read(Read::Due(query)) => {
                let due = self.tables.due(&query);
                self.engine
                    .handle(clocks::present(self.now), Input::Due(query, due));
            }
            Output::Read(Read::Queues(query)) => {
                let queues = self.tables.queues(&query);
                self.engine
                    .handle(clocks::present(self.now), Input::Queues(query, queues));
            }
            // Every call is taken as soon as it leaves.
            Output::AskBack(_) | Output::Withdraw { .. } | Output::Outage(..) => {}
            Output::Illegal(illegal) => {
                let invariant = "no write leaves an illegal row";
                self.judge
                    .record(invariant, Some(illegal.id), illegal.to_string());
            }
        }
    }
}

fn word(pending: &Pending) -> String {
    match pending {
        Pending::Request => "the request".into(),
        Pending::Apply(_) => "a commit".into(),
        Pending::Late(_) => "a commit that was given up".into(),
        Pending::Standing(_) => "a read of the rows in the way".into(),
        Pending::Load(_) => "a load".into(),
        Pending::Call(epoch, call) => format!(
            "{} of {} (call {} of epoch {epoch})",
            call.operation, call.action.name, call.id.0
        ),
        Pending::CallResult(result) => format!(
            "{:?} to {} of {} (call {} of epoch {})",
            result.answer, result.operation, result.action, result.call.0, result.epoch
        ),
    }
}
