//! The connection to a coordinator.

use std::{future::Future, time::Duration};

use clap::Args;
use tonic::{Status, transport::Channel};
use tonic_types::StatusExt;

use super::{Failure, Outcome};
use crate::{config::PORT, limits};

/// Which coordinator.
#[derive(Args, Clone, Debug)]
pub(super) struct Coordinator {
    /// The coordinator's address.
    #[arg(long, env = "TERCET_COORDINATOR", value_name = "ADDRESS", global = true,
          default_value_t = format!("http://127.0.0.1:{PORT}"))]
    coordinator: String,
}

/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);

impl Coordinator {
    pub(super) async fn connect(&self) -> Result<Channel, Failure> {
        let endpoint = Channel::from_shared(self.coordinator.clone()).map_err(|error| {
            Failure::Usage(format!("--coordinator {}: {error}", self.coordinator))
        })?;
        endpoint
            .connect_timeout(limits::CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .connect()
            .await
            .map_err(|error| {
                let what = format!("no coordinator can be reached at {}", self.coordinator);
                Failure::because(what, error)
            })
    }
}

/// Messages of transactions with large payloads and results are larger than the usual limit.
pub(super) const MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// A request that is given up after a while.
pub(super) fn request<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(REQUEST_TIMEOUT);
    request
}

/// What the coordinator says when it refuses.
#[allow(clippy::needless_pass_by_value, reason = "made for map_err")]
pub(super) fn refused(status: Status) -> Failure {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.clone());
    Failure::Failed(
        match reason {
            Some(reason) => format!("{reason}: {}", status.message()),
            None => format!("{}: {}", status.code(), status.message()),
        },
        None,
    )
}

/// Runs a command that talks to a coordinator.
pub(super) fn block_on(command: impl Future<Output = Outcome>) -> Outcome {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::because("the runtime cannot be started", error))?
        .block_on(command)
}
