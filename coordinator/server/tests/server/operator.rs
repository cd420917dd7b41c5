//! Operators' commands, through the binary: show, list, watch, retry, resolve, decide.

use std::{
    process::Output,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::Value;
use tercet_proto::v1;
use tokio::process::Command;

use crate::harness::{Attached, Server, action, begin, done, execute, quick, reason, rejected};

async fn tercet(server: &Server, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tercet"))
        .args(arguments)
        .env("TERCET_COORDINATOR", &server.address)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap()
}

async fn text(server: &Server, arguments: &[&str]) -> String {
    let output = tercet(server, arguments).await;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

async fn json(server: &Server, arguments: &[&str]) -> Value {
    serde_json::from_str(&text(server, arguments).await).unwrap()
}

/// A transaction whose coupon cannot be confirmed until the switch is thrown.
async fn parked(server: &Server) -> (String, Arc<AtomicBool>) {
    let repaired = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&repaired);
    let points = Attached::new(server, "points", 10).await;
    drop(points.answering(|_| Some(done(b""))));
    let coupons = Attached::new(server, "coupons", 10).await;
    drop(coupons.answering(move |call| match call.operation() {
        v1::Operation::Try => Some(done(b"")),
        _ if switch.load(Ordering::Relaxed) => Some(done(b"")),
        _ => Some(rejected("the printer is broken\u{1b}[31m")),
    }));
    let actions = vec![action("spend", "points"), action("issue", "coupons")];
    let wanted = execute(actions, v1::Wait::Completed);
    let state = server
        .coordinator()
        .execute(wanted)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(state.status(), v1::TxStatus::Failure);
    (state.tx_id, repaired)
}

#[tokio::test]
async fn show_tells_a_committed_and_a_rolled_back_transaction() {
    let server = Server::start().await;
    let points = Attached::new(&server, "points", 10).await;
    drop(points.answering(|call| match &*call.payload {
        b"spend" => Some(done(b"")),
        _ => match call.operation() {
            v1::Operation::Try => Some(rejected("short of points")),
            _ => Some(done(b"")),
        },
    }));
    let wanted = execute(vec![action("spend", "points")], v1::Wait::Completed);
    let state = server
        .coordinator()
        .execute(wanted)
        .await
        .unwrap()
        .into_inner();
    let shown = text(&server, &["tx", "show", &state.tx_id]).await;
    for part in [
        "committed, because every Try answered OK",
        "begun with spend",
        "decided SUCCESS",
        "spend CONFIRMED",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    assert!(!shown.contains("In the way"), "{shown}");

    let mut wanted = execute(vec![action("overspend", "points")], v1::Wait::Completed);
    wanted.begin.as_mut().unwrap().business_id = "order-2".to_owned();
    server.coordinator().execute(wanted).await.unwrap();
    let by_business = [
        "tx",
        "show",
        "--business-type",
        "points_for_coupon",
        "--business-id",
        "order-2",
    ];
    let shown = text(&server, &by_business).await;
    for part in [
        "rolled back",
        "overspend was rejected: short of points",
        "decided FAILURE",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    let listed = text(&server, &["tx", "list", "--status", "success"]).await;
    assert!(
        listed.contains("order-1") && listed.contains("order-2"),
        "{listed}"
    );
    let watched = tercet(&server, &["tx", "watch", &state.tx_id]).await;
    assert_eq!(watched.status.code(), Some(0));
}

#[tokio::test]
async fn a_parked_transaction_is_shown_and_retried() {
    let server = Server::start().await;
    let (tx_id, repaired) = parked(&server).await;
    let shown = text(&server, &["tx", "show", &tx_id]).await;
    for part in [
        "parked (confirming)",
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
    let stuck = tercet(&server, &["tx", "list", "--stuck"]).await;
    assert_eq!(stuck.status.code(), Some(4));
    assert_eq!(
        tercet(&server, &["tx", "watch", &tx_id])
            .await
            .status
            .code(),
        Some(4)
    );

    repaired.store(true, Ordering::Relaxed);
    text(
        &server,
        &["tx", "retry", &tx_id, "--reason", "printer repaired"],
    )
    .await;
    server
        .until(&tx_id, |tx| tx.status() == v1::TxStatus::Success)
        .await;
    let shown = json(&server, &["tx", "show", &tx_id, "--json"]).await;
    assert_eq!(shown["biz_status"], "SUCCESS");
    assert_eq!(shown["operator_log"][0]["reason"], "printer repaired");

    let again = tercet(&server, &["tx", "retry", &tx_id, "--reason", "again"]).await;
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("NOT_PARKED"));
}

#[tokio::test]
async fn a_parked_transaction_is_resolved_by_hand() {
    let server = Server::start().await;
    let (tx_id, _) = parked(&server).await;
    let resolve = |action: &'static str| {
        [
            "tx",
            "resolve",
            &tx_id,
            action,
            "--as",
            "confirmed",
            "--reason",
            "printed by hand",
        ]
        .map(str::to_owned)
    };
    let arguments = resolve("spend");
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let refused = tercet(&server, &arguments).await;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("NOT_FAILED"));
    let arguments = resolve("issue");
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let told = text(&server, &arguments).await;
    assert!(told.contains("is committed now"), "{told}");
}

#[tokio::test]
async fn an_operator_decides_only_when_phase_one_is_over() {
    let server = Server::start().await;
    // Nobody there answers a check-back.
    drop(Attached::new(&server, "shop", 1).await);
    let mut request = begin(Vec::new());
    request.timeout_ms = 400;
    request.check_back = Some(v1::CheckBack {
        participant: "shop".to_owned(),
        ..v1::CheckBack::default()
    });
    let tx_id = server
        .coordinator()
        .begin(request)
        .await
        .unwrap()
        .into_inner()
        .tx_id;
    let decide = v1::OperatorDecideRequest {
        tx_id: tx_id.clone(),
        outcome: v1::Outcome::Success.into(),
        reason: "seen in the shop's books".to_owned(),
    };
    let early = server.operator().decide(decide).await.unwrap_err();
    assert_eq!(reason(&early).0, "PHASE_ONE_RUNS");
    server
        .until(&tx_id, |tx| tx.biz_status() == v1::BizStatus::Unknown)
        .await;
    let shown = text(&server, &["tx", "show", &tx_id]).await;
    for part in [
        "asking back",
        "Participant shop is not attached",
        "tercet tx decide",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    let arguments = [
        "tx",
        "decide",
        &tx_id,
        "failure",
        "--reason",
        "nothing in the shop's books",
    ];
    let told = text(&server, &arguments).await;
    assert!(told.contains("is rolled back now"), "{told}");
    let watched = tercet(&server, &["tx", "watch", &tx_id]).await;
    assert_eq!(watched.status.code(), Some(3));
}

#[tokio::test]
async fn a_dead_participant_is_in_the_way() {
    let server = Server::start().await;
    drop(Attached::new(&server, "points", 1).await);
    let mut spend = action("spend", "points");
    spend.retry = Some(quick(3));
    let wanted = execute(vec![spend], v1::Wait::Accepted);
    let tx_id = server
        .coordinator()
        .execute(wanted)
        .await
        .unwrap()
        .into_inner()
        .tx_id;
    let tx = server.until(&tx_id, |tx| !tx.obstacles.is_empty()).await;
    assert!(
        tx.obstacles[0].contains("points is not attached"),
        "{:?}",
        tx.obstacles
    );
}

#[tokio::test]
async fn participants_are_registered_and_listed() {
    let server = Server::start().await;
    let register = [
        "participants",
        "register",
        "shop",
        "--address",
        "http://127.0.0.1:1",
        "--protocol",
        "grpc",
        "--method",
        "spend=/shop.Shop/Freeze,/shop.Shop/Spend,/shop.Shop/Release",
    ];
    text(&server, &register).await;
    let listed = json(&server, &["participants", "list", "--json"]).await;
    assert_eq!(
        listed["participants"][0]["methods"][0]["cancel"],
        "/shop.Shop/Release"
    );
    let wrong = [
        "participants",
        "register",
        "shop",
        "--address",
        "x",
        "--protocol",
        "http",
    ];
    let refused = tercet(&server, &wrong).await;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        told.contains("address:") && told.contains("methods:"),
        "{told}"
    );
}

#[tokio::test]
async fn nobody_there_is_said_once() {
    let output = Command::new(env!("CARGO_BIN_EXE_tercet"))
        .args(["tx", "list", "--coordinator", "http://127.0.0.1:1"])
        .output()
        .await
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(
        told.contains("no coordinator can be reached at http://127.0.0.1:1"),
        "{told}"
    );
}
