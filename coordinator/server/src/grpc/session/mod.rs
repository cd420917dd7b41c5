//! `Session`: the same requests, many at once over one stream.
//!
//! No task per request: one task reads the requests and hands them on in batches, and the stream of replies is fed
//! by the engine's thread, a batch at each drain. The table of open requests belongs to the session alone.
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
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use self::{
    open::{Closing, OpenRequests},
    reading::Reading,
    replying::Replying,
};
use super::Api;
use crate::{bounds, error::RequestError};

/// A reply that does not come from the engine.
enum OwnReply {
    /// The refusal of a request that was not opened, by the request's number.
    Refused(u64, RequestError),
    /// A transaction that was read.
    Read(CallerId, Result<Box<v1::Transaction>, RequestError>),
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
    requests: Streaming<v1::SessionRequests>,
) -> impl Stream<Item = Result<v1::SessionReplies, Status>> {
    let (sender, replies) = mpsc::unbounded_channel();
    let (own_sender, own) = mpsc::channel(bounds::SESSION_REPLIES);
    let (end, ended) = mpsc::channel(1);
    let driver = api.requests.driver.clone();
    let id = driver.open_session(sender).await;
    let open = Arc::new(OpenRequests::default());
    let reading = Reading {
        api,
        id,
        open: Arc::clone(&open),
        replies: own_sender,
    };
    tokio::spawn(reading.run(requests, end));
    let closing = Closing { driver, id, open };
    Replying::new(replies, own, ended, closing).stream()
}
