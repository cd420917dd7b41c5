//! The coordinator's process in a world: its start and death, its inputs, and the execution of its
//! outputs.

use std::time::Duration;

use tercet_core::{
    id::CallId,
    port::{AskBack, Call, Input, Output, Read, Reply, Route},
    refusal::Refusal,
    time::{Moment, Now, Timestamp},
    write::Fence,
};

use super::{Event, FromStore, Letter, Reading, World};
use crate::sim::{
    clocks,
    faults::Fault,
    judge::{Scene, Way},
    process::{Process, Waiter},
};

/// The time from a start to the first renewal of the lease.
const RENEWAL: Duration = Duration::from_secs(1);

/// The shortest standstill that a process notices.
const NOTICED: Duration = Duration::from_millis(500);

const MEMORY: &str = "I9 memory is bounded by configuration";

impl World {
    pub(super) fn start(&mut self) {
        self.epoch += 1;
        let seed = self.dice.roll();
        let epoch = self.epoch;
        self.note(None, || format!("coordinator starts, epoch {epoch}"));
        let now = Now {
            moment: clocks::moment(self.now),
            time: self.database_time(),
        };
        self.process = Some(Process::start(self.config.clone(), epoch, seed, now));
        self.judge
            .started(epoch, self.now, now.time, &self.database.tables);
        self.troubled_at = self.now;
        self.after(RENEWAL, Event::Renews(epoch));
        for place in 0..self.plan.services.len() {
            let name = self.plan.services[place].name.clone();
            let reach = self.services[place].reach;
            self.feed(Input::Participant { name, reach });
        }
        self.pump();
    }

    /// Returns what the database's clock shows.
    pub(super) fn database_time(&self) -> Timestamp {
        clocks::shifted(self.now, self.ahead)
    }

    /// The coordinator renews its lease: the database reads its clock, sooner or later.
    pub(super) fn renews(&mut self, epoch: u64) {
        if self.process.as_ref().is_none_or(|p| p.owner.epoch != epoch) {
            return;
        }
        if self.is_paused() {
            self.postpone(Event::Renews(epoch));
            return;
        }
        let takes = if self.faults.strikes(Fault::ClockReadLate) {
            self.dice.millis(500, 4_000)
        } else {
            self.dice.millis(0, 5)
        };
        let reading = Reading {
            sent: clocks::moment(self.now),
            time: self.dice.chance(500).then(|| self.database_time()),
        };
        self.after(takes, Event::Renewed(epoch, reading));
    }

    /// The coordinator gets the database's time.
    pub(super) fn renewed(&mut self, epoch: u64, reading: Reading) {
        let time = reading.time.unwrap_or_else(|| self.database_time());
        if self
            .process
            .as_ref()
            .is_some_and(|p| p.owner.epoch == epoch)
            && self.is_paused()
        {
            let time = Some(time);
            self.postpone(Event::Renewed(epoch, Reading { time, ..reading }));
            return;
        }
        let received = clocks::moment(self.now);
        let Some(process) = self.process.as_mut().filter(|p| p.owner.epoch == epoch) else {
            return;
        };
        let before = process.estimate.difference();
        let jump = process.estimate.read(time, reading.sent, received);
        let difference = process.estimate.difference();
        if let Some(jump) = jump {
            self.judge.saw_a_jump();
            self.note(None, || format!("the database's clock is read: {jump:?}"));
        }
        if difference != before {
            self.deliver(Input::DatabaseClock { difference });
        }
        let wait = self.dice.millis(500, 5_000);
        self.after(wait, Event::Renews(epoch));
    }

    /// Kills the coordinator: its memory is lost, every connection breaks.
    pub(super) fn crash(&mut self) {
        if self.process.take().is_none() {
            return;
        }
        self.note(None, || "coordinator dies".into());
        self.database.orphan(&mut self.dice);
        for service in 0..self.services.len() {
            self.lose_streams(service);
        }
        let wait = self.dice.millis(20, 3_000);
        self.after(wait, Event::Start);
    }

    /// Returns whether the coordinator is paused; events for it are postponed.
    pub(super) fn is_paused(&self) -> bool {
        self.process
            .as_ref()
            .is_some_and(|process| process.paused_until > self.now)
    }

    pub(super) fn postpone(&mut self, event: Event) {
        let until = self.process.as_ref().map(|process| process.paused_until);
        self.at(until.unwrap_or(self.now), event);
    }

    /// Hands an input to the engine and carries its outputs out.
    pub(super) fn deliver(&mut self, input: Input) {
        self.feed(input);
        self.pump();
        if self.faults.strikes(Fault::CoordinatorCrash) {
            self.crash();
        } else if self.faults.strikes(Fault::CoordinatorPause) {
            let pause = self.dice.millis(500, 8_000);
            self.note(None, || format!("coordinator is paused for {pause:?}"));
            if let Some(process) = &mut self.process {
                process.paused_until = self.now + pause;
            }
            self.stands_still_for(pause);
        }
    }

