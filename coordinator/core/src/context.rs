//! The circumstances of an event.

use std::time::Duration;

use crate::time::{Moment, Now, Timestamp};

/// The circumstances of an event, besides the transaction itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The database's time: for what is stored.
    pub now: Timestamp,
    /// The same by the monotonic clock: for what is waited for.
    pub moment: Moment,
    /// A random number, for jitter.
    pub dice: u64,
    /// The longest wait that is spent in memory: see [`EngineConfig::hold`](crate::config::EngineConfig::hold).
    pub hold: Duration,
}

impl Context {
    /// Returns the present by both clocks.
    pub(crate) fn present(&self) -> Now {
        Now {
            moment: self.moment,
            time: self.now,
        }
    }
}
