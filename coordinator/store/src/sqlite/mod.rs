//! SQLite: one file, one process, one connection that writes and a few that read beside it.

mod bind;
mod check;
mod checkpoint;
mod codes;
mod commit;
mod dialect;
mod lock;
mod options;
mod writer;

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use sqlx::{ConnectOptions, Connection, Sqlite, SqliteConnection, sqlite::SqlitePoolOptions};
use tempfile::TempDir;
use tercet_core::write::Write;
use tokio::{sync::watch, time::timeout};

pub use self::options::{Durability, SqliteOptions};
use self::{lock::ProcessLock, writer::Writer};
use crate::{
    StoreError,
    sql::{Change, Changed, LIST_TIME, MigrationFile, ReadersByUse, SqlStore, migrator},
};

/// The files of `migrations/sqlite`.
const MIGRATIONS: &[MigrationFile] = &[
    (
        1,
        "first tables",
        include_str!("../../../../migrations/sqlite/0001_first_tables.sql"),
    ),
    (
        2,
        "who and paused",
        include_str!("../../../../migrations/sqlite/0002_who_and_paused.sql"),
    ),
    (
        3,
        "due rows",
        include_str!("../../../../migrations/sqlite/0003_due_rows.sql"),
    ),
    (
        4,
        "as given",
        include_str!("../../../../migrations/sqlite/0004_as_given.sql"),
    ),
    (
        6,
        "due need",
        include_str!("../../../../migrations/sqlite/0006_due_need.sql"),
    ),
    (
        7,
        "ages",
        include_str!("../../../../migrations/sqlite/0007_ages.sql"),
    ),
];

/// Transactions in one SQLite file.
///
/// A read sees every commit that was acknowledged before it began, and never delays one.
pub struct SqliteStore {
    writer: Writer,
    readers: ReadersByUse<Sqlite>,
    /// Whether long reads keep the log from starting again: further ones wait.
    log_waits: watch::Receiver<bool>,
    /// The folder of a temporary database.
    directory: Option<TempDir>,
}

impl SqliteStore {
    /// Opens the database at `path`, making it where there is none, and brings its tables up to date.
    ///
    /// # Errors
    /// Another store, of this process or of another one, has the database open; `options` would lose acknowledged
    /// commits without allowing it; the file cannot be used.
    pub async fn open(path: impl AsRef<Path>, options: SqliteOptions) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let doing = format!("opening {}", path.display());
        options
            .check()
            .map_err(|what| StoreError::fatal(&doing, what))?;
        let path = lock::resolved(path).map_err(|error| StoreError::fatal(&doing, error))?;
        let lock = ProcessLock::take(&path)?.with_file(&path)?;
        check::intact(&path).await?;
        let preparing = prepare(&path, &options).await?;
        let reader = options.reader(&path);
        let readers = ReadersByUse::new(|connections, wait| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(wait)
                .test_before_acquire(false)
                .connect_lazy_with(reader.clone())
        });
        let (now_waits, log_waits) = watch::channel(false);
        let writer = Writer::open(path, options, lock, now_waits).await?;
        // Not before there is another one: the last connection of a database copies the log into it, which can take
        // long.
        let closed = preparing.close().await;
        closed.map_err(|error| StoreError::fatal(doing, error))?;
        Ok(Self {
            writer,
            readers,
            log_waits,
            directory: None,
        })
    }

    /// Makes an empty database in a folder of its own, which is removed with the store: for tests and trials. Its
    /// commits survive a crash of the process, but not always a loss of power.
    pub async fn temporary() -> Result<Self, StoreError> {
        let doing = "making a folder for a temporary database";
        let directory = TempDir::with_prefix("tercet-");
        let directory = directory.map_err(|error| StoreError::fatal(doing, error))?;
        let options = SqliteOptions {
            durability: Durability::Off,
            allow_data_loss: true,
            ..SqliteOptions::default()
        };
        let mut store = Self::open(directory.path().join("tercet.db"), options).await?;
        store.directory = Some(directory);
        Ok(store)
    }
}

/// Makes the database where there is none, and brings its tables up to this program's version.
async fn prepare(path: &Path, options: &SqliteOptions) -> Result<SqliteConnection, StoreError> {
    let doing = format!("preparing {}", path.display());
    let failed = |error: sqlx::Error| StoreError::fatal(&doing, error);
    let mut connection = options.preparing(path).connect().await.map_err(failed)?;
    let mode = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut connection);
    let mode: String = mode.await.map_err(failed)?;
    if mode != "wal" {
        let what =
            format!("the database stays in journal mode {mode}; put it on a local file system");
        return Err(StoreError::fatal(doing, what));
    }
    migrator(MIGRATIONS)
        .run_direct(None, &mut connection, false)
        .await
        .map_err(|error| StoreError::fatal(doing, error))?;
    Ok(connection)
}

