//! The conformance suite on SQLite, and what only SQLite has.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::result_large_err,
    clippy::semicolon_if_nothing_returned,
    missing_docs,
    unreachable_pub,
    reason = "tests"
)]

mod conformance;
mod versions;

use std::{
    fs::File,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tercet_core::id::TxId;
use tercet_core::write::ApplyFailure;
use tercet_store::{Durability, SqliteOptions, SqliteStore, Store, Transactions as _};

use conformance::{
    Database, DueCells,
    fixture::{apply, assert_stands, begin, begin_all, change, decided, id, success, transaction},
};

struct Sqlite {
    directory: TempDir,
    store: Option<SqliteStore>,
}

impl Sqlite {
    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("tercet.db")
    }
}

#[async_trait]
impl Database for Sqlite {
    async fn empty() -> Self {
        let mut database = Self {
            directory: TempDir::new().unwrap(),
            store: None,
        };
        database.restart().await;
        database
    }

    fn store(&self) -> &dyn Store {
        self.store.as_ref().expect("the store is open")
    }

    async fn restart(&mut self) {
        if let Some(store) = self.store.take() {
            store.close().await.unwrap();
        }
        let store = SqliteStore::open(self.path(), SqliteOptions::default()).await;
        self.store = Some(store.unwrap());
    }

    async fn tamper(&self, sql: &str) {
        let options = SqliteConnectOptions::new().filename(self.path());
        let mut connection = options.connect().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
    }

    async fn due_rows(&self, id: TxId) -> Vec<DueCells> {
        let options = SqliteConnectOptions::new().filename(self.path());
        let mut connection = options.connect().await.unwrap();
        let sql = "SELECT kind, name, need, business_type, at FROM tx_due WHERE tx_id = ? \
                   ORDER BY kind, name, need, business_type, at";
        let rows = sqlx::query_as(sql)
            .bind(&id.as_bytes()[..])
            .fetch_all(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        rows
    }

    fn literal(id: TxId) -> String {
        format!("x'{}'", id.0.simple())
    }
}

conformance!(Sqlite);

#[tokio::test]
async fn a_second_store_is_refused_by_name() {
    let database = Sqlite::empty().await;
    let options = SqliteOptions::default();
    let error = SqliteStore::open(database.path(), options.clone()).await;
    let text = error.err().expect("the database is taken").to_string();
    assert!(text.contains("tercet.db.lock"), "{text}");
    assert!(text.contains("another process"), "{text}");

    // A link to it is the same database.
    let link = database.directory.path().join("link.db");
    std::os::unix::fs::symlink(database.path(), &link).unwrap();
    assert!(SqliteStore::open(link, options).await.is_err());
}

#[tokio::test]
async fn weaker_durability_needs_to_be_asked_for() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("tercet.db");
    for durability in [Durability::Normal, Durability::Off] {
        let mut options = SqliteOptions {
            durability,
            ..SqliteOptions::default()
        };
        let refused = SqliteStore::open(&path, options.clone()).await;
        let error = refused.err().expect("it can lose commits");
        assert_eq!(error.kind, ApplyFailure::Fatal);
        assert!(!path.exists(), "a refused database is not made");
        options.allow_data_loss = true;
        let store = SqliteStore::open(&path, options).await.unwrap();
        store.close().await.unwrap();
        std::fs::remove_file(&path).unwrap();
    }
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("tercet.db");
    std::fs::write(
        &path,
        "this is a letter, not a database; leave it alone. ".repeat(40),
    )
    .unwrap();
    let error = SqliteStore::open(&path, SqliteOptions::default()).await;
    let error = error.err().expect("it is no database");
    assert_eq!(error.kind, ApplyFailure::Fatal);
    assert!(error.to_string().contains("tercet.db"), "{error}");
    let nowhere = directory.path().join("no/such/place.db");
    assert!(
        SqliteStore::open(nowhere, SqliteOptions::default())
            .await
            .is_err()
    );
}

/// A text that names a path opens the same database in each of its forms; another text opens none.
#[tokio::test]
async fn a_database_is_opened_by_its_text() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("tercet.db");
    let path = path.to_str().unwrap();
    let forms = [
        path.to_owned(),
        format!("sqlite:{path}"),
        format!("sqlite://{path}"),
    ];
    for (n, text) in (0..).zip(&forms) {
        let store = tercet_store::open(text).await.unwrap();
        begin_all(&*store, &[transaction(n)]).await;
        for n in 0..=n {
            assert_stands(&*store, &transaction(n)).await;
        }
        let taken = tercet_store::open(path).await;
        taken.err().expect("one store has the database");
        store.close().await.unwrap();
    }
    for text in [
        "postgres://localhost/tercet",
        "mysql://localhost/tercet",
        "",
    ] {
        let refused = tercet_store::open(text).await.err().expect(text);
        assert_eq!(refused.kind, ApplyFailure::Fatal);
    }
    let folder = directory.path().to_str().unwrap();
    tercet_store::open(folder).await.err().expect("a folder");
}

/// A closed store refuses what comes later, and may be closed again.
#[tokio::test]
async fn a_closed_store_stays_closed() {
    let store = SqliteStore::temporary().await.unwrap();
    store.close().await.unwrap();
    store.close().await.unwrap();
    let refused = apply(&store, &[begin(&transaction(0))]).await.unwrap_err();
    assert_eq!(refused.kind, ApplyFailure::Fatal, "{refused}");
    store.load(&[id(0)]).await.unwrap_err();
}

