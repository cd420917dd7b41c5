//! Replies and calls on their way out, gathered per session and stream until the next flush.
//!
//! A flush puts them into the outbox of the session or stream. What waits there is bounded by the open requests of a
//! session, and by the open calls of a stream; a peer that does not read is cut off (`backlog`).

use std::{collections::HashMap, mem, sync::Arc, time::Duration};

use bytes::Bytes;
use tercet_core::{
    id::{CallId, CallerId, StreamId},
    model::Ext,
    port::{AskBack, Call, Reply, Route},
    refusal::Refusal,
};
use tercet_failpoint::reach;
use tokio::sync::{mpsc, oneshot};

use super::{CallBatch, CallerReply, Calls, Replies, SessionId, ToParticipant};

/// The bytes that anything in an outbox is taken to have besides its texts and payloads.
const OVERHEAD: usize = 256;
/// The key of a stream's Drain, which is taken after every call.
const LAST: u64 = u64::MAX;

/// The destination of a caller's reply.
enum Destination {
    Unary(oneshot::Sender<Result<Reply, Refusal>>),
    Session(SessionId),
}

/// A session, and the replies that leave next.
struct OpenSession {
    replies: Replies,
    ready: Vec<CallerReply>,
}

/// A participant's stream, and the calls that leave next.
struct OpenStream {
    calls: Calls,
    ready: CallBatch,
}

/// Everything that waits for the next flush, with its destination.
pub(super) struct Outgoing {
    callers: HashMap<CallerId, Destination>,
    sessions: HashMap<SessionId, OpenSession>,
    streams: HashMap<StreamId, OpenStream>,
    direct: mpsc::UnboundedSender<CallBatch>,
    direct_ready: CallBatch,
    ready_sessions: Vec<SessionId>,
    ready_streams: Vec<StreamId>,
    /// Whether no call leaves any more.
    calls_ended: bool,
}

impl Outgoing {
    pub(super) fn new(direct: mpsc::UnboundedSender<CallBatch>) -> Self {
        Self {
            callers: HashMap::new(),
            sessions: HashMap::new(),
            streams: HashMap::new(),
            direct,
            direct_ready: CallBatch::default(),
            ready_sessions: Vec::new(),
            ready_streams: Vec::new(),
            calls_ended: false,
        }
    }

    /// Returns the number of callers that wait for a reply.
    pub(super) fn waiting(&self) -> usize {
        self.callers.len()
    }

    pub(super) fn add_caller(
        &mut self,
        caller: CallerId,
        reply: oneshot::Sender<Result<Reply, Refusal>>,
    ) {
        self.callers.insert(caller, Destination::Unary(reply));
    }

    /// Adds a caller of a session; returns whether the session is open.
    pub(super) fn add_session_caller(&mut self, session: SessionId, caller: CallerId) -> bool {
        let open = self.sessions.contains_key(&session);
        if open {
            self.callers.insert(caller, Destination::Session(session));
        }
        open
    }

    /// Removes a caller; returns whether it still waited.
    pub(super) fn remove_caller(&mut self, caller: CallerId) -> bool {
        self.callers.remove(&caller).is_some()
    }

    pub(super) fn open_session(&mut self, session: SessionId, replies: Replies) {
        let ready = Vec::new();
        self.sessions
            .insert(session, OpenSession { replies, ready });
    }

    /// Drops the reply to a caller of a session, if it waits to be read.
    pub(super) fn forget(&mut self, session: SessionId, caller: CallerId) {
        if let Some(open) = self.sessions.get_mut(&session) {
            open.ready.retain(|(other, _)| *other != caller);
            open.replies.remove(caller.0);
        }
    }

    pub(super) fn close_session(&mut self, session: SessionId) {
        self.sessions.remove(&session);
    }

    pub(super) fn add_stream(&mut self, stream: StreamId, calls: Calls) {
        if self.calls_ended {
            calls.put([drain()]);
        }
        let ready = CallBatch::default();
        self.streams.insert(stream, OpenStream { calls, ready });
    }

    pub(super) fn remove_stream(&mut self, stream: StreamId) {
        if let Some(stream) = self.streams.remove(&stream) {
            stream.calls.finish();
        }
    }

    /// Lets no call leave any more, and asks the participants on all streams to open others elsewhere.
    pub(super) fn end_calls(&mut self) {
        self.calls_ended = true;
        for stream in self.streams.values() {
            stream.calls.put([drain()]);
        }
    }

