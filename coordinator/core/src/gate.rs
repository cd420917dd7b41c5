//! Which call may leave, and on which way: limits and fairness per participant.
//!
//! A participant is reached on the streams that it attached, each with its own limit, or at a
//! registered address with one. Calls of one participant leave in the order in which they were
//! wanted; those of another are never held back by them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    engine::{Reach, Route},
    id::{StreamId, TxId},
    model::Name,
};

/// What is wanted: a place for this action of this transaction, or for a question to its initiator.
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

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Participant {
    /// Set where it is called at a registered address.
    direct: Option<u32>,
    direct_open: u32,
    streams: BTreeMap<StreamId, Stream>,
    queue: VecDeque<Ticket>,
    queued: BTreeSet<Ticket>,
    /// Transactions that wanted it while there was no way to it.
    waiting: BTreeSet<TxId>,
}

/// Whether a call may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Now, on this way; the place is taken.
    Now(Route),
    /// When its turn comes: [`Gate::next`] will give it.
    Queued,
    /// There is no way to the participant from here.
    Unreachable,
}

/// The ways to every participant, one per engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    participants: BTreeMap<Name, Participant>,
    streams: BTreeMap<StreamId, Name>,
}

impl Gate {
    /// How a participant is reached, from now on.
    pub fn set_reach(&mut self, name: &Name, reach: Reach) {
        let participant = self.participants.entry(name.clone()).or_default();
        participant.direct = match reach {
            Reach::Attach => None,
            Reach::Direct { concurrency } => Some(concurrency),
        };
    }

    /// A stream was opened.
    pub fn attach(&mut self, stream: StreamId, name: &Name, limit: u32) {
        self.streams.insert(stream, name.clone());
        let participant = self.participants.entry(name.clone()).or_default();
        participant.streams.insert(
            stream,
            Stream {
                limit,
                open: 0,
                draining: false,
            },
        );
    }

    /// A stream takes no new calls.
    pub fn drain(&mut self, id: StreamId) {
        if let Some(stream) = self.stream(id) {
            stream.draining = true;
        }
    }

    /// A stream is gone.
    pub fn detach(&mut self, id: StreamId) -> Option<Name> {
        let name = self.streams.remove(&id)?;
        if let Some(participant) = self.participants.get_mut(&name) {
            participant.streams.remove(&id);
        }
        Some(name)
    }

    fn stream(&mut self, id: StreamId) -> Option<&mut Stream> {
        let name = self.streams.get(&id)?;
        self.participants.get_mut(name)?.streams.get_mut(&id)
    }

    /// Whether there is a way to the participant from here.
    pub fn is_reachable(&self, name: &str) -> bool {
        self.participants
            .get(name)
            .is_some_and(Participant::is_reachable)
    }

    /// Whether the participant is called at a registered address rather than on streams.
    pub fn is_direct(&self, name: &str) -> bool {
        self.participants
            .get(name)
            .is_some_and(|participant| participant.direct.is_some())
    }

    /// Places that are free for a participant's calls, beyond those that queue.
    pub fn free(&self, name: &str) -> usize {
        self.participants
            .get(name)
            .map_or(0, |p| (p.places() as usize).saturating_sub(p.queue.len()))
    }

    /// Participants that can be reached.
    pub fn reachable(&self) -> impl Iterator<Item = &Name> {
        self.participants
            .iter()
            .filter(|(_, p)| p.is_reachable())
            .map(|(name, _)| name)
    }

    /// Asks for a place. Asking again for what is queued changes nothing.
    pub fn ask(&mut self, name: &Name, ticket: Ticket) -> Admission {
        let participant = self.participants.entry(name.clone()).or_default();
        if !participant.is_reachable() {
            participant.waiting.insert(ticket.tx);
            return Admission::Unreachable;
        }
        if participant.queue.is_empty()
            && let Some(route) = participant.take_place()
        {
            return Admission::Now(route);
        }
        if participant.queued.insert(ticket) {
            participant.queue.push_back(ticket);
        }
        Admission::Queued
    }

    /// The next queued call of a participant that has a free place; the place is taken.
    pub fn next(&mut self, name: &str) -> Option<(Ticket, Route)> {
        let participant = self.participants.get_mut(name)?;
        while let Some(ticket) = participant.queue.front().copied() {
            // Withdrawn: it keeps its place in the queue until it comes up.
            if !participant.queued.contains(&ticket) {
                participant.queue.pop_front();
                continue;
            }
            let route = participant.take_place()?;
            participant.queue.pop_front();
            participant.queued.remove(&ticket);
            return Some((ticket, route));
        }
        None
    }

    /// What was asked for is wanted no longer.
    pub fn withdraw(&mut self, name: &str, ticket: Ticket) {
        if let Some(participant) = self.participants.get_mut(name) {
            participant.queued.remove(&ticket);
            participant.waiting.remove(&ticket.tx);
        }
    }

    /// A call has ended: its place is free.
    pub fn release(&mut self, name: &str, route: Route) {
        match route {
            Route::Stream(id) => {
                if let Some(stream) = self.stream(id) {
                    stream.open = stream.open.saturating_sub(1);
                }
            }
            Route::Direct => {
                if let Some(participant) = self.participants.get_mut(name) {
                    participant.direct_open = participant.direct_open.saturating_sub(1);
                }
            }
        }
    }

    /// The transactions that wanted the participant while there was no way to it.
    pub fn take_waiting(&mut self, name: &str) -> BTreeSet<TxId> {
        self.participants
            .get_mut(name)
            .map(|p| std::mem::take(&mut p.waiting))
            .unwrap_or_default()
    }

    /// Whose stream this is.
    pub fn participant_of(&self, stream: StreamId) -> Option<Name> {
        self.streams.get(&stream).cloned()
    }

    /// The queued calls of a participant that can be reached no longer.
    pub fn take_stranded(&mut self, name: &str) -> BTreeSet<Ticket> {
        match self.participants.get_mut(name) {
            Some(participant) if !participant.is_reachable() => {
                participant.queue.clear();
                std::mem::take(&mut participant.queued)
            }
            _ => BTreeSet::new(),
        }
    }

    /// (streams, calls under way, calls that wait) of a participant.
    pub fn load(&self, name: &str) -> (usize, u32, usize) {
        self.participants.get(name).map_or((0, 0, 0), |p| {
            let open = p.direct_open + p.streams.values().map(|s| s.open).sum::<u32>();
            (p.streams.len(), open, p.queued.len())
        })
    }

    /// Calls that wait for a place, and transactions that wait for a way.
    pub fn waiting(&self) -> usize {
        self.participants
            .values()
            .map(|p| p.queue.len() + p.waiting.len())
            .sum()
    }
}

impl Participant {
    fn is_reachable(&self) -> bool {
        self.direct.is_some() || self.streams.values().any(|stream| !stream.draining)
    }

    fn places(&self) -> u32 {
        match self.direct {
            Some(limit) => limit.saturating_sub(self.direct_open),
            None => self.streams.values().map(Stream::places).sum(),
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
            .max_by_key(|(_, stream)| stream.places())?;
        if stream.places() == 0 {
            return None;
        }
        stream.open += 1;
        Some(Route::Stream(*id))
    }
}

impl Stream {
    fn places(&self) -> u32 {
        if self.draining {
            0
        } else {
            self.limit.saturating_sub(self.open)
        }
    }
}
