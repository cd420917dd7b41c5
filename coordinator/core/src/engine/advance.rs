//! Brings the calls under way in line with those that the durable state requires, and with the ways there are.

use super::{
    Engine,
    entry::{Job, State},
};
use crate::{
    gate::{Admission, Ticket},
    id::{CallId, StreamId, TxId},
    model::{Decider, Name, Phase, Transaction},
    port::{CallAnswer, Route},
    pursuit::{Pursuit, RequiredCall, pursue},
    transition::Event,
};

/// The result of seeking a way for a call.
enum Sought {
    /// The call is under way, waits its turn, or waits for a way.
    UnderWay,
    /// A write has to authorise the call first.
    Authorise,
    /// This event comes first.
    Event(Event),
}

impl Engine {
    /// Brings the calls under way in line with those that the durable state requires.
    pub(super) fn advance(&mut self, id: TxId) {
        let Some(tx) = self.entries.get(&id).and_then(|entry| entry.durable()) else {
            return;
        };
        if tx.phase.is_over() {
            self.forget(id);
            return;
        }
        let pursuit = pursue(tx, self.now);
        self.withdraw_outlived(id, &pursuit);
        let mut events = Vec::new();
        let mut to_authorise = Vec::new();
        for call in &pursuit.calls {
            match self.seek(id, *call) {
                Sought::UnderWay => {}
                Sought::Authorise => to_authorise.push(call.action),
                Sought::Event(event) => events.push(event),
            }
        }
        if pursuit.ask_back {
            events.extend(self.seek_initiator(id));
        }
        if !to_authorise.is_empty() {
            events.push(Event::Authorise {
                actions: to_authorise,
            });
        }
        self.set_wake(id, pursuit.wake);
        if events.is_empty() {
            self.rest(id, &pursuit);
        } else if let Some(entry) = self.entries.get_mut(&id) {
            entry.jobs.extend(events.into_iter().map(Job::Event));
            self.process(id);
        }
    }

    /// Seeks a way for a call that should be under way.
    fn seek(&mut self, id: TxId, call: RequiredCall) -> Sought {
        let Some(entry) = self.entries.get(&id) else {
            return Sought::UnderWay;
        };
        let Some(tx) = entry.durable() else {
            return Sought::UnderWay;
        };
        if entry.open_call(Some(call.action)).is_some() {
            return Sought::UnderWay;
        }
        let action = &tx.actions[call.action];
        let participant = action.spec.participant.clone();
        let known_unreachable = action.live.unreachable;
        let ticket = Ticket {
            tx: id,
            action: Some(call.action),
        };
        if !call.authorised && self.gate.is_reachable(&participant) {
            return Sought::Authorise;
        }
        match self.gate.admit(&participant, ticket) {
            Admission::Now(route) => self.send(id, call.action, call.operation, route),
            Admission::Queued => self.keep_ticket(id, ticket),
            Admission::Unreachable if known_unreachable => {}
            Admission::Unreachable => {
                let (action, operation) = (call.action, call.operation);
                return Sought::Event(Event::Unreachable { action, operation });
            }
        }
        Sought::UnderWay
    }

    /// Seeks a way for the question to the initiator.
    fn seek_initiator(&mut self, id: TxId) -> Option<Event> {
        let entry = self.entries.get(&id)?;
        let check_back = entry.durable()?.spec.check_back.as_ref()?;
        if entry.open_call(None).is_some() {
            return None;
        }
        let participant = check_back.participant.clone();
        let ticket = Ticket {
            tx: id,
            action: None,
        };
        match self.gate.admit(&participant, ticket) {
            Admission::Now(route) => self.ask_back(id, &participant, route),
            Admission::Queued => self.keep_ticket(id, ticket),
            Admission::Unreachable => return Some(Event::InitiatorUnreachable),
        }
        None
    }

    fn keep_ticket(&mut self, id: TxId, ticket: Ticket) {
        if let Some(entry) = self.entries.get_mut(&id)
            && !entry.tickets.contains(&ticket)
        {
            entry.tickets.push(ticket);
        }
    }

