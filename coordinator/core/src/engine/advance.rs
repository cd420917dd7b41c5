//! Brings what is under way in line with what the durable state wants, and with the ways there are.

use super::{
    CallOutcome, Engine, Route,
    entry::{Job, State},
};
use crate::{
    gate::{Admission, Ticket},
    id::{CallId, StreamId, TxId},
    model::{Driver, Name, Phase, Transaction},
    pursuit::{Pursuit, Wanted, pursue},
    transition::Event,
};

/// What became of seeking a way for a call.
enum Sought {
    /// It is under way, waits its turn, or waits for a way.
    UnderWay,
    /// It has to be authorised first.
    Authorise,
    /// Something has to be noted first.
    Event(Event),
}

impl Engine {
    /// Brings what is under way in line with what the durable state wants.
    pub(super) fn advance(&mut self, id: TxId) {
        let Some(tx) = self.entries.get(&id).and_then(|entry| entry.durable()) else {
            return;
        };
        if tx.phase.is_settled() {
            self.forget(id);
            return;
        }
        let pursuit = pursue(tx, self.now);
        self.withdraw_outlived(id, &pursuit);
        let mut events = Vec::new();
        let mut to_authorise = Vec::new();
        for wanted in &pursuit.calls {
            match self.seek(id, *wanted) {
                Sought::UnderWay => {}
                Sought::Authorise => to_authorise.push(wanted.action),
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
    fn seek(&mut self, id: TxId, wanted: Wanted) -> Sought {
        let Some(entry) = self.entries.get(&id) else {
            return Sought::UnderWay;
        };
        let Some(tx) = entry.durable() else {
            return Sought::UnderWay;
        };
        if entry.open_call(Some(wanted.action)).is_some() {
            return Sought::UnderWay;
        }
        let action = &tx.actions[wanted.action];
        let participant = action.spec.participant.clone();
        let known_unreachable = action.live.unreachable;
        let ticket = Ticket {
            tx: id,
            action: Some(wanted.action),
        };
        if !wanted.authorised && self.gate.is_reachable(&participant) {
            return Sought::Authorise;
        }
        match self.gate.ask(&participant, ticket) {
            Admission::Now(route) => self.send(id, wanted.action, wanted.operation, route),
            Admission::Queued => self.keep_ticket(id, ticket),
            Admission::Unreachable if known_unreachable => {}
            Admission::Unreachable => {
                let (action, operation) = (wanted.action, wanted.operation);
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
        match self.gate.ask(&participant, ticket) {
            Admission::Now(route) => self.send_question(id, &participant, route),
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

    /// Ends calls and tickets that the state no longer wants. A Try on a stream is given up for the
    /// Cancel; elsewhere one call of an action is outstanding, and the Cancel waits.
    fn withdraw_outlived(&mut self, id: TxId, pursuit: &Pursuit) {
        let Some(entry) = self.entries.get(&id) else {
            return;
        };
        let mut outlived = Vec::new();
        for (place, call) in &entry.open {
            let Some(open) = self.open.get(call) else {
                continue;
            };
            let wanted = match &open.asked {
                None => pursuit.ask_back,
                Some((_, _, operation)) => pursuit
                    .calls
                    .iter()
                    .any(|w| Some(w.action) == *place && w.operation == *operation),
            };
            // A call that was sent uses up its permit, so that it is wanted as unauthorised.
            if !wanted && open.route != Route::Direct {
                outlived.push(*call);
            }
        }
        let withdrawn: Vec<Ticket> = entry
            .tickets
            .iter()
            .filter(|ticket| match ticket.action {
                None => !pursuit.ask_back,
                Some(place) => !pursuit.calls.iter().any(|wanted| wanted.action == place),
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
        let State::Held { tx, .. } = &entry.state else {
            return;
        };
        if let Some(participant) = participant_of(tx, ticket.action) {
            self.gate.withdraw(&participant, ticket);
        }
    }

    /// Whether a transaction with nothing under way is better kept in the table.
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
            if tx.spec.driver == Driver::Initiator {
                self.resting.insert(id);
            }
        } else if phase_two && tx.actions.iter().any(|action| action.live.dirty) {
            self.write_down(id);
        } else {
            for wanted in &pursuit.calls {
                self.withdraw(Ticket {
                    tx: id,
                    action: Some(wanted.action),
                });
            }
            self.forget(id);
        }
    }

    /// Sends what queues for a participant, as far as there are places.
    pub(super) fn pump(&mut self, participant: &str) {
        while let Some((ticket, route)) = self.gate.next(participant) {
            if !self.redeem(ticket, route) {
                self.gate.release(participant, route);
            }
        }
    }

    /// Sends the call that a ticket is for, if it is still wanted.
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
                self.send_question(ticket.tx, &participant, route);
                true
            }
            None => false,
            Some(place) => match pursuit.calls.iter().find(|wanted| wanted.action == place) {
                Some(wanted) if wanted.authorised => {
                    self.send(ticket.tx, place, wanted.operation, route);
                    true
                }
                _ => false,
            },
        }
    }

    /// A participant can be reached again: what waits for it here goes on, and what waits in the
    /// table is due.
    pub(super) fn reachable_again(&mut self, participant: &Name) {
        self.loader.reachable_again(participant, self.now);
        self.pump(participant);
        for id in self.gate.take_waiting(participant) {
            self.advance(id);
        }
    }

    pub(super) fn stream_drains(&mut self, stream: StreamId) {
        self.gate.drain(stream);
        self.leave_stranded(stream);
    }

    /// A stream is gone: nobody will answer its calls.
    pub(super) fn stream_broke(&mut self, stream: StreamId) {
        self.leave_stranded(stream);
        let participant = self.gate.detach(stream);
        let calls: Vec<CallId> = self
            .open
            .iter()
            .filter(|(_, open)| open.route == Route::Stream(stream))
            .map(|(call, _)| *call)
            .collect();
        for call in calls {
            let error = "the participant's stream broke before it answered".to_owned();
            self.concluded(call, CallOutcome::Unknown(error));
        }
        if let Some(participant) = participant {
            self.advance_stranded(&participant);
        }
    }

    fn leave_stranded(&mut self, stream: StreamId) {
        if let Some(participant) = self.gate.participant_of(stream) {
            self.advance_stranded(&participant);
        }
    }

    fn advance_stranded(&mut self, participant: &Name) {
        for ticket in self.gate.take_stranded(participant) {
            if let Some(entry) = self.entries.get_mut(&ticket.tx) {
                entry.tickets.retain(|kept| *kept != ticket);
            }
            self.advance(ticket.tx);
        }
    }
}

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
