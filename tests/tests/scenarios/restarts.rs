//! The coordinator ends in the middle of its work, and goes on from its database.

use std::time::Duration;

use sqlx::{Connection as _, SqliteConnection};
use tercet_sdk::{
    initiator::{Decision, Wait},
    proto::{self, Operation},
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

/// Changes the only transaction in a database that no coordinator has.
async fn tamper(world: &World, statements: &[&'static str]) {
    let url = format!("sqlite://{}", world.database().display());
    let mut database = SqliteConnection::connect(&url).await.unwrap();
    for statement in statements {
        let done = sqlx::query(*statement)
            .execute(&mut database)
            .await
            .unwrap();
        assert_eq!(done.rows_affected(), 1, "{statement}");
    }
    database.close().await.unwrap();
}

#[tokio::test]
async fn a_begin_is_repeated_over_the_rows_of_a_version_with_other_defaults_or_other_rows() {
    // given a begin that leaves out all that has a default
    let mut world = World::new().await;
    world.clueless("points").await;
    let id = Uuid::now_v7();
    let begin = proto::BeginRequest {
        tx_id: id.to_string(),
        business_type: "exchange".to_owned(),
        business_id: "1".to_owned(),
        check_back: Some(proto::CheckBack {
            participant: "points".to_owned(),
            ..proto::CheckBack::default()
        }),
        actions: vec![proto::Action {
            name: "freeze".to_owned(),
            mode: proto::Mode::Tcc.into(),
            participant: "points".to_owned(),
            handler: "tcc".to_owned(),
            ..proto::Action::default()
        }],
        ..proto::BeginRequest::default()
    };
    let first = world.coordinator().await.begin(begin.clone()).await;
    assert!(!first.unwrap().into_inner().repeated);

    for statements in [
        // when it was begun by a version with another length of phase one
        &["UPDATE tx_info SET deadline_at = deadline_at + 86400000000"][..],
        // or by one that stored every default applied
        &[
            "UPDATE tx_info SET deadline_at = create_time + 30000000, timeout_given = 1, check_back_info = \
             '{\"participant\":\"points\",\"first_delay\":0,\"interval\":1000,\"max_interval\":60000,\
             \"max_attempts\":null}'",
            "UPDATE action_info SET policy = '{\"first_delay\":1000,\"max_delay\":60000,\"max_attempts\":100,\
             \"max_age\":null,\"call_timeout\":10000}'",
        ],
    ] {
        world.stop().await;
        tamper(&world, statements).await;
        world.start().await;

        // then the same begin is its repetition, and people see the values in effect
        let again = world.coordinator().await.begin(begin.clone()).await;
        assert!(again.unwrap().into_inner().repeated, "{statements:?}");
        let tx = world.until(id, "begun", |_| true).await;
        assert_eq!(tx.check_back.unwrap().interval_ms, 1_000);
        let action = tx.actions[0].action.as_ref().unwrap();
        assert_eq!(action.retry.unwrap().call_timeout_ms, 10_000);
        let longer = proto::BeginRequest {
            timeout_ms: 31_000,
            ..begin.clone()
        };
        let other = world.coordinator().await.begin(longer).await.unwrap_err();
        assert!(other.message().contains("timeout_ms"), "{other}");
    }
}
