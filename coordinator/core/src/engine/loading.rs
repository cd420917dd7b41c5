//! Loads transactions from the table.

use super::{
    Engine, ILLEGAL_REMEMBERED,
    entry::{Effects, Entry, Job, State},
};
use crate::{
    id::TxId,
    port::{Loaded, Output, Request},
    refusal::Refusal,
    row::IllegalRow,
    time::Timestamp,
    transition::Event,
    write::{Due, DueQuery},
};

impl Engine {
    /// Takes in due rows: those that are not in memory are read, as far as there is room.
    pub(super) fn due(&mut self, query: &DueQuery, rows: &[Due]) {
        let mut room = self.config.capacity.saturating_sub(self.entries.len());
        let mut new = 0;
        for row in rows {
            if room == 0 || self.entries.contains_key(&row.id) || self.illegal.contains(&row.id) {
                continue;
            }
            let reachable_again = query
                .waiting_for
                .clone()
                .filter(|_| query.until == Timestamp::MAX);
            self.entries
                .insert(row.id, Entry::new(State::Loading { reachable_again }));
            self.to_load.push(row.id);
            room -= 1;
            new += 1;
        }
        if let Some(query) = self.loader.found(self.now, query, rows, new) {
            self.outputs.push(Output::Due(query));
        }
    }

    /// Takes in the result of a read.
    pub(super) fn loaded(&mut self, id: TxId, loaded: Loaded) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let State::Loading { reachable_again } = &mut entry.state else {
            return;
        };
        let reachable_again = reachable_again.take();
        match loaded {
            Loaded::Found(tx) => {
                entry.state = State::InHand { tx, writing: None };
                entry
                    .jobs
                    .push_front(Job::Event(Event::Resumed { reachable_again }));
                self.process(id);
            }
            Loaded::Absent => self.found_absent(id),
            Loaded::Illegal(illegal) => self.found_illegal(id, illegal),
        }
    }

    /// Continues where there is no row: a begin begins if its id may, and the requests behind it follow; every other
    /// request is refused.
    fn found_absent(&mut self, id: TxId) {
        let jobs = self
            .entries
            .get_mut(&id)
            .map(|entry| std::mem::take(&mut entry.jobs));
        self.refuse_all(id, &Refusal::NotFound { id });
        for job in jobs.into_iter().flatten() {
            match job {
                Job::Event(_) => {}
                Job::Request(caller, Request::Begin(new, wait)) => {
                    if self.may_begin(id) {
                        self.request(caller, Request::Begin(new, wait));
                    } else {
                        self.refuse(caller, Refusal::TxIdExpired { id });
                    }
                }
                Job::Request(caller, request) if self.entries.contains_key(&id) => {
                    self.request(caller, request);
                }
                Job::Request(caller, _) | Job::Joined(caller, _) => {
                    self.refuse(caller, Refusal::NotFound { id });
                }
            }
        }
    }

    /// Refuses every caller of a transaction whose rows are not legal, and remembers it.
    fn found_illegal(&mut self, id: TxId, illegal: IllegalRow) {
        self.refuse_all(
            id,
            &Refusal::Corrupt {
                what: illegal.to_string(),
            },
        );
        if self.illegal.len() >= ILLEGAL_REMEMBERED {
            self.illegal.pop_first();
        }
        self.illegal.insert(id);
        self.outputs.push(Output::Illegal(illegal));
    }

    /// Repeats a failed read a little later. Callers do not wait for it.
    pub(super) fn read_failed(&mut self, ids: Vec<TxId>, query: Option<&DueQuery>) {
        if let Some(query) = query {
            self.loader.query_failed(query);
        }
        let again = self.now + self.config.poll;
        for id in ids {
            let entry = self.entries.get(&id);
            if entry.is_some_and(|entry| matches!(entry.state, State::Loading { .. })) {
                self.refuse_unwritten(id, Effects::default());
            }
            self.set_wake(id, Some(again));
        }
    }

    /// Writes the changes that are only in memory, before the transaction leaves it.
    pub(super) fn write_down(&mut self, id: TxId) {
        let Some(tx) = self.entries.get(&id).and_then(Entry::durable).cloned() else {
            return;
        };
        self.write(id, super::folding::Fold::to_write_down(Box::new(tx)));
    }
}
