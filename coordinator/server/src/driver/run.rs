//! The loop of the driver's thread: take in what waits, hand out what came of it.

use std::{
    collections::{HashMap, HashSet},
    mem,
    ops::ControlFlow,
    sync::Arc,
    time::Duration,
};

use tercet_core::{
    engine::{AskBack, Call, Engine, Input, Output, Reply, Request, Route, Settled},
    id::{CallerId, StreamId, TxId},
    lane::{Lane, LaneResult},
    model::Phase,
    refusal::Refusal,
    time::Timestamp,
    write::{ApplyFailure, Write},
};
use tercet_failpoint::reach;
use tercet_store::StoreError;
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};
use tracing::{debug, error, info, warn};

use super::{
    Answered, Asked, Driver, DriverError, Gauges, Message, Outlets, SessionId, SessionSender,
    StreamSender, ToParticipant,
    storing::{Committed, Committing, committed},
};
use crate::{api::error::ApiError, clock::Clock, limits};

/// Who waits for a reply.
enum Waiter {
    Unary(oneshot::Sender<Result<Reply, Refusal>>),
    Session(SessionId, u64),
}

/// What is open in a session.
enum Open {
    Engine(CallerId, TxId),
    Read,
}

struct Session {
    sender: SessionSender,
    open: HashMap<u64, Open>,
    ready: Vec<(u64, Answered)>,
}

struct Stream {
    sender: StreamSender,
    calls: Vec<Call>,
    asks: Vec<AskBack>,
}

/// Everything that the thread owns.
pub(super) struct State {
    engine: Engine,
    lane: Lane,
    clock: Arc<Clock>,
    pub(super) outlets: Outlets,
    pub(super) driver: Driver,
    callers: HashMap<CallerId, Waiter>,
    sessions: HashMap<SessionId, Session>,
    streams: HashMap<StreamId, Stream>,
    direct: (Vec<Call>, Vec<AskBack>),
    outputs: Vec<Output>,
    ready_sessions: Vec<SessionId>,
    ready_streams: Vec<StreamId>,
    /// Transactions whose write under way parks them: told to people once it held.
    parking: HashSet<TxId>,
    pub(super) committing: Option<Committing>,
    draining: bool,
}

/// Runs until it is told to stop or the database fails for good.
pub(super) fn run(state: State, messages: mpsc::Receiver<Message>) -> Result<(), DriverError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(DriverError::Thread)?;
    runtime.block_on(state.drive(messages))
}

impl State {
    pub(super) fn new(
        engine: Engine,
        lane: Lane,
        clock: Arc<Clock>,
        outlets: Outlets,
        driver: Driver,
    ) -> Self {
        Self {
            engine,
            lane,
            clock,
            outlets,
            driver,
            callers: HashMap::new(),
            sessions: HashMap::new(),
            streams: HashMap::new(),
            direct: (Vec::new(), Vec::new()),
            outputs: Vec::new(),
            ready_sessions: Vec::new(),
            ready_streams: Vec::new(),
            parking: HashSet::new(),
            committing: None,
            draining: false,
        }
    }

    async fn drive(mut self, mut messages: mpsc::Receiver<Message>) -> Result<(), DriverError> {
        let mut batch = Vec::with_capacity(limits::DRAIN_MESSAGES);
        loop {
            let committed = self.receive(&mut messages, &mut batch).await;
            let now = self.clock.now();
            if let Some((result, error)) = committed
                && let ControlFlow::Break(end) = self.committed(now, result, error)
            {
                return end;
            }
            for message in batch.drain(..) {
                if let ControlFlow::Break(end) = self.take(now, message) {
                    return end;
                }
            }
            if self.engine.next_wakeup().is_some_and(|at| at <= now) {
                self.engine.handle(now, Input::Tick);
            }
            self.carry_out(now);
            self.flush();
        }
    }

