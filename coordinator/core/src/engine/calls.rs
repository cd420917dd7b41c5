//! Calls: which are under way, which should be, and what came back.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tercet_mutation::broken;

use super::{Answer, AskBack, Call, CallOutcome, CheckBackAnswer, Engine, Output, Route, Timer};
use crate::{
    id::{CallId, TxId},
    limits,
    model::{Name, Operation, Sent, Transaction},
    pursuit::predecessors,
    time::Timestamp,
    transition::{Answered, Event},
};

/// A call that is under way.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OpenCall {
    pub(super) tx: TxId,
    participant: Name,
    /// The action's place and name, and what was asked; `None`: a question to the initiator.
    pub(super) asked: Option<(usize, Name, Operation)>,
    pub(super) route: Route,
    sent_at: Timestamp,
    until: Timestamp,
}

impl OpenCall {
    fn place(&self) -> Option<usize> {
        self.asked.as_ref().map(|(place, ..)| *place)
    }
}

impl Engine {
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

    pub(super) fn send_question(&mut self, id: TxId, participant: &Name, route: Route) {
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
    pub(super) fn close_call(&mut self, call: CallId) -> Option<OpenCall> {
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
    pub(super) fn concluded(&mut self, call: CallId, outcome: CallOutcome) {
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
