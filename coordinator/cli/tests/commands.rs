//! The commands that look at a coordinator and its transactions: show, list, watch, retry, resolve,
//! decide, register.

#![allow(clippy::unwrap_used)]

use std::{
    process::Output,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use tercet_sdk::{
    CallAnswer, Json, Mode, Participant,
    initiator::{Action, CauseKind, CheckBack, Outcome, Wait},
    proto::{self, BizStatus, Operation, TxStatus},
};
use tercet_testkit::{Attached, TestCoordinator};
use tokio::{process::Command, time::timeout};

/// Time after which a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

async fn tercet(coordinator: &TestCoordinator, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tercet"))
        .args(arguments)
        .env("TERCET_COORDINATOR", coordinator.address())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap()
}

async fn text(coordinator: &TestCoordinator, arguments: &[&str]) -> String {
    let output = tercet(coordinator, arguments).await;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

async fn json(coordinator: &TestCoordinator, arguments: &[&str]) -> Value {
    serde_json::from_str(&text(coordinator, arguments).await).unwrap()
}

/// A participant with one handler, which answers every call with the result of `answer`.
fn participant(
    name: &str,
    handler: &str,
    answer: impl Fn(&proto::Call) -> CallAnswer + Send + Sync + 'static,
) -> Participant {
    Participant::builder(name)
        .raw(handler, Mode::Tcc, move |call| {
            std::future::ready(answer(&call))
        })
        .build()
        .unwrap()
}

/// Executes a transaction of these actions to its end, and returns its id.
async fn execute(
    coordinator: &TestCoordinator,
    business_id: &str,
    actions: impl IntoIterator<Item = Action>,
) -> String {
    let client = coordinator.client().await;
    let mut draft = client.execute("points_for_coupon", business_id);
    for action in actions {
        draft = draft.action(action);
    }
    let outcome = draft.wait(Wait::Completed).send().await.unwrap();
    outcome.tx_id().to_string()
}

/// A transaction whose coupon cannot be confirmed until the printer is repaired.
struct Parked {
    tx_id: String,
    repaired: Arc<AtomicBool>,
    _attached: [Attached; 2],
}

async fn parked(coordinator: &TestCoordinator) -> Parked {
    let repaired = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&repaired);
    let points = participant("points", "spend", |_| CallAnswer::done());
    let coupons = participant("coupons", "issue", move |call| match call.operation() {
        Operation::Try => CallAnswer::done(),
        _ if switch.load(Ordering::Relaxed) => CallAnswer::done(),
        _ => CallAnswer::Rejected("the printer is broken\u{1b}[31m".to_owned()),
    });
    let attached = [
        coordinator.attach(&points).await,
        coordinator.attach(&coupons).await,
    ];
    let actions = [
        Action::tcc("spend", "points"),
        Action::tcc("issue", "coupons"),
    ];
    let tx_id = execute(coordinator, "order-1", actions).await;
    let tx = coordinator.ended(tx_id.parse().unwrap()).await;
    assert_eq!(tx.status(), TxStatus::Failure);
    Parked {
        tx_id,
        repaired,
        _attached: attached,
    }
}

/// A participant that answers with a result, and rejects to overspend.
fn points() -> Participant {
    Participant::builder("points")
        .raw("spend", Mode::Tcc, async |call| match call.operation() {
            Operation::Try => CallAnswer::Done(b"\x08\x64".as_slice().into()),
            _ => CallAnswer::done(),
        })
        .raw("overspend", Mode::Tcc, async |call| {
            match call.operation() {
                Operation::Try => CallAnswer::Rejected("short of points".to_owned()),
                _ => CallAnswer::done(),
            }
        })
        .build()
        .unwrap()
}

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

#[tokio::test]
async fn a_list_has_the_transactions_of_a_standing() {
    let coordinator = TestCoordinator::start().await;
    let _points = coordinator.attach(&points()).await;
    execute(&coordinator, "order-1", [Action::tcc("spend", "points")]).await;
    execute(
        &coordinator,
        "order-2",
        [Action::tcc("overspend", "points")],
    )
    .await;
    for (standing, orders) in [
        ("committed", [true, false]),
        ("rolled-back", [false, true]),
        ("finished", [true, true]),
        ("unfinished", [false, false]),
    ] {
        let listed = text(&coordinator, &["tx", "list", "--status", standing]).await;
        let found = ["order-1", "order-2"].map(|order| listed.contains(order));
        assert_eq!(found, orders, "{standing}\n{listed}");
    }
    // Two standings that are not all pairs of their statuses.
    let two = [
        "tx",
        "list",
        "--status",
        "rolled-back",
        "--status",
        "confirming",
    ];
    let listed = text(&coordinator, &two).await;
    assert!(!listed.contains("order-1"), "{listed}");
    let ambiguous = tercet(&coordinator, &["tx", "list", "--status", "success"]).await;
    assert_eq!(ambiguous.status.code(), Some(2));
    let error = String::from_utf8_lossy(&ambiguous.stderr).into_owned();
    assert!(
        error.contains("committed, rolled-back or finished"),
        "{error}"
    );
}

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

#[tokio::test]
async fn participants_are_registered_and_listed() {
    let coordinator = TestCoordinator::start().await;
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
    let whole = [
        &register[..],
        &["--check-back", "/shop.Shop/Outcome", "--concurrency", "7"],
    ]
    .concat();
    let first = text(&coordinator, &whole).await;
    assert_eq!(first, "shop is registered (version 1)\n");
    let listed = text(&coordinator, &["participants", "list"]).await;
    for part in [
        "shop",
        "GRPC",
        " 7 ",
        "http://127.0.0.1:1",
        "spend",
        "/shop.Shop/Outcome",
    ] {
        assert!(listed.contains(part), "{part} is not in\n{listed}");
    }
    // A registration replaces the whole, and says what is gone.
    let again = text(&coordinator, &register).await;
    for part in [
        "before: --protocol grpc --address http://127.0.0.1:1",
        "--check-back /shop.Shop/Outcome --concurrency 7\n",
    ] {
        assert!(again.contains(part), "{part} is not in\n{again}");
    }
    let listed = json(&coordinator, &["participants", "list", "--json"]).await;
    assert_eq!(
        listed["participants"][0]["methods"][0]["cancel"],
        "/shop.Shop/Release"
    );
    assert_eq!(listed["participants"][0]["check_back"], "");
    assert_eq!(listed["participants"][0]["concurrency"], 0);
    let attaches = ["participants", "register", "shop", "--protocol", "attach"];
    let attaches = text(&coordinator, &attaches).await;
    assert!(
        attaches.contains("now:    --protocol attach\n"),
        "{attaches}"
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
    let refused = tercet(&coordinator, &wrong).await;
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        error.contains("address:") && error.contains("methods:"),
        "{error}"
    );
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
async fn lists_fit_the_width_that_is_given_and_are_whole_without() {
    let coordinator = TestCoordinator::start().await;
    let parked = parked(&coordinator).await;
    let run = |width: Option<&'static str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tercet"));
        command.args(["tx", "list"]);
        command.env("TERCET_COORDINATOR", coordinator.address());
        command.env_remove("COLUMNS").kill_on_drop(true);
        if let Some(width) = width {
            command.env("COLUMNS", width);
        }
        command
    };
    let whole = String::from_utf8(run(None).output().await.unwrap().stdout).unwrap();
    for part in [
        "points_for_coupon",
        "order-1",
        "Action issue of coupons failed: the printer is broken",
    ] {
        assert!(whole.contains(part), "{part} is not in\n{whole}");
    }
    assert!(!whole.contains("every Try answered OK"), "{whole}");
    let narrow = run(Some("80")).output().await.unwrap().stdout;
    let narrow = String::from_utf8(narrow).unwrap();
    assert!(
        narrow.contains(&parked.tx_id),
        "an id is never cut\n{narrow}"
    );
    for line in narrow.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
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

#[tokio::test]
async fn a_wrong_address_is_wrong_usage_and_nothing_is_reached() {
    for wrong in [
        "",
        "127.0.0.1:7460",
        "https://127.0.0.1:7460",
        "http://127.0.0.1",
        "http://127.0.0.1:70000",
        "http://127.0.0.1:7460/path",
        "http://127.0.0.1:7460#part",
        "http://a b:7460",
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_tercet"))
            .args(["tx", "list", "--coordinator", wrong])
            .output()
            .await
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong}: {error}");
        assert!(
            error.ends_with("; give http://host:port\n"),
            "{wrong}: {error}"
        );
    }
}

/// A port behind which something else answers is no coordinator that refuses.
#[tokio::test]
async fn a_port_of_another_protocol_is_no_coordinator() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            use tokio::io::AsyncWriteExt as _;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let output = Command::new(env!("CARGO_BIN_EXE_tercet"))
        .args(["tx", "list", "--coordinator", &address])
        .output()
        .await
        .unwrap();
    serving.abort();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{error}");
    assert!(error.contains("coordinator"), "{error}");
}

#[tokio::test]
async fn an_unreachable_coordinator_is_one_line_of_error() {
    let output = Command::new(env!("CARGO_BIN_EXE_tercet"))
        .args(["tx", "list", "--coordinator", "http://127.0.0.1:1"])
        .output()
        .await
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(
        error.contains("no coordinator can be reached at http://127.0.0.1:1"),
        "{error}"
    );
}