    /// Waits for messages or for the command of the lane that is under way, at most until something is due.
    async fn receive(
        &mut self,
        messages: &mut mpsc::Receiver<Message>,
        batch: &mut Vec<Message>,
    ) -> Option<Committed> {
        let due = [self.engine.next_wakeup(), self.lane.next_wakeup()];
        let due = due.into_iter().flatten().min();
        let wait: Option<Duration> = due.map(|at| at.since(self.clock.now()));
        tokio::select! {
            biased;
            committed = committed(&mut self.committing) => Some(committed),
            // The state holds a sender, so that the queue is never closed.
            _ = messages.recv_many(batch, limits::DRAIN_MESSAGES) => None,
            () = sleep(wait.unwrap_or_default()), if wait.is_some() => None,
        }
    }

    fn take(&mut self, now: Timestamp, message: Message) -> ControlFlow<Result<(), DriverError>> {
        match message {
            Message::Inputs(inputs) => {
                for input in inputs {
                    self.engine.handle(now, input);
                }
            }
            Message::Ask {
                caller,
                request,
                reply,
            } => {
                if self.draining {
                    let _ = reply.send(Err(Refusal::Draining));
                } else {
                    self.callers.insert(caller, Waiter::Unary(reply));
                    self.engine.handle(now, Input::Request { caller, request });
                }
            }
            Message::Left { caller, id } => self.leave(now, caller, id),
            Message::SessionOpened(id, sender) => {
                let session = Session {
                    sender,
                    open: HashMap::new(),
                    ready: Vec::new(),
                };
                self.sessions.insert(id, session);
            }
            Message::SessionAsks(session, asks) => {
                for (id, asked) in asks {
                    self.session_asks(now, session, id, asked);
                }
            }
            Message::SessionRead(session, id, read) => {
                if let Some(open) = self.sessions.get_mut(&session)
                    && matches!(open.open.get(&id), Some(Open::Read))
                {
                    open.open.remove(&id);
                    self.session_answers(session, id, Answered::Read(read));
                }
            }
            Message::SessionClosed(id) => self.close_session(now, id),
            Message::Attached {
                stream,
                participant,
                concurrency,
                sender,
            } => {
                if self.draining {
                    let _ = sender.send(ToParticipant::Drain);
                }
                let outlet = Stream {
                    sender,
                    calls: Vec::new(),
                    asks: Vec::new(),
                };
                self.streams.insert(stream, outlet);
                let attached = Input::Attached {
                    stream,
                    participant,
                    concurrency,
                };
                self.engine.handle(now, attached);
            }
            Message::Detached(stream) => {
                self.streams.remove(&stream);
                self.engine.handle(now, Input::Detached(stream));
            }
            Message::Stats(tell) => {
                let _ = tell.send(Box::new(self.gauges()));
            }
            Message::Drain => {
                self.draining = true;
                for stream in self.streams.values() {
                    let _ = stream.sender.send(ToParticipant::Drain);
                }
            }
            Message::Stop => return ControlFlow::Break(Ok(())),
        }
        ControlFlow::Continue(())
    }

    fn gauges(&self) -> Gauges {
        let known = self.outlets.reader.directory.snapshot();
        let calls = known.keys().map(|name| {
            let (_, open, waiting) = self.engine.gate().load(name);
            (
                Arc::clone(name),
                (open, u32::try_from(waiting).unwrap_or(u32::MAX)),
            )
        });
        Gauges {
            engine: self.engine.stats(),
            callers: self.callers.len(),
            writes: self.lane.len() + usize::from(self.committing.is_some()),
            calls: calls.collect(),
        }
    }

    fn leave(&mut self, now: Timestamp, caller: CallerId, id: TxId) {
        if self.callers.remove(&caller).is_some() {
            self.engine.handle(now, Input::CallerLeft { caller, id });
        }
    }

