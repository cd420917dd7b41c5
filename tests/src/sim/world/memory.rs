//! What a coordinator holds in memory, and whose turn it is: checked after each step of a world.

use tercet_core::{
    id::TxId,
    model::{Name, Queue},
    port::{Reach, Read},
};

use super::World;
use crate::sim::process::Waiter;

/// Calls in a row that may be of one origin: the turn of a transaction whose write is under way goes to the next of its
/// origin, and there may be none.
const IN_A_ROW: u32 = 6;

const MEMORY: &str = "I9 memory is bounded by configuration";

impl World {
    /// Checks that a page of due rows is no longer than there is room for, and notes what such a page brings into memory.
    pub(super) fn check_read(&mut self, read: &Read) {
        let Some(process) = &mut self.process else {
            return;
        };
        let query = match read {
            Read::Transactions(ids) => {
                let listed = ids.iter().filter(|id| process.listed.remove(*id));
                process.from_table.extend(listed);
                return;
            }
            Read::Due(query) => query,
            Read::Queues(_) => return,
        };
        let Queue::Wait { participant, .. } = &query.queue else {
            return;
        };
        let service = self.places.get(participant).copied().unwrap_or(0);
        let places = self.plan.services[service].concurrency;
        let window = process.window(service, places);
        let widest = process.widest.get(&service).copied().unwrap_or(0);
        let places = widest.max(places);
        if query.limit as usize > window + places as usize {
            let (limit, name) = (query.limit, participant);
            let what = format!("a page of {limit} rows for {name}, with {places} places");
            self.judge.record(MEMORY, None, what);
        }
    }

    /// Checks that calls of transactions that requests brought and of those from the table take turns.
    pub(super) fn takes_a_turn(&mut self, participant: &Name, tx: TxId) {
        let Some(process) = &mut self.process else {
            return;
        };
        let service = self.places.get(participant).copied().unwrap_or(0);
        let waiting = process.engine.gate().load(participant).from_table;
        let (in_a_row, before) = process.in_a_row.entry(participant.clone()).or_default();
        let had_a_turn = waiting < *before || process.from_table.contains(&tx);
        *before = waiting;
        // Those that began to wait by the same input may have done so after this call had left.
        let waited = process.waited.get(participant).copied().unwrap_or(0);
        if had_a_turn || waiting.min(waited) == 0 {
            *in_a_row = 0;
            return;
        }
        *in_a_row += 1;
        let plan = &self.plan.services[service];
        // An instance may be free that has not the handler for which others wait.
        let all_alike = plan.instances.windows(2).all(|pair| pair[0] == pair[1]);
        if all_alike && *in_a_row > IN_A_ROW {
            let what = format!(
                "{in_a_row} calls in a row left to {participant} while {waiting} waited that come from the table"
            );
            self.judge.record(
                "I11 what is new does not starve what is old",
                Some(tx),
                what,
            );
        }
    }

    /// Notes how many calls from the table wait for each participant.
    fn note_waiting(&mut self) {
        if let Some(process) = &mut self.process {
            let loads = process.engine.gate().loads();
            let waiting = loads.map(|(name, load)| (Name::clone(name), load.from_table));
            process.waited = waiting.collect();
        }
    }

    /// Checks that no more calls wait in memory for a participant than its windows hold.
    fn check_windows(&mut self) {
        let Some(process) = &self.process else { return };
        for (service, plan) in self.plan.services.iter().enumerate() {
            let longest = process.engine.gate().load(&plan.name).longest;
            let window = process.window(service, plan.concurrency);
            if longest > window {
                let name = &plan.name;
                let what = format!(
                    "{longest} calls wait for a handler of {name}, its windows hold {window}"
                );
                self.judge.record(MEMORY, None, what);
                return;
            }
        }
    }

    pub(super) fn check_memory(&mut self) {
        self.check_windows();
        self.note_waiting();
        self.check_outbox();
        let Some(process) = &self.process else { return };
        let stats = process.engine.stats();
        let held = stats.transactions;
        if stats.on_the_move > held {
            let what = format!(
                "{} of {held} transactions are on the move",
                stats.on_the_move
            );
            self.judge.record(MEMORY, None, what);
        }
        // A part is kept beside it for requests of transactions that have been begun.
        let allowed = self.config.capacity + self.config.capacity.div_ceil(8);
        if held > allowed {
            let what = format!("{held} transactions in memory, {allowed} are allowed");
            self.judge.record(MEMORY, None, what);
        }
    }

    /// Finds state that is left in memory although everything is over, or a caller that still waits.
    pub(super) fn leftover(&self) -> Option<(&'static str, Option<TxId>, String)> {
        let process = self.process.as_ref()?;
        let stats = process.engine.stats();
        let waits_in_vain = |waiter: &&Waiter| !self.waits_for_an_absent_one(waiter);
        if let Some(waiter) = process.callers.values().find(waits_in_vain) {
            let what = format!("{:?} is not answered", waiter.kind);
            return Some(("I7 every caller is answered", Some(waiter.tx), what));
        }
        // One that is called at an address is called again and again.
        let services = self.plan.services.iter().zip(&self.services);
        let is_called = services
            .filter(|(_, state)| state.reach != Reach::Attach)
            .any(|(plan, _)| plan.away.is_some_and(|away| away.until.is_none()));
        if is_called {
            return None;
        }
        if stats.transactions
            + stats.on_the_move
            + stats.calls
            + stats.calls_waiting
            + process.lane.len()
            > 0
        {
            return Some((
                MEMORY,
                None,
                format!("everything is over, {stats:?} are left"),
            ));
        }
        let places = |name| process.engine.gate().load(name).open;
        let taken = self
            .plan
            .services
            .iter()
            .find(|service| places(&service.name) > 0)?;
        let what = format!("everything is over, a place of {} is taken", taken.name);
        Some((MEMORY, None, what))
    }

    /// Returns whether a caller waits for a transaction that rests for the sake of participants that are gone for good.
    fn waits_for_an_absent_one(&self, waiter: &Waiter) -> bool {
        let tables = &self.database.tables;
        let business = || {
            let client = self.clients.iter().find(|it| it.plan.id() == waiter.tx)?;
            let new = &client.plan.new;
            tables.holder(&new.business_type, &new.business_id)
        };
        let held = tables.row(waiter.tx).map(|_| waiter.tx).or_else(business);
        held.and_then(|id| tables.row(id))
            .is_some_and(|row| !row.head.phase.is_over())
    }
}
