//! The circumstances of an event.

use std::time::Duration;

use crate::time::Timestamp;

/// The circumstances of an event, besides the transaction itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The database's time.
    pub now: Timestamp,
    /// A random number, for jitter.
    pub dice: u64,
    /// See [`EngineConfig::lease`](crate::config::EngineConfig::lease).
    pub lease: Duration,
    /// See [`EngineConfig::hold`](crate::config::EngineConfig::hold).
    pub hold: Duration,
}
