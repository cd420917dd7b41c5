//! Many transactions: requests in; writes, calls and replies out.
//!
//! The engine owns plain state and does nothing by itself: events and the time come in as arguments, work to do
//! goes out as values. Calls and replies leave only once the write that they depend on is durable.

mod advance;
mod callers;
mod calls;
mod entry;
mod folding;
mod loading;
mod requests;
mod resting;
#[cfg(feature = "mutations")]
mod undurable;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

#[cfg(feature = "mutations")]
use tercet_mutation::broken;

use self::{
    callers::Waiters,
    calls::OpenCall,
    entry::{Entry, State},
};
use crate::{
    config::EngineConfig,
    context::Context,
    gate::Gate,
    id::{CallId, CallerId, TxId},
    limits,
    loader::{Loader, Room},
    model::Owner,
    port::{Input, Output},
    time::{Course, Moment, Now, earliest},
    transition::Event,
};

/// Many transactions.
#[derive(Clone, Debug, PartialEq)]
pub struct Engine {
    config: EngineConfig,
    owner: Owner,
    dice: u64,
    /// The present, for all that is waited for.
    now: Moment,
    /// The present by both clocks, and how they stood to each other before.
    course: Course,
    /// How far ahead the database's clock was read in microseconds, while that is not believed.
    clock_difference: i64,
    entries: BTreeMap<TxId, Entry>,
    gate: Gate,
    loader: Loader,
    open: BTreeMap<CallId, OpenCall>,
    last_call: u64,
    timers: BTreeSet<(Moment, Timer)>,
    /// Callers that wait for another transaction than the one in their request.
    joined: BTreeMap<CallerId, TxId>,
    /// Callers that wait for transactions that are not in memory.
    waits: BTreeMap<TxId, Waiters>,
    /// Transactions whose rows are passed over, and until when.
    passed_over: BTreeMap<TxId, Moment>,
    /// Transactions for which there may be room now.
    to_advance: BTreeSet<TxId>,
    to_load: VecDeque<TxId>,
    /// Transactions that are being read.
    loading: usize,
    /// Transactions from the table that are being read or written, or are about to be read.
    on_the_move: usize,
    /// The bytes of all transactions in memory, and those of one as it is loaded lately; about.
    weight: usize,
    loaded_weight: usize,
    outputs: Vec<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Tx(TxId),
    Call(CallId),
}

/// The sizes of everything that could grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Transactions in memory.
    pub transactions: usize,
    /// Those among them that come from the table and are being read or written, or are about to be read.
    pub on_the_move: usize,
    /// Calls under way.
    pub calls: usize,
    /// Calls that wait for a place or a way.
    pub calls_waiting: usize,
    /// Timers that are set.
    pub timers: usize,
    /// Bytes of transactions in memory, about.
    pub bytes: usize,
}

impl Engine {
    /// Makes an engine of this incarnation, with nothing in memory. `seed` is the source of its jitter.
    pub fn new(config: EngineConfig, owner: Owner, seed: u64, now: Now) -> Self {
        let gate = Gate::new(config.memory / limits::MEMORY_SHARES);
        let loader = Loader::new(&config, owner.clone(), now);
        Self {
            config,
            owner,
            dice: seed,
            now: now.moment,
            course: Course::new(now),
            clock_difference: 0,
            entries: BTreeMap::new(),
            gate,
            loader,
            open: BTreeMap::new(),
            last_call: 0,
            timers: BTreeSet::new(),
            joined: BTreeMap::new(),
            waits: BTreeMap::new(),
            passed_over: BTreeMap::new(),
            to_advance: BTreeSet::new(),
            to_load: VecDeque::new(),
            loading: 0,
            on_the_move: 0,
            weight: 0,
            loaded_weight: limits::LOAD_BYTES / 64,
            outputs: Vec::new(),
        }
    }

