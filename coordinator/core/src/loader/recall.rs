//! The walk through rows that stand in the future.
//!
//! A row that was written while the database's clock was ahead stands at a time that will not come soon. The rows of the
//! table cannot say which these are, but their transactions can: so after the clock went back, each row that stands
//! in the future is loaded once. The same at the start, for the clock may have been wrong before it; there, rows that can
//! be late by no more than [`limits::MISDATED_AFTER`] are left.

use std::collections::VecDeque;

use tercet_mutation::broken;
use uuid::Uuid;

use super::Loader;
use crate::{
    config::EngineConfig,
    id::TxId,
    limits,
    model::{DueRow, Queue},
    port::Read,
    time::{Moment, Now, Timestamp},
    write::{Due, DueQuery, QueuesQuery},
};

/// A walk through the rows that stand behind a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recall {
    behind: Timestamp,
    /// The next read, unless one is under way.
    next_at: Option<Moment>,
    /// Queues whose rows are to be read, the first of them from this row on.
    queues: VecDeque<Queue>,
    after: Option<Due>,
    /// The queue after which there may be others; `None` at the first.
    last_queue: Option<Queue>,
    has_all_queues: bool,
    /// Whether a read of the walk before this one is under way, which may have missed what was written since.
    awaits_older: bool,
}

impl Recall {
    /// Makes the walk of a start.
    pub(super) fn at_start(now: Now) -> Option<Self> {
        let walks = !broken("rows_of_a_wrong_clock_left");
        walks.then(|| Self::new(now.time + limits::MISDATED_AFTER, now.moment))
    }

    fn new(behind: Timestamp, now: Moment) -> Self {
        Self {
            behind,
            next_at: Some(now),
            queues: VecDeque::new(),
            after: None,
            last_queue: None,
            has_all_queues: false,
            awaits_older: false,
        }
    }

    /// Takes in the answer to a read of the walk before this one, if it is that: it only starts this walk.
    fn took_older(&mut self, now: Moment) -> bool {
        let is_older = std::mem::take(&mut self.awaits_older);
        if is_older {
            self.next_at = Some(now);
        }
        is_older
    }

    /// Returns the moment of the next read; `None` while one is under way.
    pub(super) fn next_wakeup(&self) -> Option<Moment> {
        self.next_at
    }

    /// Returns the next read, of at most `limit` rows.
    fn read(&self, limit: u32) -> Read {
        match self.queues.front() {
            Some(queue) => Read::Due(DueQuery {
                queue: queue.clone(),
                until: Timestamp::MAX,
                after: self.after.or(Some(Due {
                    at: self.behind,
                    id: TxId(Uuid::nil()),
                })),
                limit,
            }),
            None => Read::Queues(QueuesQuery {
                of: None,
                after: self.last_queue.clone(),
                limit: limits::RECALL_QUEUES,
            }),
        }
    }

    /// Takes in the queues that there are.
    fn found_queues(&mut self, query: &QueuesQuery, rows: &[DueRow], now: Moment) {
        if query.after != self.last_queue || !self.queues.is_empty() {
            // Of a walk before this one.
            return;
        }
        let walked = |row: &&DueRow| matches!(row.queue, Queue::Time | Queue::Wait { .. });
        let queues = rows.iter().filter(walked).map(|row| row.queue.clone());
        self.queues = queues.collect();
        self.last_queue = rows.last().map(|row| row.queue.clone());
        self.has_all_queues = rows.len() < query.limit as usize;
        self.next_at = Some(now);
    }

    /// Takes in a page of a queue, with its last row if it is full.
    fn found(&mut self, query: &DueQuery, last: Option<Due>, is_empty: bool, now: Moment) {
        if self.queues.front() != Some(&query.queue) {
            return;
        }
        self.after = last;
        if last.is_none() {
            self.queues.pop_front();
        }
        self.next_at = Some(if is_empty {
            now
        } else {
            now + limits::PAGE_PAUSE
        });
    }
}

impl Loader {
    /// Starts the walk through the rows that stand in the future: the database's clock went back.
    pub fn recall(&mut self, now: Now) {
        if broken("rows_of_a_wrong_clock_left") {
            return;
        }
        let under_way = self.under_way.iter().any(is_of_a_walk);
        let mut recall = Recall::new(now.time, now.moment);
        if under_way {
            // Its answer starts this one.
            recall.next_at = None;
            recall.awaits_older = true;
        }
        self.recall = Some(recall);
    }

    /// Adds the walk's next read, if it is time.
    pub(super) fn recall_next(
        &mut self,
        config: &EngineConfig,
        now: Now,
        room: usize,
        reads: &mut Vec<Read>,
    ) {
        let Some(recall) = &mut self.recall else {
            return;
        };
        if recall.next_at.is_none_or(|at| at > now.moment)
            || self.under_way.len() >= limits::TABLE_QUERIES
        {
            return;
        }
        if room == 0 {
            recall.next_at = Some(now.moment + config.poll);
            return;
        }
        let limit = limits::RECALL_ROWS.min(config.page);
        let read = recall.read(limit.min(u32::try_from(room).unwrap_or(u32::MAX)));
        recall.next_at = None;
        self.start(read, reads);
    }

    /// Takes in queues, if they are the walk's.
    pub(super) fn recalled_queues(
        &mut self,
        query: &QueuesQuery,
        rows: &[DueRow],
        now: Moment,
    ) -> bool {
        let is_own = is_queues_of_a_walk(query);
        if let Some(recall) = self.recall.as_mut().filter(|_| is_own) {
            if !recall.took_older(now) {
                recall.found_queues(query, rows, now);
            }
            self.go_on(now);
        }
        is_own
    }

    /// Takes in a page of rows, if it is the walk's.
    pub(super) fn recalled(&mut self, query: &DueQuery, rows: &[Due], now: Moment) -> bool {
        let is_own = is_page_of_a_walk(query);
        if let Some(recall) = self.recall.as_mut().filter(|_| is_own) {
            if !recall.took_older(now) {
                let is_full = rows.len() >= query.limit as usize;
                let last = rows.last().copied().filter(|_| is_full);
                recall.found(query, last, rows.is_empty(), now);
            }
            self.go_on(now);
        }
        is_own
    }

    /// Takes in that a read of the walk failed; returns whether it was one.
    pub(super) fn recall_failed(&mut self, read: &Read, later: Moment) -> bool {
        let is_own = is_of_a_walk(read);
        if let Some(recall) = self.recall.as_mut().filter(|_| is_own) {
            recall.awaits_older = false;
            recall.next_at = Some(later);
        }
        is_own
    }

    /// Goes on with the walk after an answer, or ends it.
    fn go_on(&mut self, now: Moment) {
        if let Some(recall) = &mut self.recall {
            recall.next_at.get_or_insert(now);
            if recall.queues.is_empty() && recall.has_all_queues {
                self.recall = None;
            }
        }
    }
}

/// Returns whether a read is one of a walk: of all rows of a queue, however far in the future.
pub(crate) fn is_page_of_a_walk(query: &DueQuery) -> bool {
    query.until == Timestamp::MAX
}

/// Returns whether a read of queues is one of a walk.
pub(super) fn is_queues_of_a_walk(query: &QueuesQuery) -> bool {
    query.of.is_none() && query.limit == limits::RECALL_QUEUES
}

fn is_of_a_walk(read: &Read) -> bool {
    match read {
        Read::Due(query) => is_page_of_a_walk(query),
        Read::Queues(query) => is_queues_of_a_walk(query),
        Read::Transactions(_) => false,
    }
}
