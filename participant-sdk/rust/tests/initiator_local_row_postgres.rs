//! On a database server the check-back waits behind the open local transaction, or prevents its
//! commit.

#![allow(clippy::unwrap_used, missing_docs)]

mod coordinator_mock;

use std::time::Duration;

use coordinator_mock::{Mock, committed, running};
use sqlx::PgPool;
use tercet_harness::{PostgresServer, wait_until};
use tercet_proto::v1::session_request::Request;
use tercet_sdk::{
    Barrier, Truth,
    database::InitiatorRowError,
    initiator::{CheckBack, Client, CommitWithError},
};
use uuid::Uuid;

/// The rounds of the race; in each the check-back comes at another moment.
const ROUNDS: usize = 40;
/// The limit of a wait in a test; no longer than a check-back waits.
const SOON: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn local_commit_and_check_back_race_to_one_truth() {
    let server = PostgresServer::shared().await.unwrap();
    let pool = PgPool::connect(&server.database().await.unwrap())
        .await
        .unwrap();
    let barrier = Barrier::new(pool.clone());
    barrier.create_table().await.unwrap();
    sqlx::query("CREATE TABLE paid (tx_id TEXT)")
        .execute(&pool)
        .await
        .unwrap();
    let mock = Mock::start(|_, request| match request {
        Request::Decide(_) => committed(request),
        _ => running(request),
    })
    .await;
    let client = Client::connect([mock.address.clone()]).await.unwrap();
    let (mut paid, mut failed) = (0, 0);
    for round in 0..ROUNDS {
        let draft = client.begin("order", round.to_string());
        let mut tx = draft
            .check_back(CheckBack::ask("orders"))
            .send()
            .await
            .unwrap();
        let tx_id = tx.id();
        let paying = tx.commit_with(&barrier, move |local| {
            let insert = sqlx::query("INSERT INTO paid VALUES ($1)").bind(tx_id.to_string());
            Box::pin(async move { insert.execute(local).await })
        });
        let asked_back = async {
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            barrier.check_back(tx_id).await.unwrap()
        };
        let (paying, truth) = tokio::join!(paying, asked_back);
        let count = sqlx::query_scalar("SELECT count(*) FROM paid WHERE tx_id = $1");
        let times_paid: i64 = count
            .bind(tx_id.to_string())
            .fetch_one(&pool)
            .await
            .unwrap();
        match truth {
            Truth::Success => assert!(paying.is_ok() && times_paid == 1, "{paying:?}"),
            Truth::Failure => {
                let error = paying.unwrap_err();
                let row = InitiatorRowError::AlreadyFailed(tx_id).to_string();
                let is_forbidden = matches!(
                    &error,
                    CommitWithError::Local(why) if why.to_string() == row
                );
                assert!(is_forbidden && times_paid == 0, "{error}");
            }
        }
        assert_eq!(barrier.check_back(tx_id).await.unwrap(), truth);
        paid += usize::from(truth == Truth::Success);
        failed += usize::from(truth == Truth::Failure);
    }
    assert_eq!(paid + failed, ROUNDS);
    println!("{paid} paid, {failed} failed");
}

/// While the row is inserted and not yet committed, the check-back waits, and then reads it.
#[tokio::test]
async fn a_check_back_waits_behind_the_open_local_transaction() {
    let server = PostgresServer::shared().await.unwrap();
    let pool = PgPool::connect(&server.database().await.unwrap())
        .await
        .unwrap();
    let barrier = Barrier::new(pool.clone());
    barrier.create_table().await.unwrap();
    let tx_id = Uuid::now_v7();
    let mut local = pool.begin().await.unwrap();
    barrier
        .insert_initiator_row(&mut local, tx_id)
        .await
        .unwrap();
    let committing = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity
                       WHERE wait_event_type = 'Lock' AND datname = current_database()";
        wait_until("the check-back waits", SOON, async || {
            let count: i64 = sqlx::query_scalar(waiting).fetch_one(&pool).await.unwrap();
            (count > 0).then_some(())
        })
        .await;
        local.commit().await.unwrap();
    };
    let (truth, ()) = tokio::join!(barrier.check_back(tx_id), committing);
    assert_eq!(truth.unwrap(), Truth::Success);
}
