//! The dialect of SQLite.

use futures::future::BoxFuture;
use sqlx::{Sqlite, SqliteConnection, error::DatabaseError};

use super::{
    dialect::{Dialect, Sealing},
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
        begin_for_code: "BEGIN IMMEDIATE",
        savepoint: "SAVEPOINT tercet_code",
        keep: "RELEASE SAVEPOINT tercet_code",
        undo: "ROLLBACK TO SAVEPOINT tercet_code",
        unseal: None,
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

    const SEALING: Sealing = Sealing::Hook;

    driver!(Sqlite);

    fn refuse_commits(
        connection: &mut SqliteConnection,
        refuse: bool,
    ) -> BoxFuture<'_, Result<(), sqlx::Error>> {
        Box::pin(async move {
            let mut handle = connection.lock_handle().await?;
            if refuse {
                handle.set_commit_hook(|| false);
            } else {
                handle.remove_commit_hook();
            }
            Ok(())
        })
    }

    fn is_transient(error: &dyn DatabaseError) -> bool {
        let code = error.code().and_then(|code| code.parse::<i32>().ok());
        matches!(code.map(|code| code & PRIMARY_CODE), Some(BUSY | LOCKED))
    }

    fn is_lock_timeout(error: &dyn DatabaseError) -> bool {
        Self::is_transient(error)
    }
}
