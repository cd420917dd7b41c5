//! `tercet tx show`: one transaction, its timeline and what is in its way.

use std::time::Duration;

use serde_json::Value;
use tercet_harness::wait_until;
use tercet_sdk::{
    CallAnswer, Json,
    initiator::{Action, CauseKind, Outcome, Wait},
    proto::Operation,
};
use tercet_testkit::TestCoordinator;

use crate::harness::{PATIENCE, execute, json, participant, points, tercet, text};

#[tokio::test]
async fn show_prints_a_committed_and_a_rolled_back_transaction() {
    let coordinator = TestCoordinator::start().await;
    let _points = coordinator.attach(&points()).await;
    let spend = Action::tcc("spend", "points")
        .payload(&Json(serde_json::json!({ "user": "ada", "points": 100 })));
    let tx_id = execute(&coordinator, "order-1", [spend]).await;
    let as_json = json(&coordinator, &["tx", "show", &tx_id, "--json"]).await;
    let action = &as_json["actions"][0];
    assert_eq!(action["payload_json"]["points"], 100);
    assert_eq!(action["payload_text"], r#"{"points":100,"user":"ada"}"#);
    assert_eq!(
        (&action["result_hex"], &action["result_text"]),
        (&"0864".into(), &Value::Null)
    );
    let shown = text(&coordinator, &["tx", "show", &tx_id]).await;
    for part in [
        "committed, because every Try answered OK",
        "begun with spend",
        "phase one  until 20",
        "TRY spend: OK",
        "decided SUCCESS",
        "spend CONFIRMED",
        r#"{"points":100,"user":"ada"}"#,
        "0864 (2 bytes in hexadecimal)",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    assert!(!shown.contains("In the way"), "{shown}");

    execute(
        &coordinator,
        "order-2",
        [Action::tcc("overspend", "points")],
    )
    .await;
    let by_business = [
        "tx",
        "show",
        "--business-type",
        "points_for_coupon",
        "--business-id",
        "order-2",
    ];
    let shown = text(&coordinator, &by_business).await;
    for part in [
        "rolled back",
        "overspend was rejected: short of points",
        "TRY overspend: REJECTED (short of points)",
        "decided FAILURE",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    let again = ["tx", "retry", &tx_id, "--reason", "again"];
    let again = tercet(&coordinator, &again).await;
    let error = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(error.contains("is committed, not parked"), "{error}");
    let watched = tercet(&coordinator, &["tx", "watch", &tx_id]).await;
    assert_eq!(watched.status.code(), Some(0));
}

/// A participant that fails every Try, one that is never reached, and one that takes its time.
#[tokio::test]
async fn show_and_the_cause_name_the_action_that_was_not_tried_in_time() {
    let coordinator = TestCoordinator::start().await;
    let points = participant("points", "spend", |_| CallAnswer::done());
    let coupons = participant("coupons", "issue", |call| match call.operation() {
        Operation::Try => CallAnswer::Unknown("the printer is on fire".to_owned()),
        _ => CallAnswer::done(),
    });
    let _attached = [
        coordinator.attach(&points).await,
        coordinator.attach(&coupons).await,
    ];
    let client = coordinator.client().await;
    let outcome = client
        .execute("points_for_coupon", "order-1")
        .action(Action::tcc("spend", "points"))
        .action(Action::tcc("issue", "coupons"))
        .action(
            Action::tcc("book", "points")
                .handler("spend")
                .after(["issue"]),
        )
        .timeout(Duration::from_millis(900))
        .wait(Wait::Completed)
        .send()
        .await
        .unwrap();
    let Outcome::RolledBack { tx_id, cause, .. } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(cause.kind, CauseKind::Deadline);
    assert_eq!(cause.action.as_deref(), Some("issue"));
    let told = cause.to_string();
    assert!(told.starts_with("issue was not tried in time: "), "{told}");
    assert!(told.contains("the printer is on fire"), "{told}");
    let shown = text(&coordinator, &["tx", "show", &tx_id.to_string()]).await;
    for part in [
        "rolled back, because issue was not tried in time: ",
        "TRY issue, attempt 1, after ",
        "UNKNOWN (the printer is on fire)",
        "deadline of phase one",
        "TRY book: not sent",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
}

#[tokio::test]
async fn show_has_the_tries_that_are_outstanding() {
    let coordinator = TestCoordinator::start().await;
    let points = participant("points", "spend", |_| CallAnswer::done());
    drop(coordinator.attach(&points).await);
    let client = coordinator.client().await;
    let outcome = client
        .execute("points_for_coupon", "order-1")
        .action(Action::tcc("spend", "points"))
        .action(
            Action::tcc("book", "points")
                .handler("spend")
                .after(["spend"]),
        )
        .wait(Wait::Accepted)
        .send()
        .await
        .unwrap();
    let shown = text(&coordinator, &["tx", "show", &outcome.tx_id().to_string()]).await;
    assert!(shown.contains("TRY book: waits for spend"), "{shown}");
    let spend = [
        "TRY spend: no answer yet",
        "TRY spend: not sent (there is no way to participant",
    ];
    assert!(spend.iter().any(|it| shown.contains(it)), "{shown}");
}

#[tokio::test]
async fn one_transaction_is_named_by_its_id_or_by_its_whole_business() {
    let coordinator = TestCoordinator::start().await;
    for arguments in [
        &["tx", "show"][..],
        &["tx", "show", "--business-type", "points_for_coupon"],
        &["tx", "show", "--business-id", "order-1"],
        &["tx", "watch", "--business-id", "order-1"],
        &[
            "tx",
            "show",
            "id",
            "--business-type",
            "t",
            "--business-id",
            "b",
        ],
    ] {
        let wrong = tercet(&coordinator, arguments).await;
        let error = String::from_utf8_lossy(&wrong.stderr).into_owned();
        assert_eq!(wrong.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(
            error.contains("either the TX_ID, or --business-type and --business-id together"),
            "{arguments:?}: {error}"
        );
    }
    let points = participant("points", "spend", |_| CallAnswer::done());
    let _points = coordinator.attach(&points).await;
    execute(&coordinator, "order-1", [Action::tcc("spend", "points")]).await;
    let business = [
        "--business-type",
        "points_for_coupon",
        "--business-id",
        "order-1",
    ];
    let watch = [&["tx", "watch"][..], &business].concat();
    let watched = text(&coordinator, &watch).await;
    assert!(watched.contains("committed; spend CONFIRMED"), "{watched}");
}

/// A message to a participant that is not there: nothing is tried, and its Confirm comes after the decision.
#[tokio::test]
async fn what_is_only_delivered_was_not_tried() {
    let coordinator = TestCoordinator::start().await;
    let register = ["participants", "register", "mail", "--protocol", "attach"];
    text(&coordinator, &register).await;
    let client = coordinator.client().await;
    let outcome = client
        .execute("points_for_coupon", "order-1")
        .action(Action::deliver("send", "mail"))
        .wait(Wait::Decided)
        .send()
        .await
        .unwrap();
    let tx_id = outcome.tx_id().to_string();
    let shown = wait_until("the call that was not sent", PATIENCE, || async {
        let shown = text(&coordinator, &["tx", "show", &tx_id]).await;
        shown.contains("CONFIRM send: not sent").then_some(shown)
    })
    .await;
    assert!(
        shown.contains("because there was nothing to try"),
        "{shown}"
    );
    let place = |part: &str| {
        let line = shown.lines().position(|line| line.contains(part));
        line.unwrap_or_else(|| panic!("{part} is not in\n{shown}"))
    };
    let (decided, unsent) = (place("decided SUCCESS"), place("CONFIRM send: not sent"));
    assert!(
        place("begun with send") < decided && decided < unsent,
        "{shown}"
    );
}
