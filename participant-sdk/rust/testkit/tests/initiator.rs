//! Initiators against the real coordinator.

#![allow(clippy::unwrap_used, missing_docs)]

mod shop;

use std::time::Duration;

use shop::Shop;
use tercet_sdk::{
    Json, Truth,
    database::InitiatorRowError,
    initiator::{
        Action, CauseKind, CheckBack, Client, CommitWithError, Decision, Draft, Error, Execute,
        Outcome, Wait,
    },
    proto::{ActionStatus, BizStatus, TxStatus},
};
use tercet_testkit::TestCoordinator;
use uuid::Uuid;

fn freeze(points: i64) -> Action {
    Action::tcc("freeze", "shop").payload(&Json(points))
}

fn exchange(client: &Client, order: &str, points: i64) -> Draft<Execute> {
    let draft = client.execute("points_for_coupon", order);
    draft.action(freeze(points)).wait(Wait::Completed)
}

#[tokio::test]
async fn every_try_done_is_committed_with_its_results() {
    let coordinator = TestCoordinator::start().await;
    let shop = Shop::open().await;
    let _attached = coordinator.attach(&shop.participant).await;
    let client = coordinator.client().await;
    let draft = exchange(&client, "1", 40);
    let draft = draft.action(Action::compensate("spend", "shop").payload(&Json(5)));
    let outcome = draft.send().await.unwrap();
    let Outcome::Committed {
        results,
        finished: true,
        repeated: false,
        ..
    } = &outcome
    else {
        panic!("{outcome:?}");
    };
    assert_eq!(results.read::<Json<i64>>("freeze").unwrap(), Json(40));
    assert_eq!(shop.account().await, (55, 0));
    coordinator.stop().await;
}

#[tokio::test]
async fn a_rejection_rolls_back_and_says_why() {
    let coordinator = TestCoordinator::start().await;
    let shop = Shop::open().await;
    let _attached = coordinator.attach(&shop.participant).await;
    let client = coordinator.client().await;
    let too_much = Action::compensate("spend", "shop").payload(&Json(1_000));
    let outcome = exchange(&client, "1", 40)
        .action(too_much)
        .send()
        .await
        .unwrap();
    let Outcome::RolledBack {
        cause,
        finished: true,
        ..
    } = &outcome
    else {
        panic!("{outcome:?}");
    };
    assert_eq!(cause.kind, CauseKind::Rejected);
    assert_eq!(cause.action.as_deref(), Some("spend"));
    assert_eq!(cause.reason, "short of points");
    assert_eq!(shop.account().await, (100, 0));
}

#[tokio::test]
async fn the_same_id_is_the_same_transaction() {
    let coordinator = TestCoordinator::start().await;
    let shop = Shop::open().await;
    let _attached = coordinator.attach(&shop.participant).await;
    let client = coordinator.client().await;
    let tx_id = Uuid::now_v7();
    for repeated in [false, true] {
        let outcome = exchange(&client, "1", 40)
            .tx_id(tx_id)
            .send()
            .await
            .unwrap();
        assert_eq!((outcome.tx_id(), outcome.is_repeated()), (tx_id, repeated));
        assert!(outcome.is_committed() && outcome.is_finished());
    }
    assert_eq!(shop.account().await, (60, 0));
    let error = exchange(&client, "1", 41)
        .tx_id(tx_id)
        .send()
        .await
        .unwrap_err();
    let Error::Refused(refused) = &error else {
        panic!("{error}")
    };
    assert_eq!(refused.reason, "TX_ID_REUSED");
    assert!(refused.metadata["field"].contains("payload"), "{refused:?}");
}

#[tokio::test]
async fn unique_business_is_answered_with_the_first() {
    let coordinator = TestCoordinator::start().await;
    let shop = Shop::open().await;
    let _attached = coordinator.attach(&shop.participant).await;
    let client = coordinator.client().await;
    let send = || exchange(&client, "order-1", 40).unique_business().send();
    let (first, second) = tokio::join!(send(), send());
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.tx_id(), second.tx_id());
    assert!(first.is_repeated() != second.is_repeated());
    assert_eq!(shop.account().await, (60, 0));
    let found = client
        .get_business("points_for_coupon", "order-1")
        .await
        .unwrap();
    assert_eq!(found.tx_id, first.tx_id().to_string());
}

