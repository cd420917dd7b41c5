//! The dialect of PostgreSQL.

use sqlx::{Postgres, error::DatabaseError};

use super::{
    dialect::{Dialect, Sealing},
    driver,
    statements::{Statements, insert, read, removable, update},
};

const SERIALIZATION_FAILURE: &str = "40001";
const DEADLOCK_DETECTED: &str = "40P01";
const LOCK_NOT_AVAILABLE: &str = "55P03";

impl Dialect for Postgres {
    const STATEMENTS: Statements = Statements {
        begin: "BEGIN ISOLATION LEVEL READ COMMITTED",
        // A setting that is changed within a transaction is undone with it, so it is changed before, in
        // the same exchange. With a BEGIN of its own the server has nothing to warn about.
        begin_for_code: "BEGIN; SET default_transaction_read_only = on; COMMIT; \
                         BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
        savepoint: "SAVEPOINT tercet_code",
        keep: "RELEASE SAVEPOINT tercet_code; RESET default_transaction_read_only",
        undo: "ROLLBACK TO SAVEPOINT tercet_code; RESET default_transaction_read_only",
        unseal: Some("RESET default_transaction_read_only"),
        create_table: "CREATE TABLE IF NOT EXISTS tercet_barrier (
            tx_id TEXT COLLATE \"C\" NOT NULL,
            action TEXT COLLATE \"C\" NOT NULL,
            state TEXT NOT NULL,
            result BYTEA NOT NULL,
            rejection TEXT NOT NULL,
            changed_at TIMESTAMPTZ NOT NULL,
            PRIMARY KEY (tx_id, action)
        )",
        insert: insert!(
            "$1",
            "$2",
            "$3",
            "$4",
            "$5",
            "clock_timestamp()",
            "ON CONFLICT (tx_id, action) DO NOTHING"
        ),
        read: read!("$1", "$2", " FOR UPDATE"),
        update: update!("$1", "$2", "$3", "$4", "$5", "clock_timestamp()"),
        purge: concat!(
            "DELETE FROM tercet_barrier WHERE (tx_id, action) IN (SELECT tx_id, action",
            " FROM tercet_barrier WHERE ",
            removable!("$1", "clock_timestamp() - $2 * INTERVAL '1 second'"),
            " LIMIT $3)"
        ),
        shorten_lock_wait: Some("SET LOCAL lock_timeout = '2s'"),
        // SET LOCAL ends with the transaction.
        restore_lock_wait: None,
    };

    const SEALING: Sealing = Sealing::Begin;

    driver!(Postgres);

    fn is_transient(error: &dyn DatabaseError) -> bool {
        matches!(
            error.code().as_deref(),
            Some(SERIALIZATION_FAILURE | DEADLOCK_DETECTED)
        )
    }

    fn is_lock_timeout(error: &dyn DatabaseError) -> bool {
        error.code().as_deref() == Some(LOCK_NOT_AVAILABLE)
    }
}
