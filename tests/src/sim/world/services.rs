//! Participants in a world: streams, local transactions with locks on the barrier's rows, crashes at
//! any point of them.

use std::collections::{BTreeMap, BTreeSet};

use tercet_barrier::{Arrival, CallAnswer, RowState, initiator::Truth};
use tercet_core::{
    id::{CallId, StreamId, TxId},
    model::{self, ActionSpec, Name, Operation},
    port::{
        self, AskBack, Call, CallResult, CheckBackAnswer, CheckBackResult, Input, Reach, Route,
    },
    time::Timestamp,
};

use super::{Event, Letter, World};
use crate::sim::{
    books::{Admission, Key, answer_to_core, mode, operation},
    faults::Fault,
    history::DAWN,
    plan::{FAULTS_END, ServicePlan},
};

/// The limit of answers kept from broken streams.
const OLD_ANSWERS: usize = 8;

/// The processes of one participant.
#[derive(Clone, Debug)]
pub(super) struct Service {
    up: bool,
    life: u32,
    /// The way to it now.
    pub(super) reach: Reach,
    /// The open stream of each instance, and the incarnation at its other end.
    streams: Vec<Option<(u64, StreamId)>>,
    hangs_until: Timestamp,
    jobs: BTreeMap<u64, Job>,
    locked: BTreeSet<Key>,
    started: u64,
    /// Answers that found their stream broken.
    old: Vec<CallResult>,
    /// Calls to its address by epoch and id, each with whether its connection was made.
    connected: BTreeMap<(u64, CallId), bool>,
}

/// A local transaction whose code runs.
#[derive(Clone, Debug)]
struct Job {
    source: Source,
    key: Key,
    arrival: Arrival,
    then: RowState,
    answer: CallAnswer,
}

/// The receiver of an answer.
#[derive(Clone, Debug)]
enum Source {
    Coordinator {
        epoch: u64,
        route: Route,
        call: CallId,
        operation: Operation,
    },
    Client {
        client: usize,
        ticket: u64,
    },
}

impl Service {
    pub(super) fn new(plan: &ServicePlan) -> Self {
        Self {
            up: false,
            life: 0,
            reach: plan.reach,
            streams: vec![None; plan.instances.len()],
            hangs_until: if plan.hangs {
                DAWN + FAULTS_END
            } else {
                Timestamp::default()
            },
            jobs: BTreeMap::new(),
            locked: BTreeSet::new(),
            started: 0,
            old: Vec::new(),
            connected: BTreeMap::new(),
        }
    }
}

impl World {
    pub(super) fn service_up(&mut self, service: usize) {
        let name = self.plan.services[service].name.clone();
        if self.is_away(service) {
            return;
        }
        self.services[service].up = true;
        self.note(None, || format!("{name} is up"));
        self.attach_all(service);
    }

    fn is_away(&self, service: usize) -> bool {
        let away = self.plan.services[service].away;
        away.is_some_and(|away| away.covers(self.now))
    }

    /// Ends a participant for long, or for good.
    pub(super) fn service_leaves(&mut self, service: usize) {
        self.faults.count(Fault::ServiceAway);
        self.service_dies(service);
    }

    /// Changes the way to a participant: from streams to an address, or back.
    pub(super) fn service_moves(&mut self, service: usize) {
        if self.is_paused() {
            self.postpone(Event::Moves(service));
            return;
        }
        self.faults.count(Fault::ServiceMoves);
        let plan = &self.plan.services[service];
        let (name, concurrency) = (plan.name.clone(), plan.concurrency);
        let reach = match self.services[service].reach {
            Reach::Attach => Reach::Direct { concurrency },
            Reach::Direct { .. } => Reach::Attach,
        };
        self.services[service].reach = reach;
        self.note(None, || {
            format!("{name} is called by {reach:?} from now on")
        });
        if reach == Reach::Attach {
            if self.services[service].up {
                self.attach_all(service);
            }
        } else if self.dice.chance(500) {
            self.lose_streams(service);
        }
        self.deliver(Input::Participant { name, reach });
    }

    fn attach_all(&mut self, service: usize) {
        if self.services[service].reach != Reach::Attach {
            return;
        }
        let life = self.services[service].life;
        for instance in 0..self.services[service].streams.len() {
            if self.services[service].streams[instance].is_none() {
                let wait = self.dice.millis(0, 600);
                self.after(
                    wait,
                    Event::Attach {
                        service,
                        instance,
                        life,
                    },
                );
            }
        }
    }

