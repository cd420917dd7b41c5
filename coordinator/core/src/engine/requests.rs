//! Requests of callers, and their answers.

use std::sync::Arc;

use tercet_mutation::broken;

use super::{
    Engine,
    callers::Waiters,
    entry::{Effects, Entry, Job, State, Waiter},
    folding::Fold,
};
use crate::{
    gate::Origin,
    id::{CallerId, TxId},
    limits,
    model::Transaction,
    port::{NewTransaction, Output, Reply, Request, Wait},
    refusal::Refusal,
    time::Timestamp,
    transition::Event,
};

impl Engine {
    /// Takes a request in: it waits with the other jobs of its transaction, begins it, or loads it.
    pub(super) fn request(&mut self, caller: CallerId, request: Request) {
        let id = request.id();
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.asked_at = self.now;
            let weight = request.weight();
            let is_full = entry.jobs.len() + entry.waiters.len() >= self.config.waiting_events;
            let is_heavy = weight > 0 && self.weight + weight > with_reserve(self.config.memory);
            if is_full || is_heavy {
                self.refuse(caller, Refusal::Overloaded);
                return;
            }
            entry.jobs.push_back(Job::Request(caller, request));
            self.weigh(id);
            self.process(id);
        } else if !self.has_room(&request) {
            self.refuse(caller, Refusal::Overloaded);
        } else {
            match request {
                Request::Begin(new, wait) if self.may_begin(id) => self.begin(caller, new, wait),
                Request::OnlyRepeated(_, refusal) if broken("unserved_refused_unread") => {
                    self.refuse(caller, refusal);
                }
                request => self.load_for(id, Job::Request(caller, request)),
            }
        }
    }

    /// Returns whether an id without a row may begin: its time is near the database's, before or after a jump of that,
    /// as it may have been made by a clock that did not jump.
    pub(super) fn may_begin(&self, id: TxId) -> bool {
        let near = |time: Timestamp, now: Timestamp| {
            time <= now + limits::BEGIN_AHEAD && time + limits::BEGIN_WINDOW >= now
        };
        let now = self.course.now().time.as_micros();
        let ahead = Timestamp::from_micros(now.saturating_add(self.clock_difference));
        let mut times = self.course.times(limits::BEGIN_WINDOW).chain([ahead]);
        id.time()
            .is_some_and(|time| times.any(|now| near(time, now)))
    }

    /// Returns whether there is room for the request's transaction. A part of memory is kept for those that have been
    /// begun: to refuse a new one costs its caller less than to hold up an old one.
    fn has_room(&self, request: &Request) -> bool {
        let with_reserve = |limit: usize| match request {
            Request::Begin(..) => limit,
            _ => with_reserve(limit),
        };
        let waiting = self.waits.get(&request.id()).map_or(0, Waiters::len);
        self.entries.len() < with_reserve(self.config.capacity)
            && self.weight < with_reserve(self.config.memory)
            && waiting < self.config.waiting_events
    }

    /// Begins as if the id had no row; if it has one, the insert changes nothing.
    fn begin(&mut self, caller: CallerId, new: Arc<NewTransaction>, wait: Wait) {
        let id = new.id;
        let mut tx = Transaction::begin(&new, self.owner.clone(), self.course.now());
        for action in &mut tx.actions {
            action.live.dirty = true;
        }
        let waiter = Waiter {
            caller,
            until: wait,
            repeated: false,
        };
        let fold = Fold {
            urgent: true,
            effects: Effects {
                requests: vec![(caller, Request::Begin(new, wait))],
                waiters: only(waiter),
                ..Effects::default()
            },
            ..Fold::to_write_down(Box::new(tx))
        };
        self.add_entry(id, Entry::new(State::Folding, Origin::Request, self.now));
        self.write(id, fold);
    }

    /// Loads a transaction for a job.
    pub(super) fn load_for(&mut self, id: TxId, job: Job) {
        let mut entry = Entry::new(State::Loading, Origin::Request, self.now);
        entry.jobs.push_back(job);
        self.add_entry(id, entry);
        self.weigh(id);
        self.to_load.push_back(id);
    }

    /// Judges a request by the state of the fold.
    pub(super) fn judge(&mut self, fold: &mut Fold, caller: CallerId, request: Request) {
        let (asked, otherwise) = match &request {
            Request::OnlyRepeated(asked, refusal) => (&**asked, Some(refusal)),
            asked => (asked, None),
        };
        let wait = match asked {
            Request::Begin(_, wait) | Request::Decide(_, _, _, wait) => *wait,
            _ => Wait::Accepted,
        };
        let verdict = match (asked, otherwise) {
            (Request::Begin(new, _), _) => match fold.next.first_difference(new) {
                Some(field) => Err(Refusal::TxIdReused { id: new.id, field }),
                None => Ok(true),
            },
            (Request::AddAction(_, action), Some(refusal))
                if fold.next.action(&action.name).is_none() =>
            {
                Err(refusal.clone())
            }
            (asked, _) => {
                let event = event_of(asked);
                self.apply(fold, &event)
            }
        };
        if !matches!(verdict, Ok(false)) {
            fold.effects.bytes += request.weight();
        }
        match verdict {
            Ok(repeated) => {
                fold.effects.waiters.push(Waiter {
                    caller,
                    until: wait,
                    repeated,
                });
                fold.effects.requests.push((caller, request));
            }
            Err(refusal) => {
                // Judged again if the write that it depends on changes nothing.
                fold.effects.refusals.push((caller, refusal));
                fold.effects.requests.push((caller, request));
            }
        }
    }

    /// Lets the callers of begins wait for the transaction that has their business. Beyond the bound they are refused: they
    /// began nothing.
    pub(super) fn join(&mut self, id: TxId, joining: Vec<(CallerId, Wait)>) {
        for (caller, wait) in joining {
            if !self.may_join(id) {
                self.refuse(caller, Refusal::Overloaded);
                continue;
            }
            self.joined.insert(caller, id);
            let job = Job::Joined(caller, wait);
            match self.entries.get_mut(&id) {
                Some(entry) => entry.jobs.push_back(job),
                None => self.load_for(id, job),
            }
        }
        self.process(id);
    }

    /// Returns whether one more caller may join a transaction.
    fn may_join(&self, id: TxId) -> bool {
        let in_memory =
            (self.entries.get(&id)).map_or(0, |entry| entry.jobs.len() + entry.waiters_in_all());
        let at_rest = self.waits.get(&id).map_or(0, Waiters::len);
        in_memory + at_rest < limits::CALLERS_JOINED && self.joined.len() < self.config.capacity
    }

    /// Withdraws a caller; its request goes on, unless it asks for nothing but an answer, or is under way for another
    /// caller too.
    pub(super) fn caller_left(&mut self, caller: CallerId, id: TxId) {
        let id = self.joined.remove(&caller).unwrap_or(id);
        if let Some(waiters) = self.waits.get_mut(&id) {
            waiters.remove(caller);
            if waiters.is_empty() {
                self.waits.remove(&id);
            }
        }
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.waiters.remove(caller);
        let loading = matches!(entry.state, State::Loading);
        entry.jobs.remove_idle(caller, loading);
        if let State::InHand {
            writing: Some(writing),
            ..
        } = &mut entry.state
        {
            writing.waiters.remove(caller);
        }
        self.weigh(id);
    }

    /// Answers every caller that the durable state satisfies.
    pub(super) fn notify(&mut self, id: TxId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let State::InHand { tx, writing: None } = &entry.state else {
            return;
        };
        for waiter in entry.waiters.take_satisfied(tx) {
            let transaction = Transaction::clone(tx);
            let reply = Reply {
                transaction,
                repeated: waiter.repeated,
            };
            self.joined.remove(&waiter.caller);
            self.outputs.push(Output::Reply(waiter.caller, Ok(reply)));
        }
    }

    pub(super) fn refuse(&mut self, caller: CallerId, refusal: Refusal) {
        self.joined.remove(&caller);
        self.outputs.push(Output::Reply(caller, Err(refusal)));
    }

    /// Refuses every caller that waits for a transaction, and removes it from memory.
    pub(super) fn refuse_all(&mut self, id: TxId, refusal: &Refusal) {
        let callers = self
            .entries
            .get_mut(&id)
            .map(Entry::take_callers)
            .unwrap_or_default();
        for caller in callers {
            self.refuse(caller, refusal.clone());
        }
        self.forget(id);
    }
}

/// Returns a limit of memory with the part that is kept for transactions that have been begun.
fn with_reserve(limit: usize) -> usize {
    limit + limit.div_ceil(limits::RESERVE_SHARES)
}

/// Makes the waiters of a request with one caller.
fn only(waiter: Waiter) -> Waiters {
    let mut waiters = Waiters::default();
    waiters.push(waiter);
    waiters
}

fn event_of(request: &Request) -> Event {
    match request {
        // A begin is judged by comparison, and as an event changes nothing.
        Request::Begin(..) => Event::TimePassed,
        Request::OnlyRepeated(request, _) => event_of(request),
        Request::AddAction(_, action) => Event::AddAction(action.clone()),
        Request::Decide(_, outcome, reason, _) => Event::Decide {
            outcome: *outcome,
            reason: reason.clone(),
        },
        Request::Operator(_, command) => Event::Operator(command.clone()),
    }
}
