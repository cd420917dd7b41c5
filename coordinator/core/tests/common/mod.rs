//! Shared by the core's tests: actions and transactions, an engine with a table, and text tables.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "every test file uses a part of it"
)]

pub mod rows;
pub mod transitions;
pub mod waiting;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use tercet_core::{
    config::EngineConfig,
    engine::Engine,
    id::{CallId, CallerId, StreamId, TxId},
    model::{
        ActionSpec, Decider, Ext, Mode, Name, Operation, Outcome, Owner, RetryPolicy, Transaction,
    },
    port::{
        Abilities, AskBack, Call, CallAnswer, CallResult, Command, Input, NewTransaction, Order,
        Outage, Output, Reach, Read, Reply, Request, Route, Wait,
    },
    refusal::Refusal,
    time::{Moment, Now, Timestamp},
    write::{Write, WriteResult},
};
use uuid::Uuid;

use self::rows::Rows;

pub const START: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

/// The present at this time by a database's clock that has not jumped since [`START`].
pub fn at(time: Timestamp) -> Now {
    Now {
        moment: Moment::from_micros(time.as_micros() - START.as_micros()),
        time,
    }
}

pub fn owner(epoch: u64) -> Owner {
    Owner {
        node: "n1".into(),
        epoch,
    }
}

pub fn tx_id(number: u64) -> TxId {
    let millis = u64::try_from(START.as_micros()).unwrap() / 1_000;
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    bytes[6] = 0x70;
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    bytes[8] = 0x80;
    TxId(Uuid::from_bytes(bytes))
}

fn action(name: &str, mode: Mode) -> ActionSpec {
    ActionSpec {
        name: name.into(),
        mode,
        participant: "p".into(),
        handler: name.into(),
        payload: Bytes::from_static(b"payload"),
        after: Vec::new(),
        wants_results: false,
        already_tried: false,
        retry: RetryPolicy {
            max_attempts: Some(3),
            ..RetryPolicy::default()
        },
        ext: Ext::new(),
    }
}

pub fn tcc(name: &str) -> ActionSpec {
    action(name, Mode::Tcc)
}

pub fn compensate(name: &str) -> ActionSpec {
    action(name, Mode::Compensate)
}

pub fn deliver(name: &str) -> ActionSpec {
    action(name, Mode::Deliver)
}

/// An action that comes after another, and whose Try gets the other's result.
pub fn following(before: &str, action: ActionSpec) -> ActionSpec {
    ActionSpec {
        after: vec![before.into()],
        wants_results: true,
        ..action
    }
}

pub fn new_transaction(
    number: u64,
    decider: Decider,
    actions: impl IntoIterator<Item = ActionSpec>,
) -> NewTransaction {
    NewTransaction {
        id: tx_id(number),
        business_type: "exchange".into(),
        business_id: format!("order-{number}").into(),
        unique_business: false,
        decider,
        timeout: Some(Duration::from_secs(30)),
        check_back: None,
        ext: Ext::new(),
        actions: actions.into_iter().map(Arc::new).collect(),
    }
}

/// A begin by an initiator, of two TCC actions.
pub fn new_begin(number: u64) -> NewTransaction {
    new_transaction(number, Decider::Initiator, [tcc("a"), tcc("b")])
}

pub fn command(order: Order) -> Command {
    Command {
        who: "ann".into(),
        reason: "the service is back".into(),
        order,
    }
}

pub fn ok() -> CallAnswer {
    CallAnswer::Ok(Bytes::new())
}

pub fn unknown() -> CallAnswer {
    CallAnswer::Unknown("lost".into())
}

pub fn unsent() -> CallAnswer {
    CallAnswer::Unsent("connection refused".into())
}

pub fn rejected() -> CallAnswer {
    CallAnswer::Rejected("short of points".into())
}

/// An engine with a table that applies every write at once, and one participant "p" with a stream.
pub struct World {
    pub engine: Engine,
    /// The time by the database's clock.
    pub now: Timestamp,
    /// By how many microseconds it has jumped ahead, or back where that is negative.
    jumped: i64,
    pub stream: StreamId,
    pub table: Rows,
    pub writes: Vec<Write>,
    pub calls: Vec<Call>,
    pub replies: BTreeMap<CallerId, Result<Reply, Refusal>>,
    /// Whether writes stay under way until [`World::written`].
    pub slow_table: bool,
    pub pending: Vec<TxId>,
    pub asked: Vec<AskBack>,
    /// Every call and question that ever left, and those that were withdrawn, with their ways.
    pub left: Vec<(CallId, Route)>,
    pub withdrawn: Vec<(CallId, Route)>,
    pub illegal: usize,
    /// The number of rows of `tx_due` that were read.
    pub due_read: usize,
    pub outages: Vec<(Name, Option<Outage>)>,
    epoch: u64,
    begun: u64,
    callers: u64,
}