    /// Answers a caller, if it still waits.
    pub(super) fn reply(&mut self, caller: CallerId, mut reply: Result<Reply, Refusal>) {
        if let Ok(reply) = &mut reply {
            drop_payloads(reply);
        }
        match self.callers.remove(&caller) {
            None => {}
            Some(Destination::Unary(sender)) => _ = sender.send(reply),
            Some(Destination::Session(session)) => {
                if let Some(open) = self.sessions.get_mut(&session) {
                    if open.ready.is_empty() {
                        self.ready_sessions.push(session);
                    }
                    open.ready.push((caller, reply));
                }
            }
        }
    }

    pub(super) fn call(&mut self, call: Call) {
        if let Some(ready) = self.ready(call.route) {
            ready.calls.push(call);
        }
    }

    pub(super) fn ask_back(&mut self, ask: AskBack) {
        if let Some(ready) = self.ready(ask.route) {
            ready.questions.push(ask);
        }
    }

    /// Drops a call or question that its connection has not taken yet.
    pub(super) fn withdraw(&mut self, call: CallId, route: Route) {
        match route {
            Route::Direct => {
                if !self.direct_ready.remove(call) {
                    self.direct_ready.withdrawn.push(call);
                }
            }
            Route::Stream(id) => {
                if let Some(stream) = self.streams.get_mut(&id)
                    && !stream.ready.remove(call)
                {
                    stream.calls.remove(call.0);
                }
            }
        }
    }

    /// Returns the batch that leaves next on this route; `None` where the stream is gone, and with it the calls in the
    /// engine, and where no call leaves any more.
    fn ready(&mut self, route: Route) -> Option<&mut CallBatch> {
        if self.calls_ended {
            return None;
        }
        match route {
            Route::Direct => Some(&mut self.direct_ready),
            Route::Stream(id) => {
                let stream = self.streams.get_mut(&id)?;
                if stream.ready.is_empty() {
                    self.ready_streams.push(id);
                }
                Some(&mut stream.ready)
            }
        }
    }

    /// Sends everything that is ready: one wake of a stream's task for everything that one drain has for it.
    pub(super) fn flush(&mut self) {
        for id in self.ready_sessions.drain(..) {
            if let Some(session) = self.sessions.get_mut(&id) {
                reach("coordinator.reply.before");
                let ready = mem::take(&mut session.ready).into_iter();
                session.replies.put(ready.map(|(caller, reply)| {
                    let bytes = bytes_of_reply(&reply);
                    (caller.0, (caller, reply), bytes, None)
                }));
                reach("coordinator.reply.after");
            }
        }
        for id in self.ready_streams.drain(..) {
            if let Some(stream) = self.streams.get_mut(&id) {
                let ready = mem::take(&mut stream.ready);
                if !ready.questions.is_empty() {
                    reach("coordinator.check_back.before");
                }
                reach("coordinator.call.before");
                let calls = ready.calls.into_iter().map(call_to_put);
                let questions = ready.questions.into_iter().map(question_to_put);
                stream.calls.put(calls.chain(questions));
                reach("coordinator.call.after");
            }
        }
        if !self.direct_ready.is_empty() {
            let _ = self.direct.send(mem::take(&mut self.direct_ready));
        }
    }
}

impl Drop for Outgoing {
    /// Ends every session and stream: the engine's thread has ended.
    fn drop(&mut self) {
        for session in self.sessions.values() {
            session.replies.finish();
        }
        for stream in self.streams.values() {
            stream.calls.finish();
        }
    }
}

/// An item of an outbox: its key, itself, its bytes, and the time for which it is of use.
type ToPut = (u64, ToParticipant, usize, Option<Duration>);

fn call_to_put(call: Call) -> ToPut {
    let results = call.results.iter().map(|(_, result)| result.len());
    let results: usize = results.sum();
    let bytes = call.action.payload.len() + results + bytes_of(&call.tx_ext) + OVERHEAD;
    let (key, timeout) = (call.id.0, call.timeout);
    let item = ToParticipant::Call(Box::new(call));
    (key, item, bytes, Some(timeout))
}

fn question_to_put(ask: AskBack) -> ToPut {
    let bytes = bytes_of(&ask.ext) + OVERHEAD;
    let (key, timeout) = (ask.id.0, ask.timeout);
    let item = ToParticipant::Question(Box::new(ask));
    (key, item, bytes, Some(timeout))
}

fn drain() -> ToPut {
    (LAST, ToParticipant::Drain, 0, None)
}

fn bytes_of(ext: &Ext) -> usize {
    ext.iter().map(|(key, value)| key.len() + value.len()).sum()
}

