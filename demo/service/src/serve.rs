//! A participant that runs: attached to its coordinators, with a gRPC service beside it.

use std::future::Future;
use std::time::Duration;

use anyhow::Context;
use tercet_sdk::{AttachOptions, Participant};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;

/// Time for open calls once the service is to end.
const DRAIN: Duration = Duration::from_secs(2);

/// Attaches the participant and serves `routes` on `listener` until `shutdown` is ready, then finishes
/// what is open.
pub async fn serve(
    participant: Participant,
    routes: Routes,
    listener: TcpListener,
    coordinators: &[String],
    shutdown: impl Future<Output = ()> + Send,
) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let name = participant.name().to_owned();
    let mut attach = AttachOptions::new(coordinators, format!("{name}-{}", std::process::id()));
    attach.drain_timeout = DRAIN;
    let attached = async {
        let ended = participant
            .attach(attach, stop.clone().cancelled_owned())
            .await;
        ended.context("cannot attach to the coordinators")
    };
    let served = async {
        let server = Server::builder().add_routes(routes);
        let ended = server
            .serve_with_incoming_shutdown(
                TcpListenerStream::new(listener),
                stop.clone().cancelled_owned(),
            )
            .await;
        ended.context("the query service ended")
    };
    let stopping = async {
        shutdown.await;
        stop.cancel();
        Ok(())
    };
    tokio::try_join!(attached, served, stopping)?;
    Ok(())
}