    /// The process stands still. It notices that by a beat that comes late, and may have begun to wait for it just before.
    pub(super) fn stands_still_for(&mut self, time: Duration) {
        let noticed = time.saturating_sub(self.dice.millis(0, 250));
        if let Some(process) = &mut self.process
            && noticed >= NOTICED
        {
            process.unnoticed += noticed;
        }
    }

    /// Lets the process notice that it stood still, and do what is due by then, before anything else happens.
    pub(super) fn notice_standstill(&mut self) {
        let moment = clocks::moment(self.now);
        let stood_still = |process: &&mut Process| process.unnoticed > Duration::ZERO;
        if !self.is_paused()
            && let Some(process) = self.process.as_mut().filter(stood_still)
        {
            process.notice_standstill(moment);
            self.pump();
        }
    }

    pub(super) fn feed(&mut self, input: Input) {
        let moment = clocks::moment(self.now);
        let Some(process) = &mut self.process else {
            return;
        };
        process.comes_to(moment);
        self.coverage.note(&self.database.tables, &input);
        if let Input::Due(_, rows) = &input {
            process.listed.extend(rows.iter().map(|row| row.id));
        }
        process.handle(input);
    }

    pub(super) fn pump(&mut self) {
        loop {
            self.give_up();
            let Some(process) = &mut self.process else {
                return;
            };
            let outputs = process.outputs();
            let idle = outputs.is_empty();
            for output in outputs {
                self.carry_out(output);
            }
            let command = self.process.as_mut().and_then(Process::command);
            match command {
                Some(command) => self.submit(command),
                None if idle => break,
                None => {}
            }
        }
        self.check_memory();
        self.set_alarm();
    }

    fn carry_out(&mut self, output: Output) {
        let Some(process) = &mut self.process else {
            return;
        };
        let epoch = process.owner.epoch;
        match output {
            Output::Write(write) => {
                let id = write.id;
                self.given_up.remove(&(id, write.head.version, epoch));
                self.judge.writes(id, &write.head.phase, self.now);
                if let Fence::Absent(spec) = &write.fence {
                    self.judge.begins(id, spec, self.now);
                }
                process.lane.push(process.now.moment, *write);
                let lane = process.lane.len();
                self.note(Some(id), || format!("write joins {lane} in the lane"));
            }
            Output::Call(call) => {
                self.takes_a_turn(&call.action.participant, call.tx);
                self.call_leaves(epoch, call);
            }
            Output::AskBack(question) => {
                self.takes_a_turn(&question.participant, question.tx);
                self.question_leaves(epoch, question);
            }
            Output::Withdraw { call, .. } => _ = process.outbox.remove(&call),
            Output::Reply(caller, result) => {
                let left = process.left.contains(&caller);
                match process.callers.remove(&caller) {
                    Some(waiter) => self.reply_leaves(&waiter, result),
                    None if left => {}
                    None => self.judge.record(
                        "I8 a request has one answer",
                        result.ok().map(|reply| reply.transaction.id()),
                        format!("caller {} is answered twice", caller.0),
                    ),
                }
            }
            Output::Read(read) => {
                self.check_read(&read);
                let answer = if self.faults.strikes(Fault::ReadFailed) {
                    FromStore::ReadFailed(read)
                } else {
                    let tables = &self.database.tables;
                    match read {
                        Read::Transactions(ids) => FromStore::Loaded(tables.load(&ids)),
                        Read::Due(query) => {
                            let due = tables.due(&query);
                            FromStore::Due(query, due)
                        }
                        Read::Queues(query) => {
                            let queues = tables.queues(&query);
                            FromStore::Queues(query, queues)
                        }
                    }
                };
                self.read_answers(epoch, answer);
            }
            Output::Outage(participant, outage) => {
                self.note(None, || format!("the address of {participant}: {outage:?}"));
            }
            Output::Illegal(illegal) => {
                let what = illegal.to_string();
                let invariant = "no write leaves an illegal row";
                self.judge.record(invariant, Some(illegal.id), what);
            }
        }
    }

