//! Databases of earlier versions of the program, brought up to date.

use std::{sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions, Connection, SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
    sqlite::SqliteConnectOptions,
};
use tempfile::TempDir;
use tercet_store::Store as _;

use super::{
    Sqlite,
    conformance::{
        Database as _,
        fixture::{
            apply, assert_due, assert_stands, at, at_once, at_rest, begin, change, decided,
            finished, id, parked, success, transaction,
        },
    },
};

/// The tables of the first version, as it makes them itself.
const VERSION_1: &str = include_str!("../../../../migrations/sqlite/0001_first_tables.sql");

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
