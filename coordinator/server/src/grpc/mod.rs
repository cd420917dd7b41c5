//! The gRPC front end: the services of `tercet.v1`. It translates requests, has them carried out, and
//! translates the answers; the rules are elsewhere.

mod attach;
mod coordinator;
#[doc(hidden)]
pub mod doors;
mod elements;
mod front;
mod operator;
mod participants;
mod question;
mod session;
mod translate;
mod watch;

use std::{future::Future, pin::Pin, sync::Arc};

use futures::Stream;
use tercet_core::{port::Request, refusal::Refusal};
use tercet_proto::v1;
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status};

pub(crate) use self::{front::Front, operator::OperatorApi};
use crate::{
    backlog::{Inbound, Peer, Taking},
    error::RequestError,
    requests::Requests,
    wire::views,
};

/// The replies of a streaming method.
type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The state that every service works with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) requests: Requests,
    pub(crate) node: Node,
    /// Cancelled when no call leaves any more, and so no participant may attach.
    pub(crate) calls_ended: CancellationToken,
    /// Cancelled when every stream has to end.
    pub(crate) closing: CancellationToken,
}

/// This process, in the form in which participants see it.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) name: Arc<str>,
    pub(crate) epoch: u64,
    pub(crate) address: Arc<str>,
}

impl Api {
    async fn carry_out(
        &self,
        request: Request,
        taking: Option<Taking>,
    ) -> Result<Response<v1::TransactionState>, Status> {
        let reply = self.requests.carry_out(request, taking).await?;
        Ok(Response::new(views::state(reply)))
    }
}

/// Returns the connection on which a request came.
fn peer<T>(request: &tonic::Request<T>) -> Peer {
    request
        .extensions()
        .get::<Peer>()
        .cloned()
        .unwrap_or_else(Peer::nowhere)
}

/// Returns the messages that come for a request; `None` where it came on no connection.
fn inbound<T>(request: &tonic::Request<T>) -> Option<Inbound> {
    request.extensions().get::<Inbound>().cloned()
}

/// Begins to take the message of a unary request in.
fn taking<T>(request: &tonic::Request<T>) -> Option<Taking> {
    inbound(request).map(|inbound| inbound.take())
}

/// Waits for something to send, and then for room on the connection.
async fn room_after(peer: &Peer, something: impl Future<Output = ()>) {
    something.await;
    drop(peer.room(0).await);
}

/// Returns the bytes of an item in a message, with its tag and its length.
fn sized(bytes: usize) -> usize {
    1 + prost::length_delimiter_len(bytes) + bytes
}

/// Returns the end of a stream that a stopping server cuts off.
fn draining() -> Status {
    RequestError::from(Refusal::Draining).into()
}
