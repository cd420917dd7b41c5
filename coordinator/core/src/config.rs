//! The settings of an engine.

use std::time::Duration;

/// The settings of an engine. Every bound of it is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// Transactions in memory. From half of it on, waits are spent in the table; from all of it on, requests are refused
    /// and due rows stay in the table.
    pub capacity: usize,
    /// Bytes of transactions in memory, about: the same as `capacity` says for their number. One participant's calls hold
    /// at most an eighth of it.
    pub memory: usize,
    /// Requests of one transaction that wait for its write or for their answer; further ones are
    /// refused.
    pub waiting_events: usize,
    /// The interval at which one's own rows in hand are compared with memory.
    pub lease: Duration,
    /// The longest wait that is spent in memory; longer ones are spent in the table.
    pub hold: Duration,
    /// The interval at which the table is looked at for queues with due rows.
    pub poll: Duration,
    /// Due rows per query.
    pub page: u32,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            capacity: 100_000,
            memory: 256 * 1024 * 1024,
            waiting_events: 64,
            lease: Duration::from_secs(10),
            hold: Duration::from_secs(5),
            poll: Duration::from_millis(500),
            page: 256,
        }
    }
}
