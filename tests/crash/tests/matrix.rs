//! The short matrix and one storm, in every test run.

#![allow(clippy::unwrap_used)]

use std::process::Command;

#[track_caller]
fn is_good(arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_crash_matrix"))
        .args(arguments)
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}\n{errors}");
}

#[test]
fn the_books_balance_after_every_kill_of_the_short_matrix() {
    is_good(&["--short"]);
}

#[test]
fn the_books_balance_after_a_storm() {
    is_good(&[
        "--only-storms",
        "--storms",
        "1",
        "--orders",
        "120",
        "--hits",
        "6",
    ]);
}
