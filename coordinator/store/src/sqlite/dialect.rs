//! The dialect of SQLite.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use sqlx::{Sqlite, SqliteConnection};

use crate::{
    columns::{Columns, DueColumns},
    sql::{Among, Dialect, Index, Statements},
};

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
        }
    }

    /// Makes one search per column that may change. A comparison of all the columns at once would use only the first of
    /// them in the search, and read every row of the queue.
    fn next_queue(among: Among) -> String {
        const SAME_NEED: &str = "kind = q.kind AND name = q.name AND need = q.need \
             AND business_type > q.business_type";
        const SAME_NAME: &str = "kind = q.kind AND name = q.name AND need > q.need";
        let conditions: &[&str] = match among {
            // A queue that an earlier one finds comes before those that a later one finds.
            Among::All => &[
                SAME_NEED,
                SAME_NAME,
                "kind = q.kind AND name > q.name",
                "kind > q.kind",
            ],
            Among::SameName => &[SAME_NEED, SAME_NAME],
        };
        let key = DueColumns::names().join(", ");
        let first = |condition: &&str| {
            format!(
                "SELECT * FROM (SELECT {key} FROM tx_due WHERE {condition} ORDER BY {key} LIMIT 1)"
            )
        };
        let firsts: Vec<String> = conditions.iter().map(first).collect();
        let columns = DueColumns::names();
        let columns: Vec<String> = columns.iter().map(|name| format!("t.{name}")).collect();
        format!(
            "queue q CROSS JOIN tx_due t WHERE ({}) = ({} LIMIT 1)",
            columns.join(", "),
            firsts.join(" UNION ALL ")
        )
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