#[async_trait]
impl SqlStore for SqliteStore {
    type Dialect = Sqlite;

    fn readers(&self) -> &ReadersByUse<Sqlite> {
        &self.readers
    }

    async fn before_long_read(&self) {
        let mut waits = self.log_waits.clone();
        // The reads before this one have ended by then: if the log still waits, it is not for them.
        let _ = timeout(2 * LIST_TIME, waits.wait_for(|waits| !waits)).await;
    }

    async fn commit(&self, batch: Arc<Vec<Write>>) -> Result<(), StoreError> {
        let doing = format!("applying {} writes", batch.len());
        self.writer
            .run(&doing, move |connection| commit::apply(connection, &batch))
            .await
    }

    async fn change(&self, doing: &str, change: Change) -> Result<Changed, StoreError> {
        let what = doing.to_owned();
        self.writer
            .run(doing, move |connection| {
                commit::change(connection, &what, change)
            })
            .await
    }

    async fn close_writers(&self) -> Result<(), StoreError> {
        self.writer.close().await
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::{Connection, StatementStatus};
    use sqlx::{AssertSqlSafe, Row};
    use tercet_core::{
        id::TxId,
        model::{Queue, TxStatus},
        time::Timestamp,
        write::{ApplyFailure, Due, DueQuery, QueuesQuery},
    };

    use super::*;
    use crate::{
        ListQuery, Store as _, Transactions as _,
        cells::{Column as _, Value},
        columns::{
            ActionColumns, Columns, DueColumns, NodeColumns, OperatorColumns, ParticipantColumns,
            TxColumns, WRITTEN_AT,
        },
        sql::{due_query, list_query, queues_query},
    };

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

    /// The connection that writes is opened again after an error that leaves a doubt. That it cannot be opened (too few
    /// file descriptors) passes.
    #[tokio::test]
    async fn a_writer_that_cannot_be_opened_again_at_once_is_opened_later() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("tercet.db");
        let store = SqliteStore::open(&path, SqliteOptions::default())
            .await
            .unwrap();
        let doubt = |_: &rusqlite::Connection| {
            let kind = ApplyFailure::Unknown;
            Err::<(), _>(StoreError::new(kind, "committing", "disk I/O error"))
        };
        store.writer.run("committing", doubt).await.unwrap_err();
        let elsewhere = directory.path().join("elsewhere.db");
        std::fs::rename(&path, &elsewhere).unwrap();
        let failed = store.writer.run("writing", |_| Ok(())).await.unwrap_err();
        assert_eq!(failed.kind, ApplyFailure::NotApplied, "{failed}");
        std::fs::rename(&elsewhere, &path).unwrap();
        store.writer.run("writing", |_| Ok(())).await.unwrap();
        store.close().await.unwrap();
    }

    /// The thread that writes hangs in a commit; nothing can end that.
    #[tokio::test]
    async fn a_store_whose_writer_hangs_gives_up_closing() {
        let store = SqliteStore::temporary().await.unwrap();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let hanging = store.writer.run("committing", move |_| {
            // An error means that the test is over.
            let _ = ended.recv();
            Ok(())
        });
        let (_, closed) = tokio::join!(
            tokio::time::timeout(crate::sql::CLOSE_WAIT, hanging),
            store.close(),
        );
        let words = closed.unwrap_err().to_string();
        assert!(words.contains("not closed within 10 s"), "{words}");
        drop(end);
    }

    /// Returns how often the log has started again, by its header.
    fn restarts(log: &Path) -> u32 {
        let header = std::fs::read(log).unwrap();
        u32::from_be_bytes(header[12..16].try_into().unwrap())
    }

