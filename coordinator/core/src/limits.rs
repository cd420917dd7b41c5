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
    /// The highest version of a row, and the highest number of calls or questions that a row counts. A row with a higher
    /// one is not legal.
    COUNT: u32 = 1 << 30;
    /// Bytes of an action's payload.
    PAYLOAD_BYTES: usize = 64 * 1024;
    /// Bytes of the result of a Try.
    RESULT_BYTES: usize = 64 * 1024;
    /// Keys of `ext_properties`: of a transaction, of an action, and of an action overlaid on its transaction.
    EXT_KEYS: usize = 16;
    /// Bytes of the keys and values of `ext_properties` together, counted like the keys. They travel with every call, so
    /// this is what fits into HTTP headers: see `docs/adr/0016`.
    EXT_BYTES: usize = 1024;
    /// Bytes of a reason or an error that is kept; longer ones are cut.
    REASON_BYTES: usize = 1_024;
    /// Attempts kept per action.
    ATTEMPTS_KEPT: usize = 20;
    /// Violations that the message of an error repeats, for callers that do not read its details.
    VIOLATIONS_IN_MESSAGE: usize = 6;
    /// Handlers of a participant that a refusal lists.
    HANDLERS_LISTED: usize = 8;
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
    /// The least wait whose end is looked into at the start: it may have been written while the database's clock was wrong.
    MISDATED_AFTER: Duration = Duration::from_mins(1);
    /// Queues that one query of the walk through rows in the future returns.
    RECALL_QUEUES: u32 = 100;
    /// Rows in the future that one query returns; they are read one query after the other.
    RECALL_ROWS: u32 = 16;
    /// Times that the trial doubles after which a database counts as taking writes though no commit was applied.
    TRIAL_DOUBLINGS: u32 = 6;
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
    /// The pause before an action is looked at again that is too old and waits for a place of its participant, which may have
    /// gone away meanwhile.
    AGE_PAUSE: Duration = Duration::from_mins(5);
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

    /// The pause before the first probe of a registered address that took no call; doubled with each probe.
    PROBE_DELAY: Duration = Duration::from_millis(100);
    /// The cap of that pause.
    PROBE_DELAY_MAX: Duration = Duration::from_secs(5);
    /// The time after which a probe that has not come back counts as taken.
    PROBE_PATIENCE: Duration = Duration::from_secs(10);
    /// Calls of a participant that fail in a row, after which its calls are paced until one is answered.
    FAILURES_IN_A_ROW: u32 = 16;
    /// Calls that leave to a participant whose calls are paced, per `RETRY_INTERVAL`.
    RETRIES_AT_ONCE: u32 = 64;
    /// The interval in which the calls of a participant that fails are gathered.
    RETRY_INTERVAL: Duration = Duration::from_millis(500);

    /// The shares of a commit, of which writes for which no caller waits keep one.
    LANE_SHARES: usize = 8;
    /// Transactions from the table that are being read or written at once, or are about to be; further ones wait there. So
    /// the rows of a participant that returns take up little memory, and delay nothing for long.
    TABLE_AT_ONCE: usize = 1_024;

    /// The fewest calls that may wait in each of a participant's two queues in memory; otherwise twice its places.
    WINDOW_CALLS: usize = 16;
    /// The shares of the memory for transactions, of which the calls of one participant hold one at most.
    MEMORY_SHARES: usize = 8;
    /// The shares of the bounds of memory, of which one is added for requests of transactions that have been begun.
    RESERVE_SHARES: usize = 8;
    /// Callers of one transaction that begins of its business under other ids joined, those who wait for it by its own id
    /// included. In all as many may have joined as transactions may be in memory.
    CALLERS_JOINED: usize = 16_384;
    /// Transactions that are passed over for a while when rows are loaded.
    ROWS_PASSED_OVER: usize = 10_000;
    /// How long a row is passed over that is not legal, or of which the database refuses a write.
    ILLEGAL_PAUSE: Duration = Duration::from_mins(1);
    /// How long a row is passed over for which nothing could be done when it was loaded.
    IDLE_PAUSE: Duration = Duration::from_secs(1);
    /// Bytes of transactions that are read from the table at once, about.
    LOAD_BYTES: usize = 32 * 1024 * 1024;
    /// Transactions that are read from the table at once.
    LOAD_TRANSACTIONS: usize = 1_024;
    /// Queries for queues and due rows that are under way at once.
    TABLE_QUERIES: usize = 16;
    /// A look at the queues takes at most one part in this many of the time.
    LOOK_SHARES: u32 = 10;
    /// The longest pause between two looks, whatever the last one took: the time may have jumped meanwhile.
    LOOK_PAUSE_MAX: Duration = Duration::from_mins(1);
    /// Queues that one query returns.
    QUEUES_PER_QUERY: u32 = 1_000;
    /// Queues with due rows that are remembered; others are found again by a later look.
    QUEUES_REMEMBERED: usize = 10_000;
    /// Rows of the walk through those in hand that one query returns.
    SWEEP_ROWS: u32 = 1_000;
    /// The pause between two pages of one queue, in which the calls of the last page take their places.
    PAGE_PAUSE: Duration = Duration::from_millis(20);
}
