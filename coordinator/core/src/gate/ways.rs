//! The ways to one participant, and the calls that wait for them.

use std::collections::{BTreeMap, BTreeSet};

use tercet_mutation::broken;

use super::{Load, Origin, Ticket, health::Health};
use crate::{
    id::{StreamId, TxId},
    limits,
    model::Need,
    port::{Abilities, Route},
    time::Timestamp,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    pub limit: u32,
    pub open: u32,
    pub draining: bool,
    pub abilities: Abilities,
}

/// The calls of one origin that wait for a place, in the order in which they came.
pub(super) type Queue = BTreeMap<u64, (Ticket, Need)>;

/// The ways to one participant, and the tickets that wait for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ways {
    /// The limit of calls at once to its registered address, where it is called at one.
    pub direct: Option<u32>,
    pub direct_open: u32,
    pub streams: BTreeMap<StreamId, Stream>,
    pub requested: Queue,
    pub from_table: Queue,
    /// The queue and the key of each ticket that waits.
    pub queued: BTreeMap<Ticket, (Origin, u64)>,
    pub last_key: u64,
    /// The bytes of the transaction of each ticket that waits or has a place, and their sum.
    pub weights: BTreeMap<Ticket, usize>,
    pub bytes: usize,
    /// Whether the last place went to a transaction from the table.
    pub table_was_last: bool,
    /// Transactions in hand for the sake of another participant that want a call for which there was no room or no way.
    pub aside: BTreeSet<TxId>,
    /// Its health, by the ends of its calls.
    pub health: Health,
    /// The time at which that may change, under which it stands in the gate's list.
    pub wakes_at: Option<Timestamp>,
}

impl Ways {
    pub(super) fn is_reachable(&self) -> bool {
        let mut streams = self.streams.values();
        let is_there = self.direct.is_some() || streams.any(|stream| !stream.draining);
        is_there && self.health.is_up()
    }

    /// Returns whether there is a way for a call that needs this.
    pub(super) fn can(&self, need: &Need) -> bool {
        let mut streams = self.streams.values();
        let is_there =
            self.direct.is_some() || streams.any(|stream| !stream.draining && stream.can(need));
        is_there && self.health.is_up()
    }

    pub(super) fn load(&self) -> Load {
        let streams = self.streams.values();
        Load {
            open: self.direct_open + streams.map(|stream| stream.open).sum::<u32>(),
            waiting: self.queued.len(),
            from_table: self.from_table.len(),
        }
    }

    pub(super) fn free_places(&self) -> u32 {
        self.health.places(match self.direct {
            Some(limit) => limit.saturating_sub(self.direct_open),
            None => self.streams.values().map(Stream::free_places).sum(),
        })
    }

    /// Returns how many calls may wait in each queue: none while the participant's address is down.
    pub(super) fn window(&self) -> usize {
        if self.health.outage().is_some() {
            return 0;
        }
        let open = self.streams.values().filter(|stream| !stream.draining);
        let places = self
            .direct
            .unwrap_or_else(|| open.map(|stream| stream.limit).sum());
        limits::WINDOW_CALLS.max(2 * places as usize)
    }

    pub(super) fn queue(&self, origin: Origin) -> &Queue {
        match origin {
            Origin::Request => &self.requested,
            Origin::Table => &self.from_table,
        }
    }

    pub(super) fn queue_mut(&mut self, origin: Origin) -> &mut Queue {
        match origin {
            Origin::Request => &mut self.requested,
            Origin::Table => &mut self.from_table,
        }
    }

    /// Returns whether another call of this origin may wait.
    pub(super) fn has_window(&self, origin: Origin) -> bool {
        self.queue(origin).len() < self.window() || broken("one_participant_fills_memory")
    }

    /// Returns whether a transaction of this weight goes with the others within the limit of `bytes`.
    pub(super) fn can_hold(&self, weight: usize, bytes: usize) -> bool {
        self.weights.is_empty() || self.bytes + weight < bytes
    }

    pub(super) fn hold(&mut self, ticket: Ticket, weight: usize) {
        let before = self.weights.insert(ticket, weight);
        self.bytes = self.bytes + weight - before.unwrap_or(0);
    }

    pub(super) fn let_go(&mut self, ticket: Ticket) {
        self.bytes -= self.weights.remove(&ticket).unwrap_or(0);
    }

    /// Removes a ticket from its queue; returns whether it was queued.
    pub(super) fn remove(&mut self, ticket: Ticket) -> bool {
        let Some((origin, key)) = self.queued.remove(&ticket) else {
            return false;
        };
        self.queue_mut(origin).remove(&key);
        true
    }

    pub(super) fn has_place(&self, need: &Need) -> bool {
        if self.health.places(1) == 0 {
            return false;
        }
        if let Some(limit) = self.direct {
            return self.direct_open < limit;
        }
        let mut streams = self.streams.values();
        streams.any(|stream| stream.free_places() > 0 && stream.can(need))
    }

    /// Takes a place on one of the streams that have a free one and the ability, each with the same chance: one that
    /// answers at once with errors draws no more calls than the others.
    pub(super) fn take_place(&mut self, need: &Need, dice: u64) -> Option<Route> {
        if self.health.places(1) == 0 {
            return None;
        }
        if let Some(limit) = self.direct {
            if self.direct_open >= limit {
                return None;
            }
            self.direct_open += 1;
            return Some(Route::Direct);
        }
        let mut free: Vec<(&StreamId, &mut Stream)> = self
            .streams
            .iter_mut()
            .filter(|(_, stream)| stream.free_places() > 0 && stream.can(need))
            .collect();
        let chosen = usize::try_from(dice % (free.len() as u64).max(1)).unwrap_or(0);
        let (id, stream) = free.get_mut(chosen)?;
        stream.open += 1;
        Some(Route::Stream(**id))
    }
}

impl Stream {
    pub(super) fn free_places(&self) -> u32 {
        if self.draining {
            0
        } else {
            self.limit.saturating_sub(self.open)
        }
    }

    fn can(&self, need: &Need) -> bool {
        let handlers = &self.abilities.handlers;
        match need {
            Need::Handler(name, mode) => {
                handlers.contains(&(name.clone(), Some(*mode)))
                    || handlers.contains(&(name.clone(), None))
                    || broken("routed_without_handler")
            }
            Need::CheckBack => self.abilities.check_backs,
        }
    }
}
