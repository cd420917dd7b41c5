//! Conversions between the core's types and `tercet.v1`: below the front ends and the calls, which both need
//! them.
//!
//! | file | converts |
//! |---|---|
//! | `words` | statuses, modes, operations, causes |
//! | `views` | transactions as callers and people see them |
//! | `calls` | calls, check-backs and their results |
//! | `context` | the context of a call as metadata or headers |
//! | `errors` | errors of requests, to a gRPC status or the error of a session |

pub(crate) mod calls;
pub(crate) mod context;
mod errors;
pub(crate) mod views;
pub(crate) mod words;

use bytes::Bytes;
use tercet_core::limits;

pub(crate) use self::errors::with_reason;

/// Returns the milliseconds of a duration, as the wire carries them.
pub(crate) fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Returns a participant's text, cut to the length that is kept.
pub(crate) fn cut(text: &str) -> String {
    // Replaced first: the replacement of a NUL is longer than it.
    let mut text = text.replace('\0', "\u{fffd}");
    text.truncate(text.floor_char_boundary(limits::REASON_BYTES));
    text
}

/// Copies bytes into an allocation of their own. A slice of a large message would keep all of that.
pub(crate) fn compact(bytes: &Bytes) -> Bytes {
    if bytes.is_empty() {
        Bytes::new()
    } else {
        Bytes::copy_from_slice(bytes)
    }
}