/// Calls that run while the store is closed are carried out whole or fail.
#[tokio::test]
async fn calls_before_the_close_are_carried_out() {
    let mut database = Sqlite::empty().await;
    let store = database.store.take().unwrap();
    let (begun, other) = ([begin(&transaction(0))], [begin(&transaction(1))]);
    let (first, second, closed) =
        tokio::join!(apply(&store, &begun), apply(&store, &other), store.close(),);
    first.unwrap();
    second.unwrap();
    closed.unwrap();
    drop(store);
    database.restart().await;
    assert_stands(database.store(), &transaction(0)).await;
    assert_stands(database.store(), &transaction(1)).await;
}

#[tokio::test]
async fn a_temporary_database_goes_away() {
    let store = SqliteStore::temporary().await.unwrap();
    begin_all(&store, &[transaction(0)]).await;
    assert_stands(&store, &transaction(0)).await;
}

/// A person holds the write lock: nothing is applied, and the same succeeds afterwards.
#[tokio::test]
async fn a_persons_lock_is_waited_for_and_then_reported() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("tercet.db");
    let options = SqliteOptions {
        busy_timeout: std::time::Duration::from_millis(50),
        ..SqliteOptions::default()
    };
    let store = SqliteStore::open(&path, options).await.unwrap();
    let person = SqliteConnectOptions::new().filename(&path);
    let mut person = person.connect().await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut person)
        .await
        .unwrap();

    let write = begin(&transaction(0));
    let error = apply(&store, std::slice::from_ref(&write))
        .await
        .unwrap_err();
    assert_eq!(error.kind, ApplyFailure::NotApplied, "{error}");
    assert_eq!(store.load(&[id(0)]).await.unwrap(), []);

    sqlx::raw_sql("ROLLBACK")
        .execute(&mut person)
        .await
        .unwrap();
    apply(&store, &[write]).await.unwrap();
    assert_stands(&store, &transaction(0)).await;
}

/// A table that a person took away: nothing will ever be applied, and the error says what is missing.
#[tokio::test]
async fn a_missing_table_is_fatal() {
    let database = Sqlite::empty().await;
    database.tamper("DROP TABLE action_info").await;
    let error = apply(database.store(), &[begin(&transaction(0))]).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind, ApplyFailure::Fatal);
    assert!(error.to_string().contains("action_info"), "{error}");
    assert_eq!(
        database
            .store()
            .find("points_for_coupon", "order-0")
            .await
            .unwrap(),
        None
    );
}

#[tokio::test]
async fn a_later_programs_tables_are_left_alone() {
    let mut database = Sqlite::empty().await;
    begin_all(database.store(), &[transaction(0)]).await;
    database
        .tamper(
            "ALTER TABLE tx_info ADD COLUMN later TEXT; \
             INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (9999, 'later', TRUE, x'00', 0)",
        )
        .await;
    database.restart().await;
    assert_stands(database.store(), &transaction(0)).await;
}

#[tokio::test]
async fn people_read_the_view() {
    let database = Sqlite::empty().await;
    begin_all(database.store(), &[transaction(0)]).await;
    let options = SqliteConnectOptions::new().filename(database.path());
    let mut connection = options.connect().await.unwrap();
    let row: (String, String, Option<String>) =
        sqlx::query_as("SELECT tx_id, create_time, decided_at FROM tx_readable")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert_eq!(
        row,
        (id(0).to_string(), "2023-11-14 22:13:20.000".into(), None)
    );
}

/// Commits that were acknowledged to a process that is then killed are there, each whole.
#[tokio::test]
async fn a_killed_process_keeps_what_was_acknowledged() {
    let mut database = Sqlite::empty().await;
    database.store.take().unwrap().close().await.unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "commits_until_it_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .env("TERCET_TEST_DATABASE", database.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let acknowledged = output
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix("committed ")?.parse::<u64>().ok())
        .find(|n| *n >= 200);
    // The lock is the child's: no other process opens the database while it lives.
    let second = SqliteStore::open(database.path(), SqliteOptions::default()).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let refused = second.err().expect("another process has it").to_string();
    assert!(refused.contains("another process"), "{refused}");

    database.restart().await;
    let last = acknowledged.expect("the child commits");
    for n in 0..=last {
        let begun = transaction(n);
        assert_stands(database.store(), &decided(&begun, success())).await;
    }
}

/// The other process of the test above. Run by itself it has no database and does nothing.
#[tokio::test]
#[ignore = "a process that another test starts and kills"]
async fn commits_until_it_is_killed() {
    let Some(path) = std::env::var_os("TERCET_TEST_DATABASE") else {
        return;
    };
    let store = SqliteStore::open(path, SqliteOptions::default())
        .await
        .unwrap();
    // Bounded, so that it ends even if it is not killed.
    for n in 0..20_000 {
        let begun = transaction(n);
        apply(&store, &[begin(&begun)]).await.unwrap();
        let decide = change(&begun, &decided(&begun, success()));
        apply(&store, &[decide]).await.unwrap();
        println!("committed {n}");
    }
}

/// The lock is released with the store, and its file may stay.
#[tokio::test]
async fn the_lock_ends_with_the_store() {
    let mut database = Sqlite::empty().await;
    let path = database.directory.path().join("tercet.db.lock");
    let file = File::open(&path).unwrap();
    assert!(file.try_lock().is_err());
    database.store.take().unwrap().close().await.unwrap();
    file.try_lock().unwrap();
}
