//! The messages that reach the coordinator's process in a world: requests, answers to calls, and the streams of
//! participants.

use tercet_core::{
    id::{CallId, StreamId},
    port::{CallAnswer, CallResult, CheckBackResult, Input, Request, Route},
};

use super::{Event, Letter, World};
use crate::sim::{
    faults::Fault,
    judge::RequestKind,
    process::{OpenStream, Waiter},
};

impl World {
    pub(super) fn request_arrives(
        &mut self,
        client: Option<usize>,
        ticket: u64,
        kind: RequestKind,
        request: Request,
    ) {
        if self.is_paused() {
            self.postpone(Event::Arrives(Box::new(Letter::Request {
                client,
                ticket,
                kind,
                request,
            })));
            return;
        }
        let Some(process) = &mut self.process else {
            return;
        };
        let id = request.id();
        let caller = process.open_caller(Waiter {
            client,
            ticket,
            tx: id,
            kind: kind.clone(),
        });
        self.note(Some(id), || format!("{kind:?} arrives"));
        self.deliver(Input::Request { caller, request });
        if self.faults.strikes(Fault::CallerLeaves)
            && let Some(process) = &mut self.process
            && process.callers.remove(&caller).is_some()
        {
            process.left.insert(caller);
            self.deliver(Input::CallerLeft { caller, id });
        }
    }

    pub(super) fn call_result_arrives(&mut self, epoch: u64, result: CallResult) {
        if self.is_paused() {
            self.postpone(Event::Arrives(Box::new(Letter::CallResult {
                epoch,
                result,
            })));
            return;
        }
        if !self.is_connected(epoch, result.route) {
            return;
        }
        if result.route == Route::Direct {
            let open = self
                .process
                .as_mut()
                .and_then(|process| process.direct.remove(&result.call));
            if open.is_none() {
                return;
            }
        }
        self.note(Some(result.tx), || {
            let (operation, action, call) = (result.operation, &result.action, result.call.0);
            let (of, route) = (result.epoch, result.route);
            let answer = &result.answer;
            format!(
                "{operation} of {action} answers {answer:?} (call {call} of epoch {of}, {route:?})"
            )
        });
        if matches!(result.answer, CallAnswer::Unsent(_)) {
            self.judge.learns_of_unsent(epoch, &result, self.now);
        }
        self.deliver(Input::CallResult(result));
    }

    pub(super) fn check_back_result_arrives(&mut self, epoch: u64, result: CheckBackResult) {
        if self.is_paused() {
            self.postpone(Event::Arrives(Box::new(Letter::CheckBackResult {
                epoch,
                result,
            })));
        } else if self.is_connected(epoch, result.route) {
            self.note(Some(result.tx), || {
                format!("the initiator answers {:?}", result.answer)
            });
            self.deliver(Input::CheckBackResult(result));
        }
    }

    pub(super) fn call_times_out(&mut self, epoch: u64, call: CallId) {
        if self.process.as_ref().is_none_or(|p| p.owner.epoch != epoch) {
            return;
        }
        if self.is_paused() {
            self.postpone(Event::CallTimesOut(epoch, call));
            return;
        }
        let open = self.process.as_mut().and_then(|process| {
            process.outbox.remove(&call);
            process.direct.remove(&call)
        });
        if let Some(call) = open {
            self.deliver(Input::CallResult(CallResult {
                route: Route::Direct,
                epoch,
                call: call.id,
                tx: call.tx,
                action: call.action.name.clone(),
                operation: call.operation,
                answer: CallAnswer::Unknown("no answer in time".into()),
            }));
        }
    }

    pub(super) fn stream_gone(&mut self, epoch: u64, stream: StreamId) {
        if self.is_paused() {
            self.postpone(Event::StreamGone(epoch, stream));
            return;
        }
        if !self.is_connected(epoch, Route::Stream(stream)) {
            return;
        }
        let end = self
            .process
            .as_mut()
            .and_then(|process| process.streams.remove(&stream));
        if let Some(open) = end {
            self.stream_ended(open.service, epoch, stream);
        }
        self.note(None, || format!("stream {} is gone", stream.0));
        self.deliver(Input::Detached(stream));
    }

    /// Opens a stream of a participant; `None` if the coordinator does not answer.
    pub(super) fn stream_opens(
        &mut self,
        service: usize,
        instance: usize,
    ) -> Option<(u64, StreamId)> {
        if self.is_paused() {
            return None;
        }
        let process = self.process.as_mut()?;
        let stream = process.open_stream(OpenStream {
            service,
            instance,
            places: self.plan.services[service].concurrency,
        });
        let epoch = process.owner.epoch;
        let plan = &self.plan.services[service];
        let (participant, concurrency) = (plan.name.clone(), plan.concurrency);
        let abilities = plan.instances[instance].clone();
        self.note(None, || {
            format!("{participant} attaches stream {}", stream.0)
        });
        let participant = self.plan.services[service].name.clone();
        self.deliver(Input::Attached {
            stream,
            participant,
            concurrency,
            abilities,
        });
        if self.faults.strikes(Fault::StreamDraining)
            && self.is_connected(epoch, Route::Stream(stream))
        {
            self.note(None, || format!("stream {} drains", stream.0));
            self.deliver(Input::Draining(stream));
            let wait = self.dice.millis(100, 5_000);
            self.after(wait, Event::StreamGone(epoch, stream));
        }
        Some((epoch, stream))
    }
}
