//! Queries for the rows of the table that are to be loaded, and their times.
//!
//! Memory is a cache of the table: each unfinished transaction that no incarnation has in hand stands in the queues of
//! `tx_due` that can take it further. The loader looks which queues there are, and takes pages of those for which there
//! is a way and room: the participants that came back first, then in the order of time. What cannot go on stays where it
//! is, and costs nothing.

mod recall;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use tercet_mutation::broken;

pub(crate) use self::recall::is_page_of_a_walk;
use self::recall::{Recall, is_queues_of_a_walk};
use crate::{
    config::EngineConfig,
    gate::Gate,
    limits,
    model::{DueRow, Name, Owner, Queue},
    port::Read,
    time::{Moment, Now, Timestamp, earliest},
    write::{Due, DueQuery, QueuesQuery},
};

/// The queries for due rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loader {
    owner: Owner,
    /// Queues with rows that can go on, with the time of their next page.
    ready: BTreeMap<Queue, Ready>,
    times: BTreeSet<(Moment, Queue)>,
    /// Queues without room for their rows, by participant.
    blocked: BTreeMap<Name, BTreeSet<Queue>>,
    /// Participants that came back, each with the queue after which to look: theirs are looked up first.
    returned: VecDeque<(Name, Option<Queue>)>,
    under_way: BTreeSet<Read>,
    /// When the table is looked at next, from which queue on, and since when.
    look_at: Moment,
    /// No page is read before this time: memory was full.
    pages_not_before: Moment,
    look_after: Option<Queue>,
    looking_since: Moment,
    /// When one's own rows in hand are gone through next, and from which row on.
    sweep_at: Moment,
    sweep_after: Option<Due>,
    /// The walk through rows that stand in the future, until it is done.
    recall: Option<Recall>,
}

/// The number of transactions that may be loaded from the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// By the bounds of memory.
    pub in_memory: usize,
    /// By [`limits::TABLE_AT_ONCE`].
    pub on_the_move: usize,
}

/// The next page of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ready {
    at: Moment,
    after: Option<Due>,
}

impl Loader {
    /// Makes a loader that starts now.
    pub fn new(config: &EngineConfig, owner: Owner, now: Now) -> Self {
        Self {
            owner,
            ready: BTreeMap::new(),
            times: BTreeSet::new(),
            blocked: BTreeMap::new(),
            returned: VecDeque::new(),
            under_way: BTreeSet::new(),
            look_at: now.moment,
            pages_not_before: now.moment,
            look_after: None,
            looking_since: now.moment,
            sweep_at: now.moment + config.lease,
            sweep_after: None,
            recall: Recall::at_start(now),
        }
    }

    /// Returns the time of the next query; `None` while as many are under way as may be.
    pub fn next_wakeup(&self) -> Option<Moment> {
        if self.under_way.len() >= limits::TABLE_QUERIES {
            return None;
        }
        let returned = (!self.returned.is_empty()).then_some(Moment::default());
        let page = self.times.first();
        let page = page.map(|(at, _)| (*at).max(self.pages_not_before));
        let look = (!self.is_looking()).then_some(self.look_at);
        let sweeps = !self.is_sweeping() && !broken("own_orphan_never_reloaded");
        let sweep = sweeps.then_some(self.sweep_at);
        let recall = self.recall.as_ref().and_then(Recall::next_wakeup);
        let others = earliest(sweep, recall);
        earliest(earliest(returned, page), earliest(look, others))
    }

    /// Makes the queues of a participant the first to be looked up: it can be reached again.
    pub fn returned(&mut self, name: &Name) {
        if !self.returned.iter().any(|(other, _)| other == name) {
            self.returned.push_back((name.clone(), None));
        }
    }

    /// Makes the queues of a participant due for which there was no room: a place has come free.
    pub fn place_freed(&mut self, name: &str, config: &EngineConfig, gate: &Gate, now: Now) {
        let Some(queues) = self.blocked.remove(name) else {
            return;
        };
        let pause = pause(config, gate, name);
        for queue in queues {
            if let Some(ready) = self.ready.get_mut(&queue) {
                ready.at = now.moment + pause;
                self.times.insert((ready.at, queue));
            }
        }
    }

    /// Takes in that a transaction was put to rest in these queues.
    pub fn rested(&mut self, rows: &[DueRow], config: &EngineConfig, now: Now) {
        for row in rows {
            self.learn(row, now.time + config.poll * 2, now);
        }
    }

