//! The link to one coordinator: opens a stream, serves it, and opens it again when it breaks.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::{
    AttachOptions, endpoint,
    fleet::{Heard, Nodes},
    stream::Stream,
};
use crate::{error::chain, participant::Participant};

/// The longest wait before the first attempt to reach a coordinator again; it doubles with each
/// attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The cap of that wait. After a stream that lived longer than this the first pause applies again.
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// The least wait after a coordinator said that it ends: it is not back at once.
const DRAIN_PAUSE: Duration = Duration::from_secs(1);
/// The wait after a node turned out to be attached through another address already.
const DUPLICATE_PAUSE: Duration = Duration::from_secs(30);
/// The time within which a connection must open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The time without traffic after which a connection is pinged.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// The time within which a ping must be answered, or the connection is closed.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// The bytes that may be in flight, unread, on the stream and on its connection.
const WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// The reason for which a stream ended.
pub(super) enum End {
    /// It was drained because the participant ends, or leaves this coordinator.
    Stopped,
    /// The coordinator closed it in order.
    Closed,
    /// The coordinator ends, and takes no streams until it is back.
    Draining,
    /// The node behind it is attached through another address.
    Duplicate(String),
    /// It broke, or never opened.
    Broken(String),
}

/// The link to one coordinator.
pub(super) struct Link {
    pub(super) participant: Participant,
    pub(super) options: Arc<AttachOptions>,
    pub(super) nodes: Nodes,
    pub(super) heard: mpsc::Sender<Heard>,
    pub(super) address: String,
    pub(super) stop: CancellationToken,
}

impl Link {
    /// Keeps a stream open until it is stopped.
    pub(super) async fn run(self) {
        let growing = ExponentialBuilder::default()
            .with_min_delay(FIRST_PAUSE)
            .with_max_delay(MAX_PAUSE)
            .without_max_times();
        let mut pauses = growing.build();
        loop {
            let opened = Instant::now();
            let end = self.serve().await;
            self.nodes.release(&self.address);
            self.hear(Vec::new()).await;
            if opened.elapsed() > MAX_PAUSE {
                pauses = growing.build();
            }
            let pause = jittered(pauses.next().unwrap_or(MAX_PAUSE));
            let address = &self.address;
            let pause = match end {
                End::Stopped => return,
                End::Closed => {
                    tracing::info!(address, ?pause, "the coordinator closed the stream");
                    pause
                }
                End::Draining => {
                    let pause = DRAIN_PAUSE + pause;
                    tracing::info!(address, ?pause, "the coordinator ends");
                    pause
                }
                End::Duplicate(node) => {
                    tracing::debug!(address, node, "this node is attached already");
                    DUPLICATE_PAUSE
                }
                End::Broken(error) => {
                    tracing::warn!(address, error, ?pause, "not attached, trying again");
                    pause
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Serves one stream from its opening to its end.
    async fn serve(&self) -> End {
        let opening = async {
            let channel = self.connect().await?;
            Stream::open(self, channel).await
        };
        let opened = tokio::select! {
            () = self.stop.cancelled() => return End::Stopped,
            opened = opening => opened,
        };
        match opened {
            Ok(stream) => stream.serve(self).await,
            Err(error) => End::Broken(error),
        }
    }

    /// Passes on the replicas that the stream lists.
    pub(super) async fn hear(&self, replicas: Vec<String>) {
        let heard = Heard {
            from: self.address.clone(),
            replicas,
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            // The channel closes only when the fleet is dropped, and this task with it.
            _ = self.heard.send(heard) => {}
        }
    }

    async fn connect(&self) -> Result<Channel, String> {
        endpoint(&self.address)?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .connect()
            .await
            .map_err(|error| chain(&error))
    }
}

/// Returns a random pause up to `longest`, so that participants do not all reconnect at once.
fn jittered(longest: Duration) -> Duration {
    longest.mul_f64(rand::random_range(0.0..=1.0))
}
