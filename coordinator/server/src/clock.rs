//! The database's time, kept by this process between two readings of it.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Instant,
};

use tercet_core::time::Timestamp;

/// A clock that is found ahead of the database's is slowed down by one part in this many of the time since the last
/// reading, so that it never stands still for long and never goes back.
const SLEW: i64 = 20;

/// The monotonic clock plus an offset measured at each renewal of the lease. It never goes back, and its time is a
/// lower bound of the database's: nothing happens early.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    offset: AtomicI64,
    last: AtomicI64,
    measured_at: Mutex<Instant>,
}

impl Clock {
    /// Makes a clock from `now`, the database's time at some moment before this call.
    pub(crate) fn new(now: Timestamp) -> Self {
        let start = Instant::now();
        Self {
            start,
            offset: AtomicI64::new(now.as_micros()),
            last: AtomicI64::new(now.as_micros()),
            measured_at: Mutex::new(start),
        }
    }

    /// Corrects the clock by `now`, the database's time at some moment before this call.
    pub(crate) fn correct(&self, now: Timestamp) {
        self.correct_at(now, Instant::now());
    }

    fn correct_at(&self, now: Timestamp, at: Instant) {
        let mut measured_at = self
            .measured_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let passed = micros(at.saturating_duration_since(*measured_at));
        *measured_at = at;
        let measured = now.as_micros() - micros(at.saturating_duration_since(self.start));
        let slowed_down = self.offset.load(Ordering::Relaxed) - passed / SLEW;
        self.offset
            .store(measured.max(slowed_down), Ordering::Relaxed);
    }

    /// Returns the database's time, or one a little earlier.
    pub(crate) fn now(&self) -> Timestamp {
        let now = self.offset.load(Ordering::Relaxed) + micros(self.start.elapsed());
        Timestamp::from_micros(self.last.fetch_max(now, Ordering::Relaxed).max(now))
    }
}

fn micros(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn it_follows_a_database_that_jumps_ahead() {
        let clock = Clock::new(Timestamp::from_micros(1_000_000));
        clock.correct(Timestamp::from_micros(1_000_000) + HOUR);
        assert!(clock.now() >= Timestamp::from_micros(1_000_000) + HOUR);
    }

    #[test]
    fn it_neither_goes_back_nor_stands_still_when_the_database_does() {
        let begin = Timestamp::from_micros(0) + HOUR * 2;
        let clock = Clock::new(begin);
        let before = clock.now();
        clock.correct_at(begin - HOUR, Instant::now() + Duration::from_secs(20));
        let offset = Timestamp::from_micros(clock.offset.load(Ordering::Relaxed));
        assert_eq!(
            begin.since(offset).as_secs(),
            1,
            "a twentieth of the time that passed is taken back"
        );
        assert!(clock.now() >= before);
    }
}
