//! The dialect of SQLite.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use sqlx::{Sqlite, SqliteConnection};

use crate::sql::{Dialect, Index, Statements};

/// Instructions of SQLite between two looks at the clock: some tens of microseconds.
const STEPS: i32 = 10_000;

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

    async fn interrupt_after(
        connection: &mut SqliteConnection,
        limit: Duration,
    ) -> Result<(), sqlx::Error> {
        let end = Instant::now() + limit;
        let mut handle = connection.lock_handle().await?;
        handle.set_progress_handler(STEPS, move || Instant::now() < end);
        Ok(())
    }
}
