//! The connection to a coordinator.

use std::{future::Future, time::Duration};

use clap::Args;
use tercet_server::{bounds, config::PORT};
use tonic::{Status, transport::Channel};
use tonic_types::StatusExt;

use crate::failure::{CommandResult, Failure};

/// The option that names the coordinator.
#[derive(Args, Clone, Debug)]
pub(crate) struct Coordinator {
    /// The coordinator's address.
    #[arg(long, env = "TERCET_COORDINATOR", value_name = "ADDRESS", global = true,
          default_value_t = format!("http://127.0.0.1:{PORT}"))]
    coordinator: String,
}

/// The time that a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);

impl Coordinator {
    pub(crate) async fn connect(&self) -> Result<Channel, Failure> {
        let endpoint = Channel::from_shared(self.coordinator.clone()).map_err(|error| {
            Failure::Usage(format!("--coordinator {}: {error}", self.coordinator))
        })?;
        endpoint
            .connect_timeout(bounds::CONNECT_TIMEOUT)
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
pub(crate) const MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// A request with the time limit of [`REQUEST_TIMEOUT`].
pub(crate) fn request<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(REQUEST_TIMEOUT);
    request
}

/// The failure of a refused request, with its reason code.
#[allow(clippy::needless_pass_by_value, reason = "made for map_err")]
pub(crate) fn refused(status: Status) -> Failure {
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
pub(crate) fn block_on(command: impl Future<Output = CommandResult>) -> CommandResult {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::because("the runtime cannot be started", error))?
        .block_on(command)
}
