//! The stream of a session's replies.

use std::vec::IntoIter;

use futures::{Stream, stream};
use tercet_core::{port::Reply, refusal::Refusal};
use tercet_proto::v1::{self, session_reply};
use tokio::sync::mpsc;
use tonic::Status;

use super::{End, OwnReply, open::Closing};
use crate::{bounds, driver::CallerReplies, error::RequestError, grpc::draining, wire::views};

/// The stream of a session's replies: everything that is ready travels together, up to a bound.
pub(super) struct Replying {
    replies: mpsc::UnboundedReceiver<CallerReplies>,
    own: mpsc::Receiver<OwnReply>,
    ends: mpsc::Receiver<End>,
    ready: IntoIter<(u64, session_reply::Reply)>,
    closing: Closing,
    /// Whether the caller sends no more requests.
    no_more_requests: bool,
    /// The status with which the session breaks off, after the replies that are ready.
    broken: Option<Status>,
    over: bool,
}

impl Replying {
    pub(super) fn new(
        replies: mpsc::UnboundedReceiver<CallerReplies>,
        own: mpsc::Receiver<OwnReply>,
        ends: mpsc::Receiver<End>,
        closing: Closing,
    ) -> Self {
        Self {
            replies,
            own,
            ends,
            ready: Vec::new().into_iter(),
            closing,
            no_more_requests: false,
            broken: None,
            over: false,
        }
    }

    pub(super) fn stream(self) -> impl Stream<Item = Result<v1::SessionReplies, Status>> {
        stream::unfold(self, |mut replying| async move {
            let next = replying.next().await?;
            Some((next, replying))
        })
    }

    async fn next(&mut self) -> Option<Result<v1::SessionReplies, Status>> {
        while !self.over {
            let replies = bounded(&mut self.ready);
            if !replies.is_empty() {
                return Some(Ok(v1::SessionReplies { replies }));
            }
            if let Some(status) = self.broken.take() {
                self.over = true;
                return Some(Err(status));
            }
            if self.no_more_requests && self.closing.open.is_empty() && self.own.is_empty() {
                return None;
            }
            let (mut from_engine, mut own) = (Vec::new(), Vec::new());
            tokio::select! {
                biased;
                received = self.replies.recv_many(&mut from_engine, bounds::STREAM_BATCH) => {
                    if received == 0 {
                        // The engine's thread has ended, and with it the server.
                        self.break_off(draining());
                        continue;
                    }
                }
                Some(reply) = self.own.recv() => own.push(reply),
                end = self.ends.recv() => match end {
                    Some(End::NoMoreRequests) => self.no_more_requests = true,
                    Some(End::Broken(status)) => {
                        self.break_off(status);
                        continue;
                    }
                    // The reading task is gone without a word only because the server is.
                    None => self.over = true,
                },
            }
            // So that no stream of the engine's replies, however steady, holds back the others.
            while own.len() < bounds::SESSION_REPLIES
                && let Ok(reply) = self.own.try_recv()
            {
                own.push(reply);
            }
            self.ready = self.still_open(from_engine, own).into_iter();
        }
        None
    }

    /// Ends the session with this status, once the callers of its open requests have learned that their outcome is
    /// not known.
    fn break_off(&mut self, status: Status) {
        let open = self.closing.open.in_engine().into_iter();
        let unknown = open.map(|(number, id)| {
            let refusal = Refusal::OutcomeUnknown { id };
            (number, refused(refusal.into()))
        });
        self.ready = unknown.collect::<Vec<_>>().into_iter();
        self.broken = Some(status);
    }

    /// Returns the replies to the requests that are still open.
    fn still_open(
        &self,
        from_engine: Vec<CallerReplies>,
        own: Vec<OwnReply>,
    ) -> Vec<(u64, session_reply::Reply)> {
        let open = &self.closing.open;
        let own = own.into_iter().filter_map(|reply| match reply {
            OwnReply::Refused(number, error) => Some((number, refused(error))),
            OwnReply::Read(caller, read) => {
                let reply = match read {
                    Ok(transaction) => session_reply::Reply::Transaction(*transaction),
                    Err(error) => refused(error),
                };
                Some((open.close(caller)?, reply))
            }
        });
        let from_engine = from_engine
            .into_iter()
            .flatten()
            .filter_map(|(caller, reply)| Some((open.close(caller)?, converted(reply))));
        own.chain(from_engine).collect()
    }
}

fn converted(reply: Result<Reply, Refusal>) -> session_reply::Reply {
    match reply {
        Ok(reply) => session_reply::Reply::State(views::state(reply)),
        Err(refusal) => refused(refusal.into()),
    }
}

fn refused(error: RequestError) -> session_reply::Reply {
    session_reply::Reply::Error(error.into())
}

/// Takes as many replies as one message carries.
fn bounded(ready: &mut IntoIter<(u64, session_reply::Reply)>) -> Vec<v1::SessionReply> {
    let mut replies = Vec::with_capacity(ready.len().min(bounds::STREAM_BATCH));
    let mut bytes = 0;
    while replies.len() < bounds::STREAM_BATCH && bytes < bounds::STREAM_BATCH_BYTES {
        let Some((id, reply)) = ready.next() else {
            break;
        };
        bytes += weight(&reply);
        replies.push(v1::SessionReply {
            id,
            reply: Some(reply),
        });
    }
    replies
}

/// Returns the bytes of a reply that may be large.
fn weight(reply: &session_reply::Reply) -> usize {
    match reply {
        session_reply::Reply::State(state) => {
            let results = state.actions.iter().map(|action| action.result.len());
            results.sum()
        }
        session_reply::Reply::Transaction(transaction) => prost::Message::encoded_len(transaction),
        session_reply::Reply::Error(_) => 0,
    }
}
