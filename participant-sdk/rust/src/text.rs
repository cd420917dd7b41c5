//! Words that go to the coordinator: bounded, and storable in every database.

use std::any::Any;

use tercet_barrier::Outcome;

use crate::{context::CallContext, database::MAX_RESULT_BYTES};

/// The longest reason or error, in bytes; longer ones are cut.
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

/// What is wrong with a result of `bytes` bytes.
pub(crate) fn too_long(bytes: usize) -> String {
    format!("the result has {bytes} bytes; at most {MAX_RESULT_BYTES} are accepted")
}

/// What a panic in an action's code means: nobody can say.
pub(crate) fn panicked(call: &CallContext, panic: &(dyn Any + Send)) -> Outcome {
    let words = panic_words(panic);
    tracing::error!(tx_id = %call.tx_id, action = call.action, handler = call.handler,
        operation = ?call.operation, panic = words, "the action's code panicked");
    Outcome::Unknown(cut(format!("the action's code panicked: {words}")))
}

/// The words of a panic, where it has some.
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