impl World {
    pub fn new() -> Self {
        let mut world = Self::detached();
        world.attach(1, 1_000);
        world
    }

    pub fn with_slow_table() -> Self {
        let mut world = Self::new();
        world.slow_table = true;
        world
    }

    pub fn detached() -> Self {
        Self::with(EngineConfig::default())
    }

    /// A world with this configuration, in which "p" is known and not attached.
    pub fn with(config: EngineConfig) -> Self {
        let mut world = Self {
            engine: Engine::new(config, owner(1), 7, at(START)),
            now: START,
            jumped: 0,
            stream: StreamId(1),
            table: Rows::default(),
            writes: Vec::new(),
            calls: Vec::new(),
            replies: BTreeMap::new(),
            slow_table: false,
            pending: Vec::new(),
            asked: Vec::new(),
            left: Vec::new(),
            withdrawn: Vec::new(),
            illegal: 0,
            due_read: 0,
            outages: Vec::new(),
            epoch: 1,
            begun: 0,
            callers: 0,
        };
        world.deliver(Input::Participant {
            name: "p".into(),
            reach: Reach::Attach,
        });
        world
    }

    pub fn attach(&mut self, stream: u64, concurrency: u32) {
        self.stream = StreamId(stream);
        self.attach_as("p", stream, concurrency);
    }

    /// Attaches a stream of a participant with the handlers "a" to "d" in every mode.
    pub fn attach_as(&mut self, participant: &str, stream: u64, concurrency: u32) {
        self.attach_with(participant, stream, concurrency, &["a", "b", "c", "d"]);
    }

    /// Attaches a stream of a participant with these handlers in every mode.
    pub fn attach_with(
        &mut self,
        participant: &str,
        stream: u64,
        concurrency: u32,
        handlers: &[&str],
    ) {
        let handlers = handlers.iter().map(|name| (Name::from(*name), None));
        let abilities = Abilities {
            handlers: handlers.collect(),
            check_backs: true,
        };
        self.deliver(Input::Attached {
            stream: StreamId(stream),
            participant: participant.into(),
            concurrency,
            abilities,
        });
    }

    /// Starts a new incarnation over the same table, with nothing in memory and nothing attached.
    pub fn restart(&mut self) {
        self.epoch += 1;
        let config = EngineConfig::default();
        self.engine = Engine::new(config, owner(self.epoch), 8, self.present());
        self.calls.clear();
        self.pending.clear();
        self.deliver(Input::Tick);
    }

    /// Hands an input to the engine and carries its outputs out.
    pub fn deliver(&mut self, input: Input) {
        self.engine.handle(self.present(), input);
        loop {
            let outputs = self.engine.drain();
            if outputs.is_empty() {
                return;
            }
            for output in outputs {
                self.carry_out(output);
            }
        }
    }

    /// Returns the present by both clocks.
    pub fn present(&self) -> Now {
        Now {
            moment: Moment::from_micros(self.now.as_micros() - START.as_micros() - self.jumped),
            time: self.now,
        }
    }

    /// Lets the database's clock jump ahead by so many seconds, or back where that is negative.
    pub fn jump(&mut self, seconds: i64) {
        self.jump_unseen(seconds);
        self.deliver(Input::Tick);
    }

    /// The same while no incarnation runs.
    pub fn jump_unseen(&mut self, seconds: i64) {
        self.jumped += seconds * 1_000_000;
        self.now = Timestamp::from_micros(self.now.as_micros() + seconds * 1_000_000);
    }

    /// Makes the id of a transaction that begins now.
    pub fn id_of_now(&self) -> TxId {
        let micros = u64::try_from(self.now.as_micros()).unwrap();
        let noise = u8::try_from(micros % 251).unwrap();
        TxId(uuid::Builder::from_unix_timestamp_millis(micros / 1_000, &[noise; 10]).into_uuid())
    }

    /// Lets time pass.
    pub fn after(&mut self, duration: Duration) {
        self.now = self.now + duration;
        self.deliver(Input::Tick);
    }

    pub fn request(&mut self, request: Request) -> CallerId {
        self.callers += 1;
        let caller = CallerId(self.callers);
        self.deliver(Input::Request { caller, request });
        caller
    }

