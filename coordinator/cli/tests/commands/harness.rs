//! The binary, called on a coordinator of this process; participants and transactions to look at.

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
    CallAnswer, Mode, Participant,
    initiator::{Action, Wait},
    proto::{self, Operation, TxStatus},
};
use tercet_testkit::{Attached, TestCoordinator};
use tokio::process::Command;

/// Time after which a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn tercet(coordinator: &TestCoordinator, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tercet"))
        .args(arguments)
        .env("TERCET_COORDINATOR", coordinator.address())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap()
}

pub(crate) async fn text(coordinator: &TestCoordinator, arguments: &[&str]) -> String {
    let output = tercet(coordinator, arguments).await;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) async fn json(coordinator: &TestCoordinator, arguments: &[&str]) -> Value {
    serde_json::from_str(&text(coordinator, arguments).await).unwrap()
}

/// A participant with one handler, which answers every call with the result of `answer`.
pub(crate) fn participant(
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
pub(crate) async fn execute(
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
pub(crate) struct Parked {
    pub tx_id: String,
    pub repaired: Arc<AtomicBool>,
    _attached: [Attached; 2],
}

pub(crate) async fn parked(coordinator: &TestCoordinator) -> Parked {
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
pub(crate) fn points() -> Participant {
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