    /// Ends calls and tickets that the state no longer requires. A Try on a stream is given up for the Cancel;
    /// elsewhere an action has one open call at a time, and the Cancel waits for its end.
    fn withdraw_outlived(&mut self, id: TxId, pursuit: &Pursuit) {
        let Some(entry) = self.entries.get(&id) else {
            return;
        };
        let mut outlived = Vec::new();
        for (place, id) in &entry.open {
            let Some(open) = self.open.get(id) else {
                continue;
            };
            let required = match &open.action {
                None => pursuit.ask_back,
                Some(called) => pursuit
                    .calls
                    .iter()
                    .any(|call| Some(call.action) == *place && call.operation == called.operation),
            };
            // A call that was sent has used up its permit: the state requires it as unauthorised.
            if !required && open.route != Route::Direct {
                outlived.push(*id);
            }
        }
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
            self.close_call(call);
        }
        for ticket in withdrawn {
            self.withdraw(ticket);
        }
    }

    pub(super) fn withdraw(&mut self, ticket: Ticket) {
        let Some(entry) = self.entries.get_mut(&ticket.tx) else {
            return;
        };
        entry.tickets.retain(|kept| *kept != ticket);
        let State::InHand { tx, .. } = &entry.state else {
            return;
        };
        if let Some(participant) = participant_of(tx, ticket.action) {
            self.gate.withdraw(&participant, ticket);
        }
    }

    /// Puts a transaction with nothing under way to rest in the table, if its next step is far.
    fn rest(&mut self, id: TxId, pursuit: &Pursuit) {
        let far = self.now + self.config.hold;
        let Some(entry) = self.entries.get(&id) else {
            return;
        };
        let Some(tx) = entry.durable() else { return };
        let idle = entry.open.is_empty() && entry.tickets.is_empty() && entry.waiters.is_empty();
        if !idle || pursuit.wake.is_some_and(|wake| wake <= far) {
            return;
        }
        let phase_two = matches!(tx.phase, Phase::Finishing { .. });
        if matches!(tx.phase, Phase::Trying) {
            if tx.spec.decider == Decider::Initiator {
                self.idle.insert(id);
            }
        } else if phase_two && tx.actions.iter().any(|action| action.live.dirty) {
            self.write_down(id);
        } else {
            for call in &pursuit.calls {
                self.withdraw(Ticket {
                    tx: id,
                    action: Some(call.action),
                });
            }
            self.forget(id);
        }
    }

    /// Sends the queued calls of a participant, as far as there are places.
    pub(super) fn pump(&mut self, participant: &str) {
        while let Some((ticket, route)) = self.gate.admit_next(participant) {
            if !self.redeem(ticket, route) {
                self.gate.release(participant, route);
            }
        }
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
        if entry.open_call(ticket.action).is_some() {
            return false;
        }
        let pursuit = pursue(tx, self.now);
        match ticket.action {
            None if pursuit.ask_back => {
                let Some(participant) = participant_of(tx, None) else {
                    return false;
                };
                self.ask_back(ticket.tx, &participant, route);
                true
            }
            None => false,
            Some(place) => match pursuit.calls.iter().find(|call| call.action == place) {
                Some(call) if call.authorised => {
                    self.send(ticket.tx, place, call.operation, route);
                    true
                }
                _ => false,
            },
        }
    }

    /// Continues with a participant that can be reached again: its calls leave, the transactions in memory that
    /// wait for it go on, and its rows in the table are due.
    pub(super) fn reachable_again(&mut self, participant: &Name) {
        self.loader.reachable_again(participant, self.now);
        self.pump(participant);
        for id in self.gate.take_waiting(participant) {
            self.advance(id);
        }
    }

    /// Sends no more calls on a stream.
    pub(super) fn drain_stream(&mut self, stream: StreamId) {
        self.gate.drain(stream);
        self.advance_stranded_on(stream);
    }

    /// Removes a stream that is gone: its open calls get no answer.
    pub(super) fn remove_stream(&mut self, stream: StreamId) {
        self.advance_stranded_on(stream);
        let participant = self.gate.detach(stream);
        let calls: Vec<CallId> = self
            .open
            .iter()
            .filter(|(_, open)| open.route == Route::Stream(stream))
            .map(|(call, _)| *call)
            .collect();
        for call in calls {
            let error = "the participant's stream broke before it answered".to_owned();
            self.end_call(call, CallAnswer::Unknown(error));
        }
        if let Some(participant) = participant {
            self.advance_stranded(&participant);
        }
    }

    fn advance_stranded_on(&mut self, stream: StreamId) {
        if let Some(participant) = self.gate.participant_of(stream) {
            self.advance_stranded(&participant);
        }
    }

    /// Continues with the transactions whose tickets queue for a participant that can no longer be reached.
    fn advance_stranded(&mut self, participant: &Name) {
        for ticket in self.gate.take_stranded(participant) {
            if let Some(entry) = self.entries.get_mut(&ticket.tx) {
                entry.tickets.retain(|kept| *kept != ticket);
            }
            self.advance(ticket.tx);
        }
    }
}

/// Returns the participant of the action at this place, or the initiator that is asked back.
fn participant_of(tx: &Transaction, place: Option<usize>) -> Option<Name> {
    match place {
        Some(place) => tx
            .actions
            .get(place)
            .map(|action| action.spec.participant.clone()),
        None => tx
            .spec
            .check_back
            .as_ref()
            .map(|check_back| check_back.participant.clone()),
    }
}