    /// Returns the queries for which it is time, for rows of which there is `room`.
    pub fn poll(&mut self, config: &EngineConfig, now: Now, gate: &Gate, room: Room) -> Vec<Read> {
        let mut reads = Vec::new();
        while self.under_way.len() < limits::TABLE_QUERIES
            && let Some((name, after)) = self.returned.pop_front()
        {
            let read = Read::Queues(QueuesQuery {
                of: Some(name),
                after,
                limit: limits::QUEUES_PER_QUERY,
            });
            self.start(read, &mut reads);
        }
        let mut free = room.in_memory.min(room.on_the_move);
        free = free.saturating_sub(self.rows_asked_for());
        if room.in_memory == 0 {
            self.pages_not_before = now.moment + config.poll;
        } else if free == 0 {
            self.pages_not_before = now.moment + limits::PAGE_PAUSE;
        } else if now.moment >= self.pages_not_before {
            free = self.next_pages(config, now, gate, free, &mut reads);
        }
        if now.moment >= self.look_at
            && !self.is_looking()
            && self.under_way.len() < limits::TABLE_QUERIES
        {
            self.looking_since = now.moment;
            let read = Read::Queues(QueuesQuery {
                of: None,
                after: self.look_after.clone(),
                limit: limits::QUEUES_PER_QUERY,
            });
            self.start(read, &mut reads);
        }
        let sweeps = now.moment >= self.sweep_at
            && !self.is_sweeping()
            && self.under_way.len() < limits::TABLE_QUERIES;
        if sweeps && !broken("own_orphan_never_reloaded") {
            let read = Read::Due(self.sweep());
            self.start(read, &mut reads);
        }
        self.recall_next(config, now, free, &mut reads);
        reads
    }

    fn start(&mut self, read: Read, reads: &mut Vec<Read>) {
        if self.under_way.insert(read.clone()) {
            reads.push(read);
        }
    }

    /// Returns the number of rows that the pages under way may bring.
    fn rows_asked_for(&self) -> usize {
        let limits = self.under_way.iter().filter_map(|read| match read {
            Read::Due(query) if !self.is_own(&query.queue) => Some(query.limit as usize),
            _ => None,
        });
        limits.sum()
    }

    /// Adds the pages for which it is time, with at most `free` rows together; returns the number of rows that is left.
    fn next_pages(
        &mut self,
        config: &EngineConfig,
        now: Now,
        gate: &Gate,
        mut free: usize,
        reads: &mut Vec<Read>,
    ) -> usize {
        while free > 0
            && self.under_way.len() < limits::TABLE_QUERIES
            && let Some((at, queue)) = self.times.first().cloned()
            && at <= now.moment
        {
            self.times.pop_first();
            let Some(page) = self.ready.get(&queue).copied() else {
                continue;
            };
            let mut limit = free.min(config.page as usize);
            if let Queue::Wait {
                participant, need, ..
            } = &queue
            {
                if !gate.has_way(participant, need.as_ref()) {
                    // Looked up again when there is one.
                    self.ready.remove(&queue);
                    continue;
                }
                if !broken("restart_loads_beyond_window") {
                    limit = limit.min(gate.room_for_table(participant, need.as_ref()));
                }
                if limit == 0 {
                    let blocked = self.blocked.entry(participant.clone()).or_default();
                    blocked.insert(queue);
                    continue;
                }
            }
            self.ready.remove(&queue);
            let read = Read::Due(DueQuery {
                queue,
                until: now.time,
                after: page.after,
                limit: u32::try_from(limit).unwrap_or(config.page),
            });
            free -= limit;
            self.start(read, reads);
        }
        free
    }

    fn is_looking(&self) -> bool {
        self.under_way
            .iter()
            .any(|read| matches!(read, Read::Queues(query) if query.of.is_none() && !is_queues_of_a_walk(query)))
    }

    /// Returns the next page of the walk through one's own rows in hand.
    fn sweep(&self) -> DueQuery {
        DueQuery {
            queue: Queue::Hand(self.owner.clone()),
            until: Timestamp::default(),
            after: self.sweep_after,
            limit: limits::SWEEP_ROWS,
        }
    }

    fn is_own(&self, queue: &Queue) -> bool {
        matches!(queue, Queue::Hand(owner) if *owner == self.owner)
    }

    fn is_sweeping(&self) -> bool {
        self.under_way
            .iter()
            .any(|read| matches!(read, Read::Due(query) if self.is_own(&query.queue)))
    }

