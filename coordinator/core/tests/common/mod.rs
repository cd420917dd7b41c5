//! What the core's tests share: transactions to judge, and an engine with a table that always holds.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "every test file uses a part of it"
)]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use tercet_core::{
    engine::{
        Answer, Call, CallOutcome, Engine, EngineConfig, Input, Loaded, NewTransaction, Output,
        Reach, Reply, Request, Settled, Wait,
    },
    id::{CallerId, StreamId, TxId},
    model::{ActionSpec, Driver, Ext, Mode, Name, Operation, Owner, RetryPolicy, Transaction},
    refusal::Refusal,
    time::Timestamp,
    write::Write,
};
use uuid::Uuid;

pub const START: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

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

pub fn action(name: &str, mode: Mode) -> ActionSpec {
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
            max_attempts: 3,
            ..RetryPolicy::default()
        },
        ext: Ext::new(),
    }
}

pub fn new_transaction(number: u64, driver: Driver, actions: Vec<ActionSpec>) -> NewTransaction {
    NewTransaction {
        id: tx_id(number),
        business_type: "exchange".into(),
        business_id: format!("order-{number}").into(),
        unique_business: false,
        driver,
        timeout: Duration::from_secs(30),
        check_back: None,
        ext: Ext::new(),
        actions: actions.into_iter().map(Arc::new).collect(),
    }
}

/// An engine with a table that holds every write at once, and one participant "p" with a stream.
pub struct World {
    pub engine: Engine,
    pub now: Timestamp,
    pub stream: StreamId,
    pub table: BTreeMap<TxId, Transaction>,
    pub writes: Vec<Write>,
    pub calls: Vec<Call>,
    pub replies: BTreeMap<CallerId, Result<Reply, Refusal>>,
    /// Whether writes are held back until [`World::hold`].
    pub slow_table: bool,
    pub pending: Vec<TxId>,
    callers: u64,
}

impl World {
    pub fn new() -> Self {
        let mut world = Self::detached();
        world.attach(1, 1_000);
        world
    }

    pub fn detached() -> Self {
        let config = EngineConfig::default();
        let mut world = Self {
            engine: Engine::new(config, owner(1), 7, START),
            now: START,
            stream: StreamId(1),
            table: BTreeMap::new(),
            writes: Vec::new(),
            calls: Vec::new(),
            replies: BTreeMap::new(),
            slow_table: false,
            pending: Vec::new(),
            callers: 0,
        };
        world.tell(Input::Participant {
            name: "p".into(),
            reach: Reach::Attach,
        });
        world
    }

    pub fn attach(&mut self, stream: u64, concurrency: u32) {
        self.stream = StreamId(stream);
        self.tell(Input::Attached {
            stream: self.stream,
            participant: "p".into(),
            concurrency,
        });
    }

    pub fn tell(&mut self, input: Input) {
        self.engine.handle(self.now, input);
        self.carry_out();
    }

    pub fn after(&mut self, duration: Duration) {
        self.now = self.now + duration;
        self.tell(Input::Tick);
    }

    pub fn ask(&mut self, request: Request) -> CallerId {
        self.callers += 1;
        let caller = CallerId(self.callers);
        self.tell(Input::Request { caller, request });
        caller
    }

    pub fn begin(&mut self, new: NewTransaction, wait: Wait) -> CallerId {
        self.ask(Request::Begin(Arc::new(new), wait))
    }

    fn carry_out(&mut self) {
        loop {
            let outputs = self.engine.drain();
            if outputs.is_empty() {
                return;
            }
            for output in outputs {
                self.carry_out_one(output);
            }
        }
    }

    fn carry_out_one(&mut self, output: Output) {
        match output {
            Output::Write(write) => {
                let id = write.id;
                self.writes.push(*write);
                if self.slow_table {
                    self.pending.push(id);
                } else {
                    self.engine
                        .handle(self.now, Input::Settled(vec![(id, Settled::Held)]));
                }
            }
            Output::Call(call) => self.calls.push(call),
            Output::Reply(caller, reply) => {
                assert!(
                    self.replies.insert(caller, reply).is_none(),
                    "{caller:?} answered twice"
                );
            }
            Output::Load(ids) => {
                let loaded = ids.into_iter().map(|id| {
                    let found = self.table.get(&id).cloned();
                    (
                        id,
                        found.map_or(Loaded::Absent, |tx| Loaded::Found(Box::new(tx))),
                    )
                });
                let loaded = loaded.collect();
                self.engine.handle(self.now, Input::Loaded(loaded));
            }
            Output::Due(query) => self.engine.handle(self.now, Input::Due(query, Vec::new())),
            Output::AskBack(_) | Output::Illegal(_) => {}
        }
    }

    /// Every write under way comes to this.
    pub fn settle(&mut self, settled: Settled) {
        let pending = std::mem::take(&mut self.pending);
        let settled = pending.into_iter().map(|id| (id, settled)).collect();
        self.tell(Input::Settled(settled));
    }

    /// Takes the one call that has left since the last time.
    pub fn call(&mut self) -> Call {
        assert_eq!(self.calls.len(), 1, "calls: {:?}", self.calls);
        self.calls.remove(0)
    }

    pub fn answer(&mut self, call: &Call, outcome: CallOutcome) {
        self.tell(Input::Answered(Answer {
            route: call.route,
            epoch: 1,
            call: call.id,
            tx: call.tx,
            action: call.action.name.clone(),
            operation: call.operation,
            outcome,
        }));
    }

    /// Answers every call that is out with OK, until none leaves any more; gives what was asked.
    pub fn answer_all(&mut self) -> Vec<(Name, Operation)> {
        let mut asked = Vec::new();
        while let Some(call) = self.calls.pop() {
            asked.push((call.action.name.clone(), call.operation));
            self.answer(&call, CallOutcome::Ok(Bytes::new()));
        }
        asked
    }

    pub fn reply(&self, caller: CallerId) -> &Reply {
        self.replies[&caller].as_ref().unwrap()
    }

    pub fn refusal(&self, caller: CallerId) -> &Refusal {
        self.replies[&caller].as_ref().unwrap_err()
    }
}
