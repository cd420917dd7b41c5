//! The actions as the coordinator calls them, behind the barrier.

#![allow(clippy::unwrap_used)]

use demo_coupons::CouponsService;
use demo_coupons::proto::TakeCoupon;
use demo_coupons::seed::Seed;
use demo_coupons::stock::prepare;
use demo_service::{SeedPart, Service};
use prost::Message;
use sqlx::{Row, SqlitePool};
use tercet_sdk::proto::{Call, Mode, Operation, result::Outcome};
use tercet_sdk::{Barrier, Participant};

const TX: &str = "018f0000-0000-7000-8000-00000000000";

async fn service() -> (Participant, SqlitePool, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let pool = demo_service::open(&folder.path().join("coupons.db"))
        .await
        .unwrap();
    let seed = Seed::parse("[[coupon]]\nkind = \"tea\"\nstock = 1\nper_user = 1\n").unwrap();
    prepare(&pool, &seed).await.unwrap();
    // The id used here is older than the barrier's retention, which is not what this test is about.
    let barrier = Barrier::new(pool.clone()).retention(std::time::Duration::MAX);
    barrier.create_table().await.unwrap();
    let participant = CouponsService::actions(Participant::builder("coupons").barrier(barrier));
    (participant.build().unwrap(), pool, folder)
}

async fn call(
    participant: &Participant,
    (handler, mode): (&str, Mode),
    operation: Operation,
    tx: u8,
) -> Outcome {
    let request = TakeCoupon {
        user: "ann".to_owned(),
        kind: "tea".to_owned(),
        order_id: "o-1".to_owned(),
    };
    let call = Call {
        tx_id: format!("{TX}{tx}"),
        action: "coupon".to_owned(),
        participant: "coupons".to_owned(),
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
    let row = sqlx::query("SELECT available, reserved, issued FROM stock")
        .fetch_one(pool)
        .await;
    let row = row.unwrap();
    (row.get(0), row.get(1), row.get(2))
}

#[tokio::test]
async fn a_repeated_try_and_confirm_issue_one_coupon() {
    let (participant, pool, _folder) = service().await;
    let freeze = ("reserve-coupon", Mode::Tcc);
    for _ in 0..2 {
        let tried = call(&participant, freeze, Operation::Try, 1).await;
        assert!(matches!(tried, Outcome::Done(_)), "{tried:?}");
        assert_eq!(balance(&pool).await, (0, 1, 0));
    }
    for _ in 0..2 {
        let confirmed = call(&participant, freeze, Operation::Confirm, 1).await;
        assert!(matches!(confirmed, Outcome::Done(_)), "{confirmed:?}");
        assert_eq!(balance(&pool).await, (0, 0, 1));
    }
}

#[tokio::test]
async fn what_was_issued_is_revoked_and_a_late_try_is_fenced() {
    let (participant, pool, _folder) = service().await;
    let deduct = ("issue-coupon", Mode::Compensate);
    let tried = call(&participant, deduct, Operation::Try, 1).await;
    assert!(matches!(tried, Outcome::Done(_)), "{tried:?}");
    assert_eq!(balance(&pool).await, (0, 0, 1));
    let cancelled = call(&participant, deduct, Operation::Cancel, 1).await;
    assert!(matches!(cancelled, Outcome::Done(_)), "{cancelled:?}");
    assert_eq!(balance(&pool).await, (1, 0, 0));
    let late = call(&participant, deduct, Operation::Try, 1).await;
    assert!(matches!(late, Outcome::Rejected(_)), "{late:?}");
    assert_eq!(balance(&pool).await, (1, 0, 0));
}

#[tokio::test]
async fn a_refusal_reaches_the_coordinator_in_words_and_changes_nothing() {
    let (participant, pool, _folder) = service().await;
    let reserve = ("reserve-coupon", Mode::Tcc);
    call(&participant, reserve, Operation::Try, 1).await;
    match call(&participant, reserve, Operation::Try, 2).await {
        Outcome::Rejected(rejected) => assert_eq!(rejected.reason, "sold out"),
        other => panic!("{other:?}"),
    }
    assert_eq!(balance(&pool).await, (0, 1, 0));
}
