//! A service's own database: one SQLite file with durable commits.

use std::path::Path;
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

/// Connections a service opens. SQLite lets one of them write at a time, and nearly all that a service
/// does is to write: they queue here in order instead of polling for SQLite's lock with pauses.
const CONNECTIONS: u32 = 1;
/// Time for which the connection waits for another process that has the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens the file, made if it is missing, with a write-ahead log and synchronous = FULL.
pub async fn open(file: &Path) -> Result<SqlitePool, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT);
    SqlitePoolOptions::new()
        .max_connections(CONNECTIONS)
        .connect_with(options)
        .await
}
