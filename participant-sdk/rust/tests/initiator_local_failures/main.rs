//! Errors of the initiator's local transaction: FAILURE is decided only where its row says so, on SQLite,
//! PostgreSQL and MariaDB.
#![allow(clippy::unwrap_used)]

#[path = "../coordinator_mock/mod.rs"]
mod coordinator_mock;
#[allow(dead_code, reason = "some of it is for actions")]
#[path = "../barrier/world.rs"]
mod world;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use coordinator_mock::{Mock, Say, committed, running};
use futures::future::BoxFuture;
use sqlx::{Database as _, Pool, pool::PoolOptions};
use tercet_harness::wait_until;
use tercet_proto::v1::{self, session_request::Request};
use tercet_sdk::{
    Barrier, Connection, Truth,
    database::InitiatorRowError,
    initiator::{CheckBack, Client, CommitWithError, LiveTransaction, RollbackWithError},
};
use uuid::Uuid;
use world::{Dialect, SOON, World, effect, on_every_database};

on_every_database!(
    without_a_connection_an_earlier_commit_stands,
    giving_up_asks_the_row_first,
    a_lock_that_is_not_had_in_time_decides_nothing,
    a_change_that_fails_lets_no_other_run_commit,
    a_lost_connection_is_settled_by_the_row,
    a_run_that_is_given_up_decides_nothing,
    a_dropped_transaction_with_a_check_back_is_left_to_it,
    a_change_that_ends_the_local_transaction_never_splits_row_and_effect,
);

/// An initiator with a database of its own.
struct Initiator<D: Dialect> {
    world: World<D>,
    client: Client,
    mock: Mock,
}

impl<D: Dialect> Initiator<D> {
    /// Starts one whose first `unanswered` decisions get no answer.
    async fn start(unanswered: usize) -> Self {
        let decided = AtomicUsize::new(0);
        let mock = Mock::start(move |_, request| match request {
            Request::Decide(_) if decided.fetch_add(1, Ordering::Relaxed) < unanswered => {
                Say::Nothing
            }
            Request::Decide(_) => committed(request),
            _ => running(request),
        })
        .await;
        let client = Client::builder().address(mock.address.clone());
        let client = client.answer_within(Duration::from_millis(500));
        Self {
            world: World::new().await,
            client: client.connect().await.unwrap(),
            mock,
        }
    }

    async fn begin(&self, tx_id: Uuid) -> LiveTransaction {
        let draft = self.client.begin("order", tx_id.to_string()).tx_id(tx_id);
        let draft = draft.check_back(CheckBack::ask("orders"));
        draft.send().await.unwrap()
    }

    fn decisions(&self) -> Vec<v1::Outcome> {
        let requests = self.mock.requests().into_iter();
        let decisions = requests.filter_map(|(_, request)| match request.request {
            Some(Request::Decide(decide)) => Some(decide.outcome()),
            _ => None,
        });
        decisions.collect()
    }

    async fn effects(&self, tx_id: Uuid) -> Vec<String> {
        self.world.transaction_of(tx_id).effects().await
    }

    /// Returns a pool of one connection to the same database.
    fn narrow_pool(&self) -> Pool<D> {
        let options = PoolOptions::new()
            .max_connections(1)
            .acquire_timeout(Duration::from_millis(100));
        options.connect_lazy_with((*self.world.pool.connect_options()).clone())
    }
}

type Change<'c, T> = BoxFuture<'c, Result<T, sqlx::Error>>;

/// The initiator's own change: the order is paid.
fn pay<D: Dialect>(
    tx_id: Uuid,
) -> impl for<'c> FnOnce(&'c mut Connection<D>) -> Change<'c, u64> + Send {
    move |local| Box::pin(D::run(local, effect(tx_id, "", "PAID")))
}

