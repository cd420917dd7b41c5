//! Replies and calls on their way out, gathered per session and stream until the next flush.
//!
//! The channels have no bound of their own. As long as a peer reads, their content is bounded by the open requests of
//! a session, and by the concurrency of a stream or an address; a peer that does not read leaves in them also the
//! replies to requests that it forgot and calls that have timed out.

use std::{collections::HashMap, mem};

use tercet_core::{
    id::{CallerId, StreamId},
    port::{AskBack, Call, Reply, Route},
    refusal::Refusal,
};
use tercet_failpoint::reach;
use tokio::sync::{mpsc, oneshot};

use super::{CallBatch, CallerReplies, SessionId, ToParticipant};

/// The destination of a caller's reply.
enum Destination {
    Unary(oneshot::Sender<Result<Reply, Refusal>>),
    Session(SessionId),
}

/// A session, and the replies that leave next.
struct OpenSession {
    sender: mpsc::UnboundedSender<CallerReplies>,
    ready: CallerReplies,
}

/// A participant's stream, and the calls that leave next.
struct OpenStream {
    sender: mpsc::UnboundedSender<ToParticipant>,
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

    pub(super) fn open_session(
        &mut self,
        session: SessionId,
        sender: mpsc::UnboundedSender<CallerReplies>,
    ) {
        let ready = CallerReplies::new();
        self.sessions.insert(session, OpenSession { sender, ready });
    }

    pub(super) fn close_session(&mut self, session: SessionId) {
        self.sessions.remove(&session);
    }

    pub(super) fn add_stream(
        &mut self,
        stream: StreamId,
        sender: mpsc::UnboundedSender<ToParticipant>,
    ) {
        let ready = CallBatch::default();
        self.streams.insert(stream, OpenStream { sender, ready });
    }

    pub(super) fn remove_stream(&mut self, stream: StreamId) {
        self.streams.remove(&stream);
    }

    /// Asks the participants on all streams to open others elsewhere.
    pub(super) fn drain(&self) {
        for stream in self.streams.keys() {
            self.drain_stream(*stream);
        }
    }

    /// Asks the participant on a stream to open another one elsewhere.
    pub(super) fn drain_stream(&self, stream: StreamId) {
        if let Some(stream) = self.streams.get(&stream) {
            let _ = stream.sender.send(ToParticipant::Drain);
        }
    }

    /// Answers a caller, if it still waits.
    pub(super) fn reply(&mut self, caller: CallerId, reply: Result<Reply, Refusal>) {
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

    /// Returns the batch that leaves next on this route; `None` where the stream is gone, and with it the calls in the
    /// engine.
    fn ready(&mut self, route: Route) -> Option<&mut CallBatch> {
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
                let _ = session.sender.send(mem::take(&mut session.ready));
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
                let _ = stream.sender.send(ToParticipant::Calls(ready));
                reach("coordinator.call.after");
            }
        }
        if !self.direct_ready.is_empty() {
            let _ = self.direct.send(mem::take(&mut self.direct_ready));
        }
    }
}