    pub(super) fn attach(&mut self, service: usize, instance: usize, life: u32) {
        let state = &self.services[service];
        let attaches = state.up && state.reach == Reach::Attach;
        if !attaches || state.life != life || state.streams[instance].is_some() {
            return;
        }
        let Some((epoch, stream)) = self.stream_opens(service, instance) else {
            let wait = self.dice.millis(50, 600);
            self.after(
                wait,
                Event::Attach {
                    service,
                    instance,
                    life,
                },
            );
            return;
        };
        // The coordinator may have died while it handled the new stream.
        if !self.is_connected(epoch, Route::Stream(stream)) {
            self.attach_all(service);
            return;
        }
        self.services[service].streams[instance] = Some((epoch, stream));
        for old in std::mem::take(&mut self.services[service].old) {
            if self.faults.strikes(Fault::StaleResult) {
                let route = Route::Stream(stream);
                self.send(Letter::CallResult {
                    epoch,
                    result: CallResult { route, ..old },
                });
            }
        }
    }

    /// Breaks every stream of a participant; it opens new ones.
    pub(super) fn lose_streams(&mut self, service: usize) {
        for instance in 0..self.services[service].streams.len() {
            if let Some((epoch, stream)) = self.services[service].streams[instance].take() {
                let wait = self.dice.millis(0, 2_000);
                self.after(wait, Event::StreamGone(epoch, stream));
            }
        }
        if self.services[service].up {
            self.attach_all(service);
        }
    }

    /// Ends one stream of a participant; it opens a new one.
    fn lose_stream(&mut self, service: usize, epoch: u64, stream: StreamId) {
        let mut streams = self.services[service].streams.iter_mut();
        if let Some(open) = streams.find(|open| **open == Some((epoch, stream))) {
            *open = None;
            let wait = self.dice.millis(0, 100);
            self.after(wait, Event::StreamGone(epoch, stream));
        }
        if self.services[service].up {
            self.attach_all(service);
        }
    }

    /// Notes that the coordinator has closed a stream; the participant opens a new one.
    pub(super) fn stream_ended(&mut self, service: usize, epoch: u64, stream: StreamId) {
        for open in &mut self.services[service].streams {
            if *open == Some((epoch, stream)) {
                *open = None;
            }
        }
        if self.services[service].up {
            self.attach_all(service);
        }
    }

    /// Kills the participant: open local transactions are rolled back.
    fn service_dies(&mut self, service: usize) {
        let name = self.plan.services[service].name.clone();
        self.note(None, || format!("{name} dies"));
        let state = &mut self.services[service];
        state.up = false;
        state.life += 1;
        state.jobs.clear();
        state.locked.clear();
        self.lose_streams(service);
        let wait = self.dice.millis(50, 6_000);
        self.after(wait, Event::ServiceUp(service));
    }

    fn place(&self, participant: &str) -> usize {
        self.places.get(participant).copied().unwrap_or(0)
    }

    pub(super) fn call_arrives(&mut self, epoch: u64, call: &Call) {
        let service = self.place(&call.action.participant);
        if self.waits(
            service,
            Letter::Call {
                epoch,
                call: Box::new(call.clone()),
            },
        ) {
            return;
        }
        if self.faults.strikes(Fault::ServiceCrash) {
            self.service_dies(service);
        }
        if call.route == Route::Direct && !self.is_taken(service, epoch, call) {
            return;
        }
        let source = Source::Coordinator {
            epoch,
            route: call.route,
            call: call.id,
            operation: call.operation,
        };
        if !self.services[service].up {
            if call.route == Route::Direct {
                let answer = CallAnswer::Unknown("connection reset".into());
                self.respond(service, &source, call.tx, &call.action.name, answer);
            }
            return;
        }
        if self.faults.strikes(Fault::StreamBroken) {
            self.lose_streams(service);
        }
        if let Route::Stream(stream) = call.route
            && self.faults.on
            && self.plan.services[service].flaps
        {
            self.faults.count(Fault::StreamFlaps);
            self.lose_stream(service, epoch, stream);
        }
        let phase_two = call.operation != Operation::Try;
        if phase_two && call.route == Route::Direct && self.faults.strikes(Fault::SpuriousAborted) {
            let answer = CallAnswer::Rejected("ABORTED: could not serialize access".into());
            self.respond(service, &source, call.tx, &call.action.name, answer);
            return;
        }
        let again = Letter::Call {
            epoch,
            call: Box::new(call.clone()),
        };
        self.begin_job(
            service,
            source,
            call.tx,
            &call.action,
            call.operation,
            again,
        );
    }

