//! The initiator's own row: its local commit and its check-back agree.

use std::time::Duration;

use tercet_sdk::{
    Barrier,
    Operation::Try,
    database::InitiatorRowError,
    proto::{CheckBackCall, CheckBackResult, Outcome},
};
use uuid::Uuid;

use crate::world::{Dialect, Tx, World, days_ago, effect, on_every_database};

on_every_database!(
    a_check_back_after_the_commit_is_success,
    a_check_back_before_the_commit_is_failure_for_ever,
    a_check_back_behind_an_open_commit_is_unknown,
    a_check_back_races_the_commit,
    a_check_back_of_an_old_transaction_is_unknown,
    the_initiators_row_is_no_actions_row,
    a_purge_turns_no_success_into_failure,
);

async fn ask<D: Dialect>(tx: Tx<'_, D>) -> CheckBackResult {
    let call = CheckBackCall {
        epoch: 7,
        call_id: 9,
        tx_id: tx.id.to_string(),
        participant: "shop".to_owned(),
        ..CheckBackCall::default()
    };
    let result = tx.world.participant.answer_check_back(call).await;
    assert_eq!(
        (result.epoch, result.call_id, &result.tx_id),
        (7, 9, &tx.id.to_string())
    );
    result
}

/// The initiator's local transaction: its row, its effect, its commit.
async fn commit<D: Dialect>(tx: Tx<'_, D>) -> Result<(), InitiatorRowError> {
    let mut local = tx.world.pool.begin().await?;
    tx.world
        .barrier
        .insert_initiator_row(&mut local, tx.id)
        .await?;
    D::run(&mut local, effect(tx.id, "", "LOCAL")).await?;
    local.commit().await?;
    Ok(())
}

async fn a_check_back_after_the_commit_is_success<D: Dialect>() {
    let world = World::<D>::new().await;
    let tx = world.transaction();
    commit(tx).await.unwrap();
    for _ in 0..2 {
        assert_eq!(ask(tx).await.outcome(), Outcome::Success);
    }
    let again = commit(tx).await.unwrap_err();
    assert!(matches!(again, InitiatorRowError::AlreadyCommitted(id) if id == tx.id));
    tx.left(&["LOCAL"], &["SUCCESS"]).await;
}

async fn a_check_back_before_the_commit_is_failure_for_ever<D: Dialect>() {
    let world = World::<D>::new().await;
    let tx = world.transaction();
    assert_eq!(ask(tx).await.outcome(), Outcome::Failure);
    let late = commit(tx).await.unwrap_err();
    assert!(matches!(late, InitiatorRowError::AlreadyFailed(id) if id == tx.id));
    assert_eq!(ask(tx).await.outcome(), Outcome::Failure);
    tx.left(&[], &["FAILURE"]).await;
}

async fn a_check_back_behind_an_open_commit_is_unknown<D: Dialect>() {
    let world = World::<D>::new().await;
    let tx = world.transaction();
    let mut local = world.pool.begin().await.unwrap();
    tx.world
        .barrier
        .insert_initiator_row(&mut local, tx.id)
        .await
        .unwrap();
    let result = ask(tx).await;
    assert_eq!(result.outcome(), Outcome::Unspecified);
    assert!(!result.error.is_empty());
    local.commit().await.unwrap();
    assert_eq!(ask(tx).await.outcome(), Outcome::Success);
}

async fn a_check_back_races_the_commit<D: Dialect>() {
    let world = World::<D>::new().await;
    for round in 0..60 {
        let tx = world.transaction();
        let (committed, asked) = if round % 2 == 0 {
            tokio::join!(commit(tx), ask(tx))
        } else {
            let (asked, committed) = tokio::join!(ask(tx), commit(tx));
            (committed, asked)
        };
        let truth = ask(tx).await.outcome();
        match committed {
            Ok(()) => {
                assert_ne!(
                    asked.outcome(),
                    Outcome::Failure,
                    "a committed one was called failed"
                );
                assert_eq!(truth, Outcome::Success);
                tx.left(&["LOCAL"], &["SUCCESS"]).await;
            }
            Err(InitiatorRowError::AlreadyFailed(_)) => {
                assert_eq!(
                    (asked.outcome(), truth),
                    (Outcome::Failure, Outcome::Failure)
                );
                tx.left(&[], &["FAILURE"]).await;
            }
            // SQLite may report the local transaction as busy; then it has not committed.
            Err(InitiatorRowError::Database(_)) => {
                assert_ne!(truth, Outcome::Success);
                assert!(tx.effects().await.is_empty());
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

async fn a_check_back_of_an_old_transaction_is_unknown<D: Dialect>() {
    let world = World::<D>::new().await;
    let old = uuid::Timestamp::from_unix(uuid::NoContext, 1_600_000_000, 0);
    let tx = world.transaction_of(Uuid::new_v7(old));
    let result = ask(tx).await;
    assert_eq!(result.outcome(), Outcome::Unspecified);
    assert!(result.error.contains("longer ago"), "{}", result.error);
    tx.left(&[], &[]).await;
}

async fn the_initiators_row_is_no_actions_row<D: Dialect>() {
    let world = World::<D>::new().await;
    let tx = world.transaction();
    tx.does(Try).await;
    assert_eq!(ask(tx).await.outcome(), Outcome::Failure);
    tx.left(&["TRY"], &["FAILURE", "TRIED"]).await;
}

async fn a_purge_turns_no_success_into_failure<D: Dialect>() {
    let world = World::<D>::new().await;
    let tx = world.transaction_of(days_ago(9));
    commit(tx).await.unwrap();
    world.age_rows().await;
    assert_eq!(ask(tx).await.outcome(), Outcome::Success);
    // Another barrier of the same table keeps rows for a shorter time.
    let week = Duration::from_hours(7 * 24);
    let forgetful = Barrier::new(world.pool.clone()).retention(week);
    assert_eq!(forgetful.purge(10).await.unwrap(), 1);
    for _ in 0..2 {
        let result = ask(tx).await;
        assert_eq!(result.outcome(), Outcome::Unspecified);
        assert!(result.error.contains("longer ago"), "{}", result.error);
    }
    let again = commit(tx).await.unwrap_err();
    assert!(
        matches!(again, InitiatorRowError::Expired(id) if id == tx.id),
        "{again}"
    );
    tx.left(&["LOCAL"], &[]).await;
    assert_eq!(ask(world.transaction()).await.outcome(), Outcome::Failure);
    // The horizon never goes back.
    let older = world.transaction_of(days_ago(29));
    commit(older).await.unwrap_err();
    assert_eq!(world.barrier.purge(10).await.unwrap(), 0);
    assert_eq!(ask(tx).await.outcome(), Outcome::Unspecified);
}
