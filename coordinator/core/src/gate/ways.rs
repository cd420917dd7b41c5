//! The ways to one participant, and the calls that wait for them.

use std::collections::{BTreeMap, BTreeSet};

use tercet_mutation::broken;

use super::{
    Load, Origin,
    health::Health,
    queue::{Held, Queues},
};
use crate::{
    id::{StreamId, TxId},
    limits,
    model::Need,
    port::{Abilities, Route},
    time::Moment,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    pub limit: u32,
    pub open: u32,
    pub draining: bool,
    pub abilities: Abilities,
}

/// The ways to one participant, and the tickets that wait for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ways {
    /// The limit of calls at once to its registered address, where it is called at one.
    pub direct: Option<u32>,
    pub direct_open: u32,
    pub streams: BTreeMap<StreamId, Stream>,
    /// The tickets that wait for a place.
    pub queues: Queues,
    /// The transactions of the tickets that wait or have a place.
    pub held: Held,
    /// Whether the last place went to a transaction from the table.
    pub table_was_last: bool,
    /// Transactions in hand for the sake of another participant that want a call for which there was no room or no way.
    pub aside: BTreeMap<Need, BTreeSet<TxId>>,
    /// Its health, by the ends of its calls.
    pub health: Health,
    /// The time at which that may change, under which it stands in the gate's list.
    pub wakes_at: Option<Moment>,
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
            waiting: self.queues.len(),
            from_table: self.queues.len_of(Origin::Table),
            longest: self.queues.longest(),
        }
    }

    /// Returns how many calls that need this may leave now; `None`: that need anything.
    fn free_places(&self, need: Option<&Need>) -> u32 {
        self.health.places(match self.direct {
            Some(limit) => limit.saturating_sub(self.direct_open),
            None => self.able(need).map(Stream::free_places).sum(),
        })
    }

    /// Returns how many calls that need this may wait in each queue: none while the participant's address is down.
    fn window(&self, need: Option<&Need>) -> usize {
        if self.health.outage().is_some() {
            return 0;
        }
        let open = self.able(need).filter(|stream| !stream.draining);
        let places = self
            .direct
            .unwrap_or_else(|| open.map(|stream| stream.limit).sum());
        limits::WINDOW_CALLS.max(2 * places as usize)
    }

    fn able(&self, need: Option<&Need>) -> impl Iterator<Item = &Stream> {
        let streams = self.streams.values();
        streams.filter(move |stream| need.is_none_or(|need| stream.can(need)))
    }

    /// Returns how many more calls of this origin that need this may wait or leave.
    pub(super) fn room(&self, origin: Origin, need: Option<&Need>) -> usize {
        let waiting = match need {
            Some(need) => self.queues.len_for(origin, need),
            None => self.queues.len_of(origin),
        };
        (self.free_places(need) as usize + self.window(need)).saturating_sub(waiting)
    }

    /// Returns whether another call of this origin that needs this may wait.
    pub(super) fn has_window(&self, origin: Origin, need: &Need) -> bool {
        self.queues.len_for(origin, need) < self.window(Some(need))
            || broken("one_participant_fills_memory")
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
