//! Every bound of the model, with its default. `docs/configuration.md` explains each.

use std::time::Duration;

/// One bound, for documentation and its tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The constant's name.
    pub name: &'static str,
    /// Its value.
    pub value: LimitValue,
}

/// The value of a bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitValue {
    /// A number of things or bytes.
    Number(u64),
    /// A duration.
    Duration(Duration),
}

impl From<usize> for LimitValue {
    fn from(number: usize) -> Self {
        Self::Number(u64::try_from(number).unwrap_or(u64::MAX))
    }
}

impl From<u32> for LimitValue {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<Duration> for LimitValue {
    fn from(duration: Duration) -> Self {
        Self::Duration(duration)
    }
}

/// Defines bounds as constants, and the list of them.
#[macro_export]
macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $value:expr;)*) => {
        $($(#[$doc])* pub const $name: $type = $value;)*

        /// Returns every bound of this module.
        pub fn all() -> Vec<$crate::limits::Limit> {
            vec![$($crate::limits::Limit {
                name: stringify!($name),
                value: $name.into(),
            },)*]
        }
    };
}

limits! {
    /// Bytes of a name: business type and id, action, participant, handler.
    NAME_BYTES: usize = 128;
    /// Actions of one transaction.
    ACTIONS: usize = 64;
    /// Bytes of an action's payload.
    PAYLOAD_BYTES: usize = 64 * 1024;
    /// Bytes of the result of a Try.
    RESULT_BYTES: usize = 64 * 1024;
    /// Keys of `ext_properties`.
    EXT_KEYS: usize = 16;
    /// Bytes of the keys and values of `ext_properties` together.
    EXT_BYTES: usize = 4 * 1024;
    /// Bytes of a reason or an error that is kept; longer ones are cut.
    REASON_BYTES: usize = 1_024;
    /// Attempts kept per action.
    ATTEMPTS_KEPT: usize = 20;
    /// Operators' commands shown per transaction.
    OPERATOR_ENTRIES_SHOWN: usize = 20;

    /// The length of phase one when the caller gives none.
    TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
    /// The longest phase one.
    TIMEOUT_MAX: Duration = Duration::from_hours(7 * 24);
    /// The farthest that an id without a row may be behind the database's clock.
    BEGIN_WINDOW: Duration = Duration::from_hours(24);
    /// The farthest that an id without a row may be ahead of the database's clock.
    BEGIN_AHEAD: Duration = Duration::from_mins(10);

    /// The farthest that a begin may be ahead of the database's clock before that clock is taken for wrong at the begin.
    BEGUN_AHEAD: Duration = Duration::from_mins(1);
    /// The time for which every commit may fail for good before the process ends.
    FATAL_AFTER: Duration = Duration::from_secs(30);

    /// The back-off's first step.
    FIRST_DELAY_DEFAULT: Duration = Duration::from_secs(1);
    /// The longest first step.
    FIRST_DELAY_MAX: Duration = Duration::from_hours(1);
    /// The back-off's cap.
    MAX_DELAY_DEFAULT: Duration = Duration::from_mins(1);
    /// The longest cap.
    MAX_DELAY_MAX: Duration = Duration::from_hours(24);
    /// Calls of one operation in phase two.
    MAX_ATTEMPTS_DEFAULT: u32 = 100;
    /// The most calls of one operation in phase two.
    MAX_ATTEMPTS_MAX: u32 = 10_000;
    /// The longest age at which an action is given up.
    MAX_AGE_MAX: Duration = Duration::from_hours(365 * 24);
    /// The longest time of one call, when the caller gives none.
    CALL_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
    /// The longest call.
    CALL_TIMEOUT_MAX: Duration = Duration::from_mins(10);
    /// Times a rejection in phase two must be repeated before it counts, where the participant's framework may return
    /// `ABORTED` for a conflict of its own.
    REJECTIONS_TO_BELIEVE: u32 = 3;

    /// The longest wait between the deadline and the first question to an initiator.
    CHECK_BACK_FIRST_DELAY_MAX: Duration = Duration::from_hours(24);
    /// The wait after the first answer UNKNOWN of an initiator, when the caller gives none.
    CHECK_BACK_INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
    /// The longest wait after the first answer UNKNOWN of an initiator.
    CHECK_BACK_INTERVAL_MAX: Duration = Duration::from_hours(1);
    /// The cap of the wait between two questions to an initiator, when the caller gives none.
    CHECK_BACK_MAX_INTERVAL_DEFAULT: Duration = Duration::from_mins(1);
    /// The longest cap of the wait between two questions to an initiator.
    CHECK_BACK_MAX_INTERVAL_MAX: Duration = Duration::from_hours(24);
    /// The most questions to an initiator after which FAILURE is decided.
    CHECK_BACK_ATTEMPTS_MAX: u32 = 10_000;
}
