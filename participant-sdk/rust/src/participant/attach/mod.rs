//! The participant opens the streams to its coordinators, and so needs no inbound port.

mod fleet;
mod link;
mod stream;

use std::{future::Future, time::Duration};

use tonic::transport::Endpoint;

use super::Participant;
use crate::context::name_problem;

/// The default of [`AttachOptions::drain_timeout`].
pub const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest number of coordinators that a participant attaches to.
pub const MAX_ADDRESSES: usize = 64;

/// The coordinators that a participant attaches to, and its name there.
#[derive(Debug, Clone)]
pub struct AttachOptions {
    /// The coordinators' addresses, `http://host:port`; 1 to 64. The participant also attaches to the
    /// replicas that they list.
    pub addresses: Vec<String>,
    /// The name of this process of the participant, for people.
    pub instance: String,
    /// The time for open calls to finish once the participant is to end.
    pub drain_timeout: Duration,
}

impl AttachOptions {
    /// Attaches to these addresses as `instance`.
    pub fn new(
        addresses: impl IntoIterator<Item = impl Into<String>>,
        instance: impl Into<String>,
    ) -> Self {
        Self {
            addresses: addresses.into_iter().map(Into::into).collect(),
            instance: instance.into(),
            drain_timeout: DEFAULT_DRAIN_TIMEOUT,
        }
    }

    fn check(&self) -> Result<(), AttachError> {
        if let Some(problem) = name_problem(&self.instance) {
            return Err(AttachError {
                field: "instance".to_owned(),
                problem,
            });
        }
        if !(1..=MAX_ADDRESSES).contains(&self.addresses.len()) {
            let problem = format!(
                "are {}; 1 to {MAX_ADDRESSES} are accepted",
                self.addresses.len()
            );
            return Err(AttachError {
                field: "addresses".to_owned(),
                problem,
            });
        }
        for (index, address) in self.addresses.iter().enumerate() {
            if let Err(problem) = endpoint(address) {
                return Err(AttachError {
                    field: format!("addresses[{index}]"),
                    problem,
                });
            }
        }
        Ok(())
    }
}

/// The options are invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct AttachError {
    /// The option that is wrong: `addresses[0]`, `instance`.
    pub field: String,
    /// The problem with it, and the values that are accepted.
    pub problem: String,
}

impl Participant {
    /// Attaches to every coordinator and serves their calls until `shutdown` is ready, then finishes
    /// the open calls and closes the streams. A stream that breaks is opened again after a pause that
    /// grows. Fails only if the options are invalid, before anything is opened.
    ///
    /// Dropping the future breaks the streams; the coordinator makes the open calls again.
    pub async fn attach(
        &self,
        options: AttachOptions,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), AttachError> {
        options.check()?;
        fleet::Fleet::new(self.clone(), options).run(shutdown).await;
        Ok(())
    }
}

/// Reads an address.
fn endpoint(address: &str) -> Result<Endpoint, String> {
    let endpoint = Endpoint::from_shared(address.to_owned())
        .map_err(|error| format!("{address:?}: {error}"))?;
    match (endpoint.uri().scheme_str(), endpoint.uri().host()) {
        (Some("http"), Some(_)) => Ok(endpoint),
        _ => Err(format!("{address:?} is not of the form http://host:port")),
    }
}

#[cfg(test)]
mod tests {
    use super::AttachOptions;

    #[track_caller]
    fn refused(options: &AttachOptions, field: &str) {
        assert_eq!(
            options.check().map_err(|error| error.field),
            Err(field.to_owned())
        );
    }

    #[test]
    fn options_that_make_no_sense_are_refused_by_name() {
        let good = AttachOptions::new(["http://127.0.0.1:7460"], "one");
        assert_eq!(good.check(), Ok(()));
        refused(
            &AttachOptions {
                instance: String::new(),
                ..good.clone()
            },
            "instance",
        );
        refused(
            &AttachOptions {
                addresses: Vec::new(),
                ..good.clone()
            },
            "addresses",
        );
        for address in [
            "",
            "127.0.0.1:7460",
            "ftp://host:1",
            "http://",
            "http://a b",
        ] {
            let addresses = vec!["http://127.0.0.1:7460".to_owned(), address.to_owned()];
            refused(
                &AttachOptions {
                    addresses,
                    ..good.clone()
                },
                "addresses[1]",
            );
        }
    }
}
