//! Cases in which other coordinators are known to go wrong.

use std::time::Duration;

use tercet_sdk::{
    initiator::{Decision, Error, Outcome, Wait},
    proto::{self, ActionStatus, Operation},
};
use uuid::Uuid;

use super::world::{
    Gate, World, compensate, deliver, done, scripted, soon, statuses, tcc, unknown,
};

#[tokio::test]
async fn a_second_decide_while_the_first_is_being_confirmed() {
    // given a transaction whose Confirm takes its time
    let mut world = World::new().await;
    let gate = Gate::closed();
    let opened = gate.clone();
    let points = world
        .participant("points", move |_| {
            let opened = opened.clone();
            async move {
                opened.wait().await;
                done("")
            }
        })
        .await;
    let initiator = world.initiator().await;
    let mut tx = world.begin([tcc("freeze", "points")]).await;
    let first = tx.commit().await.unwrap();
    points.wait_for("freeze", Operation::Confirm).await;

    // when it is decided again, alike and otherwise
    let again = initiator
        .decide(tx.id(), Decision::Success, "", Wait::Decided)
        .await
        .unwrap();
    let otherwise = initiator
        .decide(tx.id(), Decision::Failure, "", Wait::Decided)
        .await
        .unwrap_err();

    // then the decision stands, and one Confirm was called
    assert!(first.is_committed() && again.is_committed());
    assert!(
        matches!(
            otherwise,
            Error::DecisionConflict {
                stands: Decision::Success,
                ..
            }
        ),
        "{otherwise}"
    );
    gate.open();
    world.finished(tx.id()).await;
    assert_eq!(points.words(), ["freeze CONFIRM"]);
}

#[tokio::test]
async fn decide_without_begin() {
    let world = World::new().await;
    let initiator = world.initiator().await;
    let id = Uuid::now_v7();

    let refused = initiator
        .decide(id, Decision::Success, "", Wait::Decided)
        .await
        .unwrap_err();

    assert_eq!(refused.reason(), Some("TX_NOT_FOUND"));
    let read = initiator.get(id).await.unwrap_err();
    assert_eq!(read.reason(), Some("TX_NOT_FOUND"), "nothing was written");
}

#[tokio::test]
async fn ids_and_names_of_which_one_is_a_prefix_of_the_other() {
    let mut world = World::new().await;
    let short = world.willing("pay").await;
    let long = world.willing("pay-back").await;
    let initiator = world.initiator().await;
    let order = |business_type: &str, business_id: &str| {
        initiator
            .execute(business_type, business_id)
            .unique_business()
            .action(compensate("a", "pay"))
            .action(compensate("ab", "pay-back"))
            .wait(Wait::Completed)
    };

    // "o" + "rder-1", "o" + "rder-10", "or" + "der-1": three businesses, not one
    let ids = [("o", "rder-1"), ("o", "rder-10"), ("or", "der-1")];
    let mut transactions = Vec::new();
    for (business_type, business_id) in ids {
        let outcome = order(business_type, business_id).send().await.unwrap();
        assert!(outcome.is_committed() && !outcome.is_repeated());
        transactions.push(outcome.tx_id());
    }

    assert_eq!(short.words(), ["a TRY"; 3]);
    assert_eq!(long.words(), ["ab TRY"; 3]);
    for ((business_type, business_id), id) in ids.into_iter().zip(transactions) {
        let found = initiator
            .get_business(business_type, business_id)
            .await
            .unwrap();
        assert_eq!(found.tx_id, id.to_string());
        let list = initiator
            .list(proto::ListRequest {
                business_type: business_type.to_owned(),
                business_id: business_id.to_owned(),
                ..proto::ListRequest::default()
            })
            .await
            .unwrap();
        assert_eq!(list.transactions.len(), 1);
    }
}

