//! Brings the calls under way in line with those that the durable state requires, and with the ways there are.

use super::{
    Engine,
    entry::{Entry, Job},
};
use crate::{
    gate::{Admission, Claim, Prospect, Ticket},
    id::{CallId, StreamId, TxId},
    model::{Name, Need, Phase, Transaction},
    port::Route,
    pursuit::{Pursuit, RequiredCall, pursue},
    time::earliest,
    transition::Event,
};

/// The result of seeking a way for a call.
enum Sought {
    /// The call is under way, waits its turn, or waits for room.
    UnderWay,
    /// A write has to authorise the call first.
    Authorise,
}

impl Engine {
    /// Brings the calls under way in line with those that the durable state requires; puts down a transaction for which
    /// nothing can be done now.
    pub(super) fn advance(&mut self, id: TxId) {
        let Some(tx) = self.entries.get(&id).and_then(|entry| entry.durable()) else {
            return;
        };
        if tx.phase.is_over() || tx.rest.is_some() {
            self.forget(id);
            return;
        }
        let pursuit = pursue(tx, self.now);
        self.withdraw_outlived(id, &pursuit);
        let mut to_authorise = Vec::new();
        for call in &pursuit.calls {
            if let Sought::Authorise = self.seek(id, *call) {
                to_authorise.push(call.action);
            }
        }
        if pursuit.ask_back {
            self.seek_initiator(id);
        }
        self.set_wake(id, earliest(pursuit.wake, self.patience_ends(id)));
        if !to_authorise.is_empty() {
            let event = Event::Authorise {
                actions: to_authorise,
            };
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.jobs.push_back(Job::Event(event));
                self.process(id);
            }
            return;
        }
        let Some(tx) = self.entries.get(&id).and_then(|entry| entry.durable()) else {
            return;
        };
        if self.rests(id, tx).is_some() || !self.too_old(id, tx).is_empty() {
            self.write_down(id);
        }
    }

    /// Seeks a way for a call that should be under way.
    fn seek(&mut self, id: TxId, call: RequiredCall) -> Sought {
        let Some((entry, tx)) = self.in_hand(id) else {
            return Sought::UnderWay;
        };
        if entry.open_call(Some(call.action)).is_some() {
            return Sought::UnderWay;
        }
        let (participant, claim) = claim_of(tx, Some(call.action), entry);
        if !call.authorised {
            if self.gate.prospect(&participant, &claim) == Prospect::Room {
                return Sought::Authorise;
            }
            self.set_aside(id, participant, claim.need);
            return Sought::UnderWay;
        }
        if let Some(route) = self.admit(&participant, claim) {
            self.send(id, call.action, call.operation, route);
        }
        Sought::UnderWay
    }

    /// Seeks a way for the question to the initiator.
    fn seek_initiator(&mut self, id: TxId) {
        let Some((entry, tx)) = self.in_hand(id) else {
            return;
        };
        if entry.open_call(None).is_some() {
            return;
        }
        let (participant, claim) = claim_of(tx, None, entry);
        if let Some(route) = self.admit(&participant, claim) {
            self.ask_back(id, &participant, route);
        }
    }

    /// Takes a place for a ticket, queues it, or sets its transaction aside until there is room.
    fn admit(&mut self, participant: &Name, claim: Claim) -> Option<Route> {
        let (ticket, need) = (claim.ticket, claim.need.clone());
        let dice = self.roll();
        match self.gate.admit(participant, claim, self.now, dice) {
            Admission::Now(route) => return Some(route),
            Admission::Queued => {
                let entry = self.entries.get_mut(&ticket.tx)?;
                if !entry.tickets.contains(&ticket) {
                    entry.tickets.push(ticket);
                }
            }
            Admission::Full | Admission::Unreachable => {
                self.set_aside(ticket.tx, participant.clone(), need);
            }
        }
        None
    }

    fn set_aside(&mut self, id: TxId, participant: Name, need: Need) {
        self.gate.set_aside(&participant, need.clone(), id);
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.aside.insert((participant, need));
        }
    }

    /// Ends calls and tickets that the state no longer requires. A Try on a stream is given up for the Cancel;
    /// elsewhere an action has one open call at a time, and the Cancel waits for its end.
    fn withdraw_outlived(&mut self, id: TxId, pursuit: &Pursuit) {
        let Some(entry) = self.entries.get(&id) else {
            return;
        };
        let outlived: Vec<CallId> = entry
            .open
            .iter()
            .filter(|(place, call)| !self.is_kept(*place, *call, pursuit))
            .map(|(_, call)| *call)
            .collect();
        let withdrawn: Vec<Ticket> = entry
            .tickets
            .iter()
            .filter(|ticket| match ticket.action {
                None => !pursuit.ask_back,
                Some(place) => !pursuit.calls.iter().any(|call| call.action == place),
            })
            .copied()
            .collect();
        for call in outlived {
            self.withdraw_call(call);
        }
        for ticket in withdrawn {
            self.withdraw(ticket);
        }
    }

    /// Returns whether an open call is to stay open under these requirements.
    pub(super) fn is_kept(&self, place: Option<usize>, call: CallId, pursuit: &Pursuit) -> bool {
        let Some(open) = self.open.get(&call) else {
            return false;
        };
        // A call that was sent has used up its permit: the state requires it as unauthorised.
        let required = match &open.action {
            None => pursuit.ask_back,
            Some(called) => pursuit
                .calls
                .iter()
                .any(|call| Some(call.action) == place && call.operation == called.operation),
        };
        required || open.route == Route::Direct
    }

    pub(super) fn withdraw(&mut self, ticket: Ticket) {
        let Some(entry) = self.entries.get_mut(&ticket.tx) else {
            return;
        };
        entry.tickets.retain(|kept| *kept != ticket);
        let super::entry::State::InHand { tx, .. } = &entry.state else {
            return;
        };
        let participant = match (ticket.action, &tx.spec.check_back) {
            (Some(place), _) => tx.actions[place].spec.participant.clone(),
            (None, Some(check_back)) => check_back.participant.clone(),
            (None, None) => return,
        };
        self.gate.withdraw(&participant, ticket);
        self.place_freed(&participant);
    }

    /// Sends the queued calls of a participant, as far as there are places, and continues with what was set aside for
    /// want of room.
    pub(super) fn pump(&mut self, participant: &Name) {
        loop {
            let dice = self.roll();
            let Some(admitted) = self.gate.admit_next(participant, self.now, dice) else {
                break;
            };
            if !self.redeem(admitted.ticket, admitted.route) {
                self.gate.give_back(participant, admitted, self.now);
            }
        }
        for (id, need) in self.gate.take_aside(participant) {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.aside.remove(&(participant.clone(), need));
                self.to_advance.insert(id);
            }
        }
        self.place_freed(participant);
    }

    fn place_freed(&mut self, participant: &str) {
        self.loader
            .place_freed(participant, &self.config, &self.gate, self.course.now());
    }

    /// Sends the call of a ticket, if the state still requires it; returns whether it left.
    fn redeem(&mut self, ticket: Ticket, route: Route) -> bool {
        let Some(entry) = self.entries.get_mut(&ticket.tx) else {
            return false;
        };
        entry.tickets.retain(|kept| *kept != ticket);
        let Some(tx) = entry.durable() else {
            return false;
        };
        if entry.open_call(ticket.action).is_some() || tx.rest.is_some() {
            return false;
        }
        let pursuit = pursue(tx, self.now);
        match (ticket.action, &tx.spec.check_back) {
            (None, Some(check_back)) if pursuit.ask_back => {
                let participant = check_back.participant.clone();
                self.ask_back(ticket.tx, &participant, route);
                true
            }
            (None, _) => false,
            (Some(place), _) => match pursuit.calls.iter().find(|call| call.action == place) {
                Some(call) if call.authorised => {
                    self.send(ticket.tx, place, call.operation, route);
                    true
                }
                _ => false,
            },
        }
    }

    /// Continues with a participant whose ways have changed for the better: its calls leave, and its rows in the table
    /// are the first to be looked up.
    pub(super) fn reachable_again(&mut self, participant: &Name) {
        self.loader.returned(participant);
        self.pump(participant);
    }

    /// Continues with the participants to which more calls may leave by the passing of time.
    pub(super) fn wake_participants(&mut self) {
        for (participant, was_down) in self.gate.wake(self.now) {
            if was_down {
                self.reachable_again(&participant);
            } else {
                self.pump(&participant);
            }
        }
    }

    /// Sends no more calls on a stream.
    pub(super) fn drain_stream(&mut self, stream: StreamId) {
        self.gate.drain(stream);
        if let Some(participant) = self.gate.participant_of(stream) {
            self.advance_stranded(&participant);
        }
    }

    /// Removes a stream that is gone: its open calls get no answer.
    pub(super) fn remove_stream(&mut self, stream: StreamId) {
        let participant = self.gate.detach(stream);
        let calls: Vec<CallId> = self
            .open
            .iter()
            .filter(|(_, open)| open.route == Route::Stream(stream))
            .map(|(call, _)| *call)
            .collect();
        for call in calls {
            let error = "the participant's stream broke before it answered".to_owned();
            self.give_up_call(call, error);
        }
        if let Some(participant) = participant {
            self.advance_stranded(&participant);
        }
    }

    /// Continues with the transactions whose tickets queue for a participant that can no longer be reached.
    pub(super) fn advance_stranded(&mut self, participant: &Name) {
        for ticket in self.gate.take_stranded(participant) {
            if let Some(entry) = self.entries.get_mut(&ticket.tx) {
                entry.tickets.retain(|kept| *kept != ticket);
                self.to_advance.insert(ticket.tx);
            }
        }
    }
}

/// Returns the claim of a call of the action at this place, or without one of the question to the initiator; and the
/// participant to call.
pub(super) fn claim_of(tx: &Transaction, place: Option<usize>, entry: &Entry) -> (Name, Claim) {
    let (participant, need) = match (place, &tx.spec.check_back) {
        (Some(place), _) => {
            let spec = &tx.actions[place].spec;
            (spec.participant.clone(), spec.need())
        }
        (None, Some(check_back)) => (check_back.participant.clone(), Need::CheckBack),
        // Without an initiator to ask no question is required.
        (None, None) => (Name::default(), Need::CheckBack),
    };
    let claim = Claim {
        ticket: Ticket {
            tx: tx.id(),
            action: place,
        },
        need,
        origin: entry.origin,
        weight: tx.weight(),
    };
    (participant, claim)
}

/// Returns whether the transaction is in phase one and its initiator makes the Tries.
pub(super) fn awaits_initiator(tx: &Transaction) -> bool {
    tx.phase == Phase::Trying && !tx.spec.is_executed()
}
