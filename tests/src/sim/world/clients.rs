//! Initiators in a world: each takes its steps one after another, and repeats a step until it is
//! answered; some die on the way.

use std::{collections::BTreeSet, sync::Arc};

use tercet_barrier::{Arrival, Operation, initiator::Truth};
use tercet_core::{
    model::{ActionSpec, Mode, Name, Outcome},
    port::{CallAnswer, Reply, Request, Wait},
    refusal::Refusal,
};

use super::{Event, Letter, World};
use crate::sim::{
    books::{Admission, mode},
    faults::Fault,
    judge::{RequestKind, replies::is_final},
    plan::{Script, TxPlan},
};

/// The step that an initiator is at.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// It begins, or hands the transaction over.
    Begin,
    /// It adds the action at this place of its list.
    Add(usize),
    /// It tries the action at this place of all of them.
    Try(usize),
    /// It commits a change of its own.
    Commit,
    /// It decides.
    Decide(Outcome),
    /// It has nothing left to do.
    Done,
}

/// One initiator of one transaction.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) plan: Arc<TxPlan>,
    step: Step,
    alive: bool,
    /// The number of the step; replies to an earlier one are ignored.
    ticket: u64,
    sent: u32,
}

impl Client {
    pub(super) fn new(plan: Arc<TxPlan>) -> Self {
        Self {
            plan,
            step: Step::Begin,
            alive: true,
            ticket: 0,
            sent: 0,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        !self.alive || self.step == Step::Done
    }

    /// Returns whether one of these participants takes part in its transaction.
    pub(super) fn involves(&self, gone: &BTreeSet<Name>) -> bool {
        let actions = self.plan.new.actions.iter().chain(self.added());
        let mut called = actions.map(|action| &action.participant);
        // The business may have an earlier transaction, which waits for the participant.
        let joins = self.plan.new.unique_business;
        !gone.is_empty()
            && (joins || gone.contains(&self.plan.shop) || called.any(|it| gone.contains(it)))
    }

    pub(super) fn standing(&self) -> String {
        format!("{:?}, sent {} times", self.step, self.sent)
    }

    fn added(&self) -> &[Arc<ActionSpec>] {
        match &self.plan.script {
            Script::Begin { added, .. } => added,
            Script::Execute { .. } => &[],
        }
    }

    fn action(&self, place: usize) -> Option<Arc<ActionSpec>> {
        let mut actions = self.plan.new.actions.iter().chain(self.added());
        actions.nth(place).cloned()
    }

    fn wait(&self) -> Wait {
        match &self.plan.script {
            Script::Begin { wait, .. } | Script::Execute { wait, .. } => *wait,
        }
    }

    /// Returns the actions that the initiator tries itself before this step registers them.
    fn own_shares(&self) -> Vec<Arc<ActionSpec>> {
        let actions = match self.step {
            Step::Begin => &self.plan.new.actions[..],
            Step::Add(place) => &self.added()[place..=place],
            _ => &[],
        };
        let own = |action: &&Arc<ActionSpec>| action.already_tried;
        actions.iter().filter(own).cloned().collect()
    }

    /// Returns whether it has made effects that only the reply to this step can end.
    fn must_go_on(&self) -> bool {
        !self.own_shares().is_empty()
    }
}

impl World {
    /// Sends the step's request, perhaps once more.
    pub(super) fn client_rings(&mut self, client: usize, ticket: u64) {
        let state = &self.clients[client];
        if state.is_done() || state.ticket != ticket {
            return;
        }
        let id = state.plan.id();
        let begins = state.step == Step::Begin && state.sent == 0;
        if !begins && !state.must_go_on() && self.faults.strikes(Fault::InitiatorDies) {
            self.clients[client].alive = false;
            let step = self.clients[client].step.clone();
            self.note(Some(id), || format!("the initiator dies before {step:?}"));
            return;
        }
        self.clients[client].sent += 1;
        if let (
            true,
            Script::Execute {
                aborts: Some(wait), ..
            },
        ) = (begins, &self.clients[client].plan.script)
        {
            let wait = *wait;
            self.after(wait, Event::Abort(client));
        }
        let wait = self.dice.millis(400, 2_500);
        self.after(wait, Event::Client(client, ticket));
        self.try_own_shares(client);
        self.take_step(client);
        if self.faults.strikes(Fault::InitiatorRepeats) {
            self.take_step(client);
        }
    }