#[tokio::test]
async fn a_participant_is_down_through_the_whole_of_phase_two() {
    // given a transaction whose participant has gone after its Try
    let mut world = World::new().await;
    let (points, seen) = scripted("points", |_| async { done("") });
    let points = points.build().unwrap();
    let attached = world.attach_task(points.clone()).await;
    let freeze = tcc("freeze", "points").retry(soon().max_attempts(2));
    let mut tx = world.begin([freeze]).await;
    attached.abort();
    world.is_attached("points", false).await;

    // when it is decided
    let outcome = tx.commit().await.unwrap();

    // then it waits, names the participant, and counts no attempt
    assert!(outcome.is_committed() && !outcome.is_finished());
    let waiting = world
        .until(tx.id(), "waiting for points", |tx| !tx.obstacles.is_empty())
        .await;
    assert!(
        waiting
            .obstacles
            .iter()
            .any(|obstacle| obstacle.contains("points")),
        "{:?}",
        waiting.obstacles
    );
    assert_eq!(waiting.actions[0].retry_count, 0);
    assert_eq!(seen.words(), [""; 0]);

    // and goes on when the participant is back
    world.attach(points).await;
    let tx = world.finished(tx.id()).await;
    assert_eq!(seen.words(), ["freeze CONFIRM"]);
    assert_eq!(tx.actions[0].retry_count, 0, "{:?}", tx.actions[0].attempts);
}

#[tokio::test]
async fn an_action_that_is_added_while_the_decision_is_made_is_in_or_refused() {
    let mut world = World::new().await;
    let points = world.willing("points").await;
    let initiator = world.initiator().await;
    for round in 0..20 {
        let name = format!("late-{round}");
        let mut tx = initiator
            .begin("exchange", round.to_string())
            .action(tcc("freeze", "points"))
            .send()
            .await
            .unwrap();
        let id = tx.id();

        let (added, decided) = tokio::join!(
            tx.add_action(tcc(&name, "points")),
            initiator.decide(id, Decision::Success, "", Wait::Completed)
        );

        assert!(decided.unwrap().is_committed());
        let tx = world.finished(id).await;
        let is_in = tx.actions.len() == 2;
        match added {
            Ok(()) => assert_eq!(
                points.count(&name, Operation::Confirm),
                1,
                "{:?}",
                statuses(&tx)
            ),
            Err(refused) => {
                assert_eq!(refused.reason(), Some("ALREADY_DECIDED"), "{refused}");
                assert!(!is_in, "refused, yet {:?}", statuses(&tx));
            }
        }
    }
}

#[tokio::test]
async fn an_execute_of_three_seconds_that_is_repeated_every_second_is_one_transaction() {
    // given a participant that needs three seconds
    let mut world = World::new().await;
    let points = world
        .participant("points", |_| async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            done("")
        })
        .await;
    let request = proto::ExecuteRequest {
        begin: Some(proto::BeginRequest {
            tx_id: Uuid::now_v7().to_string(),
            business_type: "exchange".to_owned(),
            business_id: "1".to_owned(),
            actions: vec![proto::Action {
                name: "deduct".to_owned(),
                mode: proto::Mode::Compensate.into(),
                participant: "points".to_owned(),
                handler: "compensate".to_owned(),
                ..proto::Action::default()
            }],
            ..proto::BeginRequest::default()
        }),
        wait: proto::Wait::Decided.into(),
    };

    // when its client repeats it each second, each time on a new connection, the earlier ones left open or not
    let mut calls = Vec::new();
    for second in 0..4_u32 {
        let (mut coordinator, request) = (world.coordinator().await, request.clone());
        let call = tokio::spawn(async move { coordinator.execute(request).await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        if second == 0 {
            call.abort();
        } else {
            calls.push(call);
        }
    }

    // then every answer is the same, and the Try was called once
    for call in calls {
        let state = call.await.unwrap().unwrap().into_inner();
        assert_eq!(state.biz_status(), proto::BizStatus::Success);
        assert_eq!(state.tx_id, request.begin.as_ref().unwrap().tx_id);
    }
    assert_eq!(points.words(), ["deduct TRY"]);
}

#[tokio::test]
async fn a_message_reaches_its_receiver_after_any_number_of_attempts() {
    let mut world = World::new().await;
    let answers = vec![unknown("nobody at home"); 5].into_iter();
    let post = world.in_turn("post", answers.chain([done("")])).await;

    let outcome = world.execute([deliver("mail", "post")]).await;

    assert!(
        matches!(outcome, Outcome::Committed { finished: true, .. }),
        "{outcome:?}"
    );
    let tx = world.finished(outcome.tx_id()).await;
    assert_eq!(tx.actions[0].retry_count, 5);
    assert_eq!(tx.actions[0].status(), ActionStatus::Confirmed);
    assert_eq!(tx.actions[0].last_error, "nobody at home");
    assert_eq!(post.count("mail", Operation::Confirm), 6);
    assert_eq!(tx.actions[0].attempts.len(), 5);
}
