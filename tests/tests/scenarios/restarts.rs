//! The coordinator ends in the middle of its work, and goes on from its database.

use std::time::Duration;

use tercet_sdk::{
    initiator::{Decision, Wait},
    proto::Operation,
};
use uuid::Uuid;

use super::world::{Gate, World, compensate, done, tcc, unknown};

#[tokio::test]
async fn between_two_ordered_tries_the_earlier_result_is_handed_on_after_the_restart() {
    // given a saga whose second step does not get through
    let mut world = World::new().await;
    let gate = Gate::closed();
    let is_open = gate.clone();
    let shop = world
        .participant("shop", move |call| {
            let answer = match call.action.as_str() {
                "first" => done("from the first"),
                _ if is_open.is_open() => done(""),
                _ => unknown("closed"),
            };
            std::future::ready(answer)
        })
        .await;
    let id = Uuid::now_v7();
    let initiator = world.initiator().await;
    let order = move || {
        initiator
            .execute("saga", "1")
            .tx_id(id)
            .action(compensate("first", "shop"))
            .action(
                compensate("second", "shop")
                    .after(["first"])
                    .wants_results(),
            )
    };
    order().wait(Wait::Accepted).send().await.unwrap();
    shop.wait_for("second", Operation::Try).await;

    // when the coordinator ends and starts again
    world.stop().await;
    gate.open();
    world.start().await;

    // then the second is tried with the result of the first, and a repeated Execute gets the outcome
    let outcome = order().send().await.unwrap();
    assert!(outcome.is_committed(), "{outcome:?}");
    let calls = shop.calls();
    let last = calls.iter().rfind(|call| call.action == "second").unwrap();
    assert_eq!(last.results.len(), 1);
    assert_eq!(last.results[0].result, "from the first");
}

#[tokio::test]
async fn a_decision_that_was_acknowledged_is_confirmed_after_the_restart() {
    let mut world = World::new().await;
    let gate = Gate::closed();
    let points = world
        .until_open("points", &gate, "freeze CONFIRM", unknown("closed"))
        .await;
    let initiator = world.initiator().await;
    let mut tx = world.begin([tcc("freeze", "points")]).await;
    assert!(tx.commit().await.unwrap().is_committed());

    world.stop().await;
    gate.open();
    world.start().await;

    world.finished(tx.id()).await;
    assert_eq!(points.count("freeze", Operation::Cancel), 0);
    let otherwise = initiator
        .decide(tx.id(), Decision::Failure, "", Wait::Decided)
        .await
        .unwrap_err();
    assert_eq!(otherwise.reason(), Some("DECISION_CONFLICT"));
}

#[tokio::test]
async fn a_deadline_that_passed_while_the_coordinator_was_down_decides_when_it_is_back() {
    let mut world = World::new().await;
    let points = world.willing("points").await;
    let mut tx = world
        .initiator()
        .await
        .begin("exchange", "1")
        .action(tcc("freeze", "points"))
        .timeout(Duration::from_millis(300))
        .send()
        .await
        .unwrap();
    tx.leave();
    let time_left = tx.time_left();
    world.stop().await;
    tokio::time::sleep(time_left).await;

    world.start().await;

    let tx = world.finished(tx.id()).await;
    assert_eq!(
        tx.cause.unwrap().kind(),
        tercet_sdk::proto::CauseKind::Deadline
    );
    assert_eq!(points.words(), ["freeze CANCEL"]);
}
