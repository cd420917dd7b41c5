//! Texts that go to the coordinator: bounded, and storable in every database.

use std::any::Any;

use tercet_barrier::CallAnswer;

use crate::{context::CallContext, database::MAX_RESULT_BYTES};

/// The length of the longest reason or error, in bytes; longer ones are cut.
pub(crate) const MAX_REASON_BYTES: usize = 1_024;

/// Cuts a text to [`MAX_REASON_BYTES`], between characters, and replaces NUL, which PostgreSQL cannot
/// store.
pub(crate) fn cut(mut text: String) -> String {
    if text.contains('\0') {
        text = text.replace('\0', "\u{fffd}");
    }
    if text.len() > MAX_REASON_BYTES {
        text.truncate(text.floor_char_boundary(MAX_REASON_BYTES));
    }
    text
}

/// Describes a result of `bytes` bytes as too long.
pub(crate) fn too_long(bytes: usize) -> String {
    format!("the result has {bytes} bytes; at most {MAX_RESULT_BYTES} are accepted")
}

/// Logs a panic of an action's code, and returns UNKNOWN for it.
pub(crate) fn panicked(call: &CallContext, panic: &(dyn Any + Send)) -> CallAnswer {
    let words = panic_words(panic);
    tracing::error!(tx_id = %call.tx_id, action = call.action, handler = call.handler,
        operation = ?call.operation, panic = words, "the action's code panicked");
    CallAnswer::Unknown(cut(format!("the action's code panicked: {words}")))
}

/// Returns the message of a panic, if it has one.
pub(crate) fn panic_words(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without words")
}

#[cfg(test)]
mod tests {
    use super::{MAX_REASON_BYTES, cut};

    #[test]
    fn a_text_is_cut_between_characters_and_loses_its_nul() {
        assert_eq!(cut("short".to_owned()), "short");
        assert_eq!(cut("a\0b".to_owned()), "a\u{fffd}b");
        let long = cut(format!("a{}", "é".repeat(MAX_REASON_BYTES)));
        assert_eq!(long.len(), MAX_REASON_BYTES - 1);
        assert!(long.ends_with('é'));
    }
}
