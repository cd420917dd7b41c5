//! The database's time, kept by this process between two readings of it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tercet_core::time::{Estimate, Jump, Moment, Now, Timestamp};

/// The process's monotonic clock and the estimate of the database's, which is corrected at each renewal of the lease.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    estimate: Mutex<Estimate>,
}

impl Clock {
    /// Makes a clock from `now`, the database's time at some moment before this call.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            start: Instant::now(),
            estimate: Mutex::new(Estimate::new(now, Moment::default())),
        }
    }

    /// Corrects the estimate by `now`, the database's time at some moment from `asked` to this call. Returns a jump that this
    /// shows.
    pub(crate) fn correct(&self, now: Timestamp, asked: Moment) -> Option<Jump> {
        self.estimate().read(now, asked, self.moment())
    }

    /// Returns the present by both clocks.
    pub(crate) fn now(&self) -> Now {
        self.estimate().now(self.moment())
    }

    /// Returns the database's time, or one a little earlier.
    pub(crate) fn time(&self) -> Timestamp {
        self.now().time
    }

    /// Returns how far ahead the database's clock was read, in microseconds, where that is not followed yet; otherwise 0.
    pub(crate) fn difference(&self) -> i64 {
        self.estimate().difference()
    }

    fn estimate(&self) -> MutexGuard<'_, Estimate> {
        self.estimate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the present by the monotonic clock.
    pub(crate) fn moment(&self) -> Moment {
        let micros = self.start.elapsed().as_micros();
        Moment::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
    }
}
