//! Connections that read, by their use: no read waits behind another kind of read.

use std::time::Duration;

use sqlx::{Database, Pool};

/// The longest read for people; then the database interrupts it.
pub(crate) const LIST_TIME: Duration = Duration::from_secs(5);

/// The longest wait of a read for a connection.
const CONNECTION_WAIT: Duration = Duration::from_secs(5);

/// Connections for one use.
pub(crate) struct Readers<D: Database> {
    pub(crate) pool: Pool<D>,
    /// The time after which a read is interrupted.
    pub(crate) limit: Option<Duration>,
}

/// Returns the reason why there is no connection, in words.
pub(super) fn unavailable(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::PoolTimedOut => format!(
            "as many reads of this kind are under way as may be, for {} s",
            CONNECTION_WAIT.as_secs()
        ),
        error => error.to_string(),
    }
}

/// Connections for the reads after a commit, between two commits: one of them is under way at a time.
const COMMIT_READERS: u32 = 1;
/// Connections for the engine's reads: rows by id, rows that are due.
const ENGINE_READERS: u32 = 3;
/// Connections for reads of one transaction, and of the participants.
const LOOKUP_READERS: u32 = 4;
/// Connections for lists.
const LIST_READERS: u32 = 2;

/// All connections that read.
pub(crate) struct ReadersByUse<D: Database> {
    /// For the reads after a commit.
    pub(crate) commits: Readers<D>,
    /// For the engine.
    pub(crate) engine: Readers<D>,
    /// For reads of one transaction, and of the participants.
    pub(crate) lookups: Readers<D>,
    /// For lists, each of which may read a whole table.
    pub(crate) lists: Readers<D>,
}

impl<D: Database> ReadersByUse<D> {
    /// Makes the connections; `pool` makes a pool of this size, whose callers wait this long for a connection.
    pub(crate) fn new(pool: impl Fn(u32, Duration) -> Pool<D>) -> Self {
        let of = |size, limit| Readers {
            pool: pool(size, CONNECTION_WAIT),
            limit,
        };
        Self {
            commits: of(COMMIT_READERS, None),
            engine: of(ENGINE_READERS, None),
            lookups: of(LOOKUP_READERS, Some(LIST_TIME)),
            lists: of(LIST_READERS, Some(LIST_TIME)),
        }
    }

    /// Closes them once the reads under way have ended.
    pub(super) async fn close(&self) {
        for readers in [&self.commits, &self.engine, &self.lookups, &self.lists] {
            readers.pool.close().await;
        }
    }
}