/// Drops the larger payloads from a reply: no caller gets them, and they would be kept until it is read.
fn drop_payloads(reply: &mut Reply) {
    for action in &mut reply.transaction.actions {
        if action.spec.payload.len() > OVERHEAD {
            Arc::make_mut(&mut action.spec).payload = Bytes::new();
        }
    }
}

/// Returns the bytes that a reply keeps in memory: payloads are part of its transaction.
fn bytes_of_reply(reply: &Result<Reply, Refusal>) -> usize {
    let Ok(reply) = reply else {
        return OVERHEAD;
    };
    let actions = reply.transaction.actions.iter();
    let actions =
        actions.map(|action| action.spec.payload.len() + action.state.result.len() + OVERHEAD);
    OVERHEAD + actions.sum::<usize>()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use tercet_core::{
        id::TxId,
        model::{ActionSpec, Mode, Operation, RetryPolicy},
    };

    use super::*;

    /// A call with a payload of 1,000 bytes, and handles of the payload.
    fn call(number: u64, route: Route) -> (Call, Bytes) {
        let payload = Bytes::from(vec![7; 1_000]);
        let action = ActionSpec {
            name: "a".into(),
            mode: Mode::Tcc,
            participant: "p".into(),
            handler: "a".into(),
            payload: payload.clone(),
            after: Vec::new(),
            wants_results: false,
            already_tried: false,
            retry: RetryPolicy::default(),
            ext: Ext::new(),
        };
        let call = Call {
            id: CallId(number),
            route,
            tx: TxId(uuid::Uuid::nil()),
            business_type: "t".into(),
            business_id: "b".into(),
            tx_ext: Ext::new(),
            action: Arc::new(action),
            operation: Operation::Try,
            attempt: 1,
            results: Vec::new(),
            timeout: Duration::from_mins(1),
            time_left: Duration::from_mins(1),
        };
        (call, payload)
    }

    /// Withdrawn before a flush, after it, and after the connection took it.
    #[tokio::test]
    async fn a_withdrawn_call_leaves_the_queue_at_once_with_its_bytes() {
        let (direct, mut batches) = mpsc::unbounded_channel();
        let mut outgoing = Outgoing::new(direct);
        let (stream, calls) = (StreamId(1), Calls::default());
        outgoing.add_stream(stream, Calls::clone(&calls));
        for (route, first) in [(Route::Stream(stream), 1), (Route::Direct, 11)] {
            let (before, payload) = call(first, route);
            outgoing.call(before);
            outgoing.withdraw(CallId(first), route);
            assert!(payload.is_unique(), "{route:?}");
            outgoing.flush();
            let (after, _payload) = call(first + 1, route);
            outgoing.call(after);
            outgoing.flush();
            outgoing.withdraw(CallId(first + 1), route);
            outgoing.flush();
        }
        assert!(calls.is_empty());
        let batch = batches.try_recv().unwrap();
        assert_eq!((batch.calls.len(), batch.calls[0].id), (1, CallId(12)));
        assert_eq!(batches.try_recv().unwrap().withdrawn, [CallId(12)]);
        assert!(batches.try_recv().is_err());
        // Of a stream that is gone.
        outgoing.remove_stream(stream);
        outgoing.withdraw(CallId(1), Route::Stream(stream));
    }

    /// A session of requests whose replies were made; some of them wait to be read, some leave with the next flush.
    #[tokio::test]
    async fn the_reply_to_a_forgotten_request_leaves_the_queue() {
        let (mut outgoing, _direct) = {
            let (direct, batches) = mpsc::unbounded_channel();
            (Outgoing::new(direct), batches)
        };
        let replies = Replies::default();
        let session = SessionId::from(1);
        outgoing.open_session(session, Replies::clone(&replies));
        let callers = [1, 2, 3, 4].map(CallerId);
        for caller in callers {
            assert!(outgoing.add_session_caller(session, caller));
        }
        for caller in &callers[..2] {
            outgoing.reply(*caller, Err(Refusal::Overloaded));
        }
        outgoing.flush();
        for caller in &callers[2..] {
            outgoing.reply(*caller, Err(Refusal::Overloaded));
        }
        for forgotten in [callers[0], callers[2]] {
            outgoing.forget(session, forgotten);
        }
        outgoing.flush();
        let taken = replies.take(10, usize::MAX).into_iter().flatten();
        let taken: Vec<_> = taken.map(|(caller, _)| caller).collect();
        assert_eq!(taken, [callers[1], callers[3]]);
    }
}
