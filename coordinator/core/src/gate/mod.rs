//! Limits and fairness per participant: admits calls, each on one way.
//!
//! A participant is reached on the streams that it attached, each with its own limit and handlers, or at a registered
//! address with one limit. Its calls wait in short queues, by handler, those of transactions that are new apart from those
//! of transactions that come from the table, and these two take turns; more than these hold waits in the table. So a
//! participant that hangs fills neither memory nor the places of another, a handler without a free place holds up no
//! other, and what is new never starves what is old. An address that takes no call, and a participant that answers none,
//! get few: see `health`.

mod health;
mod queue;
mod ways;

use std::collections::{BTreeMap, BTreeSet};

use tercet_mutation::broken;

pub use self::health::{Change, End, Ending};
use self::{
    health::Health,
    ways::{Stream, Ways},
};
use crate::{
    id::{StreamId, TxId},
    model::{Name, Need},
    port::{Abilities, Outage, Reach, Route},
    time::{Moment, Now},
};

/// The claim to a place: for a call of this action, or for a question to the transaction's initiator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    /// The transaction.
    pub tx: TxId,
    /// The action's place; `None`: a question to the initiator.
    pub action: Option<usize>,
}

/// A call that seeks a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The call.
    pub ticket: Ticket,
    /// The ability that it needs.
    pub need: Need,
    /// The origin of its transaction.
    pub origin: Origin,
    /// The bytes that its transaction takes up in memory.
    pub weight: usize,
}

/// The origin of a transaction in memory; each has a queue of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A request brought it.
    Request,
    /// It was due in the table.
    Table,
}

/// The load of one participant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Calls under way.
    pub open: u32,
    /// Calls that wait for a place.
    pub waiting: usize,
    /// Those among them whose transactions come from the table.
    pub from_table: usize,
    /// The length of the longest of its queues, each of one origin and one need.
    pub longest: usize,
}

/// The admission of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Now, on this way; the place is taken.
    Now(Route),
    /// When its turn comes: [`Gate::admit_next`] returns its ticket.
    Queued,
    /// Not from memory: as many calls wait as may.
    Full,
    /// There is no way to the participant from here.
    Unreachable,
}

/// A queued ticket whose turn has come: a place is taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The ticket.
    pub ticket: Ticket,
    /// The way on which its call leaves.
    pub route: Route,
    origin: Origin,
}

/// The prospects of a call that is not queued yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prospect {
    /// It would be admitted or queued.
    Room,
    /// See [`Admission::Full`].
    Full,
    /// See [`Admission::Unreachable`].
    Unreachable,
}

/// The ways to every participant, one per engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// The bytes of transactions that may be in memory for the sake of one participant.
    bytes: usize,
    ways: BTreeMap<Name, Ways>,
    streams: BTreeMap<StreamId, Name>,
    /// When more calls of a participant may leave by the passing of time.
    wakeups: BTreeSet<(Moment, Name)>,
    /// Participants whose outage has changed since this was last asked for.
    outages_changed: BTreeSet<Name>,
}

impl Gate {
    /// Makes a gate without ways. The transactions whose calls are under way or wait at one participant take up no more
    /// than `bytes`, or are one.
    pub fn new(bytes: usize) -> Self {
        Self {
            bytes,
            ways: BTreeMap::new(),
            streams: BTreeMap::new(),
            wakeups: BTreeSet::new(),
            outages_changed: BTreeSet::new(),
        }
    }

    /// Sets the way on which a participant is reached. Nothing is known yet of the health of a new one.
    pub fn set_reach(&mut self, name: &Name, reach: Reach) {
        let ways = self.ways.entry(name.clone()).or_default();
        ways.direct = match reach {
            Reach::Attach => None,
            Reach::Direct { concurrency } => Some(concurrency),
        };
        self.change_health(name, |health| *health = Health::default());
    }