/// The Tries that a caller may send are those of the transaction that has the business, not of its own request.
#[tokio::test]
async fn a_begin_of_a_business_that_is_taken_gets_the_stored_actions() {
    let coordinator = TestCoordinator::start().await;
    let shop = Shop::open().await;
    let _attached = coordinator.attach(&shop.participant).await;
    let client = coordinator.client().await;
    let begin = |actions: &[&str]| {
        let draft = client.begin("points_for_coupon", "order-1");
        let draft = draft
            .unique_business()
            .property("actions", actions.join(" "));
        actions.iter().fold(draft, |draft, name| {
            draft.action(
                Action::tcc(*name, "shop")
                    .handler("freeze")
                    .payload(&Json(1)),
            )
        })
    };
    let mut first = begin(&["a", "b"]).send().await.unwrap();
    let mut second = begin(&["a", "c"]).send().await.unwrap();
    assert_eq!(second.id(), first.id());
    let error = second.context("c").unwrap_err();
    assert!(error.to_string().contains("not an action"), "{error}");
    let context = second.context("b").unwrap();
    assert_eq!(context.properties["actions"], "a b");
    assert!(second.time_left() > Duration::from_secs(1));
    let error = second.add_action(Action::tcc("b", "other")).await;
    assert_eq!(error.unwrap_err().reason(), Some("PARTICIPANT_UNKNOWN"));
    first.rollback("enough").await.unwrap();
    assert!(matches!(
        second.rollback("enough").await.unwrap(),
        Outcome::RolledBack { .. }
    ));
}

#[tokio::test]
async fn bad_input_is_refused_by_field() {
    let coordinator = TestCoordinator::start().await;
    let client = coordinator.client().await;
    let error = exchange(&client, "1", 1).send().await.unwrap_err();
    assert_eq!(error.reason(), Some("PARTICIPANT_UNKNOWN"), "{error}");
    let error = client
        .execute("", "1")
        .action(freeze(1))
        .send()
        .await
        .unwrap_err();
    let Error::Refused(refused) = &error else {
        panic!("{error}")
    };
    assert!(
        refused
            .violations
            .iter()
            .any(|(field, _)| field.contains("business_type")),
        "{error}"
    );
}

#[tokio::test]
async fn the_initiator_decides_what_it_began() {
    let coordinator = TestCoordinator::start().await;
    let shop = Shop::open().await;
    let _attached = coordinator.attach(&shop.participant).await;
    let client = coordinator.client().await;
    for (decision, account) in [(Decision::Success, (60, 0)), (Decision::Failure, (60, 0))] {
        let draft = client.begin("order", "1").wait(Wait::Completed);
        let mut tx = draft.action(freeze(40)).send().await.unwrap();
        // The initiator calls the Try.
        let context = tx.context("freeze").unwrap();
        shop.try_as(&context, "freeze", 40).await.unwrap();
        let outcome = match decision {
            Decision::Success => tx.commit().await.unwrap(),
            Decision::Failure => tx.rollback("changed their mind").await.unwrap(),
        };
        assert_eq!(
            (outcome.decision(), outcome.is_finished()),
            (Some(decision), true)
        );
        assert_eq!(shop.account().await, account);
    }
}

#[tokio::test]
async fn a_dropped_transaction_is_aborted_and_its_try_cancelled() {
    let coordinator = TestCoordinator::start().await;
    let shop = Shop::open().await;
    let _attached = coordinator.attach(&shop.participant).await;
    let client = coordinator.client().await;
    let tx = client
        .begin("order", "1")
        .action(freeze(40))
        .send()
        .await
        .unwrap();
    let tx_id = tx.id();
    shop.try_as(&tx.context("freeze").unwrap(), "freeze", 40)
        .await
        .unwrap();
    assert_eq!(shop.account().await, (60, 40));
    drop(tx);
    let ended = coordinator.ended(tx_id).await;
    assert_eq!(ended.biz_status(), BizStatus::Failure);
    assert_eq!(ended.actions[0].status(), ActionStatus::Cancelled);
    assert_eq!(shop.account().await, (100, 0));
}

