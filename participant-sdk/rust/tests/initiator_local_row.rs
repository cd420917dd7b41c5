//! The initiator's own local transaction and its check-back agree.

#![allow(clippy::unwrap_used, missing_docs)]

mod coordinator_mock;

use std::time::Duration;

use coordinator_mock::{Mock, Say, committed, running};
use futures::future::BoxFuture;
use sqlx::{
    SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions},
};
use tempfile::TempDir;
use tercet_proto::v1::{self, session_request::Request};
use tercet_sdk::{
    Barrier, Sqlite, Truth,
    database::InitiatorRowError,
    initiator::{CheckBack, Client, CommitWithError, Error, LiveTransaction},
};
use uuid::Uuid;

struct Initiator {
    pool: SqlitePool,
    barrier: Barrier<Sqlite>,
    client: Client,
    mock: Mock,
    _folder: TempDir,
}

impl Initiator {
    async fn start(script: impl Fn(usize, &Request) -> Say + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("initiator.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(Duration::from_secs(20));
        let pool = SqlitePoolOptions::new().max_connections(8);
        let pool = pool.connect_with(options).await.unwrap();
        let barrier = Barrier::new(pool.clone());
        barrier.create_table().await.unwrap();
        sqlx::query("CREATE TABLE paid (tx_id TEXT)")
            .execute(&pool)
            .await
            .unwrap();
        let mock = Mock::start(script).await;
        let client = Client::builder().address(mock.address.clone());
        let client = client
            .answer_within(Duration::from_millis(500))
            .connect()
            .await
            .unwrap();
        Self {
            pool,
            barrier,
            client,
            mock,
            _folder: folder,
        }
    }

    async fn begin(&self, tx_id: Uuid) -> LiveTransaction {
        let draft = self.client.begin("order", tx_id.to_string()).tx_id(tx_id);
        draft
            .check_back(CheckBack::ask("orders"))
            .send()
            .await
            .unwrap()
    }

    async fn times_paid(&self, tx_id: Uuid) -> i64 {
        let count = sqlx::query_scalar("SELECT count(*) FROM paid WHERE tx_id = $1");
        count
            .bind(tx_id.to_string())
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    async fn check_back(&self, tx_id: Uuid) -> Truth {
        self.barrier.check_back(tx_id).await.unwrap()
    }

    fn decisions(&self) -> Vec<v1::Outcome> {
        let requests = self.mock.requests().into_iter();
        let decisions = requests.filter_map(|(_, request)| match request.request {
            Some(Request::Decide(decide)) => Some(decide.outcome()),
            _ => None,
        });
        decisions.collect()
    }
}

fn decided_as_asked(_: usize, request: &Request) -> Say {
    match request {
        Request::Decide(_) => committed(request),
        _ => running(request),
    }
}

type Change<'c, T, E> = BoxFuture<'c, Result<T, E>>;

/// The initiator's own change: the order is paid.
fn pay(
    tx_id: Uuid,
) -> impl for<'c> FnOnce(&'c mut SqliteConnection) -> Change<'c, u64, sqlx::Error> {
    move |local| {
        let insert = sqlx::query("INSERT INTO paid (tx_id) VALUES ($1)").bind(tx_id.to_string());
        Box::pin(async move { Ok(insert.execute(local).await?.rows_affected()) })
    }
}

#[tokio::test]
async fn a_local_change_and_the_decision_are_one() {
    let initiator = Initiator::start(decided_as_asked).await;
    let mut tx = initiator.begin(Uuid::now_v7()).await;
    let tx_id = tx.id();
    let barrier = initiator.barrier.clone();
    // Spawned: the future can move between threads.
    let paying = tokio::spawn(async move { tx.commit_with(&barrier, pay(tx_id)).await });
    let (rows, outcome) = paying.await.unwrap().unwrap();
    assert_eq!(rows, Some(1));
    assert!(outcome.is_committed());
    assert_eq!(initiator.times_paid(tx_id).await, 1);
    assert_eq!(initiator.decisions(), [v1::Outcome::Success]);
    assert_eq!(initiator.check_back(tx_id).await, Truth::Success);
}

