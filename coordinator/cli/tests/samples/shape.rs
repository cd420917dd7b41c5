//! The shape of a line: signs for what differs from run to run.

use std::fmt::Write as _;

/// Digits and dashes of an id.
const ID: &str = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
/// The shortest run of hexadecimal digits that is a payload.
const HEX: usize = 16;

/// Returns a line with a sign for each id, time, payload, duration and number, and without the spaces that fill columns.
pub(crate) fn shape(line: &str) -> String {
    let mut shape = String::new();
    let mut rest = line.trim();
    while let Some(first) = rest.chars().next() {
        let (sign, length) = sign(rest);
        if length > 0 {
            let _ = write!(shape, "{sign}");
            rest = &rest[length..];
            continue;
        }
        if first != ' ' || !shape.ends_with(' ') {
            shape.push(first);
        }
        rest = &rest[first.len_utf8()..];
    }
    shape
}

/// Returns the sign for what a text begins with, and its length; 0: it stands for itself.
fn sign(text: &str) -> (&'static str, usize) {
    let is_id = text.len() >= ID.len()
        && text.bytes().zip(ID.bytes()).all(|(byte, form)| match form {
            b'-' => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    if is_id {
        return ("ID", ID.len());
    }
    let hex = run(text, |byte| byte.is_ascii_hexdigit());
    if hex >= HEX {
        return ("HEX", hex);
    }
    let time = run(text, |byte| {
        byte.is_ascii_digit() || b"-T:.Z".contains(&byte)
    });
    if time >= "2026-01-01T00:00:00Z".len() && text[..time].ends_with('Z') {
        return ("TIME", time);
    }
    let digits = run(text, |byte| byte.is_ascii_digit());
    if digits == 0 {
        return ("", 0);
    }
    let fraction = text[digits..].strip_prefix('.').map_or(0, |after| {
        match run(after, |byte| byte.is_ascii_digit()) {
            0 => 0,
            more => more + 1,
        }
    });
    let number = digits + fraction;
    for unit in [" us", " ms", " s"] {
        let Some(after) = text[number..].strip_prefix(unit) else {
            continue;
        };
        if !after.starts_with(|next: char| next.is_alphanumeric()) {
            return ("DURATION", number + unit.len());
        }
    }
    ("N", number)
}

/// Returns the length of the run of such bytes, which are ASCII, at the beginning.
fn run(text: &str, belongs: impl Fn(u8) -> bool) -> usize {
    text.bytes().take_while(|byte| belongs(*byte)).count()
}

#[test]
fn a_shape_has_signs_for_what_differs() {
    for (line, expected) in [
        ("id  01a21991-7c23-758d-ba2b-1c68895cb68b  is", "id ID is"),
        (
            "2026-11-26T20:34:54.798Z  +176.4 ms  TRY",
            "TIME +DURATION TRY",
        ),
        (
            "after 3.7 ms: attempt 12 of http://127.0.0.1:9",
            "after DURATION: attempt N of http://N.N:N",
        ),
        ("0a056c7563696110fa01 (10 bytes)", "HEX (N bytes)"),
        ("for 11 s: 3 sorts", "for DURATION: N sorts"),
        ("seconds=6.81", "seconds=N"),
    ] {
        assert_eq!(shape(line), expected);
    }
}