#[tokio::test]
async fn the_deadline_decides_without_a_check_back() {
    let coordinator = TestCoordinator::start().await;
    let shop = Shop::open().await;
    let _attached = coordinator.attach(&shop.participant).await;
    let client = coordinator.client().await;
    let draft = client
        .begin("order", "1")
        .timeout(Duration::from_millis(50));
    let mut tx = draft.action(freeze(40)).send().await.unwrap();
    coordinator.ended(tx.id()).await;
    let error = tx.commit().await.unwrap_err();
    let Error::DecisionConflict { stands, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(stands, Decision::Failure);
}

#[tokio::test]
async fn what_an_initiator_committed_before_it_died_is_committed() {
    let coordinator = TestCoordinator::start().await;
    let shop = Shop::open().await;
    let _attached = coordinator.attach(&shop.participant).await;
    let client = coordinator.client().await;
    for (dies_after_commit, expected) in [(true, BizStatus::Success), (false, BizStatus::Failure)] {
        let draft = client
            .begin("order", "1")
            .timeout(Duration::from_millis(100));
        let draft = draft.check_back(CheckBack::ask("shop")).action(freeze(10));
        let mut tx = draft.send().await.unwrap();
        let tx_id = tx.id();
        shop.try_as(&tx.context("freeze").unwrap(), "freeze", 10)
            .await
            .unwrap();
        if dies_after_commit {
            shop.store_order(tx_id).await.unwrap();
        }
        tx.leave();
        let ended = coordinator.ended(tx_id).await;
        assert_eq!(
            (ended.status(), ended.biz_status()),
            (TxStatus::Success, expected)
        );
    }
    assert_eq!(shop.account().await, (90, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn local_commit_and_check_back_race_to_one_truth() {
    let coordinator = TestCoordinator::start().await;
    let shop = Shop::open().await;
    let _attached = coordinator.attach(&shop.participant).await;
    let client = coordinator.client().await;
    let (mut stored, mut failed) = (0, 0);
    for round in 0..24_u64 {
        // In each round the deadline comes at another moment of the local transaction.
        let draft = client.begin("order", round.to_string());
        let draft = draft.timeout(Duration::from_millis(1 + round % 12));
        let draft = draft.check_back(CheckBack::ask("shop")).action(freeze(1));
        let mut tx = draft.send().await.unwrap();
        let tx_id = tx.id();
        shop.try_as(&tx.context("freeze").unwrap(), "freeze", 1)
            .await
            .ok();
        let committed = tx
            .commit_with(&shop.barrier, Shop::insert_order(tx_id))
            .await;
        let truth = shop.barrier.check_back(tx_id).await.unwrap();
        match &committed {
            Ok((_, outcome)) => assert!(outcome.is_committed()),
            Err(CommitWithError::Local(InitiatorRowError::AlreadyFailed(_))) => {}
            Err(error) => panic!("{error}"),
        }
        let ended = coordinator.ended(tx_id).await;
        let decided = match ended.biz_status() {
            BizStatus::Success => Truth::Success,
            _ => Truth::Failure,
        };
        assert_eq!((decided, truth), (truth, decided), "{committed:?}");
        assert_eq!(shop.has_order(tx_id).await, truth == Truth::Success);
        stored += i64::from(truth == Truth::Success);
        failed += i64::from(truth == Truth::Failure);
    }
    println!("{stored} stored, {failed} failed");
    let (available, frozen) = shop.account().await;
    assert_eq!(frozen, 0);
    assert!(
        available >= 100 - stored,
        "{available} left of 100 after {stored} orders"
    );
}

#[tokio::test]
async fn the_participants_own_method_serves_try_confirm_and_cancel() {
    let coordinator = TestCoordinator::start().await;
    let shop = Shop::open().await;
    let client = coordinator.client().await;
    let mut served = shop.serve_own_method(&client).await;
    for (decision, account) in [(Decision::Success, (60, 0)), (Decision::Failure, (60, 0))] {
        let draft = client.begin("order", "1").wait(Wait::Completed);
        let action = Action::tcc("freeze", "points").payload(&40_i64);
        let mut tx = draft.action(action).send().await.unwrap();
        served.freeze(&tx, 40).await.unwrap();
        let refused = served.freeze(&tx, 40).await;
        assert_eq!(
            refused.unwrap(),
            40,
            "a repetition is answered from the barrier's row"
        );
        let outcome = match decision {
            Decision::Success => tx.commit().await.unwrap(),
            Decision::Failure => tx.rollback("changed their mind").await.unwrap(),
        };
        assert!(outcome.is_finished(), "{outcome:?}");
        assert_eq!(shop.account().await, account);
    }
    // The coordinator calls the Try too.
    let action = Action::tcc("freeze", "points").payload(&1_000_i64);
    let outcome = client
        .execute("order", "2")
        .action(action)
        .send()
        .await
        .unwrap();
    let Outcome::RolledBack { cause, .. } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(cause.reason, "short of points");
}
