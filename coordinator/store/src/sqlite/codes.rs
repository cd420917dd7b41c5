//! The meaning of SQLite's errors for a commit, in one table, and for reads.
//!
//! | codes | meaning for a commit |
//! |---|---|
//! | BUSY, LOCKED, PROTOCOL | a person's session holds a lock: not applied, and tried again |
//! | FULL, NOMEM, INTERRUPT, ABORT | not applied, and tried again: room may be made |
//! | IOERR | before COMMIT not applied; at COMMIT it is not known |
//! | CANTOPEN | the same: mostly too few file descriptors, which passes |
//! | SCHEMA | not applied: the schema changed during the statement, which is prepared anew |
//! | CONSTRAINT | another version stands, or a value that no row may have |
//! | TOOBIG, MISMATCH, RANGE | a value that no row may have |
//! | PERM, READONLY, AUTH | for good, unless a person gives the right back |
//! | CORRUPT, NOTADB, ERROR (no such table) | for good, unless a person repairs it |
//!
//! A failure for good is tried again too: the process ends only when nothing else came for
//! [`FATAL_AFTER`](tercet_core::limits::FATAL_AFTER). A read says nothing about writes, whatever its error.

use rusqlite::Error;
use tercet_core::write::ApplyFailure;

/// The point of a commit at which an error came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// Before COMMIT: the changes so far are undone.
    Statement,
    /// COMMIT itself.
    Commit,
}

// The primary result codes, https://www.sqlite.org/rescode.html.
const PERM: i32 = 3;
const ABORT: i32 = 4;
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const NOMEM: i32 = 7;
const READONLY: i32 = 8;
const INTERRUPT: i32 = 9;
const IOERR: i32 = 10;
const CORRUPT_FILE: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const PROTOCOL: i32 = 15;
const SCHEMA: i32 = 17;
const TOOBIG: i32 = 18;
const CONSTRAINT: i32 = 19;
const MISMATCH: i32 = 20;
const AUTH: i32 = 23;
const RANGE: i32 = 25;
const NOTADB: i32 = 26;

// The extended ones that say more.
const CONSTRAINT_PRIMARYKEY: i32 = CONSTRAINT | (6 << 8);
const CONSTRAINT_UNIQUE: i32 = CONSTRAINT | (8 << 8);

/// Returns the meaning of an extended result code and its message.
pub(super) fn of_code(code: i32, message: &str, at: At) -> ApplyFailure {
    match (code & 0xff, at) {
        (CONSTRAINT, _) => of_constraint(code, message),
        (TOOBIG | MISMATCH | RANGE, _) => ApplyFailure::Content,
        (BUSY | LOCKED | FULL | NOMEM | INTERRUPT | PROTOCOL, _)
        | (ABORT | IOERR | CANTOPEN | SCHEMA, At::Statement) => ApplyFailure::NotApplied,
        // SQLITE_ERROR is a statement that does not go with the schema; no other code is expected.
        (PERM | READONLY | CORRUPT_FILE | AUTH | NOTADB, _) | (_, At::Statement) => {
            ApplyFailure::Fatal
        }
        // Mainly IOERR.
        (_, At::Commit) => ApplyFailure::Unknown,
    }
}

fn of_constraint(code: i32, message: &str) -> ApplyFailure {
    match code {
        // The id or the unique key is taken. A taken key of another table is corruption.
        CONSTRAINT_PRIMARYKEY | CONSTRAINT_UNIQUE if message.contains("tx_info.") => {
            ApplyFailure::Moved
        }
        _ => ApplyFailure::Content,
    }
}

/// Returns the meaning of an error of the driver that writes.
pub(super) fn of(error: &Error, at: At) -> ApplyFailure {
    match (error, at) {
        (Error::SqliteFailure(code, message), _) => of_code(
            code.extended_code,
            message.as_deref().unwrap_or_default(),
            at,
        ),
        (Error::ToSqlConversionFailure(_), _) => ApplyFailure::Content,
        // A statement or a row that does not go with the schema.
        (_, At::Statement) => ApplyFailure::Fatal,
        (_, At::Commit) => ApplyFailure::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_kind() {
        use ApplyFailure::{Content, Fatal, Moved, NotApplied, Unknown};
        use At::{Commit, Statement};

        let unique_id = "UNIQUE constraint failed: tx_info.tx_id";
        let unique_key = "UNIQUE constraint failed: tx_info.unique_key";
        let action = "UNIQUE constraint failed: action_info.tx_id, action_info.action_name";
        let table = [
            ("BUSY", 5, "", Statement, NotApplied),
            ("BUSY at COMMIT", 5, "", Commit, NotApplied),
            ("BUSY_SNAPSHOT", 517, "", Statement, NotApplied),
            ("LOCKED", 6, "", Statement, NotApplied),
            ("NOMEM", 7, "", Statement, NotApplied),
            ("INTERRUPT", 9, "", Statement, NotApplied),
            ("FULL", 13, "", Statement, NotApplied),
            ("FULL at COMMIT", 13, "", Commit, NotApplied),
            ("PROTOCOL", 15, "", Statement, NotApplied),
            ("IOERR", 10, "", Statement, NotApplied),
            ("IOERR_WRITE at COMMIT", 778, "", Commit, Unknown),
            ("IOERR_FSYNC at COMMIT", 1034, "", Commit, Unknown),
            ("TOOBIG", 18, "", Statement, Content),
            ("MISMATCH", 20, "", Statement, Content),
            ("RANGE", 25, "", Statement, Content),
            ("CONSTRAINT_CHECK", 275, "", Statement, Content),
            ("CONSTRAINT_NOTNULL", 1299, "", Statement, Content),
            ("CONSTRAINT_DATATYPE", 3091, "", Statement, Content),
            ("PRIMARYKEY of tx_info", 1555, unique_id, Statement, Moved),
            ("UNIQUE of tx_info", 2067, unique_key, Statement, Moved),
            (
                "PRIMARYKEY of action_info",
                1555,
                action,
                Statement,
                Content,
            ),
            ("a person's trigger", 1811, "no!", Statement, Content),
            ("READONLY", 8, "", Statement, Fatal),
            ("READONLY at COMMIT", 8, "", Commit, Fatal),
            ("CORRUPT", 11, "", Statement, Fatal),
            ("CANTOPEN", 14, "", Statement, NotApplied),
            ("CANTOPEN at COMMIT", 14, "", Commit, Unknown),
            ("SCHEMA", 17, "", Statement, NotApplied),
            ("ABORT_ROLLBACK", 516, "", Statement, NotApplied),
            ("PERM", 3, "", Statement, Fatal),
            ("AUTH", 23, "", Statement, Fatal),
            ("NOTADB", 26, "", Statement, Fatal),
            ("ERROR: no such table", 1, "", Statement, Fatal),
            ("a code of a later SQLite", 99, "", Statement, Fatal),
            (
                "a code of a later SQLite at COMMIT",
                99,
                "",
                Commit,
                Unknown,
            ),
        ];
        for (name, code, message, at, expected) in table {
            assert_eq!(of_code(code, message, at), expected, "{name}");
        }
    }

    #[test]
    fn a_row_that_cannot_be_read_is_fatal_before_commit() {
        let error = Error::InvalidColumnIndex(7);
        assert_eq!(of(&error, At::Statement), ApplyFailure::Fatal);
        assert_eq!(of(&error, At::Commit), ApplyFailure::Unknown);
    }
}
