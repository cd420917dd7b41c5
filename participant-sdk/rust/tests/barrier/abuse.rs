//! Code that ends the local transaction itself, or goes on after the database has ended it: effect and
//! row stand or fall together all the same, or the call fails loudly until a person has looked.

use std::collections::BTreeMap;

use sqlx::{Database as _, MySqlConnection, MySqlPool};
use tercet_harness::wait_until;
use tercet_sdk::{
    ActionError, Call, DeliverAction, Json,
    Operation::{self, Cancel, Confirm, Try},
    Participant,
    proto::Mode,
};
use uuid::Uuid;

use crate::world::{
    Behave, Dialect, EFFECT, Is, LATE, SOON, Tx, World, effect, is, on_every_database, spelled,
};

on_every_database!(
    code_that_ends_the_local_transaction_leaves_the_books_right_or_fails_loudly,
    code_may_use_savepoints,
    a_connection_goes_back_to_the_pool_as_it_came,
);

type Say = &'static [&'static str];

/// Statements that every database knows.
const EVERYWHERE: &[Say] = &[
    &["COMMIT"],
    &["COMMIT", EFFECT],
    &["ROLLBACK"],
    &["ROLLBACK", EFFECT],
    &["BEGIN", EFFECT, "COMMIT"],
    &["COMMIT", "BEGIN", EFFECT, "COMMIT"],
    &["ROLLBACK", "BEGIN", EFFECT, "COMMIT"],
    &["ROLLBACK", "BEGIN", EFFECT],
    &["INSERT INTO nowhere VALUES (1)", EFFECT],
    &["INSERT INTO nowhere VALUES (1)", "ROLLBACK", EFFECT],
    &["CREATE TABLE made (id INTEGER)", EFFECT, "DROP TABLE made"],
];

const MARIADB: &[Say] = &[
    &["SET autocommit = 0", EFFECT],
    &["SET autocommit = 1", EFFECT],
    &["SET autocommit = 0", "SET autocommit = 1", EFFECT],
    &["SET autocommit = 0", "ROLLBACK", EFFECT, "COMMIT"],
    &["SET autocommit = 0", "COMMIT", EFFECT, "COMMIT"],
    &["START TRANSACTION", EFFECT, "COMMIT"],
    &["COMMIT AND CHAIN", EFFECT],
    &["LOCK TABLES effect WRITE", EFFECT, "UNLOCK TABLES"],
    &[
        "XA START 'x'",
        EFFECT,
        "XA END 'x'",
        "XA COMMIT 'x' ONE PHASE",
    ],
];

const POSTGRES: &[Say] = &[
    &["ABORT", EFFECT],
    &["END", "START TRANSACTION", EFFECT, "END"],
    &["COMMIT AND CHAIN", EFFECT],
    &["PREPARE TRANSACTION 'x'", EFFECT],
];

const SQLITE: &[Say] = &[
    &["END", "BEGIN IMMEDIATE", EFFECT, "END"],
    &[
        "INSERT OR ROLLBACK INTO effect SELECT * FROM nowhere",
        EFFECT,
    ],
    &["PRAGMA query_only = OFF", "ROLLBACK", EFFECT],
];

fn abuses<D: Dialect>() -> impl Iterator<Item = Say> {
    let own = match D::NAME {
        sqlx::MySql::NAME => MARIADB,
        sqlx::Postgres::NAME => POSTGRES,
        _ => SQLITE,
    };
    EVERYWHERE.iter().chain(own).copied()
}

/// Asserts that no effect is there twice, and none without its row.
async fn assert_books<D: Dialect>(tx: Tx<'_, D>, case: &str) {
    let effects = tx.effects().await;
    let mut times = BTreeMap::new();
    for effect in &effects {
        *times.entry(effect).or_insert(0) += 1;
    }
    assert!(
        times.values().all(|&count| count == 1),
        "{case}: {effects:?}"
    );
    let rows = tx.rows().await;
    assert!(
        effects.is_empty() || !rows.is_empty(),
        "{case}: {effects:?} without a row"
    );
}