    /// Adds a stream of a participant.
    pub fn attach(&mut self, stream: StreamId, name: &Name, limit: u32, abilities: Abilities) {
        self.streams.insert(stream, name.clone());
        let ways = self.ways.entry(name.clone()).or_default();
        let is_direct = ways.direct.is_some();
        ways.streams.insert(
            stream,
            Stream {
                limit,
                open: 0,
                draining: false,
                abilities,
            },
        );
        if !is_direct {
            self.change_health(name, |health| *health = Health::default());
        }
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

    /// Returns whether there is any way to the participant from here.
    pub fn is_reachable(&self, name: &str) -> bool {
        self.ways.get(name).is_some_and(Ways::is_reachable)
    }

    /// Returns whether there is a way to the participant from here for a call that needs this; `None`: for any call.
    pub fn has_way(&self, name: &str, need: Option<&Need>) -> bool {
        let ways = self.ways.get(name);
        ways.is_some_and(|ways| need.map_or_else(|| ways.is_reachable(), |need| ways.can(need)))
    }

    /// Returns the number of transactions from the table for whose calls there is room at the participant, by what they
    /// need; `None`: any instance will do.
    pub fn room_for_table(&self, name: &str, need: Option<&Need>) -> usize {
        let Some(ways) = self.ways.get(name) else {
            return 0;
        };
        let has_room = ways.held.has_room_for_another(0, self.bytes);
        if has_room && self.has_way(name, need) {
            ways.room(Origin::Table, need)
        } else {
            0
        }
    }

    /// Returns whether the participant's last call ended without an answer.
    pub fn is_failing(&self, name: &str) -> bool {
        let ways = self.ways.get(name);
        ways.is_some_and(|ways| ways.health.is_failing())
    }

    /// Returns the outage of the participant's registered address, if it is down.
    pub fn outage(&self, name: &str) -> Option<&Outage> {
        self.ways.get(name)?.health.outage()
    }

    /// Returns the participants whose outage has begun, changed or ended since the last call.
    pub fn outages_changed(&mut self) -> Vec<(Name, Option<Outage>)> {
        let changed = std::mem::take(&mut self.outages_changed).into_iter();
        let now_standing = |name: Name| {
            let outage = self.outage(&name).cloned();
            (name, outage)
        };
        changed.map(now_standing).collect()
    }

    /// Changes the health of a participant, and lists it by what has come of that.
    fn change_health<T>(
        &mut self,
        name: &Name,
        change: impl FnOnce(&mut Health) -> T,
    ) -> Option<T> {
        let ways = self.ways.get_mut(name)?;
        let before = ways.health.outage().cloned();
        let changed = change(&mut ways.health);
        if ways.health.outage() != before.as_ref() {
            self.outages_changed.insert(name.clone());
        }
        self.schedule(name);
        Some(changed)
    }

    /// Notes the end of a call, before its place is free; returns what has changed with it. `dice` chooses the pause
    /// before the next probe.
    pub fn note_end(&mut self, name: &Name, end: &End<'_>, now: Now, dice: u64) -> Change {
        let is_direct = self
            .ways
            .get(name)
            .is_some_and(|ways| ways.direct.is_some());
        let ending = match (end.route, end.ending) {
            // A stream that takes no calls ends; until then they are paced.
            (Route::Stream(_), Ending::Unsent(_)) => Ending::Failed,
            // An address that is no longer called.
            (Route::Direct, Ending::Unsent(_)) if !is_direct => return Change::None,
            (_, ending) => ending,
        };
        let end = End { ending, ..*end };
        self.change_health(name, |health| health.ended(&end, now, dice))
            .unwrap_or(Change::None)
    }

    /// Returns when more calls may leave by the passing of time.
    pub fn next_wakeup(&self) -> Option<Moment> {
        self.wakeups.first().map(|(at, _)| *at)
    }

    /// Lets the calls leave for which it is time; returns the participants, each with whether it was down until now.
    pub fn wake(&mut self, now: Moment) -> Vec<(Name, bool)> {
        let mut woken = Vec::new();
        while let Some((at, name)) = self.wakeups.first().cloned()
            && at <= now
        {
            self.wakeups.pop_first();
            if let Some(ways) = self.ways.get_mut(&name) {
                ways.wakes_at = None;
            }
            if let Some(was_down) = self.change_health(&name, |health| health.wake(now)) {
                woken.push((name, was_down));
            }
        }
        woken
    }

    /// Lists a participant at the time at which its health may change by the passing of time.
    fn schedule(&mut self, name: &Name) {
        let Some(ways) = self.ways.get_mut(name) else {
            return;
        };
        let wakes_at = ways.health.next_wakeup();
        if wakes_at == ways.wakes_at {
            return;
        }
        if let Some(old) = ways.wakes_at {
            self.wakeups.remove(&(old, name.clone()));
        }
        ways.wakes_at = wakes_at;
        if let Some(at) = wakes_at {
            self.wakeups.insert((at, name.clone()));
        }
    }

    /// Returns the prospects of a call.
    pub fn prospect(&self, name: &str, claim: &Claim) -> Prospect {
        match self.ways.get(name) {
            Some(ways) if ways.can(&claim.need) => {
                let is_free =
                    ways.has_place(&claim.need) || ways.has_window(claim.origin, &claim.need);
                let held = &ways.held;
                if is_free && held.has_room(claim.ticket.tx, claim.weight, self.bytes) {
                    Prospect::Room
                } else {
                    Prospect::Full
                }
            }
            _ => Prospect::Unreachable,
        }
    }

    /// Takes a place for a call, or queues it. One that is queued already stays where it is. `dice` chooses among the
    /// streams with a free place.
    pub fn admit(&mut self, name: &Name, claim: Claim, now: Moment, dice: u64) -> Admission {
        let bytes = self.bytes;
        let ways = self.ways.entry(name.clone()).or_default();
        let Claim {
            ticket,
            need,
            origin,
            weight,
        } = claim;
        if ways.queues.contains(ticket) {
            return Admission::Queued;
        }
        if !ways.can(&need) {
            return Admission::Unreachable;
        }
        if !ways.held.has_room(ticket.tx, weight, bytes) {
            return Admission::Full;
        }
        // A place that a queued ticket could take has been given to it when it came free.
        if let Some(route) = ways.take_place(&need, dice) {
            ways.table_was_last = origin == Origin::Table;
            ways.held.add(ticket, weight);
            ways.health.left(ticket, now);
            self.schedule(name);
            return Admission::Now(route);
        }
        if !ways.has_window(origin, &need) {
            return Admission::Full;
        }
        ways.held.add(ticket, weight);
        ways.queues.push(ticket, origin, need);
        Admission::Queued
    }

    /// Takes a free place for the next queued ticket of a participant; `None` without a place or a ticket.
    pub fn admit_next(&mut self, name: &Name, now: Moment, dice: u64) -> Option<Admitted> {
        let ways = self.ways.get_mut(name)?;
        let first = if ways.table_was_last || broken("live_starves_table") {
            [Origin::Request, Origin::Table]
        } else {
            [Origin::Table, Origin::Request]
        };
        for origin in first {
            let found = ways.queues.first(origin, |need| ways.has_place(need));
            let found = found.map(|(ticket, need)| (ticket, need.clone()));
            if let Some((ticket, need)) = found {
                let route = ways.take_place(&need, dice)?;
                ways.queues.remove(ticket);
                ways.table_was_last = origin == Origin::Table;
                ways.health.left(ticket, now);
                self.schedule(name);
                return Some(Admitted {
                    ticket,
                    route,
                    origin,
                });
            }
        }
        None
    }

    /// Gives a turn back whose call is not made now: the next place is for the same origin.
    pub fn give_back(&mut self, name: &Name, admitted: Admitted, now: Moment) {
        if let Some(ways) = self.ways.get_mut(name) {
            ways.table_was_last = admitted.origin == Origin::Request;
        }
        self.release(name, admitted.ticket, admitted.route, now);
    }

    /// Withdraws a ticket whose call is no longer required.
    pub fn withdraw(&mut self, name: &str, ticket: Ticket) {
        if let Some(ways) = self.ways.get_mut(name)
            && ways.queues.remove(ticket).is_some()
        {
            ways.held.remove(ticket);
        }
    }

    /// Frees the place of a call that has ended, or that is given up.
    pub fn release(&mut self, name: &Name, ticket: Ticket, route: Route, now: Moment) {
        if let Some(ways) = self.ways.get_mut(name) {
            ways.held.remove(ticket);
            ways.health.given_up(ticket, now);
        }
        self.schedule(name);
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

    /// Sets a transaction aside that stays in hand for another reason, until there is room for a call that it wants.
    pub fn set_aside(&mut self, name: &Name, need: Need, tx: TxId) {
        let ways = self.ways.entry(name.clone()).or_default();
        ways.aside.entry(need).or_default().insert(tx);
    }

    /// Forgets a transaction that was set aside.
    pub fn forget_aside(&mut self, name: &str, need: &Need, tx: TxId) {
        if let Some(ways) = self.ways.get_mut(name)
            && let Some(aside) = ways.aside.get_mut(need)
        {
            aside.remove(&tx);
            if aside.is_empty() {
                ways.aside.remove(need);
            }
        }
    }

    /// Takes the transactions that were set aside for a participant, for each need as many as there is room for.
    pub fn take_aside(&mut self, name: &str) -> Vec<(TxId, Need)> {
        let Some(ways) = self.ways.get_mut(name) else {
            return Vec::new();
        };
        let mut aside = std::mem::take(&mut ways.aside);
        let mut taken = Vec::new();
        for (need, of_need) in &mut aside {
            if !ways.can(need) {
                continue;
            }
            let room = |origin| ways.room(origin, Some(need));
            let room = room(Origin::Request).min(room(Origin::Table));
            let first: Vec<TxId> = of_need.iter().take(room).copied().collect();
            for tx in first {
                of_need.remove(&tx);
                taken.push((tx, need.clone()));
            }
        }
        aside.retain(|_, of_need| !of_need.is_empty());
        ways.aside = aside;
        taken
    }

    /// Returns the participant of a stream.
    pub fn participant_of(&self, stream: StreamId) -> Option<Name> {
        self.streams.get(&stream).cloned()
    }

    /// Takes the queued tickets of a participant for which there is no way any more.
    pub fn take_stranded(&mut self, name: &str) -> Vec<Ticket> {
        let Some(ways) = self.ways.get_mut(name) else {
            return Vec::new();
        };
        let stranded = ways.queues.stranded(|need| ways.can(need));
        for ticket in &stranded {
            ways.queues.remove(*ticket);
            ways.held.remove(*ticket);
        }
        stranded
    }

    /// Returns the load of every participant in the gate.
    pub fn loads(&self) -> impl Iterator<Item = (&Name, Load)> {
        self.ways.iter().map(|(name, ways)| (name, ways.load()))
    }

    /// Returns the load of one participant.
    pub fn load(&self, name: &str) -> Load {
        self.ways.get(name).map(Ways::load).unwrap_or_default()
    }

    /// Returns the number of calls that wait for a place, plus that of transactions that are set aside.
    pub fn waiting(&self) -> usize {
        self.ways
            .values()
            .map(|ways| ways.queues.len() + ways.aside.values().map(BTreeSet::len).sum::<usize>())
            .sum()
    }
}
