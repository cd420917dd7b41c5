//! Folds the jobs of a transaction since its last write into the next one.

use std::mem;

use tercet_mutation::broken;

use super::{
    Engine,
    entry::{Effects, Entry, Job, State, Waiter},
};
use crate::{
    id::TxId,
    limits,
    model::{Action, DueRow, Transaction},
    port::Output,
    refusal::Refusal,
    time::Timestamp,
    transition::{Event, is_misdated, transition},
    write::{ActionWrite, DueChange, Fence, Head, NewAction, OperatorEntry, Write, WriteResult},
};

/// Jobs folded into one step.
pub(super) struct Fold {
    pub next: Box<Transaction>,
    /// The rows of `tx_due` that stand.
    pub due: Vec<DueRow>,
    pub write: bool,
    pub urgent: bool,
    pub operator: Option<OperatorEntry>,
    pub effects: Effects,
}

impl Fold {
    /// Makes the fold that writes the state as it is.
    pub(super) fn to_write_down(next: Box<Transaction>) -> Self {
        Self {
            write: true,
            ..Self::from(next)
        }
    }

    fn from(next: Box<Transaction>) -> Self {
        Self {
            due: next.due_rows(),
            next,
            write: false,
            urgent: false,
            operator: None,
            effects: Effects::default(),
        }
    }
}