/// Sends an operation whose code says this, and then again with code that behaves.
async fn assert_right_or_loud<D: Dialect>(tx: Tx<'_, D>, operation: Operation, say: Say) {
    let case = format!(
        "{} {operation:?} on {:?}: {say:?}",
        D::NAME,
        tx.rows().await
    );
    let word = format!("{operation:?}").to_uppercase();
    let first = tx.behaving(operation, Behave::Say(say)).await;
    assert_ne!(is(&first), Is::Rejected, "{case}: {first:?}");
    assert_books(tx, &case).await;
    if is(&first) == Is::Done && say.contains(&EFFECT) {
        assert!(
            tx.effects().await.contains(&LATE.to_owned()),
            "{case}: done, and the effect is lost"
        );
    }
    for _ in 0..2 {
        let again = tx.does(operation).await;
        assert_ne!(is(&again), Is::Rejected, "{case}: {again:?}");
        assert_books(tx, &case).await;
        if is(&again) == Is::Done {
            assert!(
                tx.effects().await.contains(&word),
                "{case}: done without an effect"
            );
        } else {
            assert_eq!(tx.rows().await, ["RUNNING"], "{case}: {again:?}");
        }
    }
}

async fn code_that_ends_the_local_transaction_leaves_the_books_right_or_fails_loudly<D: Dialect>() {
    let world = World::<D>::new().await;
    for say in abuses::<D>() {
        let tx = world.transaction();
        assert_right_or_loud(tx, Try, say).await;
        // A Cancel never calls empty what has an effect.
        let cancelled = tx.does(Cancel).await;
        if is(&cancelled) == Is::Done {
            let effects = tx.effects().await;
            assert!(
                effects.contains(&"CANCEL".to_owned()),
                "{say:?}: {effects:?}"
            );
        }
        for operation in [Confirm, Cancel] {
            let tx = world.transaction();
            assert_eq!(is(&tx.does(Try).await), Is::Done);
            assert_right_or_loud(tx, operation, say).await;
        }
        let tx = world.transaction().handled_by("parcel", Mode::Deliver);
        assert_right_or_loud(tx, Confirm, say).await;
        let tx = world.transaction().handled_by("outside", Mode::Tcc);
        assert_right_or_loud(tx, Try, say).await;
    }
}

async fn code_may_use_savepoints<D: Dialect>() {
    let world = World::<D>::new().await;
    for (say, effects) in [
        (
            &["SAVEPOINT a", EFFECT, "RELEASE SAVEPOINT a"][..],
            &[LATE, "TRY"][..],
        ),
        (
            &["SAVEPOINT a", EFFECT, "ROLLBACK TO SAVEPOINT a"],
            &["TRY"],
        ),
    ] {
        let tx = world.transaction();
        assert_eq!(
            is(&tx.behaving(Try, Behave::Say(say)).await),
            Is::Done,
            "{say:?}"
        );
        assert_eq!(tx.effects().await, effects);
        assert_eq!(tx.rows().await, ["TRIED"]);
    }
}

/// After calls of every kind, each connection of the pool writes and commits by itself as before.
async fn a_connection_goes_back_to_the_pool_as_it_came<D: Dialect>() {
    let world = World::<D>::new().await;
    let plain = async || {
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(world.pool.acquire().await.unwrap());
        }
        for connection in &mut held {
            let id = Uuid::now_v7();
            D::run(connection, effect(id, "plain", "PLAIN"))
                .await
                .unwrap();
            assert_eq!(world.transaction_of(id).effects().await, ["PLAIN"]);
        }
    };
    plain().await;
    let tx = world.transaction();
    for behave in [
        Behave::Fail,
        Behave::Panic,
        Behave::Say(&["ROLLBACK"]),
        Behave::Swallow,
        Behave::Reject,
    ] {
        tx.behaving(Try, behave).await;
        plain().await;
    }
    for operation in [Try, Cancel, Cancel, Confirm] {
        tx.does(operation).await;
        plain().await;
    }
    assert_eq!(is(&world.transaction().does(Cancel).await), Is::Done);
    plain().await;
    // A call whose time is over in the middle of the code.
    let hanging = Participant::builder("shop")
        .database(world.pool.clone())
        .deliver_fn("parcel", |tx, call: &Call<Json<String>>| {
            Box::pin(async move {
                D::run(tx, effect(call.tx_id, &call.action, "HANGS")).await?;
                std::future::pending().await
            })
        });
    let hanging = hanging.build().unwrap();
    let tx = world.transaction().handled_by("parcel", Mode::Deliver);
    let mut call = tx.call(Confirm);
    call.time_left_ms = Some(1);
    let outcome = hanging.call(call).await.outcome.unwrap();
    assert_eq!(is(&outcome), Is::Unknown, "{outcome:?}");
    plain().await;
    tx.left(&[], &[]).await;
}

