//! The database's time between two readings of it.

use std::time::Duration;

use super::{CLOCK_JUMP, Moment, Now, Timestamp, micros_of};

/// A clock that is found ahead of the database's by no more than a jump is slowed down by one part in this many of the time
/// since the last reading, so that it never stands still for long and does not go back.
const SLEW: i64 = 20;

/// A jump of the database's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    /// It was read ahead, for the first time: it is not followed before the next reading says the same.
    Ahead(Duration),
    /// It was read ahead again, and is followed.
    Followed(Duration),
    /// It was read behind, and is followed.
    Back(Duration),
}

/// The database's time: the monotonic clock plus an offset that is measured at each reading. It is a lower bound of what
/// the database would show, and goes back only when that does. A jump ahead is followed once two readings agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    offset: i64,
    /// The latest time that was returned since the last jump.
    shown: Timestamp,
    read_at: Moment,
    /// The offset by the last reading, if it was ahead and is not followed yet.
    ahead: Option<i64>,
}

impl Estimate {
    /// Makes the estimate by a first reading: `time`, by the database's clock at some moment up to `at`.
    pub fn new(time: Timestamp, at: Moment) -> Self {
        Self {
            offset: time.as_micros().saturating_sub(at.as_micros()),
            shown: time,
            read_at: at,
            ahead: None,
        }
    }

    /// Takes in a reading: `time`, by the database's clock at some moment from `sent` to `received`. Returns a jump that it
    /// shows; a reading that took long shows none that it may owe to that.
    pub fn read(&mut self, time: Timestamp, sent: Moment, received: Moment) -> Option<Jump> {
        let passed = micros_of(received.since(self.read_at));
        self.read_at = received;
        let least = time.as_micros().saturating_sub(received.as_micros());
        let most = time.as_micros().saturating_sub(sent.as_micros());
        let by = Duration::from_micros(least.abs_diff(self.offset));
        let ahead_before = self.ahead.take();
        if most < self.offset.saturating_sub(CLOCK_JUMP) {
            self.jump(least);
            return Some(Jump::Back(by));
        }
        if least > self.offset.saturating_add(CLOCK_JUMP) {
            let agrees = |before: i64| {
                least <= before.saturating_add(CLOCK_JUMP)
                    && before <= most.saturating_add(CLOCK_JUMP)
            };
            if ahead_before.is_some_and(agrees) {
                self.jump(least);
                return Some(Jump::Followed(by));
            }
            self.ahead = Some(least);
            return Some(Jump::Ahead(by));
        }
        self.offset = if most < self.offset {
            most.max(self.offset.saturating_sub(passed / SLEW))
        } else {
            self.offset.max(least)
        };
        None
    }

    fn jump(&mut self, offset: i64) {
        self.offset = offset;
        self.shown = Timestamp::from_micros(i64::MIN);
    }

    /// Returns the present, by both clocks.
    pub fn now(&mut self, moment: Moment) -> Now {
        let time = moment.as_micros().saturating_add(self.offset);
        self.shown = self.shown.max(Timestamp::from_micros(time));
        Now {
            moment,
            time: self.shown,
        }
    }

