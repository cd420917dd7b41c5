//! The actions as the coordinator calls them, behind the barrier.

#![allow(clippy::unwrap_used)]

use demo_points::PointsService;
use demo_points::accounts::prepare;
use demo_points::proto::TakePoints;
use demo_points::seed::Seed;
use demo_service::{SeedPart, Service};
use prost::Message;
use sqlx::{Row, SqlitePool};
use tercet_sdk::proto::{Call, Mode, Operation, result::Outcome};
use tercet_sdk::{Barrier, Participant};

const TX: &str = "018f0000-0000-7000-8000-000000000001";

async fn service() -> (Participant, SqlitePool, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let pool = demo_service::open(&folder.path().join("points.db"))
        .await
        .unwrap();
    let seed = Seed::parse("[[account]]\nuser = \"ann\"\npoints = 100\n").unwrap();
    prepare(&pool, &seed).await.unwrap();
    // The id used here is older than the barrier's retention, which is not what this test is about.
    let barrier = Barrier::new(pool.clone()).retention(std::time::Duration::MAX);
    barrier.create_table().await.unwrap();
    let participant = PointsService::actions(Participant::builder("points").barrier(barrier));
    (participant.build().unwrap(), pool, folder)
}

async fn call(
    participant: &Participant,
    (handler, mode): (&str, Mode),
    operation: Operation,
    points: i64,
) -> Outcome {
    let request = TakePoints {
        user: "ann".to_owned(),
        points,
        order_id: "o-1".to_owned(),
    };
    let call = Call {
        tx_id: TX.to_owned(),
        action: "points".to_owned(),
        participant: "points".to_owned(),
        handler: handler.to_owned(),
        operation: operation.into(),
        mode: mode.into(),
        payload: request.encode_to_vec().into(),
        attempt: 1,
        ..Call::default()
    };
    participant.call(call).await.outcome.unwrap()
}

async fn balance(pool: &SqlitePool) -> (i64, i64, i64) {
    let row = sqlx::query("SELECT available, frozen, spent FROM account")
        .fetch_one(pool)
        .await;
    let row = row.unwrap();
    (row.get(0), row.get(1), row.get(2))
}

#[tokio::test]
async fn a_repeated_try_and_confirm_take_points_once() {
    let (participant, pool, _folder) = service().await;
    let freeze = ("freeze-points", Mode::Tcc);
    for _ in 0..2 {
        let tried = call(&participant, freeze, Operation::Try, 30).await;
        assert!(matches!(tried, Outcome::Done(_)), "{tried:?}");
        assert_eq!(balance(&pool).await, (70, 30, 0));
    }
    for _ in 0..2 {
        let confirmed = call(&participant, freeze, Operation::Confirm, 30).await;
        assert!(matches!(confirmed, Outcome::Done(_)), "{confirmed:?}");
        assert_eq!(balance(&pool).await, (70, 0, 30));
    }
}

#[tokio::test]
async fn what_was_deducted_is_refunded_and_a_late_try_is_fenced() {
    let (participant, pool, _folder) = service().await;
    let deduct = ("deduct-points", Mode::Compensate);
    let tried = call(&participant, deduct, Operation::Try, 30).await;
    assert!(matches!(tried, Outcome::Done(_)), "{tried:?}");
    assert_eq!(balance(&pool).await, (70, 0, 30));
    let cancelled = call(&participant, deduct, Operation::Cancel, 30).await;
    assert!(matches!(cancelled, Outcome::Done(_)), "{cancelled:?}");
    assert_eq!(balance(&pool).await, (100, 0, 0));
    let late = call(&participant, deduct, Operation::Try, 30).await;
    assert!(matches!(late, Outcome::Rejected(_)), "{late:?}");
    assert_eq!(balance(&pool).await, (100, 0, 0));
}

#[tokio::test]
async fn a_refusal_reaches_the_coordinator_in_words_and_changes_nothing() {
    let (participant, pool, _folder) = service().await;
    let refused = call(
        &participant,
        ("freeze-points", Mode::Tcc),
        Operation::Try,
        101,
    )
    .await;
    match refused {
        Outcome::Rejected(rejected) => assert_eq!(rejected.reason, "short of points"),
        other => panic!("{other:?}"),
    }
    assert_eq!(balance(&pool).await, (100, 0, 0));
}
