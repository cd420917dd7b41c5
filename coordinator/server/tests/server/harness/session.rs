//! Sessions of a caller.

use std::collections::BTreeMap;

use tercet_proto::v1::{self, session_reply::Reply, session_request::Request};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{PATIENCE, Server};

/// A session of a caller.
pub(crate) struct Session {
    requests: mpsc::Sender<v1::SessionRequests>,
    replies: Streaming<v1::SessionReplies>,
}

impl Session {
    pub(crate) async fn open(server: &Server) -> Self {
        let (requests, messages) = mpsc::channel(4);
        let replies = server
            .coordinator()
            .session(ReceiverStream::new(messages))
            .await;
        Self {
            requests,
            replies: replies.unwrap().into_inner(),
        }
    }

    /// Sends requests in one message, each with its id.
    pub(crate) async fn send(&self, requests: impl IntoIterator<Item = (u64, Request)>) {
        let requests = requests
            .into_iter()
            .map(|(id, request)| v1::SessionRequest {
                id,
                request: Some(request),
            });
        self.send_message(requests.collect()).await;
    }

    pub(crate) async fn send_message(&self, requests: Vec<v1::SessionRequest>) {
        let message = v1::SessionRequests { requests };
        self.requests.send(message).await.unwrap();
    }

    /// Ends the caller's side: no more requests come.
    pub(crate) fn end_requests(&mut self) {
        // The sender that is replaced was the only one.
        self.requests = mpsc::channel(1).0;
    }

    /// Returns the replies up to this number, by id; a second one to an id fails the test.
    pub(crate) async fn replies(&mut self, number: usize) -> BTreeMap<u64, Reply> {
        let mut replies = BTreeMap::new();
        while replies.len() < number {
            let message = timeout(PATIENCE, self.next()).await;
            let message = message.expect("a reply comes in time").unwrap().unwrap();
            for reply in message.replies {
                let second = replies.insert(reply.id, reply.reply.unwrap());
                assert!(second.is_none(), "{} has a second reply", reply.id);
            }
        }
        replies
    }

    /// Returns the next message from the server.
    pub(crate) async fn next(&mut self) -> Result<Option<v1::SessionReplies>, Status> {
        self.replies.message().await
    }
}