    /// Returns how far ahead the database's clock was read, in microseconds, where that is not followed yet; otherwise 0.
    pub fn difference(&self) -> i64 {
        self.ahead.map_or(0, |ahead| ahead - self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const BEGIN: Timestamp = Timestamp::from_micros(7_200_000_000);
    const START: Moment = Moment::from_micros(5_000);

    fn second(number: u64) -> Moment {
        START + Duration::from_secs(number)
    }

    /// Returns the time of an hour ahead or behind at this second.
    fn time(number: u64, ahead: Duration, behind: Duration) -> Timestamp {
        BEGIN + Duration::from_secs(number) + ahead - behind
    }

    /// Reads at this second, at once.
    fn read(clock: &mut Estimate, time: Timestamp, number: u64) -> Option<Jump> {
        clock.read(time, second(number), second(number))
    }

    /// A database that answers late has not jumped.
    #[test]
    fn a_reading_that_takes_long_shows_no_jump() {
        let mut clock = Estimate::new(BEGIN, START);
        let right = |number| time(number, Duration::ZERO, Duration::ZERO);
        for read_at in [10, 14, 20] {
            assert_eq!(clock.read(right(read_at), second(10), second(20)), None);
            assert_eq!(clock.now(second(20)).time, right(20));
        }
        // Even so it went back by an hour.
        let back = clock.read(time(14, Duration::ZERO, HOUR), second(10), second(20));
        assert!(matches!(back, Some(Jump::Back(_))), "{back:?}");
    }

    #[test]
    fn a_database_that_jumps_ahead_is_followed_when_two_readings_agree() {
        let mut clock = Estimate::new(BEGIN, START);
        let wrong = |number| time(number, HOUR, Duration::ZERO);
        assert_eq!(read(&mut clock, wrong(3), 3), Some(Jump::Ahead(HOUR)));
        assert_eq!(clock.now(second(3)).time, BEGIN + Duration::from_secs(3));
        assert_eq!(
            clock.difference(),
            3_600_000_000,
            "known though not followed"
        );
        assert_eq!(read(&mut clock, wrong(6), 6), Some(Jump::Followed(HOUR)));
        assert_eq!(clock.now(second(6)).time, wrong(6));
        assert_eq!(clock.difference(), 0);
    }

    #[test]
    fn a_jump_that_the_next_reading_takes_back_changes_nothing() {
        let mut clock = Estimate::new(BEGIN, START);
        for (number, ahead) in [(1, HOUR), (3, HOUR * 10_000)] {
            let wrong = time(number, ahead, Duration::ZERO);
            assert_eq!(read(&mut clock, wrong, number), Some(Jump::Ahead(ahead)));
            let right = BEGIN + Duration::from_secs(number + 1);
            assert_eq!(read(&mut clock, right, number + 1), None);
            assert_eq!(clock.now(second(number + 1)).time, right);
            assert_eq!(clock.difference(), 0);
        }
        // Two readings that are ahead and do not agree.
        read(&mut clock, time(5, HOUR, Duration::ZERO), 5);
        let other = read(&mut clock, time(6, HOUR * 3, Duration::ZERO), 6);
        assert_eq!(other, Some(Jump::Ahead(HOUR * 3)));
    }

    /// Deadlines do not run on this clock: what is stored may as well be right at once.
    #[test]
    fn it_goes_back_at_once_when_the_database_does() {
        let mut clock = Estimate::new(BEGIN, START);
        clock.now(second(2));
        let right = time(3, Duration::ZERO, HOUR);
        assert_eq!(read(&mut clock, right, 3), Some(Jump::Back(HOUR)));
        assert_eq!(clock.now(second(3)).time, right);
        let later = time(4, Duration::ZERO, HOUR);
        assert_eq!(read(&mut clock, later, 4), None, "a jump is said once");
    }

    /// A drift is no jump.
    #[test]
    fn small_differences_are_followed_at_once_or_slowly() {
        let mut clock = Estimate::new(BEGIN, START);
        let half = Duration::from_millis(500);
        assert_eq!(read(&mut clock, time(20, half, Duration::ZERO), 20), None);
        assert_eq!(clock.now(second(20)).time, time(20, half, Duration::ZERO));
        assert_eq!(
            read(&mut clock, time(30, Duration::ZERO, Duration::ZERO), 30),
            None
        );
        assert_eq!(
            clock.now(second(30)).time,
            time(30, Duration::ZERO, Duration::ZERO)
        );
        assert_eq!(read(&mut clock, time(31, Duration::ZERO, half), 31), None);
        let before = clock.now(second(31)).time;
        assert!(before >= time(31, Duration::ZERO, half), "{before:?}");
        assert!(clock.now(second(31)).time >= before);
    }
}