    fn session_asks(&mut self, now: Timestamp, session: SessionId, id: u64, asked: Asked) {
        let Some(state) = self.sessions.get_mut(&session) else {
            return;
        };
        if let Asked::Forget = asked {
            if let Some(Open::Engine(caller, tx)) = state.open.remove(&id) {
                self.leave(now, caller, tx);
            }
            return;
        }
        let refusal = if state.open.contains_key(&id) {
            Some(ApiError::RequestIdOpen(id))
        } else if state.open.len() >= limits::SESSION_OPEN {
            Some(ApiError::SessionFull(limits::SESSION_OPEN))
        } else if self.draining && !matches!(asked, Asked::Read(_)) {
            Some(Refusal::Draining.into())
        } else {
            None
        };
        match (refusal, asked) {
            (Some(error), _) | (None, Asked::Refused(error)) => {
                self.session_answers(session, id, Answered::Refused(error));
            }
            (None, Asked::Engine(request)) => self.session_requests(now, session, id, request),
            (None, Asked::Read(lookup)) => {
                state.open.insert(id, Open::Read);
                let (reader, driver) = (self.outlets.reader.clone(), self.driver.clone());
                self.outlets.runtime.spawn(async move {
                    let read = reader.get(lookup).await.map(Box::new);
                    driver.send(Message::SessionRead(session, id, read)).await;
                });
            }
            (None, Asked::Forget) => {}
        }
    }

    fn session_requests(&mut self, now: Timestamp, session: SessionId, id: u64, request: Request) {
        match &request {
            Request::AddAction(..) => reach("coordinator.add_action.received"),
            Request::Decide(..) => reach("coordinator.decide.received"),
            _ => reach("coordinator.begin.received"),
        }
        let caller = CallerId(self.driver.next_id());
        if let Some(state) = self.sessions.get_mut(&session) {
            state.open.insert(id, Open::Engine(caller, request.id()));
            self.callers.insert(caller, Waiter::Session(session, id));
            self.engine.handle(now, Input::Request { caller, request });
        }
    }

    fn session_answers(&mut self, session: SessionId, id: u64, answer: Answered) {
        if let Some(state) = self.sessions.get_mut(&session) {
            if state.ready.is_empty() {
                self.ready_sessions.push(session);
            }
            state.ready.push((id, answer));
        }
    }

    fn close_session(&mut self, now: Timestamp, session: SessionId) {
        let Some(state) = self.sessions.remove(&session) else {
            return;
        };
        for open in state.open.into_values() {
            if let Open::Engine(caller, id) = open {
                self.leave(now, caller, id);
            }
        }
    }

    fn committed(
        &mut self,
        now: Timestamp,
        result: LaneResult,
        error: Option<StoreError>,
    ) -> ControlFlow<Result<(), DriverError>> {
        if let Some(error) = error {
            match error.kind {
                ApplyFailure::Fatal => return ControlFlow::Break(Err(DriverError::Fatal(error))),
                ApplyFailure::Moved => {
                    debug!(%error, "a write of the commit found another version");
                }
                _ => warn!(%error, "a commit did not go through; it is resolved or repeated"),
            }
        }
        let settled = self.lane.done(now, result);
        // What gathered meanwhile is committed while the engine goes on with what has just settled.
        if let Some(command) = self.lane.next(now) {
            self.commit(command);
        }
        if !self.parking.is_empty() {
            self.tell_parked(&settled);
        }
        self.settle(now, settled);
        ControlFlow::Continue(())
    }

    /// Goes on with what has settled, a few at a time: the first calls and replies are on their way while the
    /// engine works on the next.
    fn settle(&mut self, now: Timestamp, mut settled: Vec<(TxId, Settled)>) {
        while !settled.is_empty() {
            let rest = settled.split_off(settled.len().min(limits::SETTLED_AT_ONCE));
            self.engine.handle(now, Input::Settled(settled));
            self.carry_out(now);
            self.flush();
            settled = rest;
        }
    }

    fn tell_parked(&mut self, settled: &[(TxId, Settled)]) {
        for (id, settled) in settled {
            if self.parking.remove(id) && *settled == Settled::Held {
                warn!(tx_id = %id, "parked: an action failed, a person must look (tercet tx show)");
            }
        }
    }

