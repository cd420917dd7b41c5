//! Transactions that come in from the table.

use super::{
    Engine, ILLEGAL_REMEMBERED, Loaded, Output,
    entry::{Entry, Job, State},
};
use crate::{
    engine::Request,
    id::TxId,
    refusal::Refusal,
    row::IllegalRow,
    time::Timestamp,
    transition::Event,
    write::{Due, DueQuery},
};

impl Engine {
    /// Rows that are due: those that are not held are read.
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
        if let Some(query) = self.loader.answered(self.now, query, rows, new) {
            self.outputs.push(Output::Due(query));
        }
    }

    /// What a read found.
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
                entry.state = State::Held { tx, writing: None };
                entry
                    .jobs
                    .push_front(Job::Event(Event::Resumed { reachable_again }));
                self.process(id);
            }
            Loaded::Absent => self.absent(id),
            Loaded::Illegal(illegal) => self.found_illegal(id, illegal),
        }
    }

    /// There is no row: a begin may still come.
    fn absent(&mut self, id: TxId) {
        let jobs = self
            .entries
            .get_mut(&id)
            .map(|entry| std::mem::take(&mut entry.jobs));
        self.refuse_all(id, &Refusal::NotFound { id });
        for job in jobs.into_iter().flatten() {
            match job {
                Job::Event(_) => {}
                // Only a begin that may not begin was loaded first.
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

    /// A read failed: it is repeated a little later.
    pub(super) fn read_failed(&mut self, ids: Vec<TxId>, query: Option<&DueQuery>) {
        if let Some(query) = query {
            self.loader.failed(query);
        }
        let again = self.now + self.config.poll;
        for id in ids {
            self.set_wake(id, Some(again));
        }
    }

    /// Writes down what is known only in memory, before the transaction is let go of.
    pub(super) fn write_down(&mut self, id: TxId) {
        let Some(tx) = self.entries.get(&id).and_then(Entry::durable).cloned() else {
            return;
        };
        self.write(id, super::folding::Fold::to_write_down(Box::new(tx)));
    }
}
