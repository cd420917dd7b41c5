//! Everything that the tasks of a run share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::watch;

use crate::book::Book;
use crate::latency::Latency;
use crate::ledger::Ledger;
use crate::names::{HEALTHY, Sick, WANDERER};
use crate::outages::Outages;
use crate::phases::{Clock, Phase};

/// The shared state.
pub(crate) struct Stage {
    /// The coordinator's address, as a URL; the same after every restart.
    pub(crate) address: String,
    pub(crate) seed: u64,
    pub(crate) clock: Clock,
    pub(crate) outages: Arc<Outages>,
    pub(crate) book: Book,
    pub(crate) latency: Latency,
    pub(crate) healthy: [Arc<Ledger>; HEALTHY.len()],
    pub(crate) wanderer: Arc<Ledger>,
    sick: [Arc<Ledger>; Sick::ALL.len()],
    stuck_begun: AtomicU64,
    health: watch::Sender<bool>,
}

impl Stage {
    /// Makes the state of a run that starts now.
    pub(crate) fn new(address: String, seed: u64, outages: Arc<Outages>) -> anyhow::Result<Self> {
        Ok(Self {
            address,
            seed,
            clock: Clock::start(),
            outages,
            book: Book::default(),
            latency: Latency::new()?,
            healthy: HEALTHY.map(|name| Arc::new(Ledger::new(name))),
            wanderer: Arc::new(Ledger::new(WANDERER)),
            sick: Sick::ALL.map(|sick| Arc::new(Ledger::new(sick.name()))),
            stuck_begun: AtomicU64::new(0),
            health: watch::Sender::new(false),
        })
    }

    /// Returns the ledger of a sick participant.
    pub(crate) fn ledger(&self, sick: Sick) -> &Arc<Ledger> {
        &self.sick[sick.number()]
    }

    /// Iterates over all ledgers.
    pub(crate) fn ledgers(&self) -> impl Iterator<Item = &Arc<Ledger>> {
        let wanderer = std::iter::once(&self.wanderer);
        self.healthy.iter().chain(wanderer).chain(&self.sick)
    }

    /// Returns a receiver that becomes true when the sick are healed.
    pub(crate) fn health(&self) -> watch::Receiver<bool> {
        self.health.subscribe()
    }

    /// Heals the sick.
    pub(crate) fn heal(&self) {
        self.health.send_replace(true);
    }

    pub(crate) fn is_settling(&self) -> bool {
        self.clock.phase() == Phase::Settling
    }

    /// Notes that an action of a sick participant was begun.
    pub(crate) fn stuck_begun(&self) {
        self.stuck_begun.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of actions of sick participants that were begun and are not done.
    pub(crate) fn backlog(&self) -> u64 {
        let done: u64 = self.sick.iter().map(|ledger| ledger.finished()).sum();
        let begun = self.stuck_begun.load(Ordering::Relaxed);
        begun.saturating_sub(done)
    }

    /// Records the latency of an answer that came now to a request that was due at `due`.
    pub(crate) fn answered(&self, due: Instant) -> anyhow::Result<()> {
        self.latency.record(due, &self.clock, &self.outages)
    }
}
