//! The clocks of a simulated world. Its own time never jumps back; processes have it as their monotonic clock, and the
//! database's clock differs from it by a number of microseconds that changes.

use tercet_core::time::{Moment, Now, Timestamp};

use super::history::DAWN;

/// Returns the moment that a process's monotonic clock shows at this time of the world.
pub fn moment(now: Timestamp) -> Moment {
    Moment::from_micros(now.as_micros() - DAWN.as_micros())
}

/// Returns the time of the world at which a process's monotonic clock shows this moment.
pub fn time(moment: Moment) -> Timestamp {
    Timestamp::from_micros(DAWN.as_micros().saturating_add(moment.as_micros()))
}

/// Returns the present of a process whose database's clock never jumps.
pub fn present(now: Timestamp) -> Now {
    Now {
        moment: moment(now),
        time: now,
    }
}

/// Returns a time that is so many microseconds ahead of another, or behind it where that is negative.
pub fn shifted(time: Timestamp, micros: i64) -> Timestamp {
    Timestamp::from_micros(time.as_micros() + micros)
}