/// Waits until one session waits for a lock of another. SQLite shows none: there the other waits from
/// its first statement on.
async fn wait_for_a_lock<D: Dialect>(pool: &Pool<D>) {
    let sql = match D::NAME {
        sqlx::Postgres::NAME => {
            "SELECT 'waits' FROM pg_stat_activity
             WHERE wait_event_type = 'Lock' AND datname = current_database()"
        }
        sqlx::MySql::NAME => {
            "SELECT 'waits' FROM information_schema.processlist
             WHERE db = DATABASE() AND info LIKE 'INSERT INTO tercet_barrier%'"
        }
        _ => return tokio::task::yield_now().await,
    };
    wait_until("a session waits for a lock", SOON, async || {
        let waiting = D::words(pool, sql.to_owned()).await;
        (!waiting.is_empty()).then_some(())
    })
    .await;
}

async fn without_a_connection_an_earlier_commit_stands<D: Dialect>() {
    let initiator = Initiator::<D>::start(1).await;
    let tx_id = Uuid::now_v7();
    let mut first = initiator.begin(tx_id).await;
    let barrier = &initiator.world.barrier;
    let untold = first.commit_with(barrier, pay::<D>(tx_id)).await;
    assert!(
        matches!(untold, Err(CommitWithError::Coordinator(_))),
        "{untold:?}"
    );
    drop(first);

    let pool = initiator.narrow_pool();
    let held = pool.acquire().await.unwrap();
    let narrow = Barrier::new(pool.clone());
    let mut second = initiator.begin(tx_id).await;
    let error = second
        .commit_with(&narrow, pay::<D>(tx_id))
        .await
        .unwrap_err();
    assert!(
        matches!(error, CommitWithError::LocalUnknown { .. }),
        "{error}"
    );
    drop(second);
    assert_eq!(initiator.decisions(), [v1::Outcome::Success]);

    drop(held);
    let mut third = initiator.begin(tx_id).await;
    let (value, outcome) = third.commit_with(&narrow, pay::<D>(tx_id)).await.unwrap();
    assert!(value.is_none() && outcome.is_committed(), "{outcome:?}");
    assert_eq!(initiator.decisions(), [v1::Outcome::Success; 2]);
    assert_eq!(initiator.effects(tx_id).await, ["PAID"]);
}

async fn giving_up_asks_the_row_first<D: Dialect>() {
    let initiator = Initiator::<D>::start(1).await;
    let barrier = &initiator.world.barrier;
    let tx_id = Uuid::now_v7();
    let mut first = initiator.begin(tx_id).await;
    first
        .commit_with(barrier, pay::<D>(tx_id))
        .await
        .unwrap_err();

    let pool = initiator.narrow_pool();
    let held = pool.acquire().await.unwrap();
    let mut second = initiator.begin(tx_id).await;
    let narrow = Barrier::new(pool);
    let error = second.rollback_with(&narrow, "a Try failed").await;
    let error = error.unwrap_err();
    let is_unknown = matches!(error, RollbackWithError::LocalUnknown { .. });
    assert!(is_unknown, "{error}");
    assert_eq!(initiator.decisions(), [v1::Outcome::Success]);
    drop(held);
    let outcome = second.rollback_with(barrier, "a Try failed").await.unwrap();
    assert!(outcome.is_committed(), "{outcome:?}");
    assert_eq!(initiator.decisions(), [v1::Outcome::Success; 2]);

    let never = Uuid::now_v7();
    let mut tx = initiator.begin(never).await;
    tx.rollback_with(barrier, "a Try failed").await.unwrap();
    assert_eq!(initiator.decisions().last(), Some(&v1::Outcome::Failure));
    let late = initiator
        .begin(never)
        .await
        .commit_with(barrier, pay::<D>(never))
        .await;
    assert!(matches!(
        late,
        Err(CommitWithError::Local(InitiatorRowError::AlreadyFailed(_)))
    ));
}