    /// Returns whether a call to an address has a connection. A call without one is answered as unsent, and none of its
    /// repetitions by the network arrives.
    fn is_taken(&mut self, service: usize, epoch: u64, call: &Call) -> bool {
        let state = &mut self.services[service];
        let up = state.up;
        let key = (epoch, call.id);
        if let Some(connected) = state.connected.get(&key) {
            return *connected;
        }
        state.connected.insert(key, up);
        if !up {
            self.judge.not_taken(call);
            let result = CallResult {
                route: call.route,
                epoch,
                call: call.id,
                tx: call.tx,
                action: call.action.name.clone(),
                operation: call.operation,
                answer: port::CallAnswer::Unsent("connection refused".into()),
            };
            self.send(Letter::CallResult { epoch, result });
        }
        up
    }

    pub(super) fn own_try_arrives(
        &mut self,
        client: usize,
        ticket: u64,
        tx: TxId,
        action: &std::sync::Arc<ActionSpec>,
    ) {
        let service = self.place(&action.participant);
        let letter = Letter::OwnTry {
            client,
            ticket,
            tx,
            action: action.clone(),
        };
        if self.waits(service, letter.clone()) || !self.services[service].up {
            return;
        }
        let source = Source::Client { client, ticket };
        self.begin_job(service, source, tx, action, Operation::Try, letter);
    }

    /// Returns whether the participant is paused; the letter then arrives later.
    fn waits(&mut self, service: usize, letter: Letter) -> bool {
        if self.faults.strikes(Fault::ServiceHangs) {
            let wait = self.dice.millis(200, 6_000);
            let hangs_until = &mut self.services[service].hangs_until;
            *hangs_until = (*hangs_until).max(self.now + wait);
        }
        let until = self.services[service].hangs_until;
        if until > self.now {
            self.at(until, Event::Arrives(Box::new(letter)));
            return true;
        }
        false
    }

    /// Begins a local transaction: takes the lock of the barrier's row and asks the barrier for its verdict.
    fn begin_job(
        &mut self,
        service: usize,
        source: Source,
        tx: TxId,
        action: &ActionSpec,
        op: Operation,
        again: Letter,
    ) {
        let key: Key = (tx, action.name.clone());
        if self.services[service].locked.contains(&key) {
            let wait = self.dice.millis(1, 20);
            self.after(wait, Event::Arrives(Box::new(again)));
            return;
        }
        let external = self
            .plan
            .behaviours
            .get(&key)
            .is_some_and(|behaviour| behaviour.external);
        let arrival = Arrival {
            mode: mode(action.mode),
            operation: operation(op),
            external,
            expired: false,
        };
        let books = self.books.entry(action.participant.clone()).or_default();
        match books.arrive(&key, arrival) {
            Admission::Answer(answer) => {
                self.note(Some(tx), || {
                    format!(
                        "{}: {op} of {} meets {answer:?}",
                        action.participant, action.name
                    )
                });
                self.respond(service, &source, tx, &action.name, answer);
            }
            Admission::Run(then) => {
                let answer = self.code(action, &key, op);
                if external && matches!(answer, CallAnswer::Done(_)) {
                    let books = self.books.entry(action.participant.clone()).or_default();
                    books.outside(&key, arrival.operation);
                }
                let slowest = self.plan.services[service].slowest;
                let wait = self.dice.span(std::time::Duration::ZERO, slowest);
                let state = &mut self.services[service];
                state.started += 1;
                let (job, life) = (state.started, state.life);
                state.locked.insert(key.clone());
                state.jobs.insert(
                    job,
                    Job {
                        source,
                        key,
                        arrival,
                        then,
                        answer,
                    },
                );
                self.after(wait, Event::JobEnds { service, life, job });
            }
        }
    }

