//! The dialect of MySQL and MariaDB.

use sqlx::{MySql, error::DatabaseError, mysql::MySqlDatabaseError};

use super::{
    Bind,
    dialect::{Dialect, Sealing},
    driver,
    statements::{Statements, insert, read, removable, update},
};

const LOCK_WAIT_TIMEOUT: u16 = 1205;
const DEADLOCK: u16 = 1213;

/// Begins a local transaction that may write, whatever the session's default is.
const BEGIN: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION READ WRITE";

impl Dialect for MySql {
    const STATEMENTS: Statements = Statements {
        begin: BEGIN,
        begin_for_code: BEGIN,
        // After a deadlock the server keeps to the access mode of the transaction that it rolled back,
        // so that READ ONLY alone does not do: without autocommit what follows is not committed.
        savepoint: "SAVEPOINT tercet_code; SET SESSION TRANSACTION READ ONLY; \
                    SET @tercet_autocommit = @@autocommit; SET autocommit = 0",
        keep: "RELEASE SAVEPOINT tercet_code",
        undo: "ROLLBACK TO SAVEPOINT tercet_code",
        // Within a transaction this would commit.
        unseal: Some(
            "SET SESSION TRANSACTION READ WRITE; \
             SET autocommit = COALESCE(@tercet_autocommit, @@autocommit)",
        ),
        // Every text collation that both servers have pads with spaces, so the action's name is
        // bytes. `asked` turns a repeated insert into a change, which the driver counts differently
        // from a first insert. It also locks the row exclusively at once; a duplicate-key error would
        // take a shared lock, and two repetitions would deadlock.
        create_table: "CREATE TABLE IF NOT EXISTS tercet_barrier (
            tx_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
            action VARBINARY(128) NOT NULL,
            state VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
            result MEDIUMBLOB NOT NULL,
            rejection TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
            changed_at DATETIME(6) NOT NULL,
            asked INT UNSIGNED NOT NULL DEFAULT 1,
            PRIMARY KEY (tx_id, action)
        ) ENGINE = InnoDB",
        insert: insert!(
            "?",
            "?",
            "?",
            "?",
            "?",
            "UTC_TIMESTAMP(6)",
            "ON DUPLICATE KEY UPDATE asked = asked + 1"
        ),
        read: read!("?", "?", " FOR UPDATE"),
        update: update!("?", "?", "?", "?", "?", "UTC_TIMESTAMP(6)"),
        purge: concat!(
            "DELETE FROM tercet_barrier WHERE ",
            removable!("?", "UTC_TIMESTAMP(6) - INTERVAL ? SECOND"),
            " LIMIT ?"
        ),
        shorten_lock_wait: Some("SET SESSION innodb_lock_wait_timeout = 2"),
        restore_lock_wait: Some("SET SESSION innodb_lock_wait_timeout = DEFAULT"),
    };

    const SEALING: Sealing = Sealing::Savepoint;

    driver!(MySql);

    fn name(action: &str) -> Bind<'_> {
        Bind::Bytes(action.as_bytes())
    }

    fn is_transient(error: &dyn DatabaseError) -> bool {
        matches!(number(error), Some(DEADLOCK | LOCK_WAIT_TIMEOUT))
    }

    fn is_lock_timeout(error: &dyn DatabaseError) -> bool {
        number(error) == Some(LOCK_WAIT_TIMEOUT)
    }
}

fn number(error: &dyn DatabaseError) -> Option<u16> {
    error
        .try_downcast_ref::<MySqlDatabaseError>()
        .map(MySqlDatabaseError::number)
}
