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
    /// The longest wait that is spent in memory: see [`EngineConfig::hold`](crate::config::EngineConfig::hold).
    pub hold: Duration,
}
