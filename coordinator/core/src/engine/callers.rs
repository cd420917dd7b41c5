//! The callers that wait for a transaction and the jobs that wait to be folded, found by their caller without a walk.
//!
//! Many callers may join one transaction by begins of its business under other ids, up to
//! [`CALLERS_JOINED`](crate::limits::CALLERS_JOINED): each that joins and each that leaves costs a search.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    mem,
};

use super::entry::{Job, Waiter};
use crate::{
    id::CallerId,
    model::Transaction,
    port::{Request, Wait},
};

/// Callers that are answered once the durable transaction satisfies them, by what they wait for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Waiters {
    /// For each kind of wait its callers, and whether the request of each is a repetition.
    of: [BTreeMap<CallerId, bool>; WAITS.len()],
}

/// Every kind of wait, at the place that its callers have.
const WAITS: [Wait; 3] = [Wait::Accepted, Wait::Decided, Wait::Completed];

impl Waiters {
    pub(super) fn len(&self) -> usize {
        self.of.iter().map(BTreeMap::len).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.of.iter().all(BTreeMap::is_empty)
    }

    pub(super) fn push(&mut self, waiter: Waiter) {
        let Waiter {
            caller,
            until,
            repeated,
        } = waiter;
        looked_at(1);
        self.of[place_of(until)].insert(caller, repeated);
    }

    /// Removes a caller that left.
    pub(super) fn remove(&mut self, caller: CallerId) {
        for callers in &mut self.of {
            looked_at(1);
            callers.remove(&caller);
        }
    }

    /// Adds all callers of others.
    pub(super) fn absorb(&mut self, mut others: Self) {
        if self.len() < others.len() {
            mem::swap(self, &mut others);
        }
        others.drain().for_each(|waiter| self.push(waiter));
    }

    /// Returns whether the state satisfies any caller.
    pub(super) fn is_any_satisfied(&self, tx: &Transaction) -> bool {
        let mut all = WAITS.iter().zip(&self.of);
        all.any(|(until, callers)| !callers.is_empty() && is_satisfied(*until, tx))
    }

    /// Takes out the callers that the state satisfies.
    pub(super) fn take_satisfied(&mut self, tx: &Transaction) -> Vec<Waiter> {
        let mut satisfied = Vec::new();
        for (until, callers) in WAITS.iter().zip(&mut self.of) {
            if !callers.is_empty() && is_satisfied(*until, tx) {
                satisfied.extend(taken(*until, callers));
            }
        }
        looked_at(satisfied.len());
        satisfied
    }

    /// Takes out every caller.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Waiter> {
        let all = WAITS.iter().zip(&mut self.of);
        all.flat_map(|(until, callers)| taken(*until, callers))
    }
}

fn taken(until: Wait, callers: &mut BTreeMap<CallerId, bool>) -> impl Iterator<Item = Waiter> {
    let callers = mem::take(callers).into_iter();
    callers.map(move |(caller, repeated)| Waiter {
        caller,
        until,
        repeated,
    })
}

fn place_of(until: Wait) -> usize {
    match until {
        Wait::Accepted => 0,
        Wait::Decided => 1,
        Wait::Completed => 2,
    }
}

/// Returns whether the durable state satisfies a caller that waits for this.
fn is_satisfied(until: Wait, tx: &Transaction) -> bool {
    match until {
        Wait::Accepted => true,
        Wait::Decided => tx.phase.decision().is_some(),
        Wait::Completed => tx.phase.is_over(),
    }
}

/// Events and requests that are not folded yet, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Jobs {
    queue: BTreeMap<i64, Job>,
    /// The places of the jobs of callers.
    of_callers: BTreeMap<CallerId, i64>,
    /// The places of requests. Other than those who join, they are bounded.
    requests: BTreeSet<i64>,
    /// The bytes of requests, about.
    bytes: usize,
}

impl Jobs {
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Returns the bytes of all requests, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push_back(&mut self, job: Job) {
        let last = self.queue.last_key_value();
        let place = last.map_or(0, |(last, _)| last + 1);
        self.put(place, job);
    }