    /// Executes transaction 1, at the next call 2, and so on.
    pub fn execute(
        &mut self,
        wait: Wait,
        actions: impl IntoIterator<Item = ActionSpec>,
    ) -> CallerId {
        self.begun += 1;
        let new = new_transaction(self.begun, Decider::Coordinator, actions);
        self.request(Request::Begin(Arc::new(new), wait))
    }

    /// Executes a transaction with this id.
    pub fn execute_as(&mut self, id: TxId, actions: impl IntoIterator<Item = ActionSpec>) {
        let mut new = new_transaction(1, Decider::Coordinator, actions);
        new.id = id;
        self.request(Request::Begin(Arc::new(new), Wait::Accepted));
    }

    pub fn begin(&mut self, new: NewTransaction) -> CallerId {
        self.request(Request::Begin(Arc::new(new), Wait::Accepted))
    }

    /// Decides transaction 1, as its initiator.
    pub fn decide(&mut self, outcome: Outcome) -> CallerId {
        let reason = "because".into();
        self.request(Request::Decide(tx_id(1), outcome, reason, Wait::Decided))
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Write(write) => {
                let id = write.id;
                self.writes.push(*write);
                if self.slow_table {
                    self.pending.push(id);
                } else {
                    self.apply(id);
                    self.engine.handle(
                        self.present(),
                        Input::Written(vec![(id, WriteResult::Durable)]),
                    );
                }
            }
            Output::Call(call) => {
                self.left.push((call.id, call.route));
                self.calls.push(call);
            }
            Output::Reply(caller, reply) => {
                assert!(
                    self.replies.insert(caller, reply).is_none(),
                    "{caller:?} answered twice"
                );
            }
            Output::Read(read) => {
                let input = match read {
                    Read::Transactions(ids) => Input::Loaded(self.table.load(ids)),
                    Read::Due(query) => {
                        let rows = self.table.due(&query);
                        self.due_read += rows.len();
                        Input::Due(query, rows)
                    }
                    Read::Queues(query) => {
                        let rows = self.table.queues(&query);
                        Input::Queues(query, rows)
                    }
                };
                self.engine.handle(self.present(), input);
            }
            Output::AskBack(question) => {
                self.left.push((question.id, question.route));
                self.asked.push(question);
            }
            Output::Withdraw { call, route } => self.withdrawn.push((call, route)),
            Output::Illegal(_) => self.illegal += 1,
            Output::Outage(participant, outage) => self.outages.push((participant, outage)),
        }
    }

    /// Applies the last write of a transaction to the table.
    fn apply(&mut self, id: TxId) {
        let write = self.writes.iter().rfind(|write| write.id == id).unwrap();
        self.table.apply(write);
    }

    /// Ends every write under way with this result.
    pub fn written(&mut self, result: WriteResult) {
        let pending = std::mem::take(&mut self.pending);
        if result == WriteResult::Durable {
            for id in &pending {
                self.apply(*id);
            }
        }
        let results = pending.into_iter().map(|id| (id, result)).collect();
        self.deliver(Input::Written(results));
    }

    /// Takes the one call that has left since the last time.
    pub fn call(&mut self) -> Call {
        assert_eq!(self.calls.len(), 1, "calls: {:?}", self.calls);
        self.calls.remove(0)
    }

    pub fn answer(&mut self, call: &Call, answer: CallAnswer) {
        self.deliver(Input::CallResult(CallResult {
            route: call.route,
            epoch: self.epoch,
            call: call.id,
            tx: call.tx,
            action: call.action.name.clone(),
            operation: call.operation,
            answer,
        }));
    }

    /// Takes the one call that has left since the last time, and answers it.
    pub fn answer_call(&mut self, answer: CallAnswer) -> Call {
        let call = self.call();
        self.answer(&call, answer);
        call
    }

    /// Answers every call with OK until no more leave; returns the calls.
    pub fn answer_all(&mut self) -> Vec<(Name, Operation)> {
        let mut called = Vec::new();
        while let Some(call) = self.calls.pop() {
            called.push((call.action.name.clone(), call.operation));
            self.answer(&call, ok());
        }
        called
    }

    pub fn reply(&self, caller: CallerId) -> &Reply {
        self.replies[&caller].as_ref().unwrap()
    }

    /// Returns the transaction that a caller was answered with.
    pub fn transaction(&self, caller: CallerId) -> &Transaction {
        &self.reply(caller).transaction
    }

    pub fn refusal(&self, caller: CallerId) -> &Refusal {
        self.replies[&caller].as_ref().unwrap_err()
    }
}

/// The lines of a text table without blank ones and comments (`#`), each split at `|`.
pub fn table(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .filter(|line| !line.trim().is_empty())
        .map(|line| line.split('|').map(str::trim).collect())
}