    fn take_step(&mut self, client: usize) {
        let state = &self.clients[client];
        let id = state.plan.id();
        let wait = state.wait();
        match state.step.clone() {
            Step::Begin => {
                let new = state.plan.new.clone();
                self.request(
                    client,
                    RequestKind::Begin,
                    Request::Begin(new, self.begin_wait(client)),
                );
            }
            Step::Add(place) => {
                let action = state.added()[place].clone();
                let kind = RequestKind::Add(action.name.clone());
                self.request(client, kind, Request::AddAction(id, action));
            }
            Step::Try(place) => self.try_action(client, place),
            Step::Commit => self.commit_own(client),
            Step::Decide(outcome) => {
                let request = Request::Decide(id, outcome, "as it went".into(), wait);
                self.request(client, RequestKind::Decide(outcome), request);
            }
            Step::Done => {}
        }
    }

    fn begin_wait(&self, client: usize) -> Wait {
        match &self.clients[client].plan.script {
            Script::Execute { wait, .. } => *wait,
            Script::Begin { .. } => Wait::Accepted,
        }
    }

    fn request(&mut self, client: usize, kind: RequestKind, request: Request) {
        let ticket = self.clients[client].ticket;
        self.send(Letter::Request {
            client: Some(client),
            ticket,
            kind,
            request,
        });
    }

    /// Goes on with another step.
    fn go(&mut self, client: usize, step: Step) {
        let pause = if self.faults.strikes(Fault::InitiatorHangs) {
            self.dice.millis(2_000, 12_000)
        } else {
            self.dice.millis(0, 5)
        };
        let state = &mut self.clients[client];
        state.ticket += 1;
        state.sent = 0;
        state.step = step;
        if state.step != Step::Done {
            let ticket = state.ticket;
            self.after(pause, Event::Client(client, ticket));
        }
    }

    pub(super) fn client_aborts(&mut self, client: usize) {
        if self.clients[client].alive {
            let id = self.clients[client].plan.id();
            let outcome = Outcome::Failure;
            self.send(Letter::Request {
                client: None,
                ticket: 0,
                kind: RequestKind::Decide(outcome),
                request: Request::Decide(id, outcome, "changed my mind".into(), Wait::Accepted),
            });
        }
    }

    pub(super) fn reply_arrives(
        &mut self,
        client: usize,
        ticket: u64,
        result: Result<Reply, Refusal>,
    ) {
        let state = &self.clients[client];
        if state.is_done() || state.ticket != ticket {
            return;
        }
        let id = state.plan.id();
        match (state.step.clone(), result) {
            (Step::Begin, Ok(reply)) if reply.transaction.id() != id => {
                // The business has a transaction already: nothing was begun here.
                self.give_up_own_shares(client);
                self.go(client, Step::Done);
            }
            (Step::Begin, Ok(_)) if matches!(state.plan.script, Script::Execute { .. }) => {
                self.go(client, Step::Done);
            }
            (Step::Begin, Ok(_)) => self.add_next(client, 0),
            (Step::Add(place), Ok(_)) => self.add_next(client, place + 1),
            (Step::Decide(_), Ok(_)) => self.go(client, Step::Done),
            (Step::Begin | Step::Add(_), Err(refusal)) if is_final(&refusal) => {
                let begins = state.step == Step::Begin;
                self.give_up_own_shares(client);
                let next = if begins {
                    Step::Done
                } else {
                    self.decide_failure(client)
                };
                self.go(client, next);
            }
            (Step::Decide(_), Err(refusal)) if is_final(&refusal) => self.go(client, Step::Done),
            // The request is repeated when the timer rings.
            _ => {}
        }
    }

    fn add_next(&mut self, client: usize, place: usize) {
        let step = if place < self.clients[client].added().len() {
            Step::Add(place)
        } else {
            self.next_try(client, 0)
        };
        self.go(client, step);
    }

