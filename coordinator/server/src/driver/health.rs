//! The database's health: made known to the log and to the services when it changes.

use std::ops::ControlFlow;

use tercet_core::{lane::Lane, time::Moment};
use tercet_store::StoreError;
use tokio::sync::watch;

use super::DriverError;
use crate::observe::Observer;

/// Follows whether the database takes writes.
pub(super) struct Health {
    pub(super) observer: Box<dyn Observer>,
    ready: watch::Sender<bool>,
    /// The error of the last command of the lane that failed since one succeeded.
    error: Option<StoreError>,
}

impl Health {
    pub(super) fn new(ready: watch::Sender<bool>, observer: Box<dyn Observer>) -> Self {
        Self {
            observer,
            ready,
            error: None,
        }
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
