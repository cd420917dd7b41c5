//! The dialect of SQLite.

use std::sync::LazyLock;

use sqlx::Sqlite;
use tercet_core::write::ApplyFailure;

use super::codes;
use crate::sql::{Dialect, Index, Statements};

impl Dialect for Sqlite {
    const CLOCK: &'static str = "CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000";

    fn statements() -> &'static Statements {
        static STATEMENTS: LazyLock<Statements> = LazyLock::new(Statements::of::<Sqlite>);
        &STATEMENTS
    }

    /// Makes statements that fail on a schema without the index.
    fn hint(index: Index) -> &'static str {
        match index {
            Index::PrimaryKey => " NOT INDEXED",
            Index::Business => " INDEXED BY tx_business",
            Index::Due => " INDEXED BY tx_due",
            Index::Parked => " INDEXED BY tx_parked",
        }
    }

    fn read_failure(error: &sqlx::Error) -> ApplyFailure {
        codes::of_read(error)
    }
}
