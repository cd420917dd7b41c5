//! What to bring in from the table, and when.
//!
//! Memory is a cache of the table: every unfinished row says when somebody must look at it again, and
//! whoever does not hold it then loads it, the own ones too. Rows that wait for a participant are
//! loaded only while there is a way to it and room for its calls; when it can be reached again they
//! are due at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tercet_mutation::broken;

use crate::{
    engine::EngineConfig,
    gate::Gate,
    model::Name,
    time::Timestamp,
    write::{Due, DueQuery},
};

/// Participants whose waiting rows one poll asks for.
const PARTICIPANTS_A_POLL: usize = 16;

/// The pause between pages of a backlog, in which what the last page brought takes its places.
const PACE: Duration = Duration::from_millis(20);

/// Which questions to put to the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loader {
    poll_at: Timestamp,
    /// At the start, rows that an earlier incarnation had in hand are taken before their lease ends.
    until_at_start: Option<Timestamp>,
    /// Participants that can be reached again, and how far their rows have been gone through: once, so
    /// that a call that fails again waits as long as its back-off says.
    reachable_again: BTreeMap<Name, Option<Due>>,
    /// Questions that are not answered yet.
    asked: BTreeSet<Option<Name>>,
    /// Where the round of participants stands.
    last: Option<Name>,
}

impl Loader {
    /// A loader that starts now.
    pub fn new(config: &EngineConfig, now: Timestamp) -> Self {
        Self {
            poll_at: now,
            until_at_start: Some(now + config.lease),
            reachable_again: BTreeMap::new(),
            asked: BTreeSet::new(),
            last: None,
        }
    }

    /// When the next questions are due.
    pub fn next_wakeup(&self) -> Timestamp {
        self.poll_at
    }

    /// A participant can be reached again: what waits for it is due at once.
    pub fn reachable_again(&mut self, name: &Name, now: Timestamp) {
        self.reachable_again.insert(name.clone(), None);
        self.poll_at = now;
    }

    /// The questions of this poll, for at most `room` rows each.
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
        if self.asked.insert(None) {
            let until = self.until_at_start.map_or(now, |until| until.max(now));
            queries.push(DueQuery {
                waiting_for: None,
                until,
                after: None,
                limit: page,
            });
        }
        for name in self.round(gate) {
            let free = u32::try_from(gate.free(&name)).unwrap_or(u32::MAX);
            if free == 0 || !self.asked.insert(Some(name.clone())) {
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

    /// The next participants of the round.
    fn round(&mut self, gate: &Gate) -> Vec<Name> {
        let reachable: Vec<&Name> = gate.reachable().collect();
        let start = match &self.last {
            Some(last) => reachable.partition_point(|name| *name <= last),
            None => 0,
        };
        let names: Vec<Name> = reachable[start..]
            .iter()
            .chain(&reachable[..start])
            .take(PARTICIPANTS_A_POLL)
            .map(|name| (*name).clone())
            .collect();
        self.last = names.last().cloned();
        names
    }

    /// What came back, and how much of it was not held. Gives the question for the next page, where all
    /// of a full page was held already.
    pub fn answered(
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
        self.asked.remove(&query.waiting_for);
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

    /// A question could not be answered.
    pub fn failed(&mut self, query: &DueQuery) {
        self.asked.remove(&query.waiting_for);
    }
}