    /// Long reads overlap, so that there is one at every moment; only those that have not begun can wait.
    #[tokio::test]
    async fn the_log_starts_again_although_long_reads_overlap() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("tercet.db");
        let options = SqliteOptions {
            durability: Durability::Off,
            allow_data_loss: true,
            log_pages: 20,
            ..SqliteOptions::default()
        };
        let store = SqliteStore::open(&path, options).await.unwrap();
        let log = directory.path().join("tercet.db-wal");
        let read = |reader: &rusqlite::Connection| {
            let read = "BEGIN; SELECT count(*) FROM participant_info;";
            reader.execute_batch(read).unwrap();
        };
        let mut readers = [(); 2].map(|()| rusqlite::Connection::open(&path).unwrap());
        read(&readers[0]);
        let before = restarts(&log);
        for n in 0..2_000 {
            let participant = crate::ParticipantRow {
                participant: format!("p-{n}").into(),
                protocol: "ATTACH".into(),
                address: String::new(),
                methods: "{}".into(),
                policy: "{}".into(),
                paused: false,
                version: 0,
            };
            crate::Registry::put_participant(&store, &participant)
                .await
                .unwrap();
            if !*store.log_waits.borrow() {
                read(&readers[1]);
            }
            if !readers[0].is_autocommit() {
                readers[0].execute_batch("COMMIT").unwrap();
            }
            readers.swap(0, 1);
            if restarts(&log) > before {
                return;
            }
        }
        panic!("the log never started again");
    }

    /// A column that the migrations add and the program forgets would be lost by each write and read by none.
    #[tokio::test]
    async fn every_column_of_the_database_is_written_and_read() {
        let tables = [
            (TxColumns::TABLE, TxColumns::names()),
            (ActionColumns::TABLE, ActionColumns::names()),
            (DueColumns::TABLE, DueColumns::names()),
            (OperatorColumns::TABLE, OperatorColumns::names()),
            (ParticipantColumns::TABLE, ParticipantColumns::names()),
            (NodeColumns::TABLE, NodeColumns::names()),
        ];
        let store = SqliteStore::temporary().await.unwrap();
        for (table, mut columns) in tables {
            let query = sqlx::query_scalar("SELECT name FROM pragma_table_info(?) ORDER BY name");
            let there: Vec<String> = query
                .bind(table)
                .fetch_all(&store.readers.engine.pool)
                .await
                .unwrap();
            if table != DueColumns::TABLE {
                columns.push(WRITTEN_AT);
            }
            columns.sort_unstable();
            assert_eq!(there, columns, "{table}");
        }
    }

    async fn plan(store: &SqliteStore, sql: &str) -> String {
        // A plan does not depend on the values; none are bound.
        let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
            .fetch_all(&store.readers.engine.pool)
            .await
            .unwrap();
        let steps = rows.iter().map(|row| row.get::<String, _>("detail"));
        steps.collect::<Vec<_>>().join("\n")
    }

    /// Fails where a read of `tx_due` is no search.
    fn assert_searches(steps: &str) {
        let reads = steps
            .lines()
            .filter(|step| step.contains(" tx_due") || step.contains(" t "));
        for step in reads {
            assert!(step.contains("SEARCH"), "{step} in:\n{steps}");
            assert!(step.contains("USING PRIMARY KEY"), "{step} in:\n{steps}");
        }
        assert!(steps.contains("SEARCH"), "{steps}");
    }

    fn wait(participant: &str, business_type: &str) -> Queue {
        Queue::Wait {
            participant: participant.into(),
            need: None,
            business_type: business_type.into(),
        }
    }

    /// Reads that the coordinator repeats, and lists of unfinished transactions, never scan a table or sort it.
    #[tokio::test]
    async fn reads_use_their_indexes() {
        let store = SqliteStore::temporary().await.unwrap();
        for after in [
            None,
            Some(Due {
                at: Timestamp::from_micros(0),
                id: TxId::from_bytes([0; 16]),
            }),
        ] {
            let due = DueQuery {
                queue: wait("points", "sale"),
                until: Timestamp::from_micros(1),
                after,
                limit: 10,
            };
            let steps = plan(&store, due_query::<Sqlite>(&due).sql().as_str()).await;
            assert_searches(&steps);
            assert!(steps.contains("business_type=? AND "), "{steps}");
            assert!(!steps.contains("B-TREE"), "{steps}");
        }
        for of in [None, Some("points".into())] {
            let queues = QueuesQuery {
                of,
                after: None,
                limit: 10,
            };
            let text = queues_query::<Sqlite>(&queues, None).unwrap();
            let steps = plan(&store, text.sql().as_str()).await;
            assert_searches(&steps);
            assert!(
                steps.contains("name=? AND need=? AND business_type>?)"),
                "{steps}"
            );
        }

        for statuses in [vec![TxStatus::Failure], vec![TxStatus::Processing]] {
            let stuck = ListQuery {
                statuses,
                limit: 10,
                ..ListQuery::default()
            };
            let steps = plan(&store, list_query::<Sqlite>(&stuck).sql().as_str()).await;
            assert!(steps.contains("SEARCH t USING PRIMARY KEY"), "{steps}");
            assert!(!steps.contains("SCAN t\n"), "{steps}");
        }

        let newest = ListQuery {
            limit: 10,
            ..ListQuery::default()
        };
        let steps = plan(&store, list_query::<Sqlite>(&newest).sql().as_str()).await;
        assert!(!steps.contains("B-TREE"), "{steps}");
    }

    /// Runs a query that has these parameters, and returns its number of rows and that of SQLite's steps.
    fn run(connection: &Connection, text: &str, parameters: &[Value<'_>]) -> (usize, usize) {
        let mut statement = connection.prepare(text).unwrap();
        for (place, value) in (1..).zip(parameters) {
            statement.raw_bind_parameter(place, value).unwrap();
        }
        let mut rows = statement.raw_query();
        let mut count = 0;
        while rows.next().unwrap().is_some() {
            count += 1;
        }
        drop(rows);
        let steps = statement.get_status(StatementStatus::VmStep);
        (count, usize::try_from(steps).unwrap())
    }

    /// The cost of a look at the queues is that of the queues, and the cost of a page that of its rows, however many rows
    /// one queue has.
    #[tokio::test]
    async fn a_long_queue_costs_its_page_alone() {
        const QUEUES: usize = 10_000;
        const LONG: usize = 100_000;
        let store = SqliteStore::temporary().await.unwrap();
        let path = store.directory.as_ref().unwrap().path().join("tercet.db");
        let connection = Connection::open(path).unwrap();
        let insert = format!(
            "WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < {LONG} - 1) \
             INSERT INTO tx_due (kind, name, need, business_type, at, tx_id) \
             SELECT 'WAIT', printf('p%05d', n), '', 'sale', n, randomblob(16) FROM n WHERE n < {QUEUES} \
             UNION ALL SELECT 'WAIT', 'p00500', '', 'sale', n, randomblob(16) FROM n \
             UNION ALL SELECT 'WAIT', 'p00500', '', 'Sale', n, randomblob(16) FROM n \
             UNION ALL SELECT 'HAND', 'node@1', '', '', 0, randomblob(16) FROM n \
             UNION ALL SELECT 'PARKED', '', '', '', n, randomblob(16) FROM n"
        );
        connection.execute(&insert, []).unwrap();

        let look = |of: Option<&str>, limit: u32| QueuesQuery {
            of: of.map(Into::into),
            after: None,
            limit,
        };
        let parameters = |query: &QueuesQuery, key: [&'static str; 4]| {
            let key = key.map(|text| Value::Text(Some(text.into())));
            [&key[..], &[query.limit.value().into_owned()]].concat()
        };
        let few = look(None, 20);
        let text = queues_query::<Sqlite>(&few, None).unwrap();
        let (rows, steps) = run(&connection, text.sql().as_str(), &parameters(&few, [""; 4]));
        assert_eq!(rows, 20);
        assert!(steps < 300 * rows, "{steps} steps for {rows} rows");

        let all = look(None, u32::MAX);
        let found = store.queues(&all).await.unwrap();
        assert_eq!(found.len(), QUEUES + 2);
        assert_eq!(found[500 + 2].queue, wait("p00500", "sale"));
        assert_eq!(found[500 + 2].at, Timestamp::from_micros(0));
        let text = queues_query::<Sqlite>(&all, None).unwrap();
        let (rows, steps) = run(&connection, text.sql().as_str(), &parameters(&all, [""; 4]));
        assert_eq!(rows, QUEUES + 3);
        assert!(steps < 300 * rows, "{steps} steps for {rows} rows");

        let own = look(Some("p00500"), 100);
        assert_eq!(store.queues(&own).await.unwrap().len(), 2);
        let text = queues_query::<Sqlite>(&own, None).unwrap();
        let given = parameters(&own, ["WAIT", "p00500", "", ""]);
        let (rows, steps) = run(&connection, text.sql().as_str(), &given);
        assert_eq!(rows, 2);
        assert!(steps < 600, "{steps} steps");

        let page = DueQuery {
            queue: wait("p00500", "sale"),
            until: Timestamp::MAX,
            after: Some(Due {
                at: Timestamp::from_micros(70_000),
                id: TxId::from_bytes([0xff; 16]),
            }),
            limit: 100,
        };
        let found = store.due(&page).await.unwrap();
        assert_eq!(found[0].at, Timestamp::from_micros(70_001));
        let text = due_query::<Sqlite>(&page);
        let parameters = ["WAIT", "p00500", "", "sale"].map(|text| Value::Text(Some(text.into())));
        let after = page.after.unwrap();
        let parameters = [
            &parameters[..],
            &[page.until.value(), after.at.value(), after.id.value()],
            &[page.limit.value()],
        ]
        .concat();
        let (rows, steps) = run(&connection, text.sql().as_str(), &parameters);
        assert_eq!(rows, 100);
        assert!(steps < 100 * rows, "{steps} steps for {rows} rows");
    }
}
