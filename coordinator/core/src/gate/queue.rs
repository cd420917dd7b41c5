//! The calls that wait for a place at one participant, and the bytes of their transactions.

use std::collections::{BTreeMap, BTreeSet};

use super::{Origin, Ticket};
use crate::{id::TxId, model::Need};

/// The calls of one origin that wait for a place: a queue per need, each in the order in which they came. So calls of a
/// handler that has no free place are not passed over one by one for those of another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Queue {
    by_need: BTreeMap<Need, BTreeMap<u64, Ticket>>,
    len: usize,
}

/// A call that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub origin: Origin,
    pub need: Need,
    key: u64,
}

/// The calls that wait for a place at one participant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Queues {
    requested: Queue,
    from_table: Queue,
    waiting: BTreeMap<Ticket, Waiting>,
    last_key: u64,
}

impl Queue {
    fn of(&self, need: &Need) -> usize {
        self.by_need.get(need).map_or(0, BTreeMap::len)
    }
}

impl Queues {
    fn queue(&self, origin: Origin) -> &Queue {
        match origin {
            Origin::Request => &self.requested,
            Origin::Table => &self.from_table,
        }
    }

    fn queue_mut(&mut self, origin: Origin) -> &mut Queue {
        match origin {
            Origin::Request => &mut self.requested,
            Origin::Table => &mut self.from_table,
        }
    }

    /// Returns the number of calls that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Returns the number of those of this origin.
    pub(super) fn len_of(&self, origin: Origin) -> usize {
        self.queue(origin).len
    }

    /// Returns the number of those of this origin and need.
    pub(super) fn len_for(&self, origin: Origin, need: &Need) -> usize {
        self.queue(origin).of(need)
    }

    /// Returns the length of the longest queue.
    pub(super) fn longest(&self) -> usize {
        let queues = self.requested.by_need.values();
        let queues = queues.chain(self.from_table.by_need.values());
        queues.map(BTreeMap::len).max().unwrap_or(0)
    }

    pub(super) fn contains(&self, ticket: Ticket) -> bool {
        self.waiting.contains_key(&ticket)
    }

    /// Adds a call behind all others.
    pub(super) fn push(&mut self, ticket: Ticket, origin: Origin, need: Need) {
        self.last_key += 1;
        let key = self.last_key;
        let queue = self.queue_mut(origin);
        let of_need = queue.by_need.entry(need.clone()).or_default();
        of_need.insert(key, ticket);
        queue.len += 1;
        self.waiting.insert(ticket, Waiting { origin, need, key });
    }

    /// Removes a call; returns it if it waited.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Waiting> {
        let waiting = self.waiting.remove(&ticket)?;
        let queue = self.queue_mut(waiting.origin);
        if let Some(of_need) = queue.by_need.get_mut(&waiting.need)
            && of_need.remove(&waiting.key).is_some()
        {
            queue.len -= 1;
            if of_need.is_empty() {
                queue.by_need.remove(&waiting.need);
            }
        }
        Some(waiting)
    }

    /// Returns the call of this origin that came first among those whose need is `admitted`.
    pub(super) fn first(
        &self,
        origin: Origin,
        admitted: impl Fn(&Need) -> bool,
    ) -> Option<(Ticket, &Need)> {
        let queues = self.queue(origin).by_need.iter();
        let firsts = queues
            .filter(|(need, _)| admitted(need))
            .filter_map(|(need, of_need)| Some((of_need.first_key_value()?, need)));
        let ((_, ticket), need) = firsts.min_by_key(|((key, _), _)| **key)?;
        Some((*ticket, need))
    }

    /// Returns the calls whose need is not `admitted`.
    pub(super) fn stranded(&self, admitted: impl Fn(&Need) -> bool) -> Vec<Ticket> {
        let queues = self.requested.by_need.iter();
        queues
            .chain(&self.from_table.by_need)
            .filter(|(need, _)| !admitted(need))
            .flat_map(|(_, of_need)| of_need.values().copied())
            .collect()
    }
}

/// The bytes in memory for the sake of one participant: those of each transaction that has calls waiting or under way,
/// once however many these are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    transactions: BTreeMap<TxId, HeldTransaction>,
    bytes: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct HeldTransaction {
    weight: usize,
    calls: BTreeSet<Option<usize>>,
}

impl Held {
    /// Returns whether a transaction of this weight goes with the others within the limit of `bytes`. The first one
    /// always does.
    pub(super) fn has_room(&self, tx: TxId, weight: usize, bytes: usize) -> bool {
        self.transactions.contains_key(&tx) || self.has_room_for_another(weight, bytes)
    }

    /// The same for a transaction that is not among them.
    pub(super) fn has_room_for_another(&self, weight: usize, bytes: usize) -> bool {
        self.transactions.is_empty() || self.bytes + weight < bytes
    }

    /// Adds a call of a transaction of this weight.
    pub(super) fn add(&mut self, ticket: Ticket, weight: usize) {
        let held = self.transactions.entry(ticket.tx).or_default();
        self.bytes += weight.saturating_sub(held.weight);
        held.weight = held.weight.max(weight);
        held.calls.insert(ticket.action);
    }

    /// Removes a call; with its last one the transaction no longer counts.
    pub(super) fn remove(&mut self, ticket: Ticket) {
        let Some(held) = self.transactions.get_mut(&ticket.tx) else {
            return;
        };
        held.calls.remove(&ticket.action);
        if held.calls.is_empty() {
            self.bytes -= held.weight;
            self.transactions.remove(&ticket.tx);
        }
    }
}