impl Engine {
    /// Adds an event of a transaction, and folds it.
    pub(super) fn happened(&mut self, id: TxId, event: Event) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.jobs.push_back(Job::Event(event));
            self.process(id);
        }
    }

    /// Folds the waiting jobs, unless a write is under way; then answers callers and makes calls.
    pub(super) fn process(&mut self, id: TxId) {
        loop {
            let Some(entry) = self.entries.get_mut(&id) else {
                return;
            };
            if entry.durable().is_none() {
                break;
            }
            if entry.jobs.is_empty() {
                self.notify(id);
                self.advance(id);
                return;
            }
            let State::InHand { tx, .. } = std::mem::replace(&mut entry.state, State::Folding)
            else {
                break;
            };
            let fold = self.fold(id, Fold::from(tx));
            self.put_back(id, fold);
        }
        #[cfg(feature = "mutations")]
        if broken("confirm_before_decision_durable") {
            self.advance_undurably(id);
        }
    }

    /// Applies the waiting jobs to a fold, as many as go with one write.
    fn fold(&mut self, id: TxId, mut fold: Fold) -> Fold {
        while let Some(job) = self
            .entries
            .get_mut(&id)
            .and_then(|entry| entry.jobs.pop_front())
        {
            match job {
                // An event is never refused: one that comes too late changes nothing.
                Job::Event(event) => drop(self.apply(&mut fold, &event)),
                Job::Request(caller, request) => self.judge(&mut fold, caller, request),
                // Waits for the row, by whichever write it comes: the result of this fold's write does not matter.
                Job::Joined(caller, until) => {
                    let waiter = Waiter {
                        caller,
                        until,
                        repeated: true,
                    };
                    if let Some(entry) = self.entries.get_mut(&id) {
                        entry.waiters.push(waiter);
                    }
                }
            }
            // One row of `operator_log` goes with one write.
            if fold.operator.is_some() {
                break;
            }
        }
        fold.write |= self.is_to_be_taken(id, &fold.next);
        fold
    }

    /// Applies an event to a fold; returns whether the request behind it was a repetition.
    pub(super) fn apply(&mut self, fold: &mut Fold, event: &Event) -> Result<bool, Refusal> {
        let cx = self.context();
        let step = transition(&fold.next, event, &cx)?;
        *fold.next = step.next;
        fold.write |= step.write;
        fold.urgent |= step.urgent;
        fold.operator = fold.operator.take().or(step.operator);
        Ok(step.repeated)
    }

    /// Puts a folded state back: as a write, or in memory where nothing has to be durable.
    fn put_back(&mut self, id: TxId, fold: Fold) {
        if fold.write {
            self.write(id, fold);
            return;
        }
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.state = State::InHand {
            tx: fold.next,
            writing: None,
        };
        entry.waiters.absorb(fold.effects.waiters);
        for (caller, refusal) in fold.effects.refusals {
            self.refuse(caller, refusal);
        }
        self.weigh(id);
    }

    /// Returns whether a transaction that this incarnation has not in hand is to be written before anything is done for
    /// it: one that rests if something can be done now, an action of it is given up or its place in the table is wrong, and
    /// one that another incarnation had in hand.
    fn is_to_be_taken(&self, id: TxId, tx: &Transaction) -> bool {
        let is_orphan = tx.rest.is_none() && tx.owner != self.owner && tx.version > 0;
        !tx.phase.is_over()
            && (is_orphan
                || tx.rest.is_some()
                    && (self.can_go_on(id, tx)
                        || self.is_misdated(tx)
                        || !self.too_old(id, tx).is_empty()))
    }

    /// Takes a transaction in hand, with the calls that can be made now authorised; or puts it to rest where nothing can
    /// be done. Its one write says both that and what led to it.
    fn place(&mut self, id: TxId, next: &mut Transaction) {
        let is_taken = next.rest.take().is_some() || next.owner != self.owner;
        next.owner = self.owner.clone();
        if is_taken {
            if broken("attempts_reset_on_take_over") {
                let states = next.actions.iter_mut().map(|action| &mut action.state);
                states.for_each(|state| state.retry_count = 0);
            }
            let actions = self.to_authorise(id, next);
            self.follow(next, &Event::Authorise { actions });
        }
        let actions = self.too_old(id, next);
        if !actions.is_empty() {
            self.follow(next, &Event::TooOld { actions });
        }
        if let Some(unreachable) = self.rests(id, next) {
            self.follow(next, &Event::Rest { unreachable });
        }
    }

    /// Applies an event that is no request, and therefore never refused.
    fn follow(&mut self, next: &mut Transaction, event: &Event) {
        if let Ok(step) = transition(next, event, &self.context()) {
            *next = step.next;
        }
    }

    /// Gives the fold's state out as a write; its effects wait until the write is durable.
    pub(super) fn write(&mut self, id: TxId, fold: Fold) {
        let mut next = fold.next;
        let waited_for = |entry: &Entry| {
            let waiting = [&entry.waiters, &fold.effects.waiters];
            waiting.iter().any(|them| them.is_any_satisfied(&next))
        };
        let urgent = fold.urgent
            || !fold.effects.requests.is_empty()
            || self.entries.get(&id).is_some_and(waited_for);
        let fence = fence(&next);
        let due_before = if next.version == 0 {
            Vec::new()
        } else {
            fold.due
        };
        self.place(id, &mut next);
        next.version += 1;
        let actions = next
            .actions
            .iter_mut()
            .enumerate()
            .filter(|(_, action)| action.live.dirty || action.state.version == 0)
            .map(|(place, action)| action_write(place, action, self.course.now().time))
            .collect();
        let head = Head {
            phase: next.phase.clone(),
            check_backs: next.check_backs,
            last_check_back: next.last_check_back.clone(),
            version: next.version,
            owner: next.owner.clone(),
            rest: next.rest.clone(),
            write_id: self.roll().cast_signed(),
        };
        let write = Write {
            id,
            fence,
            head,
            actions,
            due: due_change(&due_before, &next.due_rows()),
            operator: fold.operator,
            urgent,
        };
        self.outputs.push(Output::Write(Box::new(write)));
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.state = State::InHand {
                tx: next,
                writing: Some(fold.effects),
            };
        }
        self.count(id);
        self.weigh(id);
        #[cfg(feature = "mutations")]
        if broken("effects_released_before_write_held") {
            self.release_undurably(id);
        }
    }

    /// Continues after a write, by its result.
    pub(super) fn written(&mut self, id: TxId, result: WriteResult) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let State::InHand { tx, writing } = &mut entry.state else {
            return;
        };
        let Some(effects) = writing.take() else {
            return;
        };
        match result {
            WriteResult::Durable => {
                entry.recalled = false;
                if tx.rest.is_some() {
                    let now = self.course.now();
                    if is_misdated(tx, now) {
                        // The database's clock has jumped since: it is put down anew.
                        entry.jobs.push_front(Job::Event(Event::TimePassed));
                    }
                    self.loader.rested(&tx.due_rows(), &self.config, now);
                }
                entry.waiters.absorb(effects.waiters);
                for (caller, refusal) in effects.refusals {
                    self.refuse(caller, refusal);
                }
                self.notify(id);
                self.process(id);
            }
            WriteResult::Exists(other) if other != id => self.join_existing(id, other, effects),
            WriteResult::Moved | WriteResult::Exists(_) => self.reload(id, effects),
            WriteResult::Refused => self.refuse_content(id, effects),
            WriteResult::Lost => {
                *writing = Some(effects);
                self.refuse_all(id, &Refusal::OutcomeUnknown { id });
            }
            WriteResult::NotApplied => {
                let is_recalled = entry.recalled;
                self.refuse_unwritten(id, effects);
                if is_recalled {
                    self.reload(id, Effects::default());
                } else {
                    self.forget(id);
                }
            }
            WriteResult::Unanswered => {
                *writing = Some(Effects::default());
                for caller in effects.callers() {
                    self.refuse(caller, Refusal::OutcomeUnknown { id });
                }
                self.refuse_unwritten(id, Effects::default());
            }
        }
        self.count(id);
    }

    /// Refuses every caller of a transaction while the database takes no writes: these effects, and the requests behind
    /// them, changed nothing; of requests before them it is not known what becomes of them.
    pub(super) fn refuse_unwritten(&mut self, id: TxId, effects: Effects) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let mut before = mem::take(&mut entry.waiters);
        let mut unwritten = effects.callers();
        unwritten.extend(entry.jobs.take_callers());
        self.weigh(id);
        for caller in unwritten {
            self.refuse(caller, Refusal::StoreUnavailable);
        }
        for waiter in before.drain() {
            self.refuse(waiter.caller, Refusal::OutcomeUnknown { id });
        }
    }

    /// Loads a transaction again whose write changed nothing: the state in memory is dropped, and every request
    /// judged again by the row.
    fn reload(&mut self, id: TxId, effects: Effects) {
        self.close_calls(id);
        self.set_wake(id, None);
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.jobs.drop_events();
        for (caller, request) in effects.requests.into_iter().rev() {
            entry.jobs.push_front(Job::Request(caller, request));
        }
        entry.state = State::Loading;
        self.weigh(id);
        self.to_load.push_back(id);
    }

    /// Answers every caller of a begin with the transaction that has its business already.
    fn join_existing(&mut self, id: TxId, other: TxId, effects: Effects) {
        let queued = self
            .entries
            .get_mut(&id)
            .map(|entry| std::mem::take(&mut entry.jobs));
        self.forget(id);
        let requests = effects
            .requests
            .into_iter()
            .map(|(caller, request)| Job::Request(caller, request));
        let mut joining = Vec::new();
        for job in requests.chain(queued.into_iter().flatten()) {
            match job {
                Job::Joined(caller, wait) => joining.push((caller, wait)),
                Job::Request(caller, request) => match request.as_begin() {
                    Some((_, wait)) => joining.push((caller, wait)),
                    None => self.refuse(caller, Refusal::NotFound { id }),
                },
                Job::Event(_) => {}
            }
        }
        self.join(other, joining);
    }

    /// Refuses the requests of a write of which the database refuses a value. Without a request behind it the same write
    /// would come again at once: the row is passed over for a while.
    fn refuse_content(&mut self, id: TxId, effects: Effects) {
        let is_event = effects.requests.is_empty();
        for (caller, _) in effects.requests {
            self.refuse(caller, Refusal::Content { id });
        }
        if is_event {
            self.refuse_all(id, &Refusal::Content { id });
            self.pass_over(id, limits::ILLEGAL_PAUSE);
        } else {
            // Other jobs are judged by the row; without a row they are refused as not found.
            self.reload(id, Effects::default());
        }
    }
}

/// Returns the change from these rows of `tx_due` to those.
fn due_change(before: &[DueRow], after: &[DueRow]) -> DueChange {
    let missing_in = |rows: &[DueRow], row: &&DueRow| !rows.contains(row);
    DueChange {
        remove: before
            .iter()
            .filter(|row| missing_in(after, row))
            .cloned()
            .collect(),
        add: after
            .iter()
            .filter(|row| missing_in(before, row))
            .cloned()
            .collect(),
    }
}

fn fence(tx: &Transaction) -> Fence {
    #[cfg(feature = "mutations")]
    if broken("version_check_dropped") && tx.version > 0 {
        return Fence::Dropped;
    }
    if tx.version == 0 {
        Fence::Absent(tx.spec.clone())
    } else {
        Fence::Version(tx.version)
    }
}

fn action_write(place: usize, action: &mut Action, now: Timestamp) -> ActionWrite {
    let insert = (action.state.version == 0).then(|| NewAction {
        position: u32::try_from(place).unwrap_or(u32::MAX),
        spec: action.spec.clone(),
        create_time: now,
    });
    action.state.version += 1;
    action.live.dirty = false;
    ActionWrite {
        name: action.spec.name.clone(),
        insert,
        state: action.state.clone(),
    }
}
