//! The loop of the thread: takes messages in, and carries out the outputs of the engine and the lane.

use std::{mem, ops::ControlFlow, sync::Arc, time::Duration};

use tercet_core::{
    engine::Engine,
    id::{CallerId, TxId},
    lane::{Lane, LaneResult},
    port::{Input, Output, Request},
    refusal::Refusal,
    time::Now,
    write::WriteResult,
};
use tercet_failpoint::reach;
use tercet_store::StoreError;
use tokio::{sync::mpsc, time::sleep};

use super::{
    DriverError, SessionId,
    handle::{Gauges, Message},
    health::Health,
    outgoing::Outgoing,
    storing::{Committed, Committing, Reads, commit, committed},
};
use crate::{bounds, clock::Clock, directory::Directory};

/// Everything that the thread owns.
pub(super) struct State {
    engine: Engine,
    lane: Lane,
    clock: Arc<Clock>,
    reads: Reads,
    outgoing: Outgoing,
    health: Health,
    directory: Arc<Directory>,
    outputs: Vec<Output>,
    committing: Option<Committing>,
    draining: bool,
}

/// Runs until it is stopped or the database fails for good.
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
        reads: Reads,
        outgoing: Outgoing,
        health: Health,
        directory: Arc<Directory>,
    ) -> Self {
        Self {
            engine,
            lane,
            clock,
            reads,
            outgoing,
            health,
            directory,
            outputs: Vec::new(),
            committing: None,
            draining: false,
        }
    }

    async fn drive(mut self, mut messages: mpsc::Receiver<Message>) -> Result<(), DriverError> {
        let mut batch = Vec::with_capacity(bounds::DRAIN_MESSAGES);
        loop {
            let committed = self.receive(&mut messages, &mut batch).await;
            let now = self.clock.now();
            self.notice_standstill(now);
            if let Some((result, error)) = committed {
                self.committed(now, result, error);
            }
            for message in batch.drain(..) {
                if let ControlFlow::Break(end) = self.take_in(now, message) {
                    return end;
                }
            }
            if self.engine.next_wakeup().is_some_and(|at| at <= now.moment) {
                self.engine.handle(now, Input::Tick);
            }
            self.carry_out(now);
            self.give_up(now);
            self.outgoing.flush();
            if let ControlFlow::Break(end) = self.health.check(now.moment, &self.lane) {
                return end;
            }
        }
    }

    /// Notices that the process stood still, before anything is judged by the time that has passed.
    fn notice_standstill(&mut self, now: Now) {
        if let Some(by) = self.health.beat() {
            self.lane.stood_still(by);
            self.engine.handle(now, Input::StoodStill(by));
        }
    }

    /// Answers the callers of writes while the database takes none.
    fn give_up(&mut self, now: Now) {
        let given_up = self.lane.give_up(now.moment);
        if !given_up.is_empty() {
            self.health.observer.written(&given_up);
            self.finish_writes(now, given_up);
        }
    }

    /// Waits for messages or for the lane's command under way, at most until something is due or the pulse beats.
    async fn receive(
        &mut self,
        messages: &mut mpsc::Receiver<Message>,
        batch: &mut Vec<Message>,
    ) -> Option<Committed> {
        let due = [self.engine.next_wakeup(), self.lane.next_wakeup()];
        let due = due.into_iter().flatten().min();
        let wait: Option<Duration> = due.map(|at| at.since(self.clock.now().moment));
        let wait = wait.map_or(bounds::PULSE, |wait| wait.min(bounds::PULSE));
        tokio::select! {
            biased;
            committed = committed(&mut self.committing) => Some(committed),
            // The state holds a sender, so that the queue is never closed.
            _ = messages.recv_many(batch, bounds::DRAIN_MESSAGES) => None,
            () = sleep(wait) => None,
        }
    }

    fn take_in(&mut self, now: Now, message: Message) -> ControlFlow<Result<(), DriverError>> {
        match message {
            Message::Inputs(inputs, taking) => {
                for input in inputs {
                    self.engine.handle(now, input);
                }
                drop(taking);
            }
            Message::Read(input, error) => {
                if let Some(error) = error {
                    self.health.observer.read_failed(&error);
                }
                self.engine.handle(now, input);
            }
            Message::Request {
                caller,
                request,
                reply,
                taking,
            } => {
                self.outgoing.add_caller(caller, reply);
                self.request(now, caller, request);
                drop(taking);
            }
            Message::CallerLeft { caller, id } => self.withdraw(now, caller, id),
            Message::SessionOpened(id, replies) => self.outgoing.open_session(id, replies),
            Message::SessionRequests(session, requests, taking) => {
                self.session_requests(now, session, requests);
                drop(taking);
            }
            Message::SessionForgot(session, callers) => {
                for (caller, id) in callers {
                    self.outgoing.forget(session, caller);
                    self.withdraw(now, caller, id);
                }
            }
            Message::SessionClosed(session, waiting) => {
                self.outgoing.close_session(session);
                for (caller, id) in waiting {
                    self.withdraw(now, caller, id);
                }
            }
            Message::Attached {
                stream,
                participant,
                concurrency,
                abilities,
                calls,
            } => {
                self.outgoing.add_stream(stream, calls);
                let attached = Input::Attached {
                    stream,
                    participant,
                    concurrency,
                    abilities,
                };
                self.engine.handle(now, attached);
            }
            Message::Detached(stream) => {
                self.outgoing.remove_stream(stream);
                self.engine.handle(now, Input::Detached(stream));
            }
            Message::DatabaseWrites => self.lane.database_writes(now.moment),
            Message::Gauges(report) => {
                let _ = report.send(Box::new(self.gauges()));
            }
            Message::Drain => self.draining = true,
            Message::EndCalls => self.outgoing.end_calls(),
            Message::Stop => return ControlFlow::Break(Ok(())),
        }
        ControlFlow::Continue(())
    }

    fn request(&mut self, now: Now, caller: CallerId, request: Request) {
        if self.draining {
            self.outgoing.reply(caller, Err(Refusal::Draining));
        } else if self.lane.is_stalled(now.moment) {
            self.outgoing.reply(caller, Err(Refusal::StoreUnavailable));
        } else {
            self.engine.handle(now, Input::Request { caller, request });
        }
    }

    fn session_requests(
        &mut self,
        now: Now,
        session: SessionId,
        requests: Vec<(CallerId, Request)>,
    ) {
        for (caller, request) in requests {
            if !self.outgoing.add_session_caller(session, caller) {
                return;
            }
            match &request {
                Request::AddAction(..) => reach("coordinator.add_action.received"),
                Request::Decide(..) => reach("coordinator.decide.received"),
                _ => reach("coordinator.begin.received"),
            }
            self.request(now, caller, request);
        }
    }

    fn withdraw(&mut self, now: Now, caller: CallerId, id: TxId) {
        if self.outgoing.remove_caller(caller) {
            self.engine.handle(now, Input::CallerLeft { caller, id });
        }
    }

    fn gauges(&self) -> Gauges {
        let calls = self.engine.gate().loads().map(|(name, load)| {
            let waiting = u32::try_from(load.waiting).unwrap_or(u32::MAX);
            (Arc::clone(name), (load.open, waiting))
        });
        Gauges {
            engine: self.engine.stats(),
            callers: self.outgoing.waiting(),
            writes: self.lane.len() + usize::from(self.committing.is_some()),
            calls: calls.collect(),
        }
    }

    /// Continues after a command of the lane, by its result.
    fn committed(&mut self, now: Now, result: LaneResult, error: Option<StoreError>) {
        self.health.note(error);
        let results = self.lane.done(now.moment, result);
        // The writes that gathered meanwhile are committed while the engine goes on with these.
        self.start_commit(now);
        self.health.observer.written(&results);
        self.finish_writes(now, results);
    }

    /// Gives the engine the results of writes, a few at a time: the first calls and replies are on their way while the
    /// engine works on the next.
    fn finish_writes(&mut self, now: Now, mut results: Vec<(TxId, WriteResult)>) {
        while !results.is_empty() {
            let rest = results.split_off(results.len().min(bounds::RESULTS_AT_ONCE));
            self.engine.handle(now, Input::Written(results));
            self.carry_out(now);
            self.outgoing.flush();
            results = rest;
        }
    }

    /// Carries out the engine's outputs, and starts the next commit.
    fn carry_out(&mut self, now: Now) {
        let mut outputs = mem::take(&mut self.outputs);
        outputs.extend(self.engine.drain());
        for output in outputs.drain(..) {
            self.health.observer.output(&output);
            self.carry_out_one(now, output);
        }
        self.outputs = outputs;
        self.start_commit(now);
    }

    fn carry_out_one(&mut self, now: Now, output: Output) {
        match output {
            Output::Write(write) => self.lane.push(now.moment, *write),
            Output::Call(call) => self.outgoing.call(call),
            Output::AskBack(ask) => self.outgoing.ask_back(ask),
            Output::Withdraw { call, route } => self.outgoing.withdraw(call, route),
            Output::Reply(caller, reply) => self.outgoing.reply(caller, reply),
            Output::Read(read) => self.reads.start(read),
            Output::Outage(participant, outage) => self.directory.note_outage(&participant, outage),
            Output::Illegal(_) => {}
        }
    }

    fn start_commit(&mut self, now: Now) {
        if let Some(command) = self.lane.next(now.moment) {
            self.committing = Some(commit(&self.reads.store, command));
        }
    }
}
