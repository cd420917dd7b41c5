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

use std::{
    fs::File,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
    sqlite::SqliteConnectOptions,
};
use tempfile::TempDir;
use tercet_core::id::TxId;
use tercet_core::write::ApplyFailure;
use tercet_store::{Durability, SqliteOptions, SqliteStore, Store, Transactions as _};

use conformance::{
    Database, DueCells,
    fixture::{
        apply, assert_due, assert_stands, at, at_once, at_rest, begin, begin_all, change, decided,
        finished, id, parked, success, transaction,
    },
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

/// The tables of the first version, as it makes them itself.
const VERSION_1: &str = include_str!("../../../migrations/sqlite/0001_first_tables.sql");

/// The columns of `tx_info` of the first version that change in a transaction's life.
struct Version1 {
    status: &'static str,
    biz_status: &'static str,
    cause: Option<&'static str>,
    owner: &'static str,
    waiting_for: Option<&'static str>,
    next_attempt_at: Option<i64>,
    decided_at: Option<i64>,
    finished_at: Option<i64>,
    /// The status of its one action.
    action: &'static str,
}

/// A row of each kind, in milliseconds after the first transaction.
const ROWS_OF_VERSION_1: [Version1; 6] = [
    Version1 {
        status: "PROCESS_WAITING",
        biz_status: "INIT",
        cause: None,
        owner: "node-a@1",
        waiting_for: None,
        next_attempt_at: Some(500),
        decided_at: None,
        finished_at: None,
        action: "INIT",
    },
    Version1 {
        status: "PROCESS_WAITING",
        biz_status: "UNKNOWN",
        cause: None,
        owner: "node-a@2",
        waiting_for: Some("shop"),
        next_attempt_at: Some(700),
        decided_at: None,
        finished_at: None,
        action: "INIT",
    },
    Version1 {
        status: "PROCESSING",
        biz_status: "SUCCESS",
        cause: Some(r#"{"kind":"ALL_TRIED"}"#),
        owner: "node@b@3",
        waiting_for: Some("coupon-service"),
        next_attempt_at: Some(900),
        decided_at: Some(20),
        finished_at: None,
        action: "TRIED",
    },
    Version1 {
        status: "FAILURE",
        biz_status: "FAILURE",
        cause: Some(r#"{"kind":"DEADLINE"}"#),
        owner: "node-a@2",
        waiting_for: None,
        next_attempt_at: None,
        decided_at: Some(30),
        finished_at: None,
        action: "FAILED",
    },
    Version1 {
        status: "SUCCESS",
        biz_status: "SUCCESS",
        cause: Some(r#"{"kind":"ALL_TRIED"}"#),
        owner: "node-a@1",
        waiting_for: None,
        next_attempt_at: None,
        decided_at: Some(20),
        finished_at: Some(40),
        action: "CONFIRMED",
    },
    // Parked by hand, without a time: no write of the program leaves that.
    Version1 {
        status: "FAILURE",
        biz_status: "FAILURE",
        cause: None,
        owner: "node-a@2",
        waiting_for: None,
        next_attempt_at: None,
        decided_at: None,
        finished_at: None,
        action: "INIT",
    },
];

/// The statements by which the first version writes transaction `n`.
fn rows_of_version_1(n: usize, row: &Version1) -> String {
    let (id, created) = (Sqlite::literal(id(n as u64)), at(n as i64).as_micros());
    let text = |value: Option<&str>| value.map_or("NULL".into(), |value| format!("'{value}'"));
    let time = |millis: Option<i64>| {
        millis.map_or("NULL".into(), |millis| at(millis).as_micros().to_string())
    };
    let check_back = (row.biz_status == "UNKNOWN").then_some(
        r#"{"participant":"shop","first_delay":0,"interval":1,"max_interval":1,"max_attempts":null}"#,
    );
    format!(
        "INSERT INTO tx_info (tx_id, business_type, business_id, unique_key, driver, check_back_info, \
         participants_info, ext_properties, deadline_at, create_time, status, biz_status, decision_cause, \
         retry_count, version, owner, waiting_for, next_attempt_at, decided_at, finished_at, db_update_time) \
         VALUES ({id}, 'points_for_coupon', 'order-{n}', NULL, 'COORDINATOR', {}, '[]', '{{\"a\":\"b\"}}', \
         {created}, {created}, '{}', '{}', {}, 3, 4, '{}', {}, {}, {}, {}, {created}); \
         INSERT INTO operator_log (tx_id, version, at, command, reason, before, db_update_time) \
         VALUES ({id}, 1, {created}, 'decide', 'asked for', 'PROCESS_WAITING INIT', {created}); \
         INSERT INTO action_info (tx_id, action_name, position, action_type, participant, handler, payload, \
         wants_results, already_tried, result, status, retry_count, last_error, version, create_time, db_update_time) \
         VALUES ({id}, 'points', 0, 'TCC', 'points-service', 'exchange', x'', 0, 0, x'', '{}', 0, '', 1, {created}, \
         {created}); \
         INSERT INTO participant_info (participant, protocol, address, methods, policy, version, \
         db_update_time) VALUES ('points-{n}', 'ATTACH', '', '{{}}', '{{}}', 1, {created});",
        text(check_back),
        row.status,
        row.biz_status,
        text(row.cause),
        row.owner,
        text(row.waiting_for),
        time(row.next_attempt_at),
        time(row.decided_at),
        time(row.finished_at),
        row.action,
    )
}

/// Makes a database of the first version, with a row of each kind.
async fn database_of_version_1() -> Sqlite {
    let database = Sqlite {
        directory: TempDir::new().unwrap(),
        store: None,
    };
    let options = SqliteConnectOptions::new().filename(database.path());
    let mut connection = options.create_if_missing(true).connect().await.unwrap();
    let (kind, text) = (MigrationType::Simple, VERSION_1.into_sql_str());
    let first = Migration::new(1, "first tables".into(), kind, text, false);
    let first = Migrator::with_migrations(vec![first]);
    first
        .run_direct(None, &mut connection, false)
        .await
        .unwrap();
    connection.close().await.unwrap();
    for (n, row) in ROWS_OF_VERSION_1.iter().enumerate() {
        database.tamper(&rows_of_version_1(n, row)).await;
    }
    database
}

/// Rows of the first version are read, each in the place where its transaction is.
#[tokio::test]
async fn a_database_of_version_1_is_brought_up_to_date() {
    let mut database = database_of_version_1().await;
    database.restart().await;
    let store = database.store();

    let row = |kind: &str, name: &str, at| {
        let none = String::new;
        vec![(kind.to_owned(), name.to_owned(), none(), none(), at)]
    };
    let hand = |owner| row("HAND", owner, 0);
    let parked_at = |at| row("PARKED", "", at);
    let expected = [
        hand("node-a@1"),
        hand("node-a@2"),
        hand("node@b@3"),
        parked_at(at(30).as_micros()),
        vec![],
        parked_at(0),
    ];
    for (n, expected) in expected.iter().enumerate() {
        assert_eq!(database.due_rows(id(n as u64)).await, *expected, "{n}");
    }
    for (n, row) in ROWS_OF_VERSION_1[..5].iter().enumerate() {
        let view = store.view(id(n as u64)).await.unwrap().unwrap().unwrap();
        assert_eq!(&*view.tx.spec.business_id, format!("order-{n}"));
        assert_eq!(view.tx.spec.ext["a"], "b");
        assert_eq!(view.tx.status.word(), row.status);
        assert_eq!(view.tx.biz_status.word(), row.biz_status);
        assert_eq!((view.tx.check_backs, view.tx.version), (3, 4));
        assert_eq!(view.tx.owner.to_string(), row.owner);
        assert_eq!(view.tx.decided_at, row.decided_at.map(at));
        assert_eq!(view.tx.rest, None);
        assert!(view.tx.spec.timeout_given, "the default was applied");
        assert_eq!(view.tx.last_check_back, None);
        assert_eq!(&*view.operator_log[0].who, "local");
        let tx = store.load(&[id(n as u64)]).await.unwrap().remove(0);
        assert_due(&database, &tx.unwrap()).await;
    }
    let illegal = store.load(&[id(5)]).await.unwrap().remove(0);
    illegal.expect_err("parked without a decision");
    let rows = store.participants().await.unwrap();
    let participants: Vec<_> = rows.into_iter().map(Result::unwrap).collect();
    let paused: Vec<bool> = participants.iter().map(|row| row.paused).collect();
    assert_eq!(paused, [false; 6]);

    // From then on they are rows like any other.
    let before = store.load(&[id(0)]).await.unwrap().remove(0).unwrap();
    let after = decided(&before, success());
    apply(store, &[change(&before, &after)]).await.unwrap();
    assert_stands(store, &after).await;
    assert_due(&database, &after).await;
    let before = store.load(&[id(2)]).await.unwrap().remove(0).unwrap();
    let stuck = parked(&before);
    let ended = finished(&stuck);
    apply(store, &[change(&before, &stuck)]).await.unwrap();
    apply(store, &[change(&stuck, &ended)]).await.unwrap();
    assert_due(&database, &ended).await;
}

/// What was at rest with an action that has an age is looked at when that is over.
#[tokio::test]
async fn what_rests_with_an_age_stands_at_its_time_from_version_7_on() {
    let mut database = Sqlite::empty().await;
    let second = Duration::from_secs(1);
    let with_age = |millis, ages: [Option<Duration>; 2]| {
        let mut begun = transaction(millis);
        for (action, age) in begun.actions.iter_mut().zip(ages) {
            Arc::make_mut(&mut action.spec).retry.max_age = age;
        }
        let rests = [("points-service", 40), ("coupon-service", 50)];
        at_once(at_rest(&decided(&begun, success()), &rests, None))
    };
    let rows = [
        with_age(1, [None, None]),
        with_age(2, [Some(3_600 * second), Some(60 * second)]),
        with_age(3, [None, Some(second)]),
    ];
    let writes: Vec<_> = rows.iter().map(begin).collect();
    apply(database.store(), &writes).await.unwrap();
    database.store.take().unwrap().close().await.unwrap();
    database
        .tamper(
            "ALTER TABLE tx_info DROP COLUMN unparked_at; \
             DELETE FROM _sqlx_migrations WHERE version = 7",
        )
        .await;
    database.restart().await;
    for (row, age) in rows.iter().zip([None, Some(60 * second), Some(second)]) {
        let mut expected = row.clone();
        let decided_at = row.phase.decided_at().unwrap();
        if let Some(rest) = &mut expected.rest {
            rest.until = age.map(|age| decided_at + age);
        }
        assert_due(&database, &expected).await;
        let found = database.store().load(&[row.id()]).await.unwrap().remove(0);
        assert_eq!(found.unwrap().rest, expected.rest);
    }
}

/// Ids of writes are random, so that no coordinator takes a row for its own.
#[tokio::test]
async fn rows_of_version_1_are_nobodys_own_writes() {
    let mut database = database_of_version_1().await;
    database.restart().await;
    let writes: Vec<_> = (0..5).map(|n| begin(&transaction(n))).collect();
    let standing = database.store().standing(&writes).await.unwrap();
    let ids: Vec<i64> = standing
        .into_iter()
        .map(|standing| standing.row.unwrap().write_id)
        .collect();
    let different: std::collections::BTreeSet<i64> = ids.iter().copied().collect();
    assert_eq!(different.len(), ids.len(), "{ids:?}");
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
