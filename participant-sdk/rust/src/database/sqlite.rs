//! The dialect of SQLite.

use sqlx::{Sqlite, error::DatabaseError};

use super::{
    dialect::Dialect,
    driver,
    statements::{Statements, insert, read, removable, update},
};

/// The primary result codes `SQLITE_BUSY` and `SQLITE_LOCKED`; the higher bytes of a code refine it.
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const PRIMARY_CODE: i32 = 0xff;

impl Dialect for Sqlite {
    const STATEMENTS: Statements = Statements {
        // Takes the write lock at once: a read lock that has to become a write lock later deadlocks.
        begin: "BEGIN IMMEDIATE",
        create_table: "CREATE TABLE IF NOT EXISTS tercet_barrier (
            tx_id TEXT NOT NULL,
            action TEXT NOT NULL,
            state TEXT NOT NULL,
            result BLOB NOT NULL,
            rejection TEXT NOT NULL,
            changed_at TEXT NOT NULL,
            PRIMARY KEY (tx_id, action)
        ) STRICT, WITHOUT ROWID",
        insert: insert!(
            "$1",
            "$2",
            "$3",
            "$4",
            "$5",
            "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')",
            "ON CONFLICT (tx_id, action) DO NOTHING"
        ),
        read: read!("$1", "$2", ""),
        update: update!(
            "$1",
            "$2",
            "$3",
            "$4",
            "$5",
            "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
        ),
        purge: concat!(
            "DELETE FROM tercet_barrier WHERE (tx_id, action) IN (SELECT tx_id, action",
            " FROM tercet_barrier WHERE ",
            removable!(
                "$1",
                "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || $2 || ' seconds')"
            ),
            " LIMIT $3)"
        ),
        shorten_lock_wait: None,
        restore_lock_wait: None,
    };

    const ONE_WRITER: bool = true;

    driver!(Sqlite);

    fn is_transient(error: &dyn DatabaseError) -> bool {
        let code = error.code().and_then(|code| code.parse::<i32>().ok());
        matches!(code.map(|code| code & PRIMARY_CODE), Some(BUSY | LOCKED))
    }

    fn is_lock_timeout(error: &dyn DatabaseError) -> bool {
        Self::is_transient(error)
    }
}