    fn next_try(&self, client: usize, from: usize) -> Step {
        let state = &self.clients[client];
        let mut place = from;
        while let Some(action) = state.action(place) {
            if action.mode != Mode::Deliver && !action.already_tried {
                return Step::Try(place);
            }
            place += 1;
        }
        Step::Commit
    }

    fn try_action(&mut self, client: usize, place: usize) {
        let state = &self.clients[client];
        let (ticket, tx) = (state.ticket, state.plan.id());
        if let Some(action) = state.action(place) {
            self.note(Some(tx), || {
                format!("the initiator's TRY of {} leaves", action.name)
            });
            self.send(Letter::OwnTry {
                client,
                ticket,
                tx,
                action,
            });
        }
    }

    pub(super) fn own_tried_arrives(
        &mut self,
        client: usize,
        ticket: u64,
        action: &Name,
        answer: &CallAnswer,
    ) {
        let state = &self.clients[client];
        if state.is_done() || state.ticket != ticket {
            return;
        }
        let Step::Try(place) = state.step else { return };
        if state
            .action(place)
            .is_none_or(|tried| tried.name != *action)
        {
            return;
        }
        let next = match answer {
            CallAnswer::Ok(_) => self.next_try(client, place + 1),
            CallAnswer::Rejected(_) => self.decide_failure(client),
            CallAnswer::Unknown(_) | CallAnswer::Unsent(_) => return,
        };
        self.go(client, next);
    }

    /// Commits the initiator's local transaction: its change, and its row.
    fn commit_own(&mut self, client: usize) {
        let plan = self.clients[client].plan.clone();
        let Script::Begin {
            own_row, gives_up, ..
        } = &plan.script
        else {
            return;
        };
        let next = if *gives_up {
            self.decide_failure(client)
        } else if *own_row && !self.write_truth(client, Truth::Success) {
            // A check-back was faster: the local commit fails on the key.
            Step::Decide(Outcome::Failure)
        } else {
            Step::Decide(Outcome::Success)
        };
        self.go(client, next);
    }

    fn write_truth(&mut self, client: usize, truth: Truth) -> bool {
        let plan = self.clients[client].plan.clone();
        let books = self.books.entry(plan.shop.clone()).or_default();
        let went_in = books.commit_truth(plan.id(), truth);
        self.note(Some(plan.id()), || {
            format!("the initiator's row {truth:?} goes in: {went_in}")
        });
        went_in
    }

    /// Makes sure, before the decision FAILURE, that the initiator's own commit cannot come after it.
    fn decide_failure(&mut self, client: usize) -> Step {
        let own_row = matches!(
            self.clients[client].plan.script,
            Script::Begin { own_row: true, .. }
        );
        if own_row && !self.write_truth(client, Truth::Failure) {
            return Step::Decide(Outcome::Success);
        }
        Step::Decide(Outcome::Failure)
    }

    /// Tries the initiator's own actions before they are registered.
    fn try_own_shares(&mut self, client: usize) {
        for action in self.clients[client].own_shares() {
            self.run_own(client, &action, Operation::Try);
        }
    }

    /// Cancels the initiator's own actions when their registration failed: no Cancel will be called for them.
    fn give_up_own_shares(&mut self, client: usize) {
        for action in self.clients[client].own_shares() {
            self.run_own(client, &action, Operation::Cancel);
        }
    }

    fn run_own(&mut self, client: usize, action: &ActionSpec, operation: Operation) {
        let id = self.clients[client].plan.id();
        let key = (id, action.name.clone());
        let arrival = Arrival {
            mode: mode(action.mode),
            operation,
            external: false,
            expired: false,
        };
        let books = self.books.entry(action.participant.clone()).or_default();
        if let Admission::Run(then) = books.arrive(&key, arrival)
            && let Err(what) =
                books.commit(&key, arrival, then, &tercet_barrier::CallAnswer::done())
        {
            let invariant = "I3 I4 I5 an action takes effect once, or not at all";
            self.judge.record(invariant, Some(id), what);
        }
        self.note(Some(id), || {
            format!("the initiator's own share {}: {operation:?}", action.name)
        });
    }
}
