//! `Session`: the same requests, many at once over one stream.
//!
//! No task per request: one task reads the requests and hands them on in batches, and the stream of replies takes from
//! an outbox that the engine's thread fills, a batch at each drain. The table of open requests belongs to the session
//! alone. A caller that leaves its replies unread is cut off.
//!
//! | file | holds |
//! |---|---|
//! | `open` | the table of open requests |
//! | `reading` | the task that reads requests |
//! | `replying` | the stream of replies |

mod open;
mod reading;
mod replying;

use std::sync::Arc;

use futures::Stream;
use tercet_core::id::CallerId;
use tercet_proto::v1;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tonic::{Status, Streaming};

use self::{
    open::{Closing, OpenRequests},
    reading::Reading,
    replying::Replying,
};
use super::Api;
use crate::{
    backlog::{Held, Inbound, Outbox, Peer},
    bounds,
    driver::Replies,
    error::RequestError,
};

/// A reply that does not come from the engine.
struct OwnReply {
    content: OwnContent,
    /// Its place among those that wait.
    _place: OwnedSemaphorePermit,
}

enum OwnContent {
    /// The refusal of a request that was not opened, by the request's number.
    Refused(u64, RequestError),
    /// A transaction that was read, and the room that it takes on the connection.
    Read(CallerId, Result<Box<v1::Transaction>, RequestError>, Held),
}

/// The replies of a session that do not come from the engine: [`bounds::SESSION_REPLIES`] places, and those that have
/// one and wait.
#[derive(Clone)]
struct OwnReplies {
    places: Arc<Semaphore>,
    outbox: Arc<Outbox<OwnReply>>,
}

impl OwnReplies {
    fn new() -> Self {
        Self {
            places: Arc::new(Semaphore::new(bounds::SESSION_REPLIES)),
            outbox: Arc::default(),
        }
    }

    /// Waits for a place.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// Puts in a reply that has a place.
    fn put(&self, key: CallerId, place: OwnedSemaphorePermit, content: OwnContent) {
        // The room of a transaction is counted on its connection.
        let reply = OwnReply {
            content,
            _place: place,
        };
        self.outbox.put([(key.0, reply, 0, None)]);
    }
}

/// An end of the requests of a session.
enum End {
    /// The caller sends no more; it still waits for its replies.
    NoMoreRequests,
    /// The session breaks off with this status.
    Broken(Status),
}

/// Opens a session; the stream carries its replies. Dropping the stream closes the session.
pub(super) async fn open(
    api: Api,
    peer: Peer,
    inbound: Option<Inbound>,
    requests: Streaming<v1::SessionRequests>,
) -> impl Stream<Item = Result<v1::SessionReplies, Status>> {
    let replies = Replies::new(Outbox::on(&peer));
    let own = OwnReplies::new();
    let (end, ended) = mpsc::channel(1);
    let driver = api.requests.driver.clone();
    let id = driver.open_session(Arc::clone(&replies)).await;
    let open = Arc::new(OpenRequests::default());
    let reading = Reading {
        api,
        id,
        peer: peer.clone(),
        inbound,
        open: Arc::clone(&open),
        replies: Arc::clone(&replies),
        own: own.clone(),
    };
    tokio::spawn(reading.run(requests, end));
    let closing = Closing { driver, id, open };
    Replying::new(peer, replies, own, ended, closing).stream()
}
