//! Loads transactions from the table.

use std::time::Duration;

use super::{
    Engine,
    entry::{Effects, Entry, Job, State},
};
use crate::{
    gate::Origin,
    id::TxId,
    limits,
    loader::is_page_of_a_walk,
    model::DueRow,
    port::{Loaded, Output, Read, Request},
    refusal::Refusal,
    row::IllegalRow,
    transition::Event,
    write::{Due, DueQuery, QueuesQuery},
};

impl Engine {
    /// Takes in a page of due rows: those that are not in memory are read, as far as there is room.
    pub(super) fn due(&mut self, query: &DueQuery, rows: &[Due]) {
        let mut room = self.config.capacity.saturating_sub(self.entries.len());
        let is_recall = is_page_of_a_walk(query);
        for row in rows {
            if let Some(entry) = self.entries.get_mut(&row.id) {
                entry.recalled |= is_recall;
                continue;
            }
            if room == 0 || self.is_passed_over(row.id) && !is_recall {
                continue;
            }
            let mut entry = Entry::new(State::Loading, Origin::Table, self.now);
            entry.recalled = is_recall;
            self.add_entry(row.id, entry);
            self.to_load.push_back(row.id);
            room -= 1;
        }
        self.loader
            .found(&self.config, self.course.now(), &self.gate, query, rows);
    }

    /// Takes in the queues of the table that have rows.
    pub(super) fn queues(&mut self, query: &QueuesQuery, rows: &[DueRow]) {
        self.loader
            .found_queues(&self.config, self.course.now(), &self.gate, query, rows);
    }

    /// Passes over the row of a transaction until some time has passed.
    pub(super) fn pass_over(&mut self, id: TxId, pause: Duration) {
        if self.passed_over.len() >= limits::ROWS_PASSED_OVER {
            self.passed_over.pop_first();
        }
        self.passed_over.insert(id, self.now + pause);
    }

    fn is_passed_over(&mut self, id: TxId) -> bool {
        match self.passed_over.get(&id) {
            Some(until) if *until > self.now => true,
            Some(_) => {
                self.passed_over.remove(&id);
                false
            }
            None => false,
        }
    }

    /// Reads the next transactions, as many as are not too heavy together by the weight of those before.
    pub(super) fn load_next(&mut self) {
        let at_once =
            (limits::LOAD_BYTES / self.loaded_weight.max(1)).clamp(1, limits::LOAD_TRANSACTIONS);
        let number = at_once.saturating_sub(self.loading).min(self.to_load.len());
        if number > 0 {
            self.loading += number;
            let ids = self.to_load.drain(..number).collect();
            self.outputs.push(Output::Read(Read::Transactions(ids)));
        }
    }

    /// Takes in the result of a read.
    pub(super) fn loaded(&mut self, id: TxId, loaded: Loaded) {
        self.loading = self.loading.saturating_sub(1);
        if let Loaded::Found(tx) = &loaded {
            // A moving average that follows heavy ones at once and light ones slowly.
            let weight = tx.weight();
            self.loaded_weight = weight.max(self.loaded_weight - self.loaded_weight / 64);
        }
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if entry.state != State::Loading {
            return;
        }
        match loaded {
            Loaded::Found(mut tx) => {
                tx.resume(&self.course);
                let rests = tx.rest.is_some();
                entry.state = State::InHand { tx, writing: None };
                entry.jobs.push_front(Job::Event(Event::TimePassed));
                self.count(id);
                self.weigh(id);
                self.process(id);
                if rests && !self.entries.contains_key(&id) {
                    self.pass_over(id, limits::IDLE_PAUSE);
                }
            }
            Loaded::Absent => self.found_absent(id),
            Loaded::Illegal(illegal) => self.found_illegal(id, illegal),
        }
    }

    /// Continues where there is no row: a begin begins if its id may, and the requests behind it follow; every other
    /// request is refused, a begin of what its participants do not serve with their names.
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
                        let is_ahead = id.time() > Some(self.course.now().time);
                        self.refuse(caller, Refusal::TxIdExpired { id, is_ahead });
                    }
                }
                Job::Request(caller, request) if self.entries.contains_key(&id) => {
                    self.request(caller, request);
                }
                Job::Request(caller, Request::OnlyRepeated(asked, refusal))
                    if asked.as_begin().is_some() =>
                {
                    self.refuse(caller, refusal);
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
        self.pass_over(id, limits::ILLEGAL_PAUSE);
        self.outputs.push(Output::Illegal(illegal));
    }

    /// Repeats a failed read a little later. Callers do not wait for it.
    pub(super) fn read_failed(&mut self, read: Read) {
        self.loader.failed(&self.config, self.course.now(), &read);
        if let Read::Transactions(ids) = read {
            self.loading = self.loading.saturating_sub(ids.len());
            let again = self.now + self.config.poll;
            for id in ids {
                let entry = self.entries.get(&id);
                if entry.is_some_and(|entry| entry.state == State::Loading) {
                    self.refuse_unwritten(id, Effects::default());
                }
                self.set_wake(id, Some(again));
            }
        }
    }
}
