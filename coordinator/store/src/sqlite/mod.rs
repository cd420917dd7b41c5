//! SQLite: one file, one process, one connection that writes and a few that read beside it.

mod cells;
mod checkpoint;
mod commit;
mod failure;
mod list;
mod lock;
mod options;
mod read;
mod registry;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use sqlx::{
    ConnectOptions, Connection, SqlSafeStr, SqliteConnection, SqlitePool,
    migrate::{Migration, MigrationType, Migrator},
    sqlite::SqlitePoolOptions,
};
use tempfile::TempDir;
use tercet_core::{
    id::TxId,
    model::{Owner, Transaction},
    row::IllegalRow,
    write::{ApplyFailure, Due, DueQuery, Standing, Write},
};

pub use self::options::{Durability, SqliteOptions};
use self::{lock::ProcessLock, writer::Writer};
use crate::{
    Store, StoreError,
    view::{Incarnation, ListQuery, ParticipantRow, Renewal, TxView},
};

/// Every change of the tables, in order; the files of `migrations/sqlite`.
const MIGRATIONS: &[(i64, &str, &str)] = &[(
    1,
    "first tables",
    include_str!("../../../../migrations/sqlite/0001_first_tables.sql"),
)];

fn migrations() -> Migrator {
    let migration = |&(version, description, sql): &(i64, &'static str, &'static str)| {
        let sql = sql.into_sql_str();
        Migration::new(
            version,
            description.into(),
            MigrationType::Simple,
            sql,
            false,
        )
    };
    Migrator::with_migrations(MIGRATIONS.iter().map(migration).collect())
}

/// Transactions in one SQLite file.
///
/// A read sees every commit that was acknowledged before it began, and never delays one.
pub struct SqliteStore {
    writer: Writer,
    readers: SqlitePool,
    /// Where a temporary one is.
    directory: Option<TempDir>,
}

impl SqliteStore {
    /// Opens the database at `path`, making it where there is none, and brings its tables up to date.
    ///
    /// Refused while another store, of this process or another one, has it open, and when `options` would
    /// lose acknowledged commits without saying so.
    pub async fn open(path: impl AsRef<Path>, options: SqliteOptions) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let doing = format!("opening {}", path.display());
        if options.durability != Durability::Full && !options.allow_data_loss {
            return Err(StoreError::new(
                ApplyFailure::Fatal,
                doing,
                format!(
                    "durability {:?} can lose commits that were acknowledged; choose Full, or \
                     allow data loss",
                    options.durability
                ),
            ));
        }
        let path = resolved(path)
            .map_err(|error| StoreError::new(ApplyFailure::Fatal, &doing, error.to_string()))?;
        let lock = ProcessLock::take(&path)?;
        let preparing = prepare(&path, &options).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(options.readers.max(1))
            .test_before_acquire(false)
            .connect_lazy_with(options.reader(&path));
        let writer = Writer::open(path, options, lock).await?;
        // Only now: the last connection of a database moves its log into it, which can take its time.
        let closed = preparing.close().await;
        closed.map_err(|error| StoreError::new(ApplyFailure::Fatal, doing, error.to_string()))?;
        Ok(Self {
            writer,
            readers,
            directory: None,
        })
    }

    /// An empty database in a directory of its own, which goes away with the store: for tests and trials.
    /// Commits survive the process, as everywhere, but nothing else.
    pub async fn temporary() -> Result<Self, StoreError> {
        let directory = TempDir::with_prefix("tercet-").map_err(|error| {
            StoreError::new(
                ApplyFailure::Fatal,
                "making a directory for a temporary database",
                error.to_string(),
            )
        })?;
        let options = SqliteOptions {
            durability: Durability::Off,
            allow_data_loss: true,
            ..SqliteOptions::default()
        };
        let mut store = Self::open(directory.path().join("tercet.db"), options).await?;
        store.directory = Some(directory);
        Ok(store)
    }

    /// Closes the database once what is under way has ended, and lets go of it.
    pub async fn close(self) -> Result<(), StoreError> {
        self.readers.close().await;
        self.writer.close().await
    }
}

/// Makes the database where there is none, and brings its tables up to this program's version. Tables of a
/// later version are left as they are: the program before works with them too.
async fn prepare(path: &Path, options: &SqliteOptions) -> Result<SqliteConnection, StoreError> {
    let doing = format!("preparing {}", path.display());
    let failed = |what: String| StoreError::new(ApplyFailure::Fatal, &doing, what);
    let connection = options.preparing(path).connect().await;
    let mut connection = connection.map_err(|error| failed(error.to_string()))?;
    let mode = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut connection);
    let mode: String = mode.await.map_err(|error| failed(error.to_string()))?;
    if mode != "wal" {
        return Err(failed(format!(
            "the database stays in journal mode {mode}; put it on a local file system"
        )));
    }
    migrations()
        .set_ignore_missing(true)
        .run_direct(None, &mut connection, false)
        .await
        .map_err(|error| failed(error.to_string()))?;
    Ok(connection)
}

