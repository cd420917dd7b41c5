//! The course of the database's clock while this process runs.

use std::{collections::VecDeque, time::Duration};

use tercet_mutation::broken;

use super::{CLOCK_JUMP, Moment, Now, Timestamp};

/// Spans between jumps that are remembered.
const CLOCK_SPANS: usize = 16;

/// The course of the database's clock since this process started: how it stood to the monotonic clock, from one jump to the
/// next. By it, a time that was stored before a jump still names the moment that it named then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    now: Now,
    /// The spans, the present one last; the first reaches back to what was stored before this process started.
    spans: VecDeque<Span>,
}

/// A span without a jump. Offsets are those of the database's clock from the monotonic one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    from: Timestamp,
    to: Now,
    first: i64,
    /// By which no moment comes out early.
    least: i64,
}

impl Span {
    fn new(now: Now) -> Self {
        Self {
            from: now.time,
            to: now,
            first: now.offset(),
            least: now.offset(),
        }
    }
}

impl Course {
    /// Makes the course that begins now.
    pub fn new(now: Now) -> Self {
        Self {
            now,
            spans: VecDeque::from([Span::new(now)]),
        }
    }

    /// Returns the present.
    pub fn now(&self) -> Now {
        self.now
    }

    /// Follows the clocks; a moment before an earlier one counts as that earlier one. Returns by how many microseconds the
    /// database's clock jumped ahead, or back where that is negative; 0: it did not.
    pub fn follow(&mut self, now: Now) -> i64 {
        let now = Now {
            moment: now.moment.max(self.now.moment),
            time: now.time,
        };
        let moved = now.offset().saturating_sub(self.now.offset());
        self.now = now;
        let offset = now.offset();
        let jumped = moved.unsigned_abs() > CLOCK_JUMP.unsigned_abs();
        match self.spans.back_mut() {
            // A drift that has added up begins a new span, too.
            Some(span) if !jumped && offset.abs_diff(span.first) <= CLOCK_JUMP.unsigned_abs() => {
                span.least = span.least.min(offset);
                span.to = now;
            }
            _ => {
                if self.spans.len() >= CLOCK_SPANS {
                    self.spans.pop_front();
                }
                self.spans.push_back(Span::new(now));
            }
        }
        if jumped { moved } else { 0 }
    }

    /// Returns the moment that `at` named when it was stored, at the time `stored`. Where the clock showed that time more
    /// than once, it is the latest that it can have been.
    pub fn moment_of(&self, at: Timestamp, stored: Timestamp) -> Moment {
        let covers = |(place, span): &(usize, &Span)| {
            stored <= span.to.time && (*place == 0 || stored >= span.from)
        };
        let covering = self.spans.iter().enumerate().filter(covers);
        let least = covering.map(|(_, span)| span.least).min();
        let mut offset = least.unwrap_or_else(|| self.now.offset());
        if broken("jump_ahead_ends_phase_one") {
            offset = self.now.offset();
        }
        Moment(at.as_micros().saturating_sub(offset))
    }

    /// Returns the present moment with all jumps ahead of the database's clock.
    #[cfg(feature = "mutations")]
    pub(crate) fn moment_with_jumps(&self) -> Moment {
        let first = self.spans.front().map_or(0, |span| span.first);
        let shown = |now: Now| now.time.as_micros().saturating_sub(first);
        let latest = self.spans.iter().map(|span| shown(span.to)).max();
        // It never goes back.
        Moment(latest.unwrap_or_default()).max(self.now.moment)
    }

    /// Returns the present by the database's clock, and as it would be by that clock before each of the jumps since `window`.
    pub fn times(&self, window: Duration) -> impl Iterator<Item = Timestamp> + '_ {
        let before = self.spans.iter().rev().skip(1);
        let recent = before.take_while(move |span| span.to.moment + window >= self.now.moment);
        let times = recent.map(|span| span.to.time_of(self.now.moment));
        std::iter::once(self.now.time).chain(times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    fn now(moment: i64, time: i64) -> Now {
        Now {
            moment: Moment::from_micros(moment),
            time: Timestamp::from_micros(time),
        }
    }

    fn moment_of(course: &Course, at: i64, stored: i64) -> i64 {
        let (at, stored) = (Timestamp::from_micros(at), Timestamp::from_micros(stored));
        course.moment_of(at, stored).as_micros()
    }

    #[test]
    fn a_stored_time_names_its_moment_across_jumps() {
        let mut course = Course::new(now(0, 10 * HOUR));
        // Stored at 10:30 for 10:40, then an hour ahead, stored at 11:50 for 12:00, and back.
        assert_eq!(course.follow(now(HOUR / 2, 21 * HOUR / 2)), 0);
        let (first, its) = (32 * HOUR / 3, 21 * HOUR / 2);
        let moment = moment_of(&course, first, its);
        assert_eq!(course.follow(now(3 * HOUR / 4, 47 * HOUR / 4)), HOUR);
        assert_eq!(moment_of(&course, first, its), moment);
        assert_eq!(moment_of(&course, 12 * HOUR, 47 * HOUR / 4), HOUR);
        assert_eq!(
            course.follow(now(3 * HOUR / 4 + 5, 43 * HOUR / 4 + 5)),
            -HOUR
        );
        assert_eq!(moment_of(&course, first, its), moment);
        assert_eq!(moment_of(&course, 12 * HOUR, 47 * HOUR / 4), HOUR);
        // By an incarnation before, and by a clock that none of the spans showed.
        assert_eq!(moment_of(&course, 11 * HOUR, 9 * HOUR), HOUR);
        assert_eq!(moment_of(&course, 20 * HOUR, 19 * HOUR), 10 * HOUR);
    }

    #[test]
    fn a_time_that_was_shown_twice_is_taken_for_the_later_moment() {
        let mut course = Course::new(now(0, 10 * HOUR));
        course.follow(now(HOUR, 11 * HOUR));
        course.follow(now(HOUR, 10 * HOUR));
        course.follow(now(2 * HOUR, 11 * HOUR));
        assert_eq!(moment_of(&course, 11 * HOUR, 21 * HOUR / 2), 2 * HOUR);
    }

    #[test]
    fn a_drift_that_adds_up_is_no_jump_and_makes_nothing_early() {
        let mut course = Course::new(now(0, 0));
        for second in 1..100 {
            let moment = second * 1_000_000;
            assert_eq!(course.follow(now(moment, moment + second * 100_000)), 0);
            let early = moment_of(&course, moment, 0) - moment;
            assert!((-CLOCK_JUMP..=0).contains(&early) || second > 10, "{early}");
        }
        assert_eq!(moment_of(&course, 5_000_000, 1), 5_000_000);
    }

    #[test]
    fn only_so_many_spans_are_remembered() {
        let mut course = Course::new(now(0, 0));
        for jump in 1..100 {
            assert_eq!(course.follow(now(jump, jump * HOUR + jump)), HOUR);
        }
        assert_eq!(course.spans.len(), CLOCK_SPANS);
        let all = course.times(Duration::from_hours(24)).count();
        assert_eq!(all, CLOCK_SPANS);
        course.follow(now(25 * HOUR, 124 * HOUR));
        assert_eq!(course.times(Duration::from_hours(24)).count(), 1);
    }
}
