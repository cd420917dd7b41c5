//! Payloads and results, readable where they are text.

use std::fmt::Write as _;

use serde_json::Value;

use crate::words::{cut, plain};

/// Characters of a payload or result that are shown to a person; `--json` has the whole.
const SHOWN: usize = 400;

/// Returns the bytes as text, if they are UTF-8 without control characters other than line breaks and tabs.
pub(crate) fn text(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let readable = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    (!bytes.is_empty() && text.chars().all(readable)).then_some(text)
}

/// Returns the value, if the bytes are JSON.
pub(crate) fn json(bytes: &[u8]) -> Option<Value> {
    serde_json::from_slice(bytes).ok()
}

/// Returns the bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Returns one line for a person: the text, or hexadecimal, cut where it is long.
pub(crate) fn line(bytes: &[u8]) -> String {
    let (whole, form) = match text(bytes) {
        Some(text) => (plain(text), ""),
        // Two digits per byte.
        None => (hex(&bytes[..bytes.len().min(SHOWN)]), " in hexadecimal"),
    };
    let length = bytes.len();
    let shown = cut(&whole, SHOWN);
    if shown == whole && form.is_empty() {
        shown
    } else {
        format!("{shown} ({length} bytes{form})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_as_text_where_they_are_text() {
        assert_eq!(
            line(br#"{"user":"ada","points":100}"#),
            r#"{"user":"ada","points":100}"#
        );
        assert_eq!(line("Jürgen\nAda".as_bytes()), "Jürgen Ada");
        assert_eq!(line(b"\x08\x64"), "0864 (2 bytes in hexadecimal)");
        assert_eq!(line(b"\x1b[31m"), "1b5b33316d (5 bytes in hexadecimal)");
        let long = line("ü".repeat(1_000).as_bytes());
        assert!(long.ends_with("ü… (2000 bytes)"), "{long}");
        assert_eq!(long.chars().filter(|c| *c == 'ü').count(), SHOWN - 1);
    }
}