/// The path without links and dots, so that one database has one lock.
fn resolved(path: &Path) -> std::io::Result<PathBuf> {
    if path.exists() {
        return path.canonicalize();
    }
    let name = path.file_name().ok_or_else(|| {
        std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            "this is no path of a file",
        )
    })?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Ok(directory.canonicalize()?.join(name))
}

#[async_trait]
impl Store for SqliteStore {
    async fn start_node(
        &self,
        node: &str,
        address: &str,
        lease: Duration,
    ) -> Result<Incarnation, StoreError> {
        registry::start_node(&self.writer, node, address, lease).await
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<Renewal, StoreError> {
        registry::renew(&self.writer, &self.readers, owner, lease).await
    }

    async fn end_node(&self, owner: &Owner) -> Result<(), StoreError> {
        registry::end_node(&self.writer, owner).await
    }

    async fn apply(&self, batch: Arc<Vec<Write>>) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let doing = format!("applying {} writes", batch.len());
        self.writer
            .run(&doing, move |connection| commit::apply(connection, &batch))
            .await
    }

    async fn standing(&self, batch: &[Write]) -> Result<Vec<Standing>, StoreError> {
        read::standing(&self.readers, batch).await
    }

    async fn load(&self, ids: &[TxId]) -> Result<Vec<Result<Transaction, IllegalRow>>, StoreError> {
        read::load(&self.readers, ids).await
    }

    async fn due(&self, query: &DueQuery) -> Result<Vec<Due>, StoreError> {
        read::due(&self.readers, query).await
    }

    async fn view(&self, id: TxId) -> Result<Option<Result<TxView, IllegalRow>>, StoreError> {
        read::view(&self.readers, id).await
    }

    async fn find(
        &self,
        business_type: &str,
        business_id: &str,
    ) -> Result<Option<TxId>, StoreError> {
        read::find(&self.readers, business_type, business_id).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Result<TxView, IllegalRow>>, StoreError> {
        list::list(&self.readers, query).await
    }

    async fn participants(&self) -> Result<Vec<ParticipantRow>, StoreError> {
        registry::participants(&self.readers).await
    }

    async fn put_participant(&self, row: &ParticipantRow) -> Result<u32, StoreError> {
        registry::put_participant(&self.writer, row).await
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Row};
    use tercet_core::{model::TxStatus, time::Timestamp};

    use super::*;

    #[test]
    fn every_migration_is_embedded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations/sqlite");
        let mut found: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
            .collect();
        found.sort();
        let mut embedded: Vec<&str> = MIGRATIONS.iter().map(|(_, _, sql)| *sql).collect();
        embedded.sort_unstable();
        assert_eq!(found, embedded);
    }

    async fn plan(store: &SqliteStore, sql: &str) -> String {
        // A plan does not depend on the values; none are bound.
        let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
            .fetch_all(&store.readers)
            .await
            .unwrap();
        let steps = rows.iter().map(|row| row.get::<String, _>("detail"));
        steps.collect::<Vec<_>>().join("\n")
    }

    /// Reads that the coordinator repeats, and lists of the unfinished, never scan the table or sort it.
    #[tokio::test]
    async fn reads_use_their_indexes() {
        let store = SqliteStore::temporary().await.unwrap();
        let due = DueQuery {
            waiting_for: Some("points".into()),
            until: Timestamp::from_micros(1),
            after: Some(Due {
                at: Timestamp::from_micros(0),
                id: TxId::from_bytes([0; 16]),
            }),
            limit: 10,
        };
        let steps = plan(&store, read::due_query(&due).sql().as_str()).await;
        assert!(
            steps.contains("SEARCH tx_info USING COVERING INDEX tx_due"),
            "{steps}"
        );
        assert!(!steps.contains("B-TREE"), "{steps}");

        let parked = ListQuery {
            statuses: vec![TxStatus::Failure],
            limit: 10,
            ..ListQuery::default()
        };
        let steps = plan(&store, list::text(&parked).sql().as_str()).await;
        assert!(steps.contains("SEARCH t USING PRIMARY KEY"), "{steps}");
        assert!(steps.contains("COVERING INDEX tx_parked"), "{steps}");
        assert!(!steps.contains("SCAN t\n"), "{steps}");

        let newest = ListQuery {
            limit: 10,
            ..ListQuery::default()
        };
        let steps = plan(&store, list::text(&newest).sql().as_str()).await;
        assert!(!steps.contains("B-TREE"), "{steps}");
    }
}
