//! Which transactions stay in hand, and which rest in the table.
//!
//! In hand is only what is under way or soon will be: an open call, a call that waits its turn in a queue that its
//! participant's places will reach, a wait shorter than `hold`. Everything else rests, and the write that notes why is
//! the rest.

use std::time::Duration;

use tercet_mutation::broken;

use super::{
    Engine,
    advance::{awaits_initiator, claim_of},
    entry::Entry,
    folding::Fold,
};
use crate::{
    gate::Prospect,
    id::TxId,
    model::{Name, Need, Transaction},
    pursuit::pursue,
    time::Moment,
    transition::{Unreachable, is_misdated},
};

impl Engine {
    /// Returns the longest wait that is spent in memory: none while memory is short.
    pub(super) fn hold(&self) -> Duration {
        let is_short =
            self.entries.len() > self.config.capacity / 2 || self.weight > self.config.memory / 2;
        if is_short {
            Duration::ZERO
        } else {
            self.config.hold
        }
    }

    /// Returns an entry with its transaction as it durably stands.
    pub(super) fn in_hand(&self, id: TxId) -> Option<(&Entry, &Transaction)> {
        let entry = self.entries.get(&id)?;
        Some((entry, entry.durable()?))
    }

    /// Returns whether something can be done now for a transaction that rests: a call for which there is a way and room.
    pub(super) fn can_go_on(&self, id: TxId, tx: &Transaction) -> bool {
        let Some(entry) = self.entries.get(&id) else {
            return false;
        };
        let pursuit = pursue(tx, self.now);
        let mut calls = pursuit.calls.iter();
        calls.any(|call| {
            let (participant, claim) = claim_of(tx, Some(call.action), entry);
            self.gate.prospect(&participant, &claim) == Prospect::Room
        }) || pursuit.ask_back && self.can_ask_back(tx, entry) == Prospect::Room
    }

    /// Returns whether a transaction at rest stands in the table at times that are not right.
    pub(super) fn is_misdated(&self, tx: &Transaction) -> bool {
        is_misdated(tx, self.course.now())
    }

    fn can_ask_back(&self, tx: &Transaction, entry: &Entry) -> Prospect {
        let (initiator, claim) = claim_of(tx, None, entry);
        self.gate.prospect(&initiator, &claim)
    }

    /// Returns the actions for which a call can be made as soon as a write authorises it.
    pub(super) fn to_authorise(&self, id: TxId, tx: &Transaction) -> Vec<usize> {
        let Some(entry) = self.entries.get(&id) else {
            return Vec::new();
        };
        let has_room = |place: &usize| {
            let (participant, claim) = claim_of(tx, Some(*place), entry);
            self.gate.prospect(&participant, &claim) == Prospect::Room
        };
        let calls = pursue(tx, self.now).calls.into_iter();
        calls
            .filter(|call| !call.authorised)
            .map(|call| call.action)
            .filter(has_room)
            .collect()
    }

    /// Returns the participants to which there is no way, if nothing can be done for this state now or soon; `None`: it
    /// stays in hand.
    pub(super) fn rests(&self, id: TxId, tx: &Transaction) -> Option<Vec<Unreachable>> {
        let entry = self.entries.get(&id)?;
        if tx.phase.is_over() {
            return None;
        }
        let pursuit = pursue(tx, self.now);
        let under_way = |(place, call): &(Option<usize>, _)| self.is_kept(*place, *call, &pursuit);
        if entry.open.iter().any(under_way)
            || broken("waiter_pins_row") && !entry.waiters.is_empty()
        {
            return None;
        }
        let soon = self.now + self.hold();
        if pursuit.wake.is_some_and(|wake| wake <= soon) {
            return None;
        }
        if self
            .patience_ends_for(entry, tx)
            .is_some_and(|end| end > self.now)
        {
            return None;
        }
        let mut unreachable = Vec::new();
        for call in &pursuit.calls {
            let is_queued = |ticket: &crate::gate::Ticket| ticket.action == Some(call.action);
            let (participant, claim) = claim_of(tx, Some(call.action), entry);
            match self.gate.prospect(&participant, &claim) {
                Prospect::Unreachable => {
                    unreachable.push(self.no_way(participant, claim.need));
                }
                Prospect::Full if !entry.tickets.iter().any(is_queued) => {}
                Prospect::Full | Prospect::Room => return None,
            }
        }
        if pursuit.ask_back {
            let is_queued = entry.tickets.iter().any(|ticket| ticket.action.is_none());
            match self.can_ask_back(tx, entry) {
                Prospect::Unreachable => {}
                Prospect::Full if !is_queued => {}
                Prospect::Full | Prospect::Room => return None,
            }
        }
        Some(unreachable)
    }

    /// Returns the actions to give up: they are too old, and their calls are due and find no way.
    pub(super) fn too_old(&self, id: TxId, tx: &Transaction) -> Vec<(usize, Unreachable)> {
        let Some(entry) = self.entries.get(&id) else {
            return Vec::new();
        };
        let calls = tx.too_old(self.now).filter_map(|place| {
            let (participant, claim) = claim_of(tx, Some(place), entry);
            let is_open = entry.open_call(Some(place)).is_some();
            let is_away = self.gate.prospect(&participant, &claim) == Prospect::Unreachable;
            (is_away && !is_open).then(|| (place, self.no_way(participant, claim.need)))
        });
        calls.collect()
    }

    fn no_way(&self, participant: Name, need: Need) -> Unreachable {
        let outage = self.gate.outage(&participant);
        Unreachable {
            down: outage.map(|outage| outage.error.clone()),
            participant,
            need,
        }
    }

    /// Returns until when a transaction waits in memory for its initiator's next request; `None`: no longer.
    pub(super) fn patience_ends(&self, id: TxId) -> Option<Moment> {
        let (entry, tx) = self.in_hand(id)?;
        self.patience_ends_for(entry, tx)
            .filter(|end| *end > self.now)
    }

    fn patience_ends_for(&self, entry: &Entry, tx: &Transaction) -> Option<Moment> {
        awaits_initiator(tx).then(|| entry.asked_at + self.hold())
    }

    /// Writes a transaction down as it stands, to rest in the table.
    pub(super) fn write_down(&mut self, id: TxId) {
        let Some((_, tx)) = self.in_hand(id) else {
            return;
        };
        let fold = Fold::to_write_down(Box::new(tx.clone()));
        self.write(id, fold);
    }
}
