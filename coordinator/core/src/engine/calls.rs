//! Calls: which are under way, which should be, and what came back.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tercet_mutation::broken;

use super::{
    Answer, AskBack, Call, CallOutcome, CheckBackAnswer, Engine, Output, Route, Timer,
    entry::{Job, State},
};
use crate::{
    gate::{Admission, Ticket},
    id::{CallId, StreamId, TxId},
    limits,
    model::{Driver, Name, Operation, Phase, Sent, Transaction},
    pursuit::{Pursuit, Wanted, predecessors, pursue},
    time::Timestamp,
    transition::{Answered, Event},
};

/// A call that is under way.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OpenCall {
    tx: TxId,
    participant: Name,
    /// The action's place and name, and what was asked; `None`: a question to the initiator.
    asked: Option<(usize, Name, Operation)>,
    route: Route,
    sent_at: Timestamp,
    until: Timestamp,
}

impl OpenCall {
    fn place(&self) -> Option<usize> {
        self.asked.as_ref().map(|(place, ..)| *place)
    }
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

    fn withdraw(&mut self, ticket: Ticket) {
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

    fn send(&mut self, id: TxId, place: usize, operation: Operation, route: Route) {
        let call = self.next_call();
        let Some(tx) = self
            .entries
            .get_mut(&id)
            .and_then(|entry| entry.durable_mut())
        else {
            return;
        };
        let action = &mut tx.actions[place];
        action.live.unreachable = false;
        let attempt = if operation == Operation::Try {
            action.live.sent = match action.live.sent {
                Sent::Never => Sent::Once,
                Sent::Once | Sent::Perhaps => Sent::Perhaps,
            };
            action.live.tries += 1;
            action.live.tries
        } else {
            action.live.permit = false;
            action.retry_count + 1
        };
        let spec = action.spec.clone();
        let timeout = spec.retry.call_timeout;
        let time_left = match operation {
            Operation::Try => tx.spec.deadline.since(self.now),
            Operation::Confirm | Operation::Cancel => timeout,
        };
        let message = Call {
            id: call,
            route,
            tx: id,
            business_type: tx.spec.business_type.clone(),
            business_id: tx.spec.business_id.clone(),
            tx_ext: tx.spec.ext.clone(),
            action: Arc::clone(&spec),
            operation,
            attempt,
            results: results_for(tx, place, operation),
            timeout,
            time_left,
        };
        self.outputs.push(Output::Call(message));
        let asked = Some((place, spec.name.clone(), operation));
        self.opened(call, id, spec.participant.clone(), asked, route, timeout);
    }

    fn send_question(&mut self, id: TxId, participant: &Name, route: Route) {
        let call = self.next_call();
        let Some(tx) = self.entries.get(&id).and_then(|entry| entry.durable()) else {
            return;
        };
        let timeout = limits::CALL_TIMEOUT_DEFAULT;
        self.outputs.push(Output::AskBack(AskBack {
            id: call,
            route,
            tx: id,
            participant: participant.clone(),
            business_type: tx.spec.business_type.clone(),
            business_id: tx.spec.business_id.clone(),
            ext: tx.spec.ext.clone(),
            attempt: tx.check_backs,
            timeout,
        }));
        self.opened(call, id, participant.clone(), None, route, timeout);
    }

    fn next_call(&mut self) -> CallId {
        self.last_call += 1;
        CallId(self.last_call)
    }

    fn opened(
        &mut self,
        call: CallId,
        tx: TxId,
        participant: Name,
        asked: Option<(usize, Name, Operation)>,
        route: Route,
        timeout: Duration,
    ) {
        let until = self.now + timeout;
        let open = OpenCall {
            tx,
            participant,
            asked,
            route,
            sent_at: self.now,
            until,
        };
        if let Some(entry) = self.entries.get_mut(&tx) {
            let place = open.place();
            entry.tickets.retain(|ticket| ticket.action != place);
            entry.open.push((place, call));
        }
        self.timers.insert((until, Timer::Call(call)));
        self.open.insert(call, open);
    }

    /// Ends a call: its answer, if one comes, counts no longer.
    fn close_call(&mut self, call: CallId) -> Option<OpenCall> {
        let open = self.open.remove(&call)?;
        self.timers.remove(&(open.until, Timer::Call(call)));
        if let Some(entry) = self.entries.get_mut(&open.tx) {
            entry.open.retain(|(_, other)| *other != call);
        }
        self.gate.release(&open.participant, open.route);
        self.pump(&open.participant);
        Some(open)
    }

    /// Ends everything that is under way for a transaction.
    pub(super) fn close_calls(&mut self, id: TxId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let calls: Vec<CallId> = entry.open.iter().map(|(_, call)| *call).collect();
        for ticket in entry.tickets.clone() {
            self.withdraw(ticket);
        }
        for call in calls {
            self.close_call(call);
        }
    }

    /// Sends what queues for a participant, as far as there are places.
    fn pump(&mut self, participant: &str) {
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

    pub(super) fn answered(&mut self, answer: Answer) {
        let Some(open) = self.open.get(&answer.call) else {
            return;
        };
        let Some((_, name, operation)) = &open.asked else {
            return;
        };
        let ours = answer.epoch == self.owner.epoch
            && answer.route == open.route
            && answer.tx == open.tx
            && answer.action == *name
            && answer.operation == *operation;
        if ours || broken("late_result_matched_by_call_id") {
            self.concluded(answer.call, answer.outcome);
        }
    }

    pub(super) fn asked_back(&mut self, answer: CheckBackAnswer) {
        let Some(open) = self.open.get(&answer.call) else {
            return;
        };
        let ours = answer.epoch == self.owner.epoch
            && answer.route == open.route
            && answer.tx == open.tx
            && open.asked.is_none();
        if ours {
            let id = open.tx;
            self.close_call(answer.call);
            self.happened(id, Event::AskedBack(answer.outcome));
        }
    }

    /// A call has come to its end, with an answer or without one.
    fn concluded(&mut self, call: CallId, outcome: CallOutcome) {
        let Some(open) = self.close_call(call) else {
            return;
        };
        let Some((action, _, operation)) = open.asked else {
            let error = match outcome {
                CallOutcome::Unknown(error) | CallOutcome::Rejected(error) => error,
                CallOutcome::Ok(_) => String::new(),
            };
            self.happened(open.tx, Event::AskedBack(Err(error)));
            return;
        };
        let rejections_to_believe = if self.gate.is_direct(&open.participant) {
            limits::REJECTIONS_TO_BELIEVE
        } else {
            1
        };
        let answered = Answered {
            action,
            outcome,
            sent_at: open.sent_at,
            rejections_to_believe,
        };
        let event = match operation {
            Operation::Try => Event::TryAnswered(answered),
            Operation::Confirm | Operation::Cancel => Event::FinishAnswered(answered),
        };
        self.happened(open.tx, event);
    }

    pub(super) fn call_timed_out(&mut self, call: CallId) {
        let Some(open) = self.open.get(&call) else {
            return;
        };
        let waited = self.now.since(open.sent_at);
        let error = format!("no answer from {} within {waited:?}", open.participant);
        self.concluded(call, CallOutcome::Unknown(error));
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

/// What became of seeking a way for a call.
enum Sought {
    /// It is under way, waits its turn, or waits for a way.
    UnderWay,
    /// It has to be authorised first.
    Authorise,
    /// Something has to be noted first.
    Event(Event),
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

/// What goes with a call: for a Try the results of the actions it comes after, if it wants them;
/// otherwise what its own Try returned.
fn results_for(tx: &Transaction, place: usize, operation: Operation) -> Vec<(Name, Bytes)> {
    let action = &tx.actions[place];
    if operation == Operation::Try {
        if !action.spec.wants_results {
            return Vec::new();
        }
        return predecessors(tx, place, operation)
            .map(|before| (before.spec.name.clone(), before.result.clone()))
            .collect();
    }
    if action.result.is_empty() {
        return Vec::new();
    }
    vec![(action.spec.name.clone(), action.result.clone())]
}
