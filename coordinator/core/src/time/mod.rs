//! Time: numbers that come in from outside.
//!
//! Two clocks, of two types that do not mix. What is stored is a [`Timestamp`], by the database's clock, which may jump
//! either way. What is waited for is a [`Moment`], by the process's own clock, which never does. [`Now`] has both, and
//! converts; see `docs/adr/0017`.

mod course;
mod estimate;

use std::{
    ops::{Add, Sub},
    time::Duration,
};

pub use self::{
    course::Course,
    estimate::{Estimate, Jump},
};

/// The difference between two readings of the database's clock from which on it is taken for a jump, in microseconds.
const CLOCK_JUMP: i64 = 1_000_000;

/// Microseconds since 1970-01-01 UTC by the database's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// Microseconds by the monotonic clock of this process: 0 at some moment before its engine was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(i64);

/// The present, by both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Now {
    /// By the process's monotonic clock: for what is waited for.
    pub moment: Moment,
    /// By the database's clock, or a little earlier: for what is stored, and compared with what is stored.
    pub time: Timestamp,
}

macro_rules! point_in_time {
    ($name:ident) => {
        impl $name {
            /// The end of time.
            pub const MAX: Self = Self(i64::MAX);

            /// Makes it of microseconds since zero.
            pub const fn from_micros(micros: i64) -> Self {
                Self(micros)
            }

            /// Returns the microseconds since zero.
            pub const fn as_micros(self) -> i64 {
                self.0
            }

            /// Returns the time that passed since `earlier`; zero when this is not after it.
            pub fn since(self, earlier: Self) -> Duration {
                Duration::from_micros(self.0.saturating_sub(earlier.0).try_into().unwrap_or(0))
            }
        }

        impl Add<Duration> for $name {
            type Output = Self;

            fn add(self, duration: Duration) -> Self {
                Self(self.0.saturating_add(micros_of(duration)))
            }
        }

        impl Sub<Duration> for $name {
            type Output = Self;

            fn sub(self, duration: Duration) -> Self {
                Self(self.0.saturating_sub(micros_of(duration)))
            }
        }
    };
}

point_in_time!(Timestamp);
point_in_time!(Moment);

impl Now {
    /// Returns the moment at which the database's clock shows `at`, if it does not jump.
    pub fn moment_of(self, at: Timestamp) -> Moment {
        Moment(at.0.saturating_sub(self.offset()))
    }

    /// Returns the time that the database's clock shows at `moment`, if it does not jump.
    pub fn time_of(self, moment: Moment) -> Timestamp {
        Timestamp(moment.0.saturating_add(self.offset()))
    }

    /// Returns the database's clock minus the process's.
    fn offset(self) -> i64 {
        self.time.0.saturating_sub(self.moment.0)
    }
}

fn micros_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Returns whether two times differ by a jump.
pub(crate) fn differ(a: Timestamp, b: Timestamp) -> bool {
    a.0.abs_diff(b.0) > CLOCK_JUMP.unsigned_abs()
}

/// Returns the earlier of two times, where there is one.
pub(crate) fn earliest<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

/// Times as whole microseconds, the form in which the database keeps them.
pub mod micros {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::time::Timestamp;

    /// Writes whole microseconds.
    #[allow(
        clippy::trivially_copy_pass_by_ref,
        reason = "the signature is serde's"
    )]
    pub fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(at.as_micros())
    }

    /// Reads whole microseconds.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        i64::deserialize(deserializer).map(Timestamp::from_micros)
    }

    /// Optional times as whole microseconds.
    pub mod optional {
        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        use crate::time::Timestamp;

        /// Writes whole microseconds or nothing.
        #[allow(clippy::ref_option, reason = "the signature is serde's")]
        pub fn serialize<S: Serializer>(
            at: &Option<Timestamp>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            at.map(Timestamp::as_micros).serialize(serializer)
        }

        /// Reads whole microseconds or nothing.
        pub fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Timestamp>, D::Error> {
            Ok(Option::<i64>::deserialize(deserializer)?.map(Timestamp::from_micros))
        }
    }
}

/// Durations as whole milliseconds, the form in which the database keeps them.
pub mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes whole milliseconds.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    /// Reads whole milliseconds.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }

    /// Optional durations as whole milliseconds.
    pub mod optional {
        use std::time::Duration;

        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        /// Writes whole milliseconds or nothing.
        #[allow(clippy::ref_option, reason = "the signature is serde's")]
        pub fn serialize<S: Serializer>(
            duration: &Option<Duration>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            duration
                .map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
                .serialize(serializer)
        }

        /// Reads whole milliseconds or nothing.
        pub fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Duration>, D::Error> {
            Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_millis))
        }
    }
}
