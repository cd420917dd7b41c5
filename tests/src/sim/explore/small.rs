//! A world that is small enough for every interleaving.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use tercet_barrier::{Arrival, Outcome as Said};
use tercet_core::{
    engine::{
        Answer, Call, CallOutcome, Engine, EngineConfig, Input, NewTransaction, Output, Reach,
        Request, Wait,
    },
    id::{CallerId, StreamId, TxId},
    lane::{Lane, LaneCommand, LaneConfig, LaneResult},
    model::{Driver, Ext, Name, Operation, Owner},
    time::Timestamp,
    write::{ApplyFailure, Write},
};

use super::worlds::{Budget, World};
use crate::sim::{
    books::{Begun, Books, mode, operation},
    history::DAWN,
    judge::{Asked, Judge, Scene, Violation},
    tables::{Obstacle, Tables},
};

/// Wake-ups in a row that change nothing.
const IDLE: u32 = 12;

/// Something that is under way.
#[derive(Clone, Debug, PartialEq)]
enum Pending {
    Request,
    Apply(Arc<Vec<Write>>),
    Standing(Arc<Vec<Write>>),
    Load(Vec<TxId>),
    /// A commit whose sender has been told that nobody knows, or has died.
    Late(Arc<Vec<Write>>),
    Call(u64, Box<Call>),
    Answer(Answer),
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
            Self::Answer(answer) => (6, answer.epoch, answer.call.0, answer.operation),
        }
    }
}

/// What may happen next.
#[derive(Clone, Debug)]
pub enum Move {
    /// What is under way at this place arrives or is carried out.
    Arrives(usize),
    /// It is lost.
    Lost(usize),
    /// It arrives, and is under way once more.
    Repeated(usize),
    /// A commit holds, and nobody can say.
    AppliedUnknown(usize),
    /// A commit is given up; it lands later, or never.
    GivenUp(usize),
    /// A commit that was given up never lands.
    Vanishes(usize),
    /// The coordinator dies and starts again.
    Crash,
    /// Nothing happens until somebody wants to be woken.
    TimePasses,
}

/// One state of a small world.
#[derive(Clone)]
pub struct Small {
    world: World,
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
}

impl fmt::Debug for Small {
    /// What makes two states the same.
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
            ..
        } = self;
        write!(
            f,
            "{now:?}{epoch}{engine:?}{lane:?}{tables:?}{books:?}{judge:?}{pending:?}{budget:?}"
        )
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
        Engine::new(config, owner.clone(), 1, now),
        Lane::new(lane, owner),
    )
}