    /// Returns the answer of the action's code.
    fn code(&mut self, action: &ActionSpec, key: &Key, op: Operation) -> CallAnswer {
        if self.faults.strikes(Fault::CodeFails) {
            return CallAnswer::Unknown("the code failed".into());
        }
        let Some(behaviour) = self.plan.behaviours.get(key) else {
            return CallAnswer::done();
        };
        let runs = self
            .books
            .get(&action.participant)
            .and_then(|books| books.entry(key))
            .map_or(0, |entry| entry.runs);
        match op {
            Operation::Try if behaviour.refuses => CallAnswer::Rejected("sold out".into()),
            // Another run would return another result.
            Operation::Try if behaviour.returns => {
                CallAnswer::Done(format!("{}#{}", key.1, self.dice.below(1_000_000)).into_bytes())
            }
            Operation::Try => CallAnswer::done(),
            Operation::Confirm | Operation::Cancel => {
                let tries = u32::from(action.mode != model::Mode::Deliver);
                if runs.saturating_sub(tries) < behaviour.rejections {
                    CallAnswer::Rejected("the account is closed".into())
                } else {
                    CallAnswer::done()
                }
            }
        }
    }

    pub(super) fn job_ends(&mut self, service: usize, life: u32, job: u64) {
        if self.services[service].life != life {
            return;
        }
        let Some(job) = self.services[service].jobs.remove(&job) else {
            return;
        };
        self.services[service].locked.remove(&job.key);
        let (tx, name) = job.key.clone();
        if self.faults.strikes(Fault::ServiceCrash) {
            self.service_dies(service);
            return;
        }
        let participant = self.plan.services[service].name.clone();
        let books = self.books.entry(participant.clone()).or_default();
        let committed = books.commit(&job.key, job.arrival, job.then, &job.answer);
        let state = books.state(&job.key);
        self.note(Some(tx), || {
            let operation = job.arrival.operation;
            let answer = &job.answer;
            format!("{participant}: {operation:?} of {name} ran: {answer:?}; row {state:?}")
        });
        if let Err(what) = committed {
            let invariant = "I3 I4 I5 an action takes effect once, or not at all";
            self.judge
                .record(invariant, Some(tx), format!("{name}: {what}"));
        }
        if self.faults.strikes(Fault::ServiceCrashAfterCommit) {
            self.service_dies(service);
            return;
        }
        self.respond(service, &job.source, tx, &name, job.answer);
    }

    fn respond(
        &mut self,
        service: usize,
        to: &Source,
        tx: TxId,
        action: &Name,
        answer: CallAnswer,
    ) {
        let answer = answer_to_core(answer);
        match to {
            Source::Client { client, ticket } => self.send(Letter::OwnTried {
                client: *client,
                ticket: *ticket,
                action: action.clone(),
                answer,
            }),
            Source::Coordinator {
                epoch,
                route,
                call,
                operation,
            } => {
                let result = CallResult {
                    route: *route,
                    epoch: *epoch,
                    call: *call,
                    tx,
                    action: action.clone(),
                    operation: *operation,
                    answer,
                };
                let state = &mut self.services[service];
                let open = match route {
                    Route::Direct => true,
                    Route::Stream(stream) => state.streams.contains(&Some((*epoch, *stream))),
                };
                if *route != Route::Direct && state.old.len() < OLD_ANSWERS {
                    state.old.push(result.clone());
                }
                if open {
                    let epoch = *epoch;
                    self.send(Letter::CallResult { epoch, result });
                }
            }
        }
    }

    pub(super) fn question_arrives(&mut self, epoch: u64, question: &AskBack) {
        let service = self.place(&question.participant);
        let again = Letter::AskBack {
            epoch,
            question: Box::new(question.clone()),
        };
        if self.waits(service, again) {
            return;
        }
        if !self.services[service].up {
            if question.route == Route::Direct {
                let refused = CheckBackAnswer::Unsent("connection refused".into());
                self.answer_question(epoch, question, refused);
            }
            return;
        }
        let answer = if self.faults.strikes(Fault::CodeFails) {
            Err("the initiator's row is locked".into())
        } else {
            let books = self.books.entry(question.participant.clone()).or_default();
            match books.asked_back(question.tx) {
                Some(Truth::Success) => Ok(model::Outcome::Success),
                Some(Truth::Failure) => Ok(model::Outcome::Failure),
                None => Err("the initiator's row may have been removed".into()),
            }
        };
        self.answer_question(epoch, question, answer.into());
    }

    fn answer_question(&mut self, epoch: u64, question: &AskBack, answer: CheckBackAnswer) {
        self.send(Letter::CheckBackResult {
            epoch,
            result: CheckBackResult {
                route: question.route,
                epoch,
                call: question.id,
                tx: question.tx,
                answer,
            },
        });
    }
}
