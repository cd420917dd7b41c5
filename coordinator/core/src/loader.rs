//! Queries for the rows of the table that are to be loaded, and their times.
//!
//! Memory is a cache of the table: every unfinished row has the time of its next step, and from then on an
//! incarnation that does not have it in memory loads it, a row of its own too. Rows that wait for a participant are
//! loaded only while there is a way to it and room for its calls; when it can be reached again they are due at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tercet_mutation::broken;

use crate::{
    config::EngineConfig,
    gate::Gate,
    model::Name,
    time::Timestamp,
    write::{Due, DueQuery},
};

/// Participants whose waiting rows one poll queries.
const PARTICIPANTS_PER_POLL: usize = 16;

/// The pause between pages of a backlog, in which the calls of the last page take their places.
const PACE: Duration = Duration::from_millis(20);

/// The queries for due rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loader {
    poll_at: Timestamp,
    /// At the start, rows that an earlier incarnation had in hand are loaded before their lease ends.
    until_at_start: Option<Timestamp>,
    /// Participants that can be reached again, each with the last of its rows that was loaded because of that. The
    /// rows are gone through once, so that a call that fails again waits for the whole of its back-off.
    reachable_again: BTreeMap<Name, Option<Due>>,
    /// Queries without a result so far, by the participant that their rows wait for.
    under_way: BTreeSet<Option<Name>>,
    /// The participant at which the last round ended.
    last: Option<Name>,
}

impl Loader {
    /// Makes a loader that starts now.
    pub fn new(config: &EngineConfig, now: Timestamp) -> Self {
        Self {
            poll_at: now,
            until_at_start: Some(now + config.lease),
            reachable_again: BTreeMap::new(),
            under_way: BTreeSet::new(),
            last: None,
        }
    }

    /// Returns the time of the next poll.
    pub fn next_wakeup(&self) -> Timestamp {
        self.poll_at
    }

    /// Makes the rows that wait for a participant due at once: it can be reached again.
    pub fn reachable_again(&mut self, name: &Name, now: Timestamp) {
        self.reachable_again.insert(name.clone(), None);
        self.poll_at = now;
    }

    /// Returns the queries of this poll, for at most `room` rows each.
    pub fn poll(
        &mut self,
        config: &EngineConfig,
        now: Timestamp,
        gate: &Gate,
        room: usize,
    ) -> Vec<DueQuery> {
        if now < self.poll_at {
            return Vec::new();
        }
        self.poll_at = now + config.poll;
        if room == 0 {
            return Vec::new();
        }
        if broken("own_orphan_never_reloaded") && self.until_at_start.is_none() {
            return Vec::new();
        }
        let page = config.page.min(u32::try_from(room).unwrap_or(u32::MAX));
        let mut queries = Vec::new();
        if self.under_way.insert(None) {
            let until = self.until_at_start.map_or(now, |until| until.max(now));
            queries.push(DueQuery {
                waiting_for: None,
                until,
                after: None,
                limit: page,
            });
        }
        for name in self.round(gate) {
            let free = u32::try_from(gate.free_places(&name)).unwrap_or(u32::MAX);
            if free == 0 || !self.under_way.insert(Some(name.clone())) {
                continue;
            }
            let (until, after) = match self.reachable_again.get(&name) {
                Some(after) => (Timestamp::MAX, *after),
                None => (now, None),
            };
            queries.push(DueQuery {
                waiting_for: Some(name),
                until,
                after,
                limit: page.min(free),
            });
        }
        queries
    }

    /// Returns the next participants of the round.
    fn round(&mut self, gate: &Gate) -> Vec<Name> {
        let reachable: Vec<&Name> = gate.reachable().collect();
        let start = match &self.last {
            Some(last) => reachable.partition_point(|name| *name <= last),
            None => 0,
        };
        let names: Vec<Name> = reachable[start..]
            .iter()
            .chain(&reachable[..start])
            .take(PARTICIPANTS_PER_POLL)
            .map(|name| (*name).clone())
            .collect();
        self.last = names.last().cloned();
        names
    }

    /// Takes in the rows that a query found, `new` of which were not in memory. Returns the query for the next page
    /// where a full page had none of these.
    pub fn found(
        &mut self,
        now: Timestamp,
        query: &DueQuery,
        rows: &[Due],
        new: usize,
    ) -> Option<DueQuery> {
        let full = rows.len() >= query.limit as usize;
        if full && new == 0 {
            return Some(DueQuery {
                after: rows.last().copied(),
                ..query.clone()
            });
        }
        self.under_way.remove(&query.waiting_for);
        let again = query
            .waiting_for
            .as_ref()
            .filter(|_| query.until == Timestamp::MAX);
        if full {
            self.poll_at = self.poll_at.min(now + PACE);
            if let Some(after) = again.and_then(|name| self.reachable_again.get_mut(name)) {
                *after = rows.last().copied();
            }
            return None;
        }
        match (&query.waiting_for, again) {
            (None, _) => self.until_at_start = None,
            (_, Some(name)) => _ = self.reachable_again.remove(name),
            (Some(_), None) => {}
        }
        None
    }

    /// Takes in that a query failed: the next poll repeats it.
    pub fn query_failed(&mut self, query: &DueQuery) {
        self.under_way.remove(&query.waiting_for);
    }
}