    fn call_leaves(&mut self, epoch: u64, call: Call) {
        self.note(Some(call.tx), || {
            let (operation, name) = (call.operation, &call.action.name);
            let (number, route, to) = (call.id.0, call.route, &call.action.participant);
            let attempt = call.attempt;
            format!(
                "{operation} of {name} leaves to {to} ({route:?}, call {number}, attempt {attempt})"
            )
        });
        let scene = Scene {
            now: self.now,
            tables: &self.database.tables,
            books: &self.books,
        };
        let way = self.process.as_ref().map(|process| Way {
            epoch,
            abilities: match call.route {
                Route::Direct => None,
                Route::Stream(stream) => process
                    .streams
                    .get(&stream)
                    .map(|open| &self.plan.services[open.service].instances[open.instance]),
            },
        });
        if let Some(way) = way {
            self.judge.called(&way, &call, &scene);
        }
        if call.route == Route::Direct {
            if let Some(process) = &mut self.process {
                process.direct.insert(call.id, call.clone());
            }
            self.after(call.timeout, Event::CallTimesOut(epoch, call.id));
        }
        let (number, route, call) = (call.id, call.route, Box::new(call));
        self.waits_to_be_taken(number, route, Letter::Call { epoch, call });
    }

    fn question_leaves(&mut self, epoch: u64, question: AskBack) {
        self.note(Some(question.tx), || {
            format!(
                "check-back leaves to {} (call {})",
                question.participant, question.id.0
            )
        });
        let scene = Scene {
            now: self.now,
            tables: &self.database.tables,
            books: &self.books,
        };
        self.judge.asked_back(question.tx, &scene);
        let (number, route, question) = (question.id, question.route, Box::new(question));
        self.waits_to_be_taken(number, route, Letter::AskBack { epoch, question });
    }

    /// Puts a call or question where it waits until its connection takes it.
    fn waits_to_be_taken(&mut self, call: CallId, route: Route, letter: Letter) {
        let wait = if self.faults.strikes(Fault::CallUntaken) {
            let wait = self.dice.millis(50, 12_000);
            self.note(None, || {
                format!("call {} is not taken for {wait:?}", call.0)
            });
            wait
        } else {
            Duration::ZERO
        };
        let Some(process) = &mut self.process else {
            return;
        };
        process.outbox.insert(call, (route, letter));
        let epoch = process.owner.epoch;
        self.after(wait, Event::Taken(epoch, call));
    }

    /// Sends a call that its connection takes, unless it was withdrawn before.
    pub(super) fn call_taken(&mut self, epoch: u64, call: CallId) {
        if self.process.as_ref().is_none_or(|p| p.owner.epoch != epoch) {
            return;
        }
        if self.is_paused() {
            self.postpone(Event::Taken(epoch, call));
            return;
        }
        let taken = self.process.as_mut().and_then(|p| p.outbox.remove(&call));
        if let Some((route, letter)) = taken
            && self.is_connected(epoch, route)
        {
            self.send(letter);
        }
    }

    /// Checks that no call waits to be taken that the engine has closed.
    pub(super) fn check_outbox(&mut self) {
        let Some(process) = &self.process else { return };
        let mut waiting = process.outbox.keys();
        let closed = waiting.find(|call| !process.engine.is_open(**call));
        if let Some(call) = closed {
            let what = format!("call {} is closed and still waits to be taken", call.0);
            self.judge.record(MEMORY, None, what);
        }
    }

    fn reply_leaves(&mut self, waiter: &Waiter, result: Result<Reply, Refusal>) {
        self.note(Some(waiter.tx), || match &result {
            Ok(reply) => format!(
                "{:?} is answered: {}/{} at version {}",
                waiter.kind,
                reply.transaction.phase.status(),
                reply.transaction.phase.biz_status(),
                reply.transaction.version
            ),
            Err(refusal) => format!("{:?} is refused: {refusal}", waiter.kind),
        });
        let scene = Scene {
            now: self.now,
            tables: &self.database.tables,
            books: &self.books,
        };
        self.judge.replied(waiter.tx, &waiter.kind, &result, &scene);
        if let Some(client) = waiter.client {
            let ticket = waiter.ticket;
            self.send(Letter::Reply {
                client,
                ticket,
                result,
            });
        }
    }

    fn set_alarm(&mut self) {
        let Some(process) = &mut self.process else {
            return;
        };
        let Some(wanted) = process.next_wakeup() else {
            return;
        };
        if process.wakes.is_some_and(|at| at <= wanted) {
            return;
        }
        process.wakes = Some(wanted);
        let epoch = process.owner.epoch;
        self.at(clocks::time(wanted), Event::Wake(epoch, wanted));
    }

    pub(super) fn wake(&mut self, epoch: u64, alarm: Moment) {
        let is_set =
            |process: &Process| process.owner.epoch == epoch && process.wakes == Some(alarm);
        if !self.process.as_ref().is_some_and(is_set) {
            return;
        }
        if self.is_paused() {
            self.postpone(Event::Wake(epoch, alarm));
            return;
        }
        if let Some(process) = &mut self.process {
            process.wakes = None;
        }
        self.deliver(Input::Tick);
    }
}
