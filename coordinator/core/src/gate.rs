//! Limits and fairness per participant: admits calls, each on one way.
//!
//! A participant is reached on the streams that it attached, each with its own limit, or at a registered address
//! with one. Calls of one participant leave in the order of their tickets, and never delay those of another.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    id::{StreamId, TxId},
    model::Name,
    port::{Reach, Route},
};

/// The claim to a place: for a call of this action, or for a question to the transaction's initiator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    /// The transaction.
    pub tx: TxId,
    /// The action's place; `None`: a question to the initiator.
    pub action: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Stream {
    limit: u32,
    open: u32,
    draining: bool,
}

/// The ways to one participant, and the tickets that wait for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ways {
    /// The limit of calls at once to its registered address, where it is called at one.
    direct: Option<u32>,
    direct_open: u32,
    streams: BTreeMap<StreamId, Stream>,
    queue: VecDeque<Ticket>,
    queued: BTreeSet<Ticket>,
    /// Transactions that required a call while there was no way.
    waiting: BTreeSet<TxId>,
}

/// The load of one participant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Calls under way.
    pub open: u32,
    /// Calls that wait for a place.
    pub waiting: usize,
}

/// The admission of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Now, on this way; the place is taken.
    Now(Route),
    /// When its turn comes: [`Gate::admit_next`] returns its ticket.
    Queued,
    /// There is no way to the participant from here.
    Unreachable,
}

/// The ways to every participant, one per engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    ways: BTreeMap<Name, Ways>,
    streams: BTreeMap<StreamId, Name>,
}

impl Gate {
    /// Sets the way on which a participant is reached.
    pub fn set_reach(&mut self, name: &Name, reach: Reach) {
        let ways = self.ways.entry(name.clone()).or_default();
        ways.direct = match reach {
            Reach::Attach => None,
            Reach::Direct { concurrency } => Some(concurrency),
        };
    }

    /// Adds a stream of a participant.
    pub fn attach(&mut self, stream: StreamId, name: &Name, limit: u32) {
        self.streams.insert(stream, name.clone());
        let ways = self.ways.entry(name.clone()).or_default();
        ways.streams.insert(
            stream,
            Stream {
                limit,
                open: 0,
                draining: false,
            },
        );
    }

    /// Sends no new calls on a stream.
    pub fn drain(&mut self, id: StreamId) {
        if let Some(stream) = self.stream(id) {
            stream.draining = true;
        }
    }

    /// Removes a stream; returns its participant.
    pub fn detach(&mut self, id: StreamId) -> Option<Name> {
        let name = self.streams.remove(&id)?;
        if let Some(ways) = self.ways.get_mut(&name) {
            ways.streams.remove(&id);
        }
        Some(name)
    }

    fn stream(&mut self, id: StreamId) -> Option<&mut Stream> {
        let name = self.streams.get(&id)?;
        self.ways.get_mut(name)?.streams.get_mut(&id)
    }

    /// Returns whether there is a way to the participant from here.
    pub fn is_reachable(&self, name: &str) -> bool {
        self.ways.get(name).is_some_and(Ways::is_reachable)
    }

    /// Returns whether the participant is called at a registered address rather than on streams.
    pub fn is_direct(&self, name: &str) -> bool {
        self.ways
            .get(name)
            .is_some_and(|ways| ways.direct.is_some())
    }

    /// Returns the number of free places for a participant's calls, beyond those of the queue.
    pub fn free_places(&self, name: &str) -> usize {
        self.ways.get(name).map_or(0, |ways| {
            (ways.free_places() as usize).saturating_sub(ways.queue.len())
        })
    }

    /// Returns the participants that can be reached.
    pub fn reachable(&self) -> impl Iterator<Item = &Name> {
        self.ways
            .iter()
            .filter(|(_, ways)| ways.is_reachable())
            .map(|(name, _)| name)
    }

    /// Takes a place for a ticket, or queues it. A ticket that is queued already stays where it is.
    pub fn admit(&mut self, name: &Name, ticket: Ticket) -> Admission {
        let ways = self.ways.entry(name.clone()).or_default();
        if !ways.is_reachable() {
            ways.waiting.insert(ticket.tx);
            return Admission::Unreachable;
        }
        if ways.queue.is_empty()
            && let Some(route) = ways.take_place()
        {
            return Admission::Now(route);
        }
        if ways.queued.insert(ticket) {
            ways.queue.push_back(ticket);
        }
        Admission::Queued
    }

