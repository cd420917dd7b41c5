//! The database's time, kept by this process between two readings of it.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use tercet_core::time::Timestamp;

/// A clock that is found ahead of the database's is slowed down by one part in this many of the time since the last
/// reading, so that it never stands still for long and never goes back.
const SLEW: i64 = 20;

/// The difference between two readings of the database's clock from which on it is taken for a jump, in microseconds.
const JUMP: i64 = 1_000_000;

/// A jump of the database's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Jump {
    /// It was read ahead, for the first time: this clock does not follow before the next reading says the same.
    Ahead(Duration),
    /// It was read ahead again: this clock has followed.
    Followed(Duration),
    /// It was read behind: deadlines go on from where they were, and are judged late rather than early.
    Behind(Duration),
}

/// The monotonic clock plus an offset measured at each renewal of the lease. It never goes back, and its time is a
/// lower bound of the database's: nothing happens early. A database that jumps ahead is followed once two readings agree.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    offset: AtomicI64,
    last: AtomicI64,
    /// The database's last reading minus this clock, where a jump lies between them.
    difference: AtomicI64,
    readings: Mutex<Readings>,
}

#[derive(Debug)]
struct Readings {
    at: Instant,
    /// The offset by the last reading, if it was ahead and is not followed yet.
    ahead: Option<i64>,
}

impl Clock {
    /// Makes a clock from `now`, the database's time at some moment before this call.
    pub(crate) fn new(now: Timestamp) -> Self {
        let start = Instant::now();
        Self {
            start,
            offset: AtomicI64::new(now.as_micros()),
            last: AtomicI64::new(now.as_micros()),
            difference: AtomicI64::new(0),
            readings: Mutex::new(Readings {
                at: start,
                ahead: None,
            }),
        }
    }

    /// Corrects the clock by `now`, the database's time at some moment before this call. Returns a jump that this shows.
    pub(crate) fn correct(&self, now: Timestamp) -> Option<Jump> {
        self.correct_at(now, Instant::now())
    }

    fn correct_at(&self, now: Timestamp, at: Instant) -> Option<Jump> {
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = micros(at.saturating_duration_since(readings.at));
        readings.at = at;
        let measured = now.as_micros() - micros(at.saturating_duration_since(self.start));
        let offset = self.offset.load(Ordering::Relaxed);
        let ahead_before = readings.ahead.take();
        let (mut followed, mut jump) = (measured, None);
        if measured - offset > JUMP {
            let by = Duration::from_micros(measured.abs_diff(offset));
            if ahead_before.is_some_and(|before| (measured - before).abs() <= JUMP) {
                jump = Some(Jump::Followed(by));
            } else {
                readings.ahead = Some(measured);
                followed = offset;
                jump = Some(Jump::Ahead(by));
            }
        } else if measured < offset {
            followed = measured.max(offset - passed / SLEW);
        }
        self.offset.store(followed, Ordering::Relaxed);
        let difference = measured - followed;
        let difference = if difference.abs() > JUMP {
            difference
        } else {
            0
        };
        let before = self.difference.swap(difference, Ordering::Relaxed);
        if difference < 0 && before >= 0 {
            jump = Some(Jump::Behind(Duration::from_micros(
                difference.unsigned_abs(),
            )));
        }
        jump
    }

    /// Returns the database's time, or one a little earlier.
    pub(crate) fn now(&self) -> Timestamp {
        let now = self.offset.load(Ordering::Relaxed) + micros(self.start.elapsed());
        Timestamp::from_micros(self.last.fetch_max(now, Ordering::Relaxed).max(now))
    }

    /// Returns the database's last reading minus this clock, in microseconds; 0 unless a jump lies between them.
    pub(crate) fn difference(&self) -> i64 {
        self.difference.load(Ordering::Relaxed)
    }

    /// Returns the time for a new id: that of the database also after it went back.
    pub(crate) fn time_of_ids(&self) -> Timestamp {
        Timestamp::from_micros(self.now().as_micros() + self.difference().min(0))
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const BEGIN: Timestamp = Timestamp::from_micros(7_200_000_000);

    /// Returns a jump in words, rounded to minutes.
    fn minutes(jump: Option<Jump>) -> String {
        let minutes = |by: Duration| (by.as_secs() + 30) / 60;
        match jump {
            None => String::new(),
            Some(Jump::Ahead(by)) => format!("ahead {}", minutes(by)),
            Some(Jump::Followed(by)) => format!("followed {}", minutes(by)),
            Some(Jump::Behind(by)) => format!("behind {}", minutes(by)),
        }
    }

    #[test]
    fn a_database_that_jumps_ahead_is_followed_when_two_readings_agree() {
        let clock = Clock::new(BEGIN);
        assert_eq!(minutes(clock.correct(BEGIN + HOUR)), "ahead 60");
        assert!(clock.now() < BEGIN + HOUR / 2);
        assert!(
            clock.difference() > 3_500_000_000,
            "known though not followed"
        );
        assert_eq!(minutes(clock.correct(BEGIN + HOUR)), "followed 60");
        assert!(clock.now() >= BEGIN + HOUR);
        assert_eq!(clock.difference(), 0);
    }

    #[test]
    fn a_jump_that_the_next_reading_takes_back_changes_nothing() {
        let clock = Clock::new(BEGIN);
        for wrong in [HOUR, HOUR * 10_000] {
            clock.correct(BEGIN + wrong);
            assert_eq!(clock.correct(BEGIN), None);
            assert!(clock.now() < BEGIN + HOUR / 2);
            assert_eq!(clock.difference(), 0);
        }
        // Two readings that are ahead and do not agree.
        clock.correct(BEGIN + HOUR);
        assert_eq!(minutes(clock.correct(BEGIN + HOUR * 3)), "ahead 180");
    }

    #[test]
    fn it_neither_goes_back_nor_stands_still_when_the_database_does() {
        let clock = Clock::new(BEGIN);
        let before = clock.now();
        let at = Instant::now() + Duration::from_secs(20);
        let jump = clock.correct_at(BEGIN - HOUR, at);
        assert_eq!(minutes(jump), "behind 60");
        let offset = Timestamp::from_micros(clock.offset.load(Ordering::Relaxed));
        assert_eq!(
            BEGIN.since(offset).as_secs(),
            1,
            "a twentieth of the time that passed is taken back"
        );
        assert!(clock.now() >= before);
        assert!(
            clock.time_of_ids() < BEGIN - HOUR / 2,
            "new ids follow at once"
        );
        let again = clock.correct_at(BEGIN - HOUR, at + Duration::from_secs(3));
        assert_eq!(again, None, "a jump is said once");
    }

    /// A drift is no jump.
    #[test]
    fn small_differences_are_followed_at_once_or_slowly() {
        let clock = Clock::new(BEGIN);
        let half = Duration::from_millis(500);
        assert_eq!(clock.correct(BEGIN + half), None);
        assert!(clock.now() >= BEGIN + half);
        assert_eq!(clock.correct(BEGIN), None);
        assert!(clock.now() >= BEGIN + half);
        assert_eq!(clock.difference(), 0);
    }
}
