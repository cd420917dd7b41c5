//! A service that runs: attached to its coordinators, answering queries.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tercet_sdk::participant::ParticipantBuilder;
use tercet_sdk::{AttachOptions, Barrier, BuildError, Participant, Sqlite};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::chaos::Chaos;
use crate::faults::{Faults, Target};
use crate::options::Options;

/// How long open calls may take once the service is to end.
const DRAIN: Duration = Duration::from_secs(2);

/// A service, ready to run.
#[derive(Debug)]
pub struct Service {
    /// Its actions.
    pub participant: Participant,
    /// Its query service.
    pub queries: Routes,
}

/// The participant with everything that the options say of it.
pub fn participant(
    actions: ParticipantBuilder<Barrier<Sqlite>>,
    target: Target,
    options: &Options,
) -> Result<Participant, BuildError> {
    let mut actions = actions.concurrency(options.concurrency);
    let faults = Faults::of(target, &options.fail);
    if !faults.is_empty() {
        actions = actions.interceptor(Arc::new(Chaos { faults }));
    }
    if options.without_barrier {
        actions = actions.without_barrier_for_demonstration();
    }
    actions.build()
}

impl Service {
    /// Attaches and answers queries until `shutdown` is ready, then finishes what is open.
    pub async fn run(
        self,
        listener: TcpListener,
        coordinators: &[String],
        shutdown: impl Future<Output = ()> + Send,
    ) -> anyhow::Result<()> {
        let stop = CancellationToken::new();
        let name = self.participant.name().to_owned();
        let mut attach = AttachOptions::new(coordinators, format!("{name}-{}", std::process::id()));
        attach.drain_timeout = DRAIN;
        let attached = async {
            let ended = self
                .participant
                .attach(attach, stop.clone().cancelled_owned())
                .await;
            ended.context("cannot attach to the coordinators")
        };
        let queries = async {
            let server = Server::builder().add_routes(self.queries);
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
        tokio::try_join!(attached, queries, stopping)?;
        Ok(())
    }
}