    /// Takes in the queues that a look found, each with its first row.
    pub fn found_queues(
        &mut self,
        config: &EngineConfig,
        now: Now,
        gate: &Gate,
        query: &QueuesQuery,
        rows: &[DueRow],
    ) {
        self.under_way.remove(&Read::Queues(query.clone()));
        if self.recalled_queues(query, rows, now.moment) {
            return;
        }
        for row in rows {
            let goes_on = match &row.queue {
                // The store admits one process at a time: every other incarnation is over.
                Queue::Hand(owner) => *owner != self.owner,
                Queue::Wait {
                    participant, need, ..
                } => {
                    if gate.room_for_table(participant, need.as_ref()) > 0 {
                        self.place_freed(participant, config, gate, now);
                    }
                    gate.has_way(participant, need.as_ref())
                }
                Queue::Time => true,
                Queue::Parked => false,
            };
            if goes_on {
                self.learn(row, now.time + config.poll * 2, now);
            }
        }
        let last = rows
            .last()
            .filter(|_| rows.len() >= query.limit as usize)
            .map(|row| row.queue.clone());
        match (&query.of, last) {
            (Some(_), None) => {}
            (Some(name), last) => self.returned.push_back((name.clone(), last)),
            (None, last) => {
                let pause = if last.is_some() {
                    limits::PAGE_PAUSE
                } else {
                    config.poll
                };
                let took = now.moment.since(self.looking_since);
                let share = took
                    .saturating_mul(limits::LOOK_SHARES)
                    .min(limits::LOOK_PAUSE_MAX);
                self.look_at = now.moment + pause.max(share);
                self.look_after = last;
            }
        }
    }

    /// Remembers a queue whose first row is due by `horizon`.
    fn learn(&mut self, row: &DueRow, horizon: Timestamp, now: Now) {
        let is_known = self.ready.contains_key(&row.queue);
        let is_full = self.ready.len() >= limits::QUEUES_REMEMBERED && !is_known;
        let is_read = self
            .under_way
            .iter()
            .any(|read| matches!(read, Read::Due(query) if query.queue == row.queue && !is_page_of_a_walk(query)));
        if row.at > horizon || is_full || is_read || self.is_own(&row.queue) {
            return;
        }
        let at = now.moment_of(row.at).max(now.moment);
        match self.ready.get_mut(&row.queue) {
            Some(ready) if ready.at <= at => {}
            Some(ready) => {
                if self.times.remove(&(ready.at, row.queue.clone())) {
                    ready.at = at;
                    self.times.insert((at, row.queue.clone()));
                }
            }
            None => {
                self.ready
                    .insert(row.queue.clone(), Ready { at, after: None });
                self.times.insert((at, row.queue.clone()));
            }
        }
    }

    /// Takes in a page of rows.
    pub fn found(
        &mut self,
        config: &EngineConfig,
        now: Now,
        gate: &Gate,
        query: &DueQuery,
        rows: &[Due],
    ) {
        self.under_way.remove(&Read::Due(query.clone()));
        let is_full = rows.len() >= query.limit as usize;
        let last = rows.last().copied().filter(|_| is_full);
        if self.recalled(query, rows, now.moment) {
            return;
        }
        if self.is_own(&query.queue) {
            self.sweep_after = last;
            self.sweep_at = now.moment
                + if is_full {
                    limits::PAGE_PAUSE
                } else {
                    config.lease
                };
            return;
        }
        if last.is_none() {
            return;
        }
        let pause = match &query.queue {
            Queue::Wait { participant, .. } => pause(config, gate, participant),
            _ => limits::PAGE_PAUSE,
        };
        let at = now.moment + pause;
        if let Some(old) = self
            .ready
            .insert(query.queue.clone(), Ready { at, after: last })
        {
            self.times.remove(&(old.at, query.queue.clone()));
        }
        self.times.insert((at, query.queue.clone()));
    }

    /// Takes in that a query failed: it is repeated after a pause.
    pub fn failed(&mut self, config: &EngineConfig, now: Now, read: &Read) {
        self.under_way.remove(read);
        if self.recall_failed(read, now.moment + config.poll) {
            return;
        }
        let later = now.moment + config.poll;
        match read {
            Read::Due(query) if self.is_own(&query.queue) => self.sweep_at = later,
            Read::Due(query) => {
                let row = DueRow {
                    queue: query.queue.clone(),
                    at: now.time_of(later),
                };
                self.learn(&row, row.at, now);
            }
            // The next look finds the queues of every participant.
            Read::Queues(_) => self.look_at = later,
            Read::Transactions(_) => {}
        }
    }
}

/// Returns the pause before a participant's next page: longer where its calls are not answered, so that the retries of
/// many transactions are gathered.
fn pause(config: &EngineConfig, gate: &Gate, participant: &str) -> Duration {
    if gate.is_failing(participant) {
        config.poll
    } else {
        limits::PAGE_PAUSE
    }
}