    /// Handles one input. A moment before an earlier one counts as that earlier one.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.follow_clocks(now);
        match input {
            Input::Request { caller, request } => self.request(caller, request),
            Input::CallerLeft { caller, id } => self.caller_left(caller, id),
            Input::Written(results) => {
                for (id, result) in results {
                    self.written(id, result);
                }
            }
            Input::Loaded(loaded) => {
                for (id, loaded) in loaded {
                    self.loaded(id, loaded);
                }
            }
            Input::Due(query, rows) => self.due(&query, &rows),
            Input::Queues(query, rows) => self.queues(&query, &rows),
            Input::ReadFailed(read) => self.read_failed(read),
            Input::Participant { name, reach } => {
                self.gate.set_reach(&name, reach);
                self.advance_stranded(&name);
                if self.gate.is_reachable(&name) {
                    self.reachable_again(&name);
                }
            }
            Input::Attached {
                stream,
                participant,
                concurrency,
                abilities,
            } => {
                self.gate
                    .attach(stream, &participant, concurrency, abilities);
                self.reachable_again(&participant);
            }
            Input::Draining(stream) => self.drain_stream(stream),
            Input::Detached(stream) => self.remove_stream(stream),
            Input::CallResult(result) => self.call_result(result),
            Input::CheckBackResult(result) => self.check_back_result(result),
            Input::DatabaseClock { difference } => self.clock_difference = difference,
            Input::StoodStill(by) => self.wait_longer(by),
            Input::Tick => {}
        }
        self.fire_timers();
        self.wake_participants();
        while let Some(id) = self.to_advance.pop_first() {
            self.advance(id);
        }
        let outages = self.gate.outages_changed().into_iter();
        let outages = outages.map(|(participant, outage)| Output::Outage(participant, outage));
        self.outputs.extend(outages);
    }

    /// Returns the outputs since the last call, in order, and queries for due rows if it is time.
    pub fn drain(&mut self) -> Vec<Output> {
        let room = self.room();
        let reads = self
            .loader
            .poll(&self.config, self.course.now(), &self.gate, room);
        self.outputs.extend(reads.into_iter().map(Output::Read));
        self.load_next();
        std::mem::take(&mut self.outputs)
    }

    /// Returns the number of transactions that may be loaded from the table.
    fn room(&self) -> Room {
        let in_memory = if self.weight < self.config.memory {
            self.config.capacity.saturating_sub(self.entries.len())
        } else {
            0
        };
        Room {
            in_memory,
            on_the_move: limits::TABLE_AT_ONCE.saturating_sub(self.on_the_move),
        }
    }

    /// Returns the moment at which the engine needs an [`Input::Tick`] at the latest.
    pub fn next_wakeup(&self) -> Option<Moment> {
        let timer = self.timers.first().map(|(at, _)| *at);
        let waits = earliest(timer, self.gate.next_wakeup());
        earliest(waits, self.loader.next_wakeup())
    }

    /// Returns the sizes of everything that could grow.
    pub fn stats(&self) -> Stats {
        Stats {
            transactions: self.entries.len(),
            on_the_move: self.on_the_move,
            calls: self.open.len(),
            calls_waiting: self.gate.waiting(),
            timers: self.timers.len(),
            bytes: self.weight,
        }
    }

    /// Returns the ways to the participants, for people to look at.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Follows the clocks. Where the database's went back, rows may stand in the table at times that are not to come soon.
    fn follow_clocks(&mut self, now: Now) {
        let jump = self.course.follow(now);
        self.now = self.course.now().moment;
        #[cfg(feature = "mutations")]
        if broken("timers_follow_the_database") {
            self.now = self.course.moment_with_jumps();
        }
        if jump < 0 {
            self.loader.recall(self.course.now());
        }
    }

    /// Fires every timer whose time has come.
    fn fire_timers(&mut self) {
        while let Some(&(at, timer)) = self.timers.first() {
            if at > self.now {
                return;
            }
            self.timers.pop_first();
            match timer {
                Timer::Tx(id) => self.wake(id),
                Timer::Call(call) => self.time_out_call(call),
            }
        }
    }

    /// Continues with a transaction whose timer has fired.
    fn wake(&mut self, id: TxId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.wake = None;
        if entry.state == State::Loading {
            self.to_load.push_back(id);
        } else {
            self.happened(id, Event::TimePassed);
        }
    }

    /// Sets the transaction's one timer.
    fn set_wake(&mut self, id: TxId, wake: Option<Moment>) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if entry.wake == wake {
            return;
        }
        if let Some(old) = entry.wake {
            self.timers.remove(&(old, Timer::Tx(id)));
        }
        entry.wake = wake;
        if let Some(at) = wake {
            self.timers.insert((at, Timer::Tx(id)));
        }
    }

    /// Weighs a transaction again, with the requests that wait for it.
    fn weigh(&mut self, id: TxId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let weight = match &entry.state {
            State::InHand { tx, writing } => {
                tx.weight() + writing.as_ref().map_or(0, |effects| effects.bytes)
            }
            State::Loading | State::Folding => 0,
        };
        let weight = weight + entry.jobs.bytes();
        self.weight = self.weight + weight - entry.weight;
        entry.weight = weight;
    }

    /// Counts a transaction whose state has changed among those on the move, or no longer.
    fn count(&mut self, id: TxId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            let counts = entry.is_on_the_move();
            self.on_the_move += usize::from(counts);
            self.on_the_move -= usize::from(entry.counted);
            entry.counted = counts;
        }
    }

    /// Adds a transaction to memory, with the callers that wait for it.
    fn add_entry(&mut self, id: TxId, mut entry: Entry) {
        if let Some(waiters) = self.waits.remove(&id) {
            entry.waiters.absorb(waiters);
        }
        self.entries.insert(id, entry);
        self.count(id);
    }

    /// Removes a transaction from memory; `tx_due` has the rows by which it is found. Its callers wait on.
    fn forget(&mut self, id: TxId) {
        self.set_wake(id, None);
        self.close_calls(id);
        let Some(entry) = self.entries.remove(&id) else {
            return;
        };
        self.weight -= entry.weight;
        self.on_the_move -= usize::from(entry.counted);
        for (participant, need) in &entry.aside {
            self.gate.forget_aside(participant, need, id);
        }
        if !entry.waiters.is_empty() {
            self.waits.insert(id, entry.waiters);
        }
    }

    fn context(&mut self) -> Context {
        Context {
            now: self.course.now().time,
            moment: self.now,
            dice: self.roll(),
            hold: self.hold(),
        }
    }

    /// Returns the next random number: `SplitMix64` (Steele, Lea, Flood 2014).
    fn roll(&mut self) -> u64 {
        self.dice = self.dice.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}