    pub(super) fn push_front(&mut self, job: Job) {
        let first = self.queue.first_key_value();
        let place = first.map_or(0, |(first, _)| first - 1);
        self.put(place, job);
    }

    fn put(&mut self, place: i64, job: Job) {
        looked_at(1);
        if let Some(caller) = job.caller() {
            self.of_callers.insert(caller, place);
        }
        if let Job::Request(_, request) = &job {
            self.requests.insert(place);
            self.bytes += request.weight();
        }
        self.queue.insert(place, job);
    }

    pub(super) fn pop_front(&mut self) -> Option<Job> {
        let place = *self.queue.first_key_value()?.0;
        self.remove(place)
    }

    fn remove(&mut self, place: i64) -> Option<Job> {
        let job = self.queue.remove(&place)?;
        looked_at(1);
        if let Some(caller) = job.caller() {
            self.of_callers.remove(&caller);
        }
        if let Job::Request(_, request) = &job {
            self.requests.remove(&place);
            self.bytes -= request.weight();
        }
        Some(job)
    }

    /// Removes the job of a caller that left, if nothing is lost with it. `loading`: the rows are being read.
    pub(super) fn remove_idle(&mut self, caller: CallerId, loading: bool) {
        let Some(&place) = self.of_callers.get(&caller) else {
            return;
        };
        let (looked, is_idle) = match &self.queue[&place] {
            // While it is read whether there is a row, this may yet begin it.
            Job::Request(_, Request::Begin(..)) if !loading => (1, true),
            Job::Joined(..) | Job::Request(_, Request::OnlyRepeated(..)) => (1, true),
            Job::Request(_, request) => {
                let others = self.requests.iter().filter(|other| **other != place);
                let mut others = others.map(|other| &self.queue[other]);
                let again =
                    others.any(|job| matches!(job, Job::Request(_, same) if same == request));
                (self.requests.len(), again)
            }
            Job::Event(_) => (1, false),
        };
        looked_at(looked);
        if is_idle {
            self.remove(place);
        }
    }

    /// Removes every event.
    pub(super) fn drop_events(&mut self) {
        self.queue.retain(|_, job| !matches!(job, Job::Event(_)));
    }

    /// Takes out the callers of every job but the events, which stay.
    pub(super) fn take_callers(&mut self) -> Vec<CallerId> {
        let callers = self.queue.values().filter_map(Job::caller).collect();
        self.queue.retain(|_, job| matches!(job, Job::Event(_)));
        self.of_callers.clear();
        self.requests.clear();
        self.bytes = 0;
        callers
    }
}

/// Counts callers and jobs that were looked at, in this file's tests alone.
#[cfg(not(test))]
fn looked_at(_number: usize) {}

#[cfg(test)]
use tests::looked_at;

impl IntoIterator for Jobs {
    type Item = Job;
    type IntoIter = btree_map::IntoValues<i64, Job>;

    fn into_iter(self) -> Self::IntoIter {
        self.queue.into_values()
    }
}

