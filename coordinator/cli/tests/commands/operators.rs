//! Commands by which a person repairs: retry, resolve, decide.

use std::{sync::atomic::Ordering, time::Duration};

use tercet_sdk::{
    Participant,
    initiator::CheckBack,
    proto::{BizStatus, TxStatus},
};
use tercet_testkit::TestCoordinator;
use tokio::time::timeout;

use crate::harness::{PATIENCE, json, parked, tercet, text};

#[tokio::test]
async fn a_parked_transaction_is_shown_and_retried() {
    let coordinator = TestCoordinator::start().await;
    let parked = parked(&coordinator).await;
    let tx_id = &*parked.tx_id;
    let shown = text(&coordinator, &["tx", "show", tx_id]).await;
    for part in [
        "parked (confirming), because issue failed",
        "decision   SUCCESS, because every Try answered OK",
        "CONFIRM issue, attempt 1",
        "REJECTED (the printer is broken",
        "spend CONFIRMED",
        "In the way",
        "Action issue of coupons failed",
        "tercet tx retry",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    assert!(
        !shown.contains('\u{1b}'),
        "a participant's words reach the terminal"
    );
    let stuck = tercet(&coordinator, &["tx", "list", "--stuck"]).await;
    assert_eq!(stuck.status.code(), Some(4));
    let watched = tercet(&coordinator, &["tx", "watch", tx_id]).await;
    assert_eq!(watched.status.code(), Some(4));

    parked.repaired.store(true, Ordering::Relaxed);
    let retry = ["tx", "retry", tx_id, "--reason", "printer repaired"];
    text(&coordinator, &retry).await;
    let tx = coordinator.ended(tx_id.parse().unwrap()).await;
    assert_eq!(tx.status(), TxStatus::Success);
    let shown = json(&coordinator, &["tx", "show", tx_id, "--json"]).await;
    assert_eq!(shown["biz_status"], "SUCCESS");
    assert_eq!(shown["operator_log"][0]["reason"], "printer repaired");
    assert_eq!(shown["operator_log"][0]["who"], "local");

    let again = ["tx", "retry", tx_id, "--reason", "again"];
    let again = tercet(&coordinator, &again).await;
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("NOT_PARKED"));
}

#[tokio::test]
async fn a_parked_transaction_is_resolved_by_hand() {
    let coordinator = TestCoordinator::start().await;
    let parked = parked(&coordinator).await;
    let tx_id = &*parked.tx_id;
    let resolve = |action: &'static str| {
        let end = ["--as", "confirmed", "--reason", "printed by hand"];
        [&["tx", "resolve", tx_id, action], &end[..]].concat()
    };
    let refused = tercet(&coordinator, &resolve("spend")).await;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("NOT_FAILED"));
    let resolved = text(&coordinator, &resolve("issue")).await;
    assert!(resolved.contains("is committed now"), "{resolved}");
}

#[tokio::test]
async fn an_operator_decides_only_when_phase_one_is_over() {
    let coordinator = TestCoordinator::start().await;
    let client = coordinator.client().await;
    // Known, but gone when the check-back comes.
    let shop = Participant::builder("shop").check_back_with(async |_| Err(String::new()));
    drop(coordinator.attach(&shop.build().unwrap()).await);
    let mut begun = client
        .begin("points_for_coupon", "order-1")
        .timeout(Duration::from_millis(400))
        .check_back(CheckBack::ask("shop"))
        .send()
        .await
        .unwrap();
    begun.leave();
    let tx_id = begun.id().to_string();
    let decide = |outcome: &'static str, reason: &'static str| {
        ["tx", "decide", &tx_id, outcome, "--reason", reason]
    };
    let early = tercet(&coordinator, &decide("success", "seen in the shop's books")).await;
    assert_eq!(early.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&early.stderr).contains("PHASE_ONE_RUNS"));
    let mut watch = client.watch(begun.id());
    let asking =
        async { while watch.next().await.unwrap().unwrap().biz_status() != BizStatus::Unknown {} };
    timeout(PATIENCE, asking).await.unwrap();
    let shown = text(&coordinator, &["tx", "show", &tx_id]).await;
    for part in [
        "asking back",
        "Participant shop is not attached",
        "tercet tx decide",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    let decided = text(
        &coordinator,
        &decide("failure", "nothing in the shop's books"),
    )
    .await;
    assert!(decided.contains("is rolled back now"), "{decided}");
    let watched = tercet(&coordinator, &["tx", "watch", &tx_id]).await;
    assert_eq!(watched.status.code(), Some(3));
}
