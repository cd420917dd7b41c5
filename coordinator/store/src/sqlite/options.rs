//! Options and connections of a SQLite database.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags};
use sqlx::{
    ConnectOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};

use super::checkpoint::count_pages;

/// Page cache of the writing connection, in KiB.
const WRITER_CACHE_KIB: u32 = 32 * 1024;
/// Prepared statements that the writing connection keeps: more than it has.
const WRITER_STATEMENTS: usize = 32;
/// Page cache of each reading connection, in KiB.
const READER_CACHE_KIB: u32 = 4 * 1024;

/// Pages of the log after which they are copied into the database: 64 MiB, and again after as many where a long read
/// kept a copy from reaching the end. Larger than SQLite's default, so that a page that is changed again and again
/// is copied once.
const LOG_PAGES: u32 = 16_000;

/// The failures that a commit survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A loss of power: `synchronous = FULL`.
    #[default]
    Full,
    /// A crash of the process, but not always a loss of power: `synchronous = NORMAL`.
    Normal,
    /// A crash of the process: `synchronous = OFF`.
    Off,
}

/// The way in which a SQLite database is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteOptions {
    /// The failures that a commit survives. Less than [`Durability::Full`] is refused without `allow_data_loss`.
    pub durability: Durability,
    /// Whether acknowledged commits may be lost.
    pub allow_data_loss: bool,
    /// Pages of the log after which they are copied into the database, beside the commits.
    pub log_pages: u32,
    /// The time for which a statement waits for a lock that a person's own session holds.
    pub busy_timeout: Duration,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Full,
            allow_data_loss: false,
            log_pages: LOG_PAGES,
            busy_timeout: Duration::from_secs(2),
        }
    }
}

impl SqliteOptions {
    /// Refuses to lose acknowledged commits where that was not allowed.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.durability == Durability::Full || self.allow_data_loss {
            return Ok(());
        }
        Err(format!(
            "durability {:?} can lose commits that were acknowledged; choose Full, or allow data loss",
            self.durability
        ))
    }

    /// Returns the options of the connection that makes the database and brings its tables up to date.
    pub(super) fn preparing(&self, path: &Path) -> SqliteConnectOptions {
        self.connection(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
    }

    /// Returns the options of a connection that reads.
    pub(super) fn reader(&self, path: &Path) -> SqliteConnectOptions {
        self.connection(path).read_only(true)
    }

    fn connection(&self, path: &Path) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(self.busy_timeout)
            .foreign_keys(false)
            .pragma("cache_size", format!("-{READER_CACHE_KIB}"))
            .pragma("temp_store", "MEMORY")
            .disable_statement_logging()
    }

    /// Opens the connection that writes. It stays with the thread that opens it.
    pub(super) fn open_writer(&self, path: &Path) -> rusqlite::Result<Connection> {
        // Without locks around its calls: a single thread uses it.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(self.busy_timeout)?;
        let durability = match self.durability {
            Durability::Full => "FULL",
            Durability::Normal => "NORMAL",
            Durability::Off => "OFF",
        };
        let cache = -i64::from(WRITER_CACHE_KIB);
        connection.pragma_update(None, "synchronous", durability)?;
        count_pages(&connection);
        connection.pragma_update(None, "cache_size", cache)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.set_prepared_statement_cache_capacity(WRITER_STATEMENTS);
        Ok(connection)
    }
}
