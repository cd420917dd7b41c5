//! How a SQLite database is opened.

use std::{path::Path, time::Duration};

use sqlx::{
    ConnectOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

/// Pages of the write-ahead log after which a commit moves them into the database: 64 MiB. Larger than
/// SQLite's default, because a commit that does so is slow.
const WAL_AUTOCHECKPOINT_PAGES: &str = "16000";
/// Page cache of the writing connection, in KiB.
const WRITER_CACHE_KIB: u32 = 32 * 1024;
/// Texts of commits whose prepared statements are kept. A busy writer needs a few; each of a large
/// commit takes a megabyte or two.
const WRITER_STATEMENTS: usize = 16;
/// Page cache of each reading connection, in KiB.
const READER_CACHE_KIB: u32 = 4 * 1024;

/// What a commit survives.
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

/// How a SQLite database is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteOptions {
    /// What a commit survives. Less than [`Durability::Full`] is refused without `allow_data_loss`.
    pub durability: Durability,
    /// Whether acknowledged commits may be lost.
    pub allow_data_loss: bool,
    /// Connections that read beside the writer; at least 1.
    pub readers: u32,
    /// How long a statement waits for a lock that a person's own session holds.
    pub busy_timeout: Duration,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Full,
            allow_data_loss: false,
            readers: 4,
            busy_timeout: Duration::from_secs(2),
        }
    }
}

impl SqliteOptions {
    /// The connection that writes.
    pub(super) fn writer(&self, path: &Path) -> SqliteConnectOptions {
        self.connection(path, WRITER_CACHE_KIB)
            .create_if_missing(true)
            .statement_cache_capacity(WRITER_STATEMENTS)
            .journal_mode(SqliteJournalMode::Wal)
            .pragma("wal_autocheckpoint", WAL_AUTOCHECKPOINT_PAGES)
            .synchronous(match self.durability {
                Durability::Full => SqliteSynchronous::Full,
                Durability::Normal => SqliteSynchronous::Normal,
                Durability::Off => SqliteSynchronous::Off,
            })
    }

    /// One of those that read.
    pub(super) fn reader(&self, path: &Path) -> SqliteConnectOptions {
        self.connection(path, READER_CACHE_KIB).read_only(true)
    }

    fn connection(&self, path: &Path, cache_kib: u32) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(self.busy_timeout)
            .foreign_keys(false)
            .pragma("cache_size", format!("-{cache_kib}"))
            .pragma("temp_store", "MEMORY")
            .disable_statement_logging()
    }
}
