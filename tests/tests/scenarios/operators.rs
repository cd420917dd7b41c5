//! Transactions that cannot end by themselves, and the operators who end them.

use std::time::Duration;

use tercet_sdk::{
    initiator::{CheckBack, Decision, Outcome},
    proto::{self, ActionStatus, BizStatus, Operation, TxStatus},
};
use uuid::Uuid;

use super::world::{Gate, Seen, World, deliver, rejected, soon, statuses, tcc, unknown};

/// Parks a transaction: "stubborn" rejects its Confirm until the gate opens.
async fn parked(world: &mut World, gate: &Gate) -> (Uuid, Seen) {
    let closed = rejected("account closed");
    let points = world
        .until_open("points", gate, "stubborn CONFIRM", closed)
        .await;
    let outcome = world
        .execute([tcc("stubborn", "points"), tcc("other", "points")])
        .await;
    let Outcome::Parked {
        decision, failed, ..
    } = &outcome
    else {
        panic!("{outcome:?}");
    };
    assert_eq!(
        (*decision, failed.as_slice()),
        (Decision::Success, &["stubborn".to_owned()][..])
    );
    (outcome.tx_id(), points)
}

#[tokio::test]
async fn a_parked_transaction_is_shown_with_its_reason_and_the_rest_is_done() {
    let mut world = World::new().await;
    let (id, _) = parked(&mut world, &Gate::closed()).await;

    let tx = world.parked(id).await;

    assert_eq!(tx.biz_status(), BizStatus::Success);
    assert_eq!(statuses(&tx), ["stubborn FAILED", "other CONFIRMED"]);
    assert_eq!(tx.actions[0].last_error, "account closed");
    assert!(!tx.obstacles.is_empty());
    let stuck = world
        .initiator()
        .await
        .list(proto::ListRequest {
            stuck: true,
            ..proto::ListRequest::default()
        })
        .await
        .unwrap();
    assert_eq!(stuck.transactions.len(), 1);
}

#[tokio::test]
async fn a_parked_transaction_is_retried_once_its_reason_is_gone() {
    let mut world = World::new().await;
    let gate = Gate::closed();
    let (id, points) = parked(&mut world, &gate).await;
    gate.open();

    world
        .operator()
        .await
        .retry(proto::RetryRequest {
            tx_id: id.to_string(),
            reason: "account opened again".to_owned(),
        })
        .await
        .unwrap();

    let tx = world.finished(id).await;
    assert_eq!(statuses(&tx), ["stubborn CONFIRMED", "other CONFIRMED"]);
    assert_eq!(points.count("other", Operation::Confirm), 1);
    assert_eq!(tx.operator_log.len(), 1);
    assert_eq!(tx.operator_log[0].reason, "account opened again");
}

#[tokio::test]
async fn a_parked_transaction_is_resolved_by_hand_and_the_decision_stands() {
    let mut world = World::new().await;
    let (id, points) = parked(&mut world, &Gate::closed()).await;
    let before = points.words().len();

    let state = world
        .operator()
        .await
        .resolve(proto::ResolveRequest {
            tx_id: id.to_string(),
            actions: vec!["stubborn".to_owned()],
            r#as: ActionStatus::Confirmed.into(),
            reason: "booked by hand".to_owned(),
        })
        .await
        .unwrap()
        .into_inner();

    assert_eq!(state.status(), TxStatus::Success);
    let tx = world.finished(id).await;
    assert_eq!(tx.biz_status(), BizStatus::Success);
    assert_eq!(statuses(&tx), ["stubborn CONFIRMED", "other CONFIRMED"]);
    assert_eq!(points.words().len(), before, "no participant was called");
}

#[tokio::test]
async fn an_action_whose_attempts_run_out_is_parked() {
    let mut world = World::new().await;
    let points = world.except("points", "CONFIRM", unknown("busy")).await;

    let freeze = tcc("freeze", "points").retry(soon().max_attempts(3));
    let outcome = world.execute([freeze]).await;

    assert!(matches!(outcome, Outcome::Parked { .. }), "{outcome:?}");
    assert_eq!(points.count("freeze", Operation::Confirm), 3);
}

#[tokio::test]
async fn an_operator_decides_in_the_place_of_an_initiator_that_is_gone() {
    let mut world = World::new().await;
    let post = world.willing("post").await;
    world.clueless("orders").await;
    let mut tx = world
        .initiator()
        .await
        .begin("message", "1")
        .action(deliver("mail", "post"))
        .check_back(CheckBack::ask("orders").interval(Duration::from_millis(50)))
        .timeout(Duration::from_millis(100))
        .send()
        .await
        .unwrap();
    tx.leave();
    world
        .until(tx.id(), "asked back", |tx| {
            tx.biz_status() == BizStatus::Unknown
        })
        .await;

    world
        .operator()
        .await
        .decide(proto::OperatorDecideRequest {
            tx_id: tx.id().to_string(),
            outcome: proto::Outcome::Success.into(),
            reason: "seen in the order's own table".to_owned(),
        })
        .await
        .unwrap();

    let tx = world.finished(tx.id()).await;
    assert_eq!(tx.biz_status(), BizStatus::Success);
    assert_eq!(tx.cause.unwrap().kind(), proto::CauseKind::Operator);
    assert_eq!(post.words(), ["mail CONFIRM"]);
}

#[tokio::test]
async fn commands_of_operators_that_fit_nothing_are_refused_and_change_nothing() {
    let mut world = World::new().await;
    world.willing("points").await;
    let outcome = world.execute([tcc("freeze", "points")]).await;
    let before = world.finished(outcome.tx_id()).await;
    let mut operator = world.operator().await;

    let retry = operator
        .retry(proto::RetryRequest {
            tx_id: before.tx_id.clone(),
            reason: "why not".to_owned(),
        })
        .await
        .unwrap_err();
    let resolve = operator
        .resolve(proto::ResolveRequest {
            tx_id: before.tx_id.clone(),
            actions: vec!["freeze".to_owned()],
            r#as: ActionStatus::Cancelled.into(),
            reason: "why not".to_owned(),
        })
        .await
        .unwrap_err();

    assert_eq!(retry.code(), tonic::Code::FailedPrecondition, "{retry}");
    assert_eq!(resolve.code(), tonic::Code::FailedPrecondition, "{resolve}");
    assert_eq!(world.finished(outcome.tx_id()).await, before);
}