    /// Takes a free place for the next queued ticket of a participant; `None` without a place or a ticket.
    pub fn admit_next(&mut self, name: &str) -> Option<(Ticket, Route)> {
        let ways = self.ways.get_mut(name)?;
        while let Some(ticket) = ways.queue.front().copied() {
            // Withdrawn: it keeps its place in the queue until it comes up.
            if !ways.queued.contains(&ticket) {
                ways.queue.pop_front();
                continue;
            }
            let route = ways.take_place()?;
            ways.queue.pop_front();
            ways.queued.remove(&ticket);
            return Some((ticket, route));
        }
        None
    }

    /// Withdraws a ticket whose call is no longer required.
    pub fn withdraw(&mut self, name: &str, ticket: Ticket) {
        if let Some(ways) = self.ways.get_mut(name) {
            ways.queued.remove(&ticket);
            ways.waiting.remove(&ticket.tx);
        }
    }

    /// Frees the place of a call that has ended.
    pub fn release(&mut self, name: &str, route: Route) {
        match route {
            Route::Stream(id) => {
                if let Some(stream) = self.stream(id) {
                    stream.open = stream.open.saturating_sub(1);
                }
            }
            Route::Direct => {
                if let Some(ways) = self.ways.get_mut(name) {
                    ways.direct_open = ways.direct_open.saturating_sub(1);
                }
            }
        }
    }

    /// Takes the transactions that required a call while there was no way to the participant.
    pub fn take_waiting(&mut self, name: &str) -> BTreeSet<TxId> {
        self.ways
            .get_mut(name)
            .map(|ways| std::mem::take(&mut ways.waiting))
            .unwrap_or_default()
    }

    /// Returns the participant of a stream.
    pub fn participant_of(&self, stream: StreamId) -> Option<Name> {
        self.streams.get(&stream).cloned()
    }

    /// Takes the queued tickets of a participant that can no longer be reached.
    pub fn take_stranded(&mut self, name: &str) -> BTreeSet<Ticket> {
        match self.ways.get_mut(name) {
            Some(ways) if !ways.is_reachable() => {
                ways.queue.clear();
                std::mem::take(&mut ways.queued)
            }
            _ => BTreeSet::new(),
        }
    }

    /// Returns the load of every participant in the gate.
    pub fn loads(&self) -> impl Iterator<Item = (&Name, Load)> {
        self.ways.iter().map(|(name, ways)| (name, ways.load()))
    }

    /// Returns the load of one participant.
    pub fn load(&self, name: &str) -> Load {
        self.ways.get(name).map(Ways::load).unwrap_or_default()
    }

    /// Returns the number of calls that wait for a place, plus that of transactions that wait for a way.
    pub fn waiting(&self) -> usize {
        self.ways
            .values()
            .map(|ways| ways.queue.len() + ways.waiting.len())
            .sum()
    }
}

impl Ways {
    fn is_reachable(&self) -> bool {
        self.direct.is_some() || self.streams.values().any(|stream| !stream.draining)
    }

    fn load(&self) -> Load {
        let streams = self.streams.values();
        Load {
            open: self.direct_open + streams.map(|stream| stream.open).sum::<u32>(),
            waiting: self.queued.len(),
        }
    }

    fn free_places(&self) -> u32 {
        match self.direct {
            Some(limit) => limit.saturating_sub(self.direct_open),
            None => self.streams.values().map(Stream::free_places).sum(),
        }
    }

    /// Takes a place on the stream that has the most free ones.
    fn take_place(&mut self) -> Option<Route> {
        if let Some(limit) = self.direct {
            if self.direct_open >= limit {
                return None;
            }
            self.direct_open += 1;
            return Some(Route::Direct);
        }
        let (id, stream) = self
            .streams
            .iter_mut()
            .max_by_key(|(_, stream)| stream.free_places())?;
        if stream.free_places() == 0 {
            return None;
        }
        stream.open += 1;
        Some(Route::Stream(*id))
    }
}

impl Stream {
    fn free_places(&self) -> u32 {
        if self.draining {
            0
        } else {
            self.limit.saturating_sub(self.open)
        }
    }
}