    fn carry_out(&mut self, now: Timestamp) {
        let mut outputs = mem::take(&mut self.outputs);
        outputs.extend(self.engine.drain());
        for output in outputs.drain(..) {
            self.put_out(now, output);
        }
        self.outputs = outputs;
        if let Some(command) = self.lane.next(now) {
            self.commit(command);
        }
    }

    fn put_out(&mut self, now: Timestamp, output: Output) {
        match output {
            Output::Write(write) => self.write(now, *write),
            Output::Call(call) => self.call(call),
            Output::AskBack(ask) => self.ask_back(ask),
            Output::Reply(caller, reply) => self.reply(caller, reply),
            Output::Load(ids) => self.load(ids),
            Output::Due(query) => self.due(query),
            Output::Illegal(row) => {
                error!(tx_id = %row.id, what = row.what, "a row is not legal; it is left alone");
            }
        }
    }

    fn write(&mut self, now: Timestamp, write: Write) {
        debug!(
            tx_id = %write.id,
            version = write.head.version,
            status = %write.head.phase.status(),
            biz_status = %write.head.phase.biz_status(),
            "write"
        );
        if let Some(entry) = &write.operator {
            info!(tx_id = %write.id, command = entry.command, reason = entry.reason, "operator");
        }
        if matches!(write.head.phase, Phase::Parked { .. }) {
            self.parking.insert(write.id);
        }
        self.lane.push(now, write);
    }

    fn call(&mut self, call: Call) {
        debug!(
            tx_id = %call.tx,
            action = %call.action.name,
            operation = %call.operation,
            attempt = call.attempt,
            participant = %call.action.participant,
            "call"
        );
        match call.route {
            Route::Direct => self.direct.0.push(call),
            // A stream that is gone was told to the engine: the call is not open any more.
            Route::Stream(id) => {
                if let Some(stream) = self.streams.get_mut(&id) {
                    if stream.calls.is_empty() && stream.asks.is_empty() {
                        self.ready_streams.push(id);
                    }
                    stream.calls.push(call);
                }
            }
        }
    }

    fn ask_back(&mut self, ask: AskBack) {
        debug!(tx_id = %ask.tx, participant = %ask.participant, attempt = ask.attempt, "ask back");
        match ask.route {
            Route::Direct => self.direct.1.push(ask),
            Route::Stream(id) => {
                if let Some(stream) = self.streams.get_mut(&id) {
                    if stream.calls.is_empty() && stream.asks.is_empty() {
                        self.ready_streams.push(id);
                    }
                    stream.asks.push(ask);
                }
            }
        }
    }

    fn reply(&mut self, caller: CallerId, reply: Result<Reply, Refusal>) {
        match self.callers.remove(&caller) {
            None => {}
            Some(Waiter::Unary(sender)) => _ = sender.send(reply),
            Some(Waiter::Session(session, id)) => {
                if let Some(state) = self.sessions.get_mut(&session) {
                    state.open.remove(&id);
                }
                self.session_answers(session, id, Answered::State(reply));
            }
        }
    }

    /// One wake of a stream's task for everything that this drain has for it. The channels need no bound
    /// of their own: what is in them is bounded by the open requests of a session and by the
    /// concurrency of a stream.
    fn flush(&mut self) {
        for id in self.ready_sessions.drain(..) {
            if let Some(session) = self.sessions.get_mut(&id) {
                reach("coordinator.reply.before");
                let _ = session.sender.send(mem::take(&mut session.ready));
                reach("coordinator.reply.after");
            }
        }
        for id in self.ready_streams.drain(..) {
            if let Some(stream) = self.streams.get_mut(&id) {
                let calls = mem::take(&mut stream.calls);
                let asks = mem::take(&mut stream.asks);
                if !asks.is_empty() {
                    reach("coordinator.check_back.before");
                }
                reach("coordinator.call.before");
                let _ = stream.sender.send(ToParticipant::Calls(calls, asks));
                reach("coordinator.call.after");
            }
        }
        if !self.direct.0.is_empty() || !self.direct.1.is_empty() {
            let _ = self.outlets.direct.send(mem::take(&mut self.direct));
        }
    }
}
