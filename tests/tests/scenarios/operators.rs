//! A transaction that cannot end by itself, and the person who ends it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tercet_sdk::{
    initiator::{CheckBack, Decision, Outcome as End, Wait},
    proto::{self, ActionStatus, BizStatus, Operation, TxStatus},
};
use uuid::Uuid;

use super::world::{Seen, World, deliver, done, rejected, statuses, tcc};

/// A parked transaction: "stubborn" refuses its Confirm until it is told not to.
async fn parked(world: &mut World, stubborn: &Arc<AtomicBool>) -> (Uuid, Seen) {
    let refuses = Arc::clone(stubborn);
    let points = world
        .participant("points", move |call| {
            let refuses = refuses.load(Ordering::Relaxed);
            async move {
                match (call.action.as_str(), call.operation()) {
                    ("stubborn", Operation::Confirm) if refuses => rejected("account closed"),
                    _ => done(""),
                }
            }
        })
        .await;
    let outcome = world
        .initiator()
        .await
        .execute("exchange", "1")
        .action(tcc("stubborn", "points"))
        .action(tcc("other", "points"))
        .wait(Wait::Completed)
        .send()
        .await
        .unwrap();
    let End::Parked {
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
async fn what_is_parked_is_shown_with_its_reason_and_the_rest_is_done() {
    let mut world = World::new().await;
    let (id, _) = parked(&mut world, &Arc::new(AtomicBool::new(true))).await;

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
    let stubborn = Arc::new(AtomicBool::new(true));
    let (id, points) = parked(&mut world, &stubborn).await;
    stubborn.store(false, Ordering::Relaxed);

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
    let (id, points) = parked(&mut world, &Arc::new(AtomicBool::new(true))).await;
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
    assert_eq!(points.words().len(), before, "nobody was called");
}

#[tokio::test]
async fn an_action_whose_attempts_run_out_is_parked() {
    let mut world = World::new().await;
    let points = world
        .participant("points", |call| async move {
            match call.operation() {
                Operation::Confirm => tercet_sdk::Outcome::Unknown("busy".to_owned()),
                _ => done(""),
            }
        })
        .await;

    let outcome = world
        .initiator()
        .await
        .execute("exchange", "1")
        .action(tcc("freeze", "points").retry(super::world::soon().max_attempts(3)))
        .wait(Wait::Completed)
        .send()
        .await
        .unwrap();

    assert!(matches!(outcome, End::Parked { .. }), "{outcome:?}");
    assert_eq!(points.count("freeze", Operation::Confirm), 3);
}

#[tokio::test]
async fn a_person_decides_in_the_place_of_an_initiator_that_is_gone() {
    let mut world = World::new().await;
    let post = world.willing("post").await;
    world.willing("orders").await;
    let mut tx = world
        .initiator()
        .await
        .begin("message", "1")
        .action(deliver("mail", "post"))
        // "orders" answers no check-backs: nobody can say
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
    let outcome = world
        .initiator()
        .await
        .execute("exchange", "1")
        .action(tcc("freeze", "points"))
        .wait(Wait::Completed)
        .send()
        .await
        .unwrap();
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