async fn a_lock_that_is_not_had_in_time_decides_nothing<D: Dialect>() {
    let settings: &[&str] = match D::NAME {
        sqlx::Postgres::NAME => &[
            "SET lock_timeout = '100ms'",
            "SET statement_timeout = '100ms'",
        ],
        sqlx::MySql::NAME => &["SET innodb_lock_wait_timeout = 1"],
        _ => &["PRAGMA busy_timeout = 50"],
    };
    for &setting in settings {
        let initiator = Initiator::<D>::start(0).await;
        let tx_id = Uuid::now_v7();
        // An earlier run is still about to commit.
        let mut earlier = initiator.world.pool.begin_with("BEGIN").await.unwrap();
        let barrier = &initiator.world.barrier;
        barrier
            .insert_initiator_row(&mut earlier, tx_id)
            .await
            .unwrap();

        let pool = initiator.narrow_pool();
        D::run(&mut *pool.acquire().await.unwrap(), setting.to_owned())
            .await
            .unwrap();
        let mut tx = initiator.begin(tx_id).await;
        let impatient = Barrier::new(pool);
        let error = tx
            .commit_with(&impatient, pay::<D>(tx_id))
            .await
            .unwrap_err();
        assert!(
            matches!(error, CommitWithError::LocalUnknown { .. }),
            "{setting}: {error}"
        );
        drop(tx);
        earlier.commit().await.unwrap();
        assert_eq!(initiator.decisions(), [], "{setting}");
        assert_eq!(barrier.check_back(tx_id).await.unwrap(), Truth::Success);
    }
}

/// While one run fails, another with the same id waits for the key: it must not commit what is then
/// decided as FAILURE.
async fn a_change_that_fails_lets_no_other_run_commit<D: Dialect>() {
    let initiator = Arc::new(Initiator::<D>::start(0).await);
    let tx_id = Uuid::now_v7();
    let (started, other) = tokio::sync::oneshot::channel();
    let mut tx = initiator.begin(tx_id).await;
    let beside = Arc::clone(&initiator);
    let failing = tx.commit_with(&initiator.world.barrier, move |local| {
        Box::pin(async move {
            pay::<D>(tx_id)(local)
                .await
                .map_err(|error| error.to_string())?;
            let running = Arc::clone(&beside);
            let other = tokio::spawn(async move {
                let mut tx = running.begin(tx_id).await;
                let barrier = running.world.barrier.clone();
                tx.commit_with(&barrier, pay::<D>(tx_id)).await.map(drop)
            });
            started.send(other).ok().unwrap();
            wait_for_a_lock(&beside.world.pool).await;
            Err::<(), _>("out of stock".to_owned())
        })
    });
    let error = failing.await.unwrap_err();
    assert!(
        matches!(&error, CommitWithError::Change(why) if why == "out of stock"),
        "{error}"
    );
    let error = other.await.unwrap().await.unwrap().unwrap_err();
    assert!(
        matches!(
            error,
            CommitWithError::Local(InitiatorRowError::AlreadyFailed(_))
        ),
        "{error}"
    );
    assert!(initiator.effects(tx_id).await.is_empty());
    assert_eq!(
        initiator.world.barrier.check_back(tx_id).await.unwrap(),
        Truth::Failure
    );
    assert_eq!(initiator.decisions(), [v1::Outcome::Failure; 2]);
}

async fn a_lost_connection_is_settled_by_the_row<D: Dialect>() {
    let (own, kill) = match D::NAME {
        sqlx::Postgres::NAME => (
            "SELECT CAST(pg_backend_pid() AS TEXT)",
            "SELECT pg_terminate_backend(ID)",
        ),
        sqlx::MySql::NAME => ("SELECT CAST(CONNECTION_ID() AS CHAR)", "KILL ID"),
        _ => return,
    };
    let initiator = Initiator::<D>::start(0).await;
    let tx_id = Uuid::now_v7();
    let mut tx = initiator.begin(tx_id).await;
    let pool = initiator.world.pool.clone();
    let error = tx
        .commit_with(&initiator.world.barrier, move |local| {
            Box::pin(async move {
                let id = D::word(local, own.to_owned()).await;
                pay::<D>(tx_id)(local).await?;
                D::run(&mut *pool.acquire().await?, kill.replace("ID", &id)).await?;
                // The error that this leaves behind is ignored.
                let _ = D::run(local, "SELECT 1".to_owned()).await;
                Ok::<_, sqlx::Error>(())
            })
        })
        .await
        .unwrap_err();
    assert!(matches!(error, CommitWithError::Local(_)), "{error}");
    assert_eq!(initiator.decisions(), [v1::Outcome::Failure]);
    assert_eq!(
        initiator.world.barrier.check_back(tx_id).await.unwrap(),
        Truth::Failure
    );
    assert!(initiator.effects(tx_id).await.is_empty());
}

