//! The stream of a session's replies.

use std::{collections::VecDeque, sync::Arc};

use futures::{Stream, stream};
use prost::Message as _;
use tercet_core::{port::Reply, refusal::Refusal};
use tercet_proto::v1::{self, session_reply};
use tokio::sync::mpsc;
use tonic::Status;

use super::{End, OwnContent, OwnReplies, OwnReply, open::Closing};
use crate::{
    backlog::{Held, Outbox, Peer},
    bounds,
    driver::{CallerReply, Replies},
    error::RequestError,
    grpc::{draining, room_after, sized},
    wire::views,
};

/// A reply in its form on the wire, and the room that is kept for it until it is sent.
type ReadyReply = (v1::SessionReply, Option<Held>);

/// The stream of a session's replies: everything that is ready travels together, up to a bound.
pub(super) struct Replying {
    peer: Peer,
    replies: Replies,
    own: Arc<Outbox<OwnReply>>,
    ends: mpsc::Receiver<End>,
    ready: VecDeque<ReadyReply>,
    closing: Closing,
    /// Whether the caller sends no more requests.
    no_more_requests: bool,
    /// The status with which the session breaks off, after the replies that are ready.
    broken: Option<Status>,
    over: bool,
}

impl Replying {
    pub(super) fn new(
        peer: Peer,
        replies: Replies,
        own: OwnReplies,
        ends: mpsc::Receiver<End>,
        closing: Closing,
    ) -> Self {
        Self {
            peer,
            replies,
            own: own.outbox,
            ends,
            ready: VecDeque::new(),
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
            tokio::select! {
                biased;
                () = room_after(&self.peer, either_waits(&self.replies, &self.own)) => self.take(),
                end = self.ends.recv() => match end {
                    Some(End::NoMoreRequests) => self.no_more_requests = true,
                    Some(End::Broken(status)) => self.break_off(status),
                    // The reading task panicked.
                    None => self.break_off(RequestError::Internal.into()),
                },
            }
        }
        None
    }

    /// Takes replies of both kinds, so that no stream of the engine's, however steady, holds back the others.
    fn take(&mut self) {
        let bytes = bounds::STREAM_BATCH_BYTES;
        let own = self.own.take(bounds::SESSION_REPLIES, bytes);
        let Some(from_engine) = self.replies.take(bounds::STREAM_BATCH, bytes) else {
            // The engine's thread has ended, and with it the server.
            self.break_off(draining());
            return;
        };
        self.ready = self.still_open(from_engine, own.unwrap_or_default());
    }

    /// Ends the session with this status, once the callers of its open requests have learned that their outcome is
    /// not known.
    fn break_off(&mut self, status: Status) {
        let open = self.closing.open.in_engine().into_iter();
        let unknown = open.map(|(number, id)| {
            let refusal = Refusal::OutcomeUnknown { id };
            (reply(number, refused(refusal.into())), None)
        });
        self.ready = unknown.collect();
        self.broken = Some(status);
    }

    /// Returns the replies to the requests that are still open.
    fn still_open(
        &self,
        from_engine: Vec<CallerReply>,
        own: Vec<OwnReply>,
    ) -> VecDeque<ReadyReply> {
        let open = &self.closing.open;
        let own = own.into_iter().filter_map(|own| match own.content {
            OwnContent::Refused(number, error) => Some((reply(number, refused(error)), None)),
            OwnContent::Read(caller, read, held) => {
                let content = match read {
                    Ok(transaction) => session_reply::Reply::Transaction(*transaction),
                    Err(error) => refused(error),
                };
                Some((reply(open.close(caller)?, content), Some(held)))
            }
        });
        let from_engine = from_engine.into_iter().filter_map(|(caller, result)| {
            Some((reply(open.close(caller)?, converted(result)), None))
        });
        own.chain(from_engine).collect()
    }
}

/// Waits for replies, of the engine or others.
async fn either_waits(replies: &Replies, own: &Outbox<OwnReply>) {
    tokio::select! {
        () = replies.waits() => {}
        () = own.waits() => {}
    }
}

fn reply(id: u64, reply: session_reply::Reply) -> v1::SessionReply {
    v1::SessionReply {
        id,
        reply: Some(reply),
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

/// Takes as many replies as one message carries. Only a reply that is longer by itself makes a longer message.
fn bounded(ready: &mut VecDeque<ReadyReply>) -> Vec<v1::SessionReply> {
    let mut replies = Vec::new();
    let mut bytes = 0;
    while replies.len() < bounds::STREAM_BATCH
        && let Some((next, _)) = ready.front()
    {
        bytes += sized(next.encoded_len());
        if bytes > bounds::STREAM_BATCH_BYTES && !replies.is_empty() {
            break;
        }
        // The connection counts the message as soon as it is taken.
        replies.extend(ready.pop_front().map(|(reply, _)| reply));
    }
    replies
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::VecDeque;

    use prost::Message as _;
    use tercet_proto::v1::{self, session_reply::Reply};

    use super::{bounded, reply};
    use crate::bounds;

    /// Makes a reply whose bytes are in its properties, where no payload and no result is.
    fn of_properties(id: u64, bytes: usize) -> v1::SessionReply {
        let mut transaction = v1::Transaction::default();
        let value = "x".repeat(bytes);
        transaction.ext_properties.insert("key".to_owned(), value);
        reply(id, Reply::Transaction(transaction))
    }

    fn of_text(id: u64, bytes: usize) -> v1::SessionReply {
        let message = "x".repeat(bytes);
        let error = v1::Error {
            message,
            ..v1::Error::default()
        };
        reply(id, Reply::Error(error))
    }

    #[test]
    fn no_message_is_longer_than_a_batch_unless_one_reply_is() {
        let large = bounds::STREAM_BATCH_BYTES + 1;
        let sizes = [600_000, 500_000, 10, large, 300_000, 700_000, 300_000];
        let replies = sizes.iter().enumerate().map(|(place, bytes)| {
            let id = u64::try_from(place).unwrap();
            if place % 2 == 0 {
                of_properties(id, *bytes)
            } else {
                of_text(id, *bytes)
            }
        });
        let mut ready: VecDeque<_> = replies.map(|reply| (reply, None)).collect();
        let mut messages = Vec::new();
        while !ready.is_empty() {
            let replies = bounded(&mut ready);
            let ids: Vec<_> = replies.iter().map(|reply| reply.id).collect();
            let bytes = v1::SessionReplies { replies }.encoded_len();
            assert!(
                ids.len() == 1 || bytes <= bounds::STREAM_BATCH_BYTES,
                "{ids:?}: {bytes}"
            );
            messages.push(ids);
        }
        assert_eq!(
            messages,
            [vec![0], vec![1, 2], vec![3], vec![4, 5], vec![6]]
        );
    }
}