#[tokio::test]
async fn a_change_that_fails_rolls_back_both() {
    let initiator = Initiator::start(decided_as_asked).await;
    let mut tx = initiator.begin(Uuid::now_v7()).await;
    let tx_id = tx.id();
    let error = tx
        .commit_with(&initiator.barrier, |local| {
            Box::pin(async move {
                let paid = pay(tx_id)(local).await;
                paid.map_err(|error| error.to_string())?;
                Err::<(), _>("out of stock".to_owned())
            })
        })
        .await
        .unwrap_err();
    assert!(
        matches!(&error, CommitWithError::Change(why) if why == "out of stock"),
        "{error}"
    );
    assert_eq!(initiator.times_paid(tx_id).await, 0);
    assert_eq!(initiator.decisions(), [v1::Outcome::Failure]);
    assert_eq!(initiator.check_back(tx_id).await, Truth::Failure);
}

#[tokio::test]
async fn a_check_back_that_came_first_forbids_the_local_commit() {
    let initiator = Initiator::start(decided_as_asked).await;
    let mut tx = initiator.begin(Uuid::now_v7()).await;
    let tx_id = tx.id();
    assert_eq!(initiator.check_back(tx_id).await, Truth::Failure);
    let error = tx
        .commit_with(&initiator.barrier, pay(tx_id))
        .await
        .unwrap_err();
    let is_forbidden = matches!(
        error,
        CommitWithError::Local(InitiatorRowError::AlreadyFailed(id)) if id == tx_id
    );
    assert!(is_forbidden, "{error}");
    assert_eq!(initiator.times_paid(tx_id).await, 0);
    assert_eq!(initiator.decisions(), [v1::Outcome::Failure]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn local_commit_and_check_back_race_to_one_truth() {
    let initiator = Initiator::start(decided_as_asked).await;
    let (mut paid, mut failed) = (0, 0);
    for round in 0..60_u64 {
        let mut tx = initiator.begin(Uuid::now_v7()).await;
        let tx_id = tx.id();
        let asked_back = async {
            // Each round starts the check-back at another moment.
            for _ in 0..round * 4 {
                tokio::task::yield_now().await;
            }
            initiator.check_back(tx_id).await
        };
        let (committed, truth) =
            tokio::join!(tx.commit_with(&initiator.barrier, pay(tx_id)), asked_back);
        let times_paid = initiator.times_paid(tx_id).await;
        match truth {
            Truth::Success => assert_eq!((committed.is_ok(), times_paid), (true, 1)),
            Truth::Failure => assert_eq!((committed.is_ok(), times_paid), (false, 0)),
        }
        assert_eq!(initiator.check_back(tx_id).await, truth, "the truth stays");
        paid += times_paid;
        failed += 1 - times_paid;
    }
    println!("{paid} paid, {failed} failed");
}

#[tokio::test]
async fn a_repetition_with_the_same_id_changes_once() {
    let initiator = Initiator::start(decided_as_asked).await;
    let tx_id = Uuid::now_v7();
    let mut values = Vec::new();
    for _ in 0..2 {
        let mut tx = initiator.begin(tx_id).await;
        let (value, outcome) = tx
            .commit_with(&initiator.barrier, pay(tx_id))
            .await
            .unwrap();
        assert!(outcome.is_committed());
        values.push(value);
    }
    assert_eq!(values, [Some(1), None]);
    assert_eq!(initiator.times_paid(tx_id).await, 1);
}

#[tokio::test]
async fn without_a_check_back_nothing_is_done() {
    let initiator = Initiator::start(decided_as_asked).await;
    let mut tx = initiator.client.begin("order", "1").send().await.unwrap();
    let tx_id = tx.id();
    let error = tx
        .commit_with(&initiator.barrier, pay(tx_id))
        .await
        .unwrap_err();
    assert!(
        matches!(error, CommitWithError::Invalid(Error::Invalid { .. })),
        "{error}"
    );
    assert_eq!(initiator.times_paid(tx_id).await, 0);
    assert_eq!(initiator.decisions(), []);
}

#[tokio::test]
async fn what_the_coordinator_was_not_told_the_check_back_tells() {
    let initiator = Initiator::start(|_, request| match request {
        Request::Decide(_) => Say::Nothing,
        _ => running(request),
    })
    .await;
    let mut tx = initiator.begin(Uuid::now_v7()).await;
    let tx_id = tx.id();
    let error = tx
        .commit_with(&initiator.barrier, pay(tx_id))
        .await
        .unwrap_err();
    let is_untold = matches!(
        error,
        CommitWithError::Coordinator(Error::OutcomeUnknown { .. })
    );
    assert!(is_untold, "{error}");
    drop(tx);
    assert_eq!(initiator.times_paid(tx_id).await, 1);
    assert_eq!(initiator.check_back(tx_id).await, Truth::Success);
    assert_eq!(initiator.decisions(), [v1::Outcome::Success]);
}
