//! The connection to a coordinator.

use std::{fmt::Write as _, future::Future, time::Duration};

use clap::Args;
use tercet_server::{address, bounds, config::PORT};
use tonic::{Code, Status, transport::Channel};
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
        let wrong = |problem: &str| {
            let form = address::FORM;
            Failure::Usage(format!(
                "--coordinator {:?} {problem}; give {form}",
                self.coordinator
            ))
        };
        address::check(&self.coordinator).map_err(|problem| wrong(&problem))?;
        let endpoint = Channel::from_shared(self.coordinator.clone())
            .map_err(|error| wrong(&format!("is no address ({error})")))?;
        endpoint
            .connect_timeout(bounds::CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .connect()
            .await
            .map_err(|error| {
                let what = format!("no coordinator can be reached at {}", self.coordinator);
                Failure::Unreachable(what, Some(Box::new(error)))
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

/// The failure of a refused request, with its reason code; or of one that got no answer.
pub(crate) fn refused(status: Status) -> Failure {
    let details = status.get_error_details();
    if let Some(info) = details.error_info() {
        let mut text = format!("{}: {}", info.reason, status.message());
        // The message repeats the first violations.
        let violations = details.bad_request().map(|bad| &bad.field_violations);
        for violation in violations.into_iter().flatten() {
            let (field, description) = (&violation.field, &violation.description);
            let said = |between| {
                status
                    .message()
                    .contains(&format!("{field}{between}{description}"))
            };
            if !said(": ") && !said(" ") {
                let _ = write!(text, "; {field}: {description}");
            }
        }
        return Failure::Failed(text, None);
    }
    if matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled) {
        let seconds = REQUEST_TIMEOUT.as_secs();
        let what = format!("the coordinator did not answer within {seconds} s");
        return Failure::Unreachable(what, None);
    }
    // A status that did not come from a server has the error of the connection.
    if std::error::Error::source(&status).is_some() {
        let what = "the connection to the coordinator broke off".to_owned();
        return Failure::Unreachable(what, Some(Box::new(status)));
    }
    Failure::Failed(format!("{}: {}", status.code(), status.message()), None)
}

/// Runs a command that talks to a coordinator.
pub(crate) fn block_on(command: impl Future<Output = CommandResult>) -> CommandResult {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::because("the runtime cannot be started", error))?
        .block_on(command)
}
