//! Every bound of the model, with its default. `docs/configuration.md` explains each.

use std::time::Duration;

/// Bytes of a name: business type and id, action, participant, handler.
pub const NAME_BYTES: usize = 128;
/// Actions of one transaction.
pub const ACTIONS: usize = 64;
/// Bytes of an action's payload.
pub const PAYLOAD_BYTES: usize = 64 * 1024;
/// Bytes of what a Try returned.
pub const RESULT_BYTES: usize = 64 * 1024;
/// Keys of `ext_properties`.
pub const EXT_KEYS: usize = 16;
/// Bytes of the keys and values of `ext_properties` together.
pub const EXT_BYTES: usize = 4 * 1024;
/// Bytes of a reason or an error that is kept; longer ones are cut.
pub const REASON_BYTES: usize = 1_024;
/// Attempts kept an action.
pub const ATTEMPTS_KEPT: usize = 20;
/// Commands of operators shown with a transaction.
pub const OPERATOR_ENTRIES_SHOWN: usize = 20;

/// Phase one's length when the caller gives none.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// The longest phase one.
pub const TIMEOUT_MAX: Duration = Duration::from_hours(7 * 24);
/// How far behind the database's clock an id without a row may be.
pub const BEGIN_WINDOW: Duration = Duration::from_hours(24);
/// How far ahead of the database's clock an id without a row may be.
pub const BEGIN_AHEAD: Duration = Duration::from_mins(10);

/// The back-off's first step.
pub const FIRST_DELAY_DEFAULT: Duration = Duration::from_secs(1);
/// The longest first step.
pub const FIRST_DELAY_MAX: Duration = Duration::from_hours(1);
/// The back-off's cap.
pub const MAX_DELAY_DEFAULT: Duration = Duration::from_mins(1);
/// The longest cap.
pub const MAX_DELAY_MAX: Duration = Duration::from_hours(24);
/// Calls of one operation in phase two.
pub const MAX_ATTEMPTS_DEFAULT: u32 = 100;
/// The most calls of one operation in phase two.
pub const MAX_ATTEMPTS_MAX: u32 = 10_000;
/// The longest age at which an action is given up.
pub const MAX_AGE_MAX: Duration = Duration::from_hours(365 * 24);
/// How long one call may take.
pub const CALL_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// The longest call.
pub const CALL_TIMEOUT_MAX: Duration = Duration::from_mins(10);
/// Times a rejection in phase two must be repeated before it counts, where the participant's
/// framework may say `ABORTED` for a conflict of its own.
pub const REJECTIONS_TO_BELIEVE: u32 = 3;
