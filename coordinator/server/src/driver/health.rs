//! The database's health: made known to the log and to the services when it changes.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use tercet_core::{lane::Lane, time::Moment};
use tercet_store::StoreError;
use tokio::sync::watch;

use super::DriverError;
use crate::{observe::Observer, pulse::Pulse};

/// Follows whether the database takes writes.
pub(super) struct Health {
    pub(super) observer: Box<dyn Observer>,
    ready: watch::Sender<bool>,
    pulse: Arc<Pulse>,
    /// The error of the last command of the lane that failed since one succeeded.
    error: Option<StoreError>,
}

impl Health {
    pub(super) fn new(
        ready: watch::Sender<bool>,
        observer: Box<dyn Observer>,
        pulse: Arc<Pulse>,
    ) -> Self {
        Self {
            observer,
            ready,
            pulse,
            error: None,
        }
    }

    /// Shows that the process runs; returns for how long it stood still since the last time, if it did.
    pub(super) fn beat(&mut self) -> Option<Duration> {
        let by = self.pulse.beat()?;
        self.observer.stood_still(by);
        Some(by)
    }

    /// Notes the result of a command of the lane.
    pub(super) fn note(&mut self, error: Option<StoreError>) {
        if let Some(error) = &error {
            self.observer.commit_failed(error);
        }
        self.error = error;
    }

    /// Makes a change known; breaks when no write will ever be applied.
    pub(super) fn check(
        &mut self,
        now: Moment,
        lane: &Lane,
    ) -> ControlFlow<Result<(), DriverError>> {
        if lane.is_hopeless(now)
            && let Some(error) = self.error.take()
        {
            return ControlFlow::Break(Err(DriverError::Fatal(error)));
        }
        let was_ready = *self.ready.borrow();
        if was_ready && lane.is_stalled(now) {
            self.observer.stalled(self.error.as_ref());
            self.ready.send_replace(false);
        } else if !was_ready && !lane.is_stalled(now) && !lane.is_on_trial() {
            self.observer.writes_again();
            self.ready.send_replace(true);
        }
        ControlFlow::Continue(())
    }
}
