//! Calls under way, and their ends.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tercet_mutation::broken;

use super::{Engine, Timer};
use crate::{
    gate::{Change, End, Ending, Ticket},
    id::{CallId, TxId},
    limits,
    model::{Name, Operation, Sent, Transaction},
    port::{
        AskBack, Call, CallAnswer, CallResult, CheckBackAnswer, CheckBackResult, Output, Route,
    },
    time::{Moment, Timestamp},
    transition::{CallEnd, Event},
};

/// A call that is under way.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OpenCall {
    pub(super) tx: TxId,
    participant: Name,
    /// The action; `None`: the call is a question to the initiator.
    pub(super) action: Option<CalledAction>,
    pub(super) route: Route,
    /// By the database's clock, for people.
    sent_at: Timestamp,
    sent: Moment,
    until: Moment,
}

/// The action that a call is for, and the operation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CalledAction {
    place: usize,
    name: Name,
    pub(super) operation: Operation,
}

impl OpenCall {
    fn place(&self) -> Option<usize> {
        self.action.as_ref().map(|called| called.place)
    }

    fn ticket(&self) -> Ticket {
        Ticket {
            tx: self.tx,
            action: self.place(),
        }
    }
}

impl Engine {
    /// Sends a call of the action at this place.
    pub(super) fn send(&mut self, id: TxId, place: usize, operation: Operation, route: Route) {
        let call = self.next_call();
        let Some(tx) = self
            .entries
            .get_mut(&id)
            .and_then(|entry| entry.durable_mut())
        else {
            return;
        };
        let action = &mut tx.actions[place];
        let attempt = if operation == Operation::Try {
            action.live.sent = match action.live.sent {
                Sent::Never => Sent::Once,
                Sent::Once | Sent::Perhaps => Sent::Perhaps,
            };
            action.live.tries += 1;
            action.live.tries
        } else {
            action.live.permit = false;
            action.state.retry_count + 1
        };
        let spec = action.spec.clone();
        let timeout = spec.retry.in_effect().call_timeout;
        let time_left = match operation {
            Operation::Try => tx.moments.due.since(self.now),
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
        let called = CalledAction {
            place,
            name: spec.name.clone(),
            operation,
        };
        let participant = spec.participant.clone();
        self.add_open(call, id, participant, Some(called), route, timeout);
    }

    /// Sends a question to the initiator.
    pub(super) fn ask_back(&mut self, id: TxId, participant: &Name, route: Route) {
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
        self.add_open(call, id, participant.clone(), None, route, timeout);
    }

    fn next_call(&mut self) -> CallId {
        self.last_call += 1;
        CallId(self.last_call)
    }

    /// Adds a call that was sent to the open ones.
    fn add_open(
        &mut self,
        call: CallId,
        tx: TxId,
        participant: Name,
        action: Option<CalledAction>,
        route: Route,
        timeout: Duration,
    ) {
        let until = self.now + timeout;
        let open = OpenCall {
            tx,
            participant,
            action,
            route,
            sent_at: self.course.now().time,
            sent: self.now,
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

    /// Closes a call that has not been answered: an answer that still comes does not count, and a call that was not
    /// taken yet does not leave.
    pub(super) fn withdraw_call(&mut self, call: CallId) -> Option<OpenCall> {
        self.take_back(call);
        self.close_call(call)
    }

    /// Lets a call that was not taken yet not leave: before those for which there is a place now.
    fn take_back(&mut self, call: CallId) {
        if let Some(open) = self.open.get(&call)
            && !broken("closed_call_left_to_leave")
        {
            let route = open.route;
            self.outputs.push(Output::Withdraw { call, route });
        }
    }

    /// Closes a call, and gives its place to another.
    fn close_call(&mut self, call: CallId) -> Option<OpenCall> {
        let open = self.open.remove(&call)?;
        self.timers.remove(&(open.until, Timer::Call(call)));
        if let Some(entry) = self.entries.get_mut(&open.tx) {
            entry.open.retain(|(_, other)| *other != call);
        }
        let ticket = open.ticket();
        self.gate
            .release(&open.participant, ticket, open.route, self.now);
        self.pump(&open.participant);
        Some(open)
    }

    /// Closes all calls of a transaction, and withdraws its tickets.
    pub(super) fn close_calls(&mut self, id: TxId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let calls: Vec<CallId> = entry.open.iter().map(|(_, call)| *call).collect();
        for ticket in entry.tickets.clone() {
            self.withdraw(ticket);
        }
        for call in calls {
            self.withdraw_call(call);
        }
    }

    /// Ends the call that a result names, if the result is its own.
    pub(super) fn call_result(&mut self, result: CallResult) {
        let Some(open) = self.open.get(&result.call) else {
            return;
        };
        let Some(called) = &open.action else {
            return;
        };
        let ours = result.epoch == self.owner.epoch
            && result.route == open.route
            && result.tx == open.tx
            && result.action == called.name
            && result.operation == called.operation;
        if ours || broken("late_result_matched_by_call_id") {
            self.end_call(result.call, result.answer);
        }
    }

    /// Ends the question that a result names, if the result is its own.
    pub(super) fn check_back_result(&mut self, result: CheckBackResult) {
        let Some(open) = self.open.get(&result.call) else {
            return;
        };
        let ours = result.epoch == self.owner.epoch
            && result.route == open.route
            && result.tx == open.tx
            && open.action.is_none();
        if ours {
            self.end_question(result.call, result.answer);
        }
    }

    /// Ends a question with its answer; [`CheckBackAnswer::Unknown`] gives the reason where none came.
    fn end_question(&mut self, call: CallId, answer: CheckBackAnswer) {
        let ending = match &answer {
            CheckBackAnswer::Decided(_) => Ending::Answered,
            CheckBackAnswer::Unknown(_) => Ending::Failed,
            CheckBackAnswer::Unsent(error) => Ending::Unsent(error),
        };
        if let Some(open) = self.end(call, ending) {
            self.happened(open.tx, Event::AskedBack(answer));
        }
    }

    /// Closes a call that has ended, and goes by what its end tells of the participant.
    fn end(&mut self, call: CallId, ending: Ending<'_>) -> Option<OpenCall> {
        let (dice, now) = (self.roll(), self.course.now());
        let open = self.open.get(&call)?;
        let end = End {
            ticket: open.ticket(),
            route: open.route,
            sent_at: open.sent,
            ending,
        };
        let change = self.gate.note_end(&open.participant, &end, now, dice);
        let open = self.close_call(call)?;
        match change {
            Change::None => {}
            Change::Down => self.advance_stranded(&open.participant),
            Change::Up => self.reachable_again(&open.participant),
        }
        Some(open)
    }

    /// Ends a call to which no answer comes any more.
    pub(super) fn give_up_call(&mut self, call: CallId, error: String) {
        self.take_back(call);
        match self.open.get(&call) {
            Some(open) if open.action.is_none() => {
                self.end_question(call, CheckBackAnswer::Unknown(error));
            }
            _ => self.end_call(call, CallAnswer::Unknown(error)),
        }
    }

    /// Ends a call of an action with its answer; [`CallAnswer::Unknown`] gives the reason where none came.
    fn end_call(&mut self, call: CallId, answer: CallAnswer) {
        let ending = match &answer {
            CallAnswer::Ok(_) | CallAnswer::Rejected(_) => Ending::Answered,
            CallAnswer::Unknown(_) => Ending::Failed,
            CallAnswer::Unsent(error) => Ending::Unsent(error),
        };
        let Some(open) = self.end(call, ending) else {
            return;
        };
        let Some(called) = open.action else {
            return;
        };
        // By the way on which the call left, not by the one on which the next would.
        let rejections_to_believe = match open.route {
            Route::Direct => limits::REJECTIONS_TO_BELIEVE,
            Route::Stream(_) => 1,
        };
        let end = CallEnd {
            action: called.place,
            answer,
            sent_at: open.sent_at,
            took: self.now.since(open.sent),
            rejections_to_believe,
        };
        let event = match called.operation {
            Operation::Try => Event::TryEnded(end),
            Operation::Confirm | Operation::Cancel => Event::FinishEnded(end),
        };
        self.happened(open.tx, event);
    }

    /// Lets every open call wait for its answer by this time longer.
    pub(super) fn wait_longer(&mut self, by: Duration) {
        for (call, open) in &mut self.open {
            self.timers.remove(&(open.until, Timer::Call(*call)));
            open.until = open.until + by;
            self.timers.insert((open.until, Timer::Call(*call)));
        }
    }

    /// Ends a call whose answer did not come in time.
    pub(super) fn time_out_call(&mut self, call: CallId) {
        let Some(open) = self.open.get(&call) else {
            return;
        };
        let waited = self.now.since(open.sent);
        let error = format!("no answer from {} within {waited:?}", open.participant);
        self.give_up_call(call, error);
    }

    /// Returns whether an answer to this call would count.
    pub fn is_open(&self, call: CallId) -> bool {
        self.open.contains_key(&call)
    }
}

/// Returns the results that go with a call: for a Try those of the actions that come before it, where the action's
/// `wants_results` is set; otherwise that of the action's own Try.
fn results_for(tx: &Transaction, place: usize, operation: Operation) -> Vec<(Name, Bytes)> {
    let action = &tx.actions[place];
    if operation == Operation::Try {
        if !action.spec.wants_results {
            return Vec::new();
        }
        return tx
            .actions_before(place, operation)
            .map(|before| (before.spec.name.clone(), before.state.result.clone()))
            .collect();
    }
    if action.state.result.is_empty() {
        return Vec::new();
    }
    vec![(action.spec.name.clone(), action.state.result.clone())]
}