/// What code does that ignores a deadlock, by which the server rolled back everything, the barrier's
/// row too.
const AFTER_DEADLOCK: [Say; 3] = [
    &[EFFECT],
    &[EFFECT, "ROLLBACK", EFFECT],
    &["SET autocommit = 0", EFFECT, "ROLLBACK", EFFECT, "COMMIT"],
];

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_an_ignored_deadlock_does_not_stay() {
    let world = World::<sqlx::MySql>::new().await;
    for sql in [
        "CREATE TABLE account (id INTEGER PRIMARY KEY, amount INTEGER)",
        "CREATE TABLE filler (id INTEGER PRIMARY KEY)",
        "INSERT INTO account VALUES (1, 0), (2, 0)",
    ] {
        world.run(sql.to_owned()).await;
    }
    for say in AFTER_DEADLOCK {
        let ignorant = Participant::builder("shop").database(world.pool.clone());
        let ignorant = ignorant.deliver(
            "parcel",
            Ignorant {
                pool: world.pool.clone(),
                say,
            },
        );
        let ignorant = ignorant.build().unwrap();
        let tx = world.transaction().handled_by("parcel", Mode::Deliver);
        for _ in 0..2 {
            let outcome = ignorant.call(tx.call(Confirm)).await.outcome.unwrap();
            assert_eq!(is(&outcome), Is::Unknown, "{outcome:?}");
            assert!(tx.effects().await.is_empty(), "{say:?}: {outcome:?}");
        }
        assert_eq!(is(&tx.does(Confirm).await), Is::Done, "{say:?}");
        tx.left(&["CONFIRM"], &["CONFIRMED"]).await;
    }
}

/// Code that gets a deadlock, ignores it and goes on.
struct Ignorant {
    pool: MySqlPool,
    say: Say,
}

impl DeliverAction<sqlx::MySql> for Ignorant {
    type Request = Json<String>;

    async fn deliver(
        &self,
        tx: &mut MySqlConnection,
        call: &Call<Json<String>>,
    ) -> Result<(), ActionError> {
        // Another session holds account 2 and waits for account 1. It has written more, so that the
        // server rolls back this one.
        let mut other = self.pool.begin().await?;
        let fill = "INSERT INTO filler SELECT seq FROM seq_1_to_500";
        sqlx::MySql::run(&mut other, fill.to_owned()).await?;
        take(&mut other, 2).await?;
        take(tx, 1).await?;
        let waiting = tokio::spawn(async move {
            take(&mut other, 1).await.unwrap();
            other.rollback().await.unwrap();
        });
        let blocked = "SELECT 'waits' FROM information_schema.processlist
                       WHERE db = DATABASE() AND info LIKE 'UPDATE account%'";
        wait_until("the other session waits", SOON, async || {
            let states = sqlx::MySql::words(&self.pool, blocked.to_owned()).await;
            (!states.is_empty()).then_some(())
        })
        .await;
        let deadlock = take(tx, 2).await.unwrap_err();
        assert!(deadlock.to_string().contains("1213"), "{deadlock}");
        waiting.await?;
        for &statement in self.say {
            let _ = sqlx::MySql::run(tx, spelled(statement, call)).await;
        }
        Ok(())
    }
}

async fn take(connection: &mut MySqlConnection, id: u32) -> Result<(), sqlx::Error> {
    let sql = format!("UPDATE account SET amount = amount + 1 WHERE id = {id}");
    sqlx::MySql::run(connection, sql).await.map(drop)
}