impl Small {
    /// The world's first state: a request is on its way.
    pub fn new(world: World) -> Self {
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
        };
        small.attach();
        small
    }

    fn attach(&mut self) {
        for (number, action) in (1..).zip(self.world.actions()) {
            let name = action.participant.clone();
            self.tell(Input::Participant {
                name: name.clone(),
                reach: Reach::Attach,
            });
            self.tell(Input::Attached {
                stream: StreamId(number),
                participant: name,
                concurrency: 4,
            });
        }
    }

    /// The first broken promise.
    pub fn violation(&self) -> Option<&Violation> {
        self.judge.violation()
    }

    /// Everything is over.
    pub fn end(&mut self) {
        let scene = Scene {
            now: self.now,
            tables: &self.tables,
            books: &self.books,
        };
        self.judge.at_the_end(&scene, None);
    }

    /// Every move that is possible.
    pub fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        for (place, pending) in self.pending.iter().enumerate() {
            moves.push(Move::Arrives(place));
            match pending {
                Pending::Request | Pending::Call(..) | Pending::Answer(_) => {
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
        let over = self.is_settled() && !busy;
        if over && self.pending.is_empty() {
            return moves;
        }
        if self.budget.crash > 0 {
            moves.push(Move::Crash);
        }
        let waiting = |pending: &Pending| !matches!(pending, Pending::Late(_));
        let waits = self.pending.iter().any(waiting);
        if (!waits && !over) || (waits && self.budget.early > 0) {
            moves.push(Move::TimePasses);
        }
        moves
    }

    fn is_settled(&self) -> bool {
        self.tables
            .rows()
            .all(|(_, row)| row.head.phase.is_settled())
    }

    /// Makes a move; says which it was.
    pub fn make(&mut self, next: &Move) -> String {
        let word = self.make_one(next);
        // In which order things came under way makes no difference.
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
                "the commit holds, and nobody can say".into()
            }
            Move::GivenUp(place) => {
                self.budget.unknown -= 1;
                if let Pending::Apply(batch) = self.pending.remove(place) {
                    self.pending.push(Pending::Late(batch));
                }
                self.lane_done(LaneResult::Applied(Err(ApplyFailure::Unknown)));
                "the commit is given up, and nobody can say".into()
            }
            Move::Vanishes(place) => {
                self.pending.remove(place);
                "the commit that was given up never lands".into()
            }
            Move::Crash => self.crash(),
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
        self.attach();
        "the coordinator dies and starts again".into()
    }

    fn time_passes(&mut self) -> String {
        let waiting = |pending: &Pending| !matches!(pending, Pending::Late(_));
        if self.pending.iter().any(waiting) {
            self.budget.early -= 1;
        }
        let wakes = [self.engine.next_wakeup(), self.lane.next_wakeup()];
        let at = wakes.into_iter().flatten().min().unwrap_or(self.now);
        self.now = self.now.max(at);
        self.idle += 1;
        if self.idle > IDLE {
            let what = "it is woken and woken, and nothing changes".to_owned();
            self.judge
                .accuse("I7 nothing stays unfinished", Some(id()), what);
        }
        self.tell(Input::Tick);
        format!("time passes until {}", crate::sim::history::Clock(self.now))
    }

    fn arrives(&mut self, pending: Pending) {
        self.idle = 0;
        match pending {
            Pending::Request => {
                self.callers += 1;
                let request = Request::Begin(Arc::new(self.new_transaction()), Wait::Completed);
                let caller = CallerId(self.callers);
                self.tell(Input::Request { caller, request });
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
                self.tell(Input::Loaded(loaded));
            }
            Pending::Call(epoch, call) => self.called(epoch, &call),
            Pending::Answer(answer) => self.tell(Input::Answered(answer)),
        }
    }

    fn new_transaction(&self) -> NewTransaction {
        NewTransaction {
            id: id(),
            business_type: "exchange".into(),
            business_id: "1".into(),
            unique_business: false,
            driver: Driver::Coordinator,
            timeout: Duration::from_secs(30),
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
                let invariant = "I10 the fence: rows of action_info change with their tx_info row";
                self.judge.accuse(invariant, Some(tx), what);
                Err(ApplyFailure::Fatal)
            }
        }
    }

    fn lane_done(&mut self, result: LaneResult) {
        let settled = self.lane.done(self.now, result);
        for (id, settled) in &settled {
            self.judge.told(self.epoch, *id, *settled, &self.tables);
        }
        self.tell(Input::Settled(settled));
    }

    /// A participant's local transaction, from its beginning to its end.
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
        let said = match books.arrive(&key, arrival) {
            Begun::Answer(said) => said,
            Begun::Run(then) => {
                let tries = call.operation == Operation::Try;
                let said = if tries && self.world.refuses(&call.action.name) {
                    Said::Rejected("sold out".into())
                } else if tries {
                    Said::Done(call.action.name.as_bytes().to_vec())
                } else {
                    Said::done()
                };
                if let Err(what) = books.commit(&key, arrival, then, &said) {
                    let invariant = "I3 I4 I5 an action takes effect once, or not at all";
                    self.judge.accuse(invariant, Some(call.tx), what);
                }
                said
            }
        };
        self.pending.push(Pending::Answer(Answer {
            route: call.route,
            epoch,
            call: call.id,
            tx: call.tx,
            action: call.action.name.clone(),
            operation: call.operation,
            outcome: match said {
                Said::Done(result) => CallOutcome::Ok(result.into()),
                Said::Rejected(reason) => CallOutcome::Rejected(reason),
                Said::Unknown(error) => CallOutcome::Unknown(error),
            },
        }));
    }

    fn tell(&mut self, input: Input) {
        self.engine.handle(self.now, input);
        loop {
            let outputs = self.engine.drain();
            let idle = outputs.is_empty();
            for output in outputs {
                self.carry_out(output);
            }
            match self.lane.next(self.now) {
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
            Output::Write(write) => self.lane.push(self.now, *write),
            Output::Call(call) => {
                self.judge.called(self.epoch, &call, &scene);
                self.pending.push(Pending::Call(self.epoch, Box::new(call)));
            }
            Output::Reply(_, result) => self.judge.replied(id(), &Asked::Begin, &result, &scene),
            Output::Load(ids) => self.pending.push(Pending::Load(ids)),
            Output::Due(query) => {
                let due = self.tables.due(&query);
                self.engine.handle(self.now, Input::Due(query, due));
            }
            Output::AskBack(_) => {}
            Output::Illegal(illegal) => {
                let invariant = "no write leaves an illegal row";
                self.judge
                    .accuse(invariant, Some(illegal.id), illegal.to_string());
            }
        }
    }
}

fn word(pending: &Pending) -> String {
    match pending {
        Pending::Request => "the request".into(),
        Pending::Apply(_) => "a commit".into(),
        Pending::Late(_) => "a commit that was given up".into(),
        Pending::Standing(_) => "a question for who wrote a row".into(),
        Pending::Load(_) => "a load".into(),
        Pending::Call(epoch, call) => format!(
            "{} of {} (call {} of epoch {epoch})",
            call.operation, call.action.name, call.id.0
        ),
        Pending::Answer(answer) => format!(
            "{:?} to {} of {} (call {} of epoch {})",
            answer.outcome, answer.operation, answer.action, answer.call.0, answer.epoch
        ),
    }
}