impl Job {
    fn caller(&self) -> Option<CallerId> {
        match self {
            Self::Request(caller, _) | Self::Joined(caller, _) => Some(*caller),
            Self::Event(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{cell::Cell, sync::Arc};

    use uuid::Uuid;

    use crate::{
        config::EngineConfig,
        engine::Engine,
        id::{CallerId, TxId},
        limits,
        model::{Decider, Ext, Owner},
        port::{Input, NewTransaction, Output, Request, Wait},
        refusal::Refusal,
        time::{Moment, Now, Timestamp},
        write::WriteResult,
    };

    thread_local! {
        static LOOKED_AT: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn looked_at(number: usize) {
        LOOKED_AT.set(LOOKED_AT.get() + number);
    }

    const MICROS: i64 = 1_800_000_000_000_000;

    fn now() -> Now {
        Now {
            moment: Moment::from_micros(0),
            time: Timestamp::from_micros(MICROS),
        }
    }

    fn id(number: u64) -> TxId {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&(MICROS / 1_000).to_be_bytes()[2..]);
        bytes[6] = 0x70;
        bytes[8..].copy_from_slice(&number.to_be_bytes());
        bytes[8] = 0x80;
        TxId(Uuid::from_bytes(bytes))
    }

    /// Makes the begin of one unique business.
    fn begin(number: u64, wait: Wait) -> Input {
        let new = NewTransaction {
            id: id(number),
            business_type: "order".into(),
            business_id: "7".into(),
            unique_business: true,
            decider: Decider::Initiator,
            timeout: None,
            check_back: None,
            ext: Ext::new(),
            actions: Vec::new(),
        };
        Input::Request {
            caller: CallerId(number),
            request: Request::Begin(Arc::new(new), wait),
        }
    }

    fn handle(engine: &mut Engine, input: Input) -> Vec<Output> {
        engine.handle(now(), input);
        engine.drain()
    }

    fn written(engine: &mut Engine, number: u64, result: WriteResult) -> Vec<Output> {
        handle(engine, Input::Written(vec![(id(number), result)]))
    }

    /// Makes an engine with one transaction of a unique business.
    fn engine(config: EngineConfig) -> Engine {
        let owner = Owner {
            node: "n1".into(),
            epoch: 1,
        };
        let mut engine = Engine::new(config, owner, 7, now());
        handle(&mut engine, begin(1, Wait::Accepted));
        written(&mut engine, 1, WriteResult::Durable);
        engine
    }

    /// Begins the same business under another id; returns the refusal, if the caller does not wait.
    fn join(engine: &mut Engine, number: u64) -> Option<Refusal> {
        handle(engine, begin(number, Wait::Completed));
        let outputs = written(engine, number, WriteResult::Exists(id(1)));
        outputs.into_iter().find_map(|output| match output {
            Output::Reply(caller, reply) => {
                assert_eq!(caller, CallerId(number));
                Some(reply.unwrap_err())
            }
            _ => None,
        })
    }

    fn leave(engine: &mut Engine, number: u64) {
        let left = Input::CallerLeft {
            caller: CallerId(number),
            id: id(number),
        };
        handle(engine, left);
    }

    /// Joins callers until one is refused, and returns how many were not; then lets one go, and another one join.
    fn joined_at_most(config: EngineConfig) -> u64 {
        let mut engine = engine(config);
        let mut number = 2;
        let refusal = loop {
            assert!(number < 20_000, "as many join as want to");
            match join(&mut engine, number) {
                None => number += 1,
                Some(refusal) => break refusal,
            }
        };
        assert_eq!(refusal, Refusal::Overloaded);
        leave(&mut engine, 2);
        assert_eq!(join(&mut engine, number + 1), None);
        assert_eq!(join(&mut engine, number + 2), Some(Refusal::Overloaded));
        number - 2
    }

    #[test]
    fn callers_that_join_are_bounded_for_one_transaction_and_in_all() {
        let most = u64::try_from(limits::CALLERS_JOINED).unwrap();
        assert_eq!(joined_at_most(EngineConfig::default()), most);
        let few = EngineConfig {
            capacity: 100,
            ..EngineConfig::default()
        };
        assert_eq!(joined_at_most(few), 100);
    }

    /// Joins so many callers to one transaction, and lets all of them leave; returns the steps.
    fn join_and_leave(callers: u64) -> usize {
        let mut engine = engine(EngineConfig::default());
        let before = LOOKED_AT.get();
        let numbers = 2..callers + 2;
        for number in numbers.clone() {
            assert_eq!(join(&mut engine, number), None, "it waits");
        }
        for number in numbers {
            leave(&mut engine, number);
        }
        assert!(engine.entries[&id(1)].waiters.is_empty());
        LOOKED_AT.get() - before
    }

    #[test]
    fn a_caller_that_joins_or_leaves_is_found_without_a_walk_through_the_others() {
        let (few, many) = (join_and_leave(4_000), join_and_leave(16_000));
        assert!(few > 0, "nothing is counted");
        assert!(
            many <= 4 * few,
            "{few} steps, and {many} for four times the callers"
        );
    }
}