async fn a_run_that_is_given_up_decides_nothing<D: Dialect>() {
    let initiator = Initiator::<D>::start(0).await;
    let tx_id = Uuid::now_v7();
    let mut tx = initiator.begin(tx_id).await;
    let (reached, waiting) = tokio::sync::oneshot::channel();
    {
        let barrier = &initiator.world.barrier;
        let hanging = tx.commit_with(barrier, move |local| {
            Box::pin(async move {
                pay::<D>(tx_id)(local).await?;
                reached.send(()).unwrap();
                std::future::pending::<Result<(), sqlx::Error>>().await
            })
        });
        tokio::select! {
            _ = hanging => unreachable!(),
            reached = waiting => reached.unwrap(),
        }
    }
    drop(tx);
    let barrier = &initiator.world.barrier;
    wait_until("the local transaction is rolled back", SOON, async || {
        let truth = barrier.check_back(tx_id).await.ok()?;
        assert_eq!(truth, Truth::Failure);
        Some(())
    })
    .await;
    assert!(initiator.effects(tx_id).await.is_empty());
    // A request of its own comes after every decision that was sent.
    initiator.begin(Uuid::now_v7()).await.leave();
    assert_eq!(initiator.decisions(), []);
}

async fn a_dropped_transaction_with_a_check_back_is_left_to_it<D: Dialect>() {
    let initiator = Initiator::<D>::start(0).await;
    let tx = initiator.begin(Uuid::now_v7()).await;
    let mut own = initiator.client.begin("order", "1");
    own = own.check_back(CheckBack::ask("orders"));
    let own = own.send().await.unwrap();
    // The initiator's own local transaction, after which it is interrupted.
    let barrier = &initiator.world.barrier;
    let mut local = initiator.world.pool.begin().await.unwrap();
    barrier
        .insert_initiator_row(&mut local, own.id())
        .await
        .unwrap();
    local.commit().await.unwrap();
    drop((tx, own));
    tokio::task::yield_now().await;
    initiator.begin(Uuid::now_v7()).await.leave();
    assert_eq!(initiator.decisions(), []);
}

async fn a_change_that_ends_the_local_transaction_never_splits_row_and_effect<D: Dialect>() {
    for (say, is_committed) in [
        (&["ROLLBACK", "EFFECT"][..], false),
        (&["ROLLBACK", "BEGIN", "EFFECT", "COMMIT"], false),
        (&["ROLLBACK"], false),
        (&["COMMIT"], true),
        (&["COMMIT", "EFFECT"], true),
        (&["COMMIT", "BEGIN", "EFFECT", "COMMIT"], true),
    ] {
        let initiator = Initiator::<D>::start(0).await;
        let tx_id = Uuid::now_v7();
        let mut tx = initiator.begin(tx_id).await;
        let error = tx
            .commit_with(&initiator.world.barrier, move |local| {
                Box::pin(async move {
                    pay::<D>(tx_id)(local).await?;
                    for &statement in say {
                        let sql = match statement {
                            "EFFECT" => effect(tx_id, "", "LATE"),
                            other => other.to_owned(),
                        };
                        let _ = D::run(local, sql).await;
                    }
                    Ok::<_, sqlx::Error>(())
                })
            })
            .await
            .unwrap_err();
        drop(tx);
        let effects = initiator.effects(tx_id).await;
        let truth = initiator.world.barrier.check_back(tx_id).await;
        // On SQLite a commit of the change's own is refused.
        if is_committed && D::NAME != sqlx::Sqlite::NAME {
            assert!(
                matches!(error, CommitWithError::LocalUnknown { .. }),
                "{say:?}: {error}"
            );
            assert_eq!(effects, ["PAID"], "{say:?}");
            assert!(truth.is_err(), "{say:?}: {truth:?}");
            assert_eq!(initiator.decisions(), [], "{say:?}");
        } else {
            assert!(
                matches!(error, CommitWithError::Local(_)),
                "{say:?}: {error}"
            );
            assert!(effects.is_empty(), "{say:?}: {effects:?}");
            assert_eq!(truth.unwrap(), Truth::Failure, "{say:?}");
            assert_eq!(initiator.decisions(), [v1::Outcome::Failure], "{say:?}");
        }
    }
}
