//! What happened to a transaction since its last write becomes its next one.

#[cfg(feature = "mutations")]
use tercet_mutation::broken;

use super::{
    Engine, Output, Settled,
    entry::{Entry, Job, State, Waiter, Writing},
};
use crate::{
    id::TxId,
    model::{Action, Transaction},
    refusal::Refusal,
    transition::{Event, transition},
    write::{ActionInsert, ActionRow, ActionWrite, Fence, Head, OperatorEntry, Write},
};

/// Events folded into one step.
pub(super) struct Fold {
    pub next: Box<Transaction>,
    pub write: bool,
    pub urgent: bool,
    pub operator: Option<OperatorEntry>,
    pub effects: Writing,
}

impl Fold {
    /// The state as it is, to be written.
    pub(super) fn to_write_down(next: Box<Transaction>) -> Self {
        Self {
            write: true,
            ..Self::from(next)
        }
    }

    fn from(next: Box<Transaction>) -> Self {
        Self {
            next,
            write: false,
            urgent: false,
            operator: None,
            effects: Writing::default(),
        }
    }
}

impl Engine {
    /// Something happened to a transaction.
    pub(super) fn happened(&mut self, id: TxId, event: Event) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.jobs.push_back(Job::Event(event));
            self.process(id);
        }
    }

    /// Judges what waits, unless a write is under way; then goes on.
    pub(super) fn process(&mut self, id: TxId) {
        self.resting.remove(&id);
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
            let State::Held { tx, .. } = std::mem::replace(&mut entry.state, State::Folding) else {
                break;
            };
            let fold = self.fold(id, Fold::from(tx));
            self.take(id, fold);
        }
        #[cfg(feature = "mutations")]
        if broken("confirm_before_decision_durable") {
            self.advance_undurably(id);
        }
    }

    fn fold(&mut self, id: TxId, mut fold: Fold) -> Fold {
        while let Some(job) = self
            .entries
            .get_mut(&id)
            .and_then(|entry| entry.jobs.pop_front())
        {
            match job {
                // An event is never refused: what it is too late for it leaves as it is.
                Job::Event(event) => drop(self.apply(&mut fold, &event)),
                Job::Request(caller, request) => self.judge(&mut fold, caller, request),
                // Waits for the row whoever writes it: whether this fold's write holds is nothing to it.
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
            // One row of operator_log goes with one write.
            if fold.operator.is_some() {
                break;
            }
        }
        // A transaction is taken over by a write before anything is done for it.
        if !fold.next.phase.is_settled() && fold.next.owner != self.owner {
            fold.write = true;
        }
        fold
    }

    /// Applies an event to a fold; whether the request behind it was a repetition.
    pub(super) fn apply(&mut self, fold: &mut Fold, event: &Event) -> Result<bool, Refusal> {
        let cx = self.context();
        let step = transition(&fold.next, event, &cx)?;
        *fold.next = step.next;
        fold.write |= step.write;
        fold.urgent |= step.urgent;
        fold.operator = fold.operator.take().or(step.operator);
        Ok(step.repeated)
    }

    fn take(&mut self, id: TxId, fold: Fold) {
        if fold.write {
            self.write(id, fold);
            return;
        }
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.state = State::Held {
            tx: fold.next,
            writing: None,
        };
        entry.waiters.extend(fold.effects.waiters);
        for (caller, refusal) in fold.effects.refusals {
            self.refuse(caller, refusal);
        }
    }

    /// Gives the fold's state out as a write; its effects wait until that has held.
    pub(super) fn write(&mut self, id: TxId, fold: Fold) {
        let cx = self.context();
        let mut next = fold.next;
        let waited_for = |entry: &Entry| {
            entry
                .waiters
                .iter()
                .chain(&fold.effects.waiters)
                .any(|w| w.is_satisfied(&next))
        };
        let urgent = fold.urgent || self.entries.get(&id).is_some_and(waited_for);
        let fence = fence(&next);
        next.version += 1;
        next.owner = self.owner.clone();
        (next.next_attempt_at, next.waiting_for) = next.due(&cx);
        let actions = next
            .actions
            .iter_mut()
            .enumerate()
            .filter(|(_, action)| action.live.dirty || action.version == 0)
            .map(|(place, action)| action_write(place, action, cx.now))
            .collect();
        let head = Head {
            phase: next.phase.clone(),
            check_backs: next.check_backs,
            version: next.version,
            owner: next.owner.clone(),
            waiting_for: next.waiting_for.clone(),
            next_attempt_at: next.next_attempt_at,
        };
        let write = Write {
            id,
            fence,
            head,
            actions,
            operator: fold.operator,
            urgent,
        };
        self.outputs.push(Output::Write(Box::new(write)));
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.state = State::Held {
                tx: next,
                writing: Some(fold.effects),
            };
        }
        #[cfg(feature = "mutations")]
        if broken("effects_released_before_write_held") {
            self.release_undurably(id);
        }
    }

    /// What became of a write.
    pub(super) fn settled(&mut self, id: TxId, settled: Settled) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let State::Held { writing, .. } = &mut entry.state else {
            return;
        };
        let Some(effects) = writing.take() else {
            return;
        };
        match settled {
            Settled::Held => {
                entry.waiters.extend(effects.waiters);
                for (caller, refusal) in effects.refusals {
                    self.refuse(caller, refusal);
                }
                self.notify(id);
                self.process(id);
            }
            Settled::Exists(other) if other != id => self.business_exists(id, other, effects),
            Settled::Moved | Settled::Exists(_) => self.moved(id, effects),
            Settled::Refused => self.refused(id, &effects),
            Settled::Lost => {
                *writing = Some(effects);
                self.refuse_all(id, &Refusal::OutcomeUnknown { id });
            }
        }
    }

    /// Somebody else wrote the row: what is known of it is forgotten, and every request judged again.
    fn moved(&mut self, id: TxId, effects: Writing) {
        self.close_calls(id);
        self.set_wake(id, None);
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.jobs.retain(|job| !matches!(job, Job::Event(_)));
        for (caller, request) in effects.requests.into_iter().rev() {
            entry.jobs.push_front(Job::Request(caller, request));
        }
        entry.state = State::Loading {
            reachable_again: None,
        };
        self.to_load.push(id);
    }

    /// The business of a begin has a transaction already: everybody is answered with that one.
    fn business_exists(&mut self, id: TxId, other: TxId, effects: Writing) {
        let queued = self
            .entries
            .get_mut(&id)
            .map(|entry| std::mem::take(&mut entry.jobs));
        self.forget(id);
        let requests = effects
            .requests
            .into_iter()
            .map(|(caller, request)| Job::Request(caller, request));
        for job in requests.chain(queued.into_iter().flatten()) {
            match job {
                Job::Request(caller, super::Request::Begin(_, wait))
                | Job::Joined(caller, wait) => {
                    self.join(other, caller, wait);
                }
                Job::Request(caller, _) => self.refuse(caller, Refusal::NotFound { id }),
                Job::Event(_) => {}
            }
        }
    }

    /// The database refuses a value of the write.
    fn refused(&mut self, id: TxId, effects: &Writing) {
        for (caller, _) in &effects.requests {
            self.refuse(*caller, Refusal::Content { id });
        }
        // Whatever else waits is judged by the row; without one it is not found.
        self.moved(id, Writing::default());
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

fn action_write(place: usize, action: &mut Action, now: crate::time::Timestamp) -> ActionWrite {
    let insert = (action.version == 0).then(|| ActionInsert {
        position: u32::try_from(place).unwrap_or(u32::MAX),
        spec: action.spec.clone(),
        create_time: now,
    });
    action.version += 1;
    action.live.dirty = false;
    ActionWrite {
        name: action.spec.name.clone(),
        insert,
        row: ActionRow {
            status: action.status,
            result: action.result.clone(),
            retry_count: action.retry_count,
            last_error: action.last_error.clone(),
            attempts: action.attempts.clone(),
            version: action.version,
            finished_at: action.finished_at,
        },
    }
}
