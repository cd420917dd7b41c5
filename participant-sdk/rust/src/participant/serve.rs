//! The participant as a gRPC server: `tercet.v1.Participant`, for coordinators that open the
//! connection.

use std::{future::Future, sync::Arc};

use tercet_proto::v1::{
    self,
    participant_server::{self, ParticipantServer},
};
use tokio::{net::TcpListener, sync::Semaphore};
use tonic::{Request, Response, Status, transport::server::TcpIncoming};

use super::Participant;

/// Calls per connection that may run or wait for their turn.
const MAX_STREAMS_PER_CONNECTION: u32 = 10_000;

/// The server ended because of an error.
#[derive(Debug, thiserror::Error)]
#[error("the participant's server ended")]
pub struct ServeError(#[from] tonic::transport::Error);

impl Participant {
    /// Serves `tercet.v1.Participant` on `listener` until `shutdown` is ready, then finishes the calls
    /// that are open. At most [`concurrency`](super::ParticipantBuilder::concurrency) calls run at
    /// once; the others wait.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), ServeError> {
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        tonic::transport::Server::builder()
            .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
            .add_service(self.service())
            .serve_with_incoming_shutdown(incoming, shutdown)
            .await?;
        Ok(())
    }

    /// Returns the service alone, to be added to a tonic server of your own.
    pub fn service(&self) -> ParticipantServer<impl participant_server::Participant> {
        let places = usize::try_from(self.0.concurrency).unwrap_or(Semaphore::MAX_PERMITS);
        ParticipantServer::new(Served {
            participant: self.clone(),
            places: Arc::new(Semaphore::new(places)),
        })
    }
}

struct Served {
    participant: Participant,
    places: Arc<Semaphore>,
}

#[tonic::async_trait]
impl participant_server::Participant for Served {
    async fn invoke(&self, request: Request<v1::Call>) -> Result<Response<v1::Result>, Status> {
        let _place = self.place().await?;
        Ok(Response::new(
            self.participant.call(request.into_inner()).await,
        ))
    }

    async fn check_back(
        &self,
        request: Request<v1::CheckBackCall>,
    ) -> Result<Response<v1::CheckBackResult>, Status> {
        let _place = self.place().await?;
        Ok(Response::new(
            self.participant
                .answer_check_back(request.into_inner())
                .await,
        ))
    }
}

impl Served {
    async fn place(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Status> {
        self.places
            .acquire()
            .await
            .map_err(|_| Status::unavailable("the participant is ending"))
    }
}
