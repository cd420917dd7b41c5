//! The participant as the one who opens the stream: no inbound port is needed.

use std::{future::Future, time::Duration};

use super::Participant;
use crate::context::name_problem;

/// How long open calls may take once the participant is to end, unless said otherwise.
pub const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// The most coordinator addresses.
pub const MAX_ADDRESSES: usize = 64;

/// Where and as whom a participant attaches.
#[derive(Debug, Clone)]
pub struct AttachOptions {
    /// The coordinators' addresses, `http://host:port`; at least one. Replicas that these name are
    /// attached to as well.
    pub addresses: Vec<String>,
    /// Which process of the participant this is, for people; a name.
    pub instance: String,
    /// How long open calls may take once the participant is to end.
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
}

/// Options that make no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct AttachError {
    /// Which option: `addresses[0]`, `instance`.
    pub field: String,
    /// What is wrong with it, and what would be accepted.
    pub problem: String,
}

impl Participant {
    /// Attaches to every coordinator and serves their calls until `shutdown` is ready, then finishes
    /// what is open and closes the streams. A stream that breaks is opened again after a pause. Fails
    /// only where the options make no sense, before anything is opened.
    pub async fn attach(
        &self,
        options: AttachOptions,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), AttachError> {
        if let Some(problem) = name_problem(&options.instance) {
            return Err(AttachError {
                field: "instance".to_owned(),
                problem,
            });
        }
        shutdown.await;
        Ok(())
    }
}
