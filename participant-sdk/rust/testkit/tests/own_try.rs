//! The initiator's own action against the real coordinator: tried in its own local transaction,
//! confirmed or cancelled like any other.

#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, reason = "shared by tests")]
mod shop;

use std::time::Duration;

use futures::future::BoxFuture;
use shop::Shop;
use sqlx::SqliteConnection;
use tercet_sdk::{
    ActionError, Json,
    initiator::{Action, AlreadyTried, Decision, Error, Outcome, OwnTryError, Wait},
    proto::{BizStatus, TxStatus},
};
use tercet_testkit::TestCoordinator;
use uuid::Uuid;

const POINTS: i64 = 40;

fn own() -> Action {
    Action::tcc("freeze", "shop").payload(&Json(POINTS))
}

type Frozen<'c> = BoxFuture<'c, Result<Json<i64>, ActionError>>;

/// The initiator's own change, in place of the participant's code for the Try.
fn freeze(local: &mut SqliteConnection) -> Frozen<'_> {
    Box::pin(async move {
        let sql = "UPDATE account SET available = available - $1, frozen = frozen + $1";
        sqlx::query(sql).bind(POINTS).execute(local).await?;
        Ok(Json(POINTS))
    })
}

async fn tried(shop: &Shop, tx_id: Uuid) -> AlreadyTried {
    let tried = AlreadyTried::commit(&shop.barrier, tx_id, own(), freeze).await;
    tried.unwrap().1
}

#[tokio::test]
async fn an_execute_confirms_or_cancels_what_was_already_tried() {
    let coordinator = TestCoordinator::start().await;
    let shop = Shop::open().await;
    let _attached = coordinator.attach(&shop.participant).await;
    let client = coordinator.client().await;
    for (spent, decision, account) in [
        (5, Decision::Success, (55, 0)),
        (1_000, Decision::Failure, (55, 0)),
    ] {
        let tx_id = Uuid::now_v7();
        let own = tried(&shop, tx_id).await;
        let spend = Action::compensate("spend", "shop").payload(&Json(spent));
        let draft = client.execute("order", "1").already_tried(own);
        let outcome = draft.action(spend).wait(Wait::Completed).send();
        let outcome = outcome.await.unwrap();
        assert_eq!(outcome.tx_id(), tx_id);
        assert_eq!(outcome.decision(), Some(decision), "{outcome:?}");
        assert!(outcome.is_finished(), "{outcome:?}");
        assert_eq!(shop.account().await, account);
    }
}

#[tokio::test]
async fn an_own_try_of_a_begun_transaction_is_confirmed_or_cancelled() {
    let coordinator = TestCoordinator::start().await;
    let shop = Shop::open().await;
    let _attached = coordinator.attach(&shop.participant).await;
    let client = coordinator.client().await;
    for (decision, account) in [(Decision::Success, (60, 0)), (Decision::Failure, (60, 0))] {
        let draft = client.begin("order", "1").action(own());
        let mut tx = draft.wait(Wait::Completed).send().await.unwrap();
        for _ in 0..2 {
            let Json(frozen) = tx.try_own(&shop.barrier, "freeze", freeze).await.unwrap();
            assert_eq!(frozen, POINTS);
        }
        let outcome = match decision {
            Decision::Success => tx.commit().await.unwrap(),
            Decision::Failure => tx.rollback("changed their mind").await.unwrap(),
        };
        assert!(outcome.is_finished(), "{outcome:?}");
        assert_eq!(shop.account().await, account);
    }
    let tx = client.begin("order", "2").action(own()).send();
    let mut tx = tx.await.unwrap();
    let unknown = tx.try_own(&shop.barrier, "other", freeze).await;
    assert!(matches!(
        unknown,
        Err(OwnTryError::Invalid(Error::Invalid { .. }))
    ));
    tx.rollback("changed their mind").await.unwrap();
    coordinator.ended(tx.id()).await;
    let late = tx.try_own(&shop.barrier, "freeze", freeze).await;
    assert!(matches!(late, Err(OwnTryError::Rejected(_))), "{late:?}");
    assert_eq!(shop.account().await, (60, 0));
}

#[tokio::test]
async fn the_own_try_of_an_initiator_that_died_is_cancelled() {
    let coordinator = TestCoordinator::start().await;
    let shop = Shop::open().await;
    let _attached = coordinator.attach(&shop.participant).await;
    let client = coordinator.client().await;
    let draft = client.begin("order", "1").action(own());
    let draft = draft.timeout(Duration::from_millis(500));
    let mut tx = draft.send().await.unwrap();
    tx.try_own(&shop.barrier, "freeze", freeze).await.unwrap();
    assert_eq!(shop.account().await, (60, 40));
    tx.leave();
    let ended = coordinator.ended(tx.id()).await;
    assert_eq!(
        (ended.status(), ended.biz_status()),
        (TxStatus::Success, BizStatus::Failure)
    );
    assert_eq!(shop.account().await, (100, 0));
}

#[tokio::test]
async fn a_draft_that_would_leave_an_own_try_behind_is_refused() {
    let coordinator = TestCoordinator::start().await;
    let shop = Shop::open().await;
    let client = coordinator.client().await;
    let own = tried(&shop, Uuid::now_v7()).await;
    let draft = || client.execute("order", "1").already_tried(own.clone());
    let other = Uuid::now_v7();
    for (draft, field) in [
        (draft().tx_id(other), "tx_id"),
        (draft().already_tried(tried(&shop, other).await), "tx_id"),
        (draft().unique_business(), "unique_business"),
    ] {
        let error = draft.send().await.unwrap_err();
        assert!(
            matches!(&error, Error::Invalid { field: wrong, .. } if wrong == field),
            "{field}: {error}"
        );
    }
}

/// Shows the purpose of the row.
#[tokio::test]
async fn without_its_row_an_own_action_is_parked() {
    let coordinator = TestCoordinator::start().await;
    let shop = Shop::open().await;
    let _attached = coordinator.attach(&shop.participant).await;
    let client = coordinator.client().await;
    freeze(&mut shop.pool.acquire().await.unwrap())
        .await
        .unwrap();
    let spend = Action::compensate("spend", "shop").payload(&Json(5));
    let draft = client.execute("order", "1").action(spend);
    let draft = draft.action(own().already_tried_without_barrier());
    let outcome = draft.wait(Wait::Completed).send().await.unwrap();
    assert!(matches!(outcome, Outcome::Parked { .. }), "{outcome:?}");
    assert_eq!(shop.account().await, (55, 40));
}
