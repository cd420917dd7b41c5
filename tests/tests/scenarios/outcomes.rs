//! Every mode and every outcome.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tercet_sdk::{
    Truth,
    initiator::{CauseKind, CheckBack, Decision, Outcome, Wait},
    proto::{ActionState, BizStatus, Operation},
};

use super::world::{
    World, compensate, deliver, done, rejected, rolled_back, scripted, statuses, tcc, unknown,
};

#[tokio::test]
async fn tcc_all_tried_is_confirmed() {
    let mut world = World::new().await;
    let points = world.willing("points").await;
    let coupons = world.willing("coupons").await;

    let outcome = world
        .execute([tcc("freeze", "points"), tcc("reserve", "coupons")])
        .await;

    assert!(outcome.is_committed() && outcome.is_finished());
    assert_eq!(points.words(), ["freeze TRY", "freeze CONFIRM"]);
    assert_eq!(coupons.words(), ["reserve TRY", "reserve CONFIRM"]);
}

#[tokio::test]
async fn tcc_one_rejected_cancels_the_other_and_gives_the_cause() {
    let mut world = World::new().await;
    let points = world.willing("points").await;
    let coupons = world.except("coupons", "TRY", rejected("sold out")).await;

    let outcome = world
        .execute([tcc("freeze", "points"), tcc("reserve", "coupons")])
        .await;

    let (cause, finished) = rolled_back(outcome);
    assert!(finished);
    assert_eq!(cause.kind, CauseKind::Rejected);
    assert_eq!(cause.action.as_deref(), Some("reserve"));
    assert_eq!(cause.reason, "sold out");
    assert_eq!(points.words(), ["freeze TRY", "freeze CANCEL"]);
    assert_eq!(coupons.words(), ["reserve TRY"]);
}

#[tokio::test]
async fn compensate_on_success_calls_nothing_more() {
    let mut world = World::new().await;
    let points = world.willing("points").await;

    let draft = world.draft([compensate("deduct", "points")]).await;
    let outcome = draft.wait(Wait::Decided).send().await.unwrap();

    assert!(
        outcome.is_committed() && outcome.is_finished(),
        "{outcome:?}"
    );
    assert_eq!(points.words(), ["deduct TRY"]);
    let tx = world.finished(outcome.tx_id()).await;
    assert_eq!(statuses(&tx), ["deduct CONFIRMED"]);
}

#[tokio::test]
async fn compensate_is_undone_against_its_order() {
    let mut world = World::new().await;
    let shop = world.except("shop", "third TRY", rejected("no")).await;

    let outcome = world
        .execute([
            compensate("first", "shop"),
            compensate("second", "shop").after(["first"]),
            compensate("third", "shop").after(["second"]),
        ])
        .await;

    assert_eq!(outcome.decision(), Some(Decision::Failure));
    assert_eq!(
        shop.words(),
        [
            "first TRY",
            "second TRY",
            "third TRY",
            "second CANCEL",
            "first CANCEL"
        ]
    );
}

#[tokio::test]
async fn a_later_action_is_given_the_results_of_earlier_ones_and_its_own_at_the_end() {
    let mut world = World::new().await;
    let shop = world
        .participant("shop", |call| async move {
            match call.operation() {
                Operation::Try => done(&format!("result of {}", call.action)),
                _ => done(""),
            }
        })
        .await;

    let outcome = world
        .execute([
            tcc("first", "shop"),
            tcc("second", "shop").after(["first"]).wants_results(),
        ])
        .await;

    let Outcome::Committed { results, .. } = &outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(results.bytes("first").unwrap(), "result of first");
    let calls = shop.calls();
    let given = |action: &str, operation: Operation| -> Vec<(String, Vec<u8>)> {
        let call = calls
            .iter()
            .find(|call| call.action == action && call.operation() == operation)
            .unwrap();
        let one = |state: &ActionState| (state.name.clone(), state.result.to_vec());
        call.results.iter().map(one).collect()
    };
    let first = [("first".to_owned(), b"result of first".to_vec())];
    let second = [("second".to_owned(), b"result of second".to_vec())];
    assert_eq!(given("second", Operation::Try), first);
    assert_eq!(given("first", Operation::Confirm), first);
    assert_eq!(given("second", Operation::Confirm), second);
    assert_eq!(
        shop.words(),
        ["first TRY", "second TRY", "first CONFIRM", "second CONFIRM"]
    );
}

#[tokio::test]
async fn all_three_modes_in_one_transaction() {
    let mut world = World::new().await;
    let shop = world.willing("shop").await;

    let outcome = world
        .execute([
            tcc("freeze", "shop"),
            compensate("deduct", "shop").after(["freeze"]),
            deliver("mail", "shop").after(["freeze"]),
        ])
        .await;

    assert!(outcome.is_committed() && outcome.is_finished());
    assert_eq!(
        shop.words(),
        ["freeze TRY", "deduct TRY", "freeze CONFIRM", "mail CONFIRM"]
    );
}

#[tokio::test]
async fn a_transaction_that_fails_delivers_nothing() {
    let mut world = World::new().await;
    let short = rejected("short of points");
    let shop = world.except("shop", "deduct TRY", short).await;

    let outcome = world
        .execute([
            tcc("freeze", "shop"),
            compensate("deduct", "shop").after(["freeze"]),
            deliver("mail", "shop"),
        ])
        .await;

    assert_eq!(outcome.decision(), Some(Decision::Failure));
    assert_eq!(shop.words(), ["freeze TRY", "deduct TRY", "freeze CANCEL"]);
    let tx = world.finished(outcome.tx_id()).await;
    assert_eq!(
        statuses(&tx),
        ["freeze CANCELLED", "deduct REJECTED", "mail CANCELLED"]
    );
}

#[tokio::test]
async fn the_initiators_own_action_is_never_tried_and_gets_its_confirm() {
    let mut world = World::new().await;
    let orders = world.willing("orders").await;
    let points = world.willing("points").await;

    let own = tcc("order", "orders").already_tried_without_barrier();
    let outcome = world.execute([own, tcc("freeze", "points")]).await;

    assert!(outcome.is_committed());
    assert_eq!(orders.words(), ["order CONFIRM"]);
    assert_eq!(points.words(), ["freeze TRY", "freeze CONFIRM"]);
}

#[tokio::test]
async fn the_initiators_own_action_gets_its_cancel_when_another_is_refused() {
    let mut world = World::new().await;
    let orders = world.willing("orders").await;
    let short = rejected("short of points");
    world.except("points", "TRY", short).await;

    let own = tcc("order", "orders").already_tried_without_barrier();
    let outcome = world.execute([own, tcc("freeze", "points")]).await;

    assert_eq!(outcome.decision(), Some(Decision::Failure));
    assert_eq!(orders.words(), ["order CANCEL"]);
}

#[tokio::test]
async fn an_unknown_try_is_repeated_until_it_is_known() {
    let mut world = World::new().await;
    let busy = unknown("busy");
    let points = world
        .in_turn("points", [busy.clone(), busy.clone(), busy, done("")])
        .await;

    let outcome = world.execute([compensate("deduct", "points")]).await;

    assert!(outcome.is_committed());
    assert_eq!(points.count("deduct", Operation::Try), 4);
}

#[tokio::test]
async fn the_deadline_decides_failure_and_cancels_actions_that_may_have_been_tried() {
    let mut world = World::new().await;
    let points = world.except("points", "TRY", unknown("busy")).await;

    let draft = world.draft([tcc("freeze", "points")]).await;
    let draft = draft.timeout(Duration::from_millis(300));
    let outcome = draft.send().await.unwrap();

    let (cause, _) = rolled_back(outcome);
    assert_eq!(cause.kind, CauseKind::Deadline);
    assert_eq!(points.count("freeze", Operation::Cancel), 1);
}

#[tokio::test]
async fn an_initiator_that_rolls_back_is_the_cause() {
    let mut world = World::new().await;
    let points = world.willing("points").await;

    let draft = world.initiator().await.begin("exchange", "1");
    let draft = draft.action(tcc("freeze", "points")).wait(Wait::Completed);
    let mut tx = draft.send().await.unwrap();
    let outcome = tx.rollback("changed its mind").await.unwrap();

    let (cause, _) = rolled_back(outcome);
    assert_eq!(cause.kind, CauseKind::Aborted);
    assert_eq!(cause.reason, "changed its mind");
    assert_eq!(
        points.words(),
        ["freeze CANCEL"],
        "its Try may have been sent"
    );
}

/// Begins a message with a check-back and never decides it.
async fn left_undecided(world: &World, check_back: CheckBack) -> uuid::Uuid {
    let mut tx = world
        .initiator()
        .await
        .begin("message", "1")
        .action(deliver("mail", "post"))
        .check_back(check_back.interval(Duration::from_millis(20)))
        .timeout(Duration::from_millis(100))
        .send()
        .await
        .unwrap();
    tx.leave();
    tx.id()
}

/// Attaches an initiator that gives these answers to check-backs in turn, and counts the questions.
async fn initiator_that_answers(
    world: &mut World,
    answers: impl Into<Vec<Result<Truth, &'static str>>>,
) -> Arc<AtomicU32> {
    let answers = answers.into();
    let questions = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&questions);
    let (orders, _) = scripted("orders", |_| async { done("") });
    let orders = orders.check_back_with(move |_| {
        let time = counted.fetch_add(1, Ordering::Relaxed) as usize;
        let answer = answers[time.min(answers.len() - 1)];
        async move { answer.map_err(str::to_owned) }
    });
    world.attach(orders.build().unwrap()).await;
    questions
}

#[tokio::test]
async fn asked_back_the_initiator_answers_success_and_the_message_is_delivered() {
    let mut world = World::new().await;
    let post = world.willing("post").await;
    initiator_that_answers(&mut world, [Ok(Truth::Success)]).await;

    let id = left_undecided(&world, CheckBack::ask("orders")).await;

    let tx = world.finished(id).await;
    assert_eq!(tx.biz_status(), BizStatus::Success);
    assert_eq!(post.words(), ["mail CONFIRM"]);
}

#[tokio::test]
async fn asked_back_the_initiator_answers_failure_and_nothing_is_delivered() {
    let mut world = World::new().await;
    let post = world.willing("post").await;
    initiator_that_answers(&mut world, [Ok(Truth::Failure)]).await;

    let id = left_undecided(&world, CheckBack::ask("orders")).await;

    let tx = world.finished(id).await;
    assert_eq!(tx.biz_status(), BizStatus::Failure);
    assert_eq!(post.words(), [""; 0]);
}

#[tokio::test]
async fn an_initiator_without_an_answer_is_asked_again_and_shown_as_stuck_meanwhile() {
    let mut world = World::new().await;
    world.willing("post").await;
    let open = Err("still open");
    let answers = [open, open, open, Ok(Truth::Success)];
    let questions = initiator_that_answers(&mut world, answers).await;

    let id = left_undecided(&world, CheckBack::ask("orders")).await;
    world
        .until(id, "asked back", |tx| {
            tx.biz_status() == BizStatus::Unknown || tx.biz_status() == BizStatus::Success
        })
        .await;

    let tx = world.finished(id).await;
    assert_eq!(tx.biz_status(), BizStatus::Success);
    assert_eq!(questions.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn after_the_attempts_that_were_allowed_silence_is_failure() {
    let mut world = World::new().await;
    world.willing("post").await;
    let questions = initiator_that_answers(&mut world, [Err("still open")]).await;

    let check_back = CheckBack::ask("orders").max_attempts_then_failure(2);
    let id = left_undecided(&world, check_back).await;

    let tx = world.finished(id).await;
    assert_eq!(tx.biz_status(), BizStatus::Failure);
    assert_eq!(questions.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn the_same_business_twice_is_one_transaction() {
    let mut world = World::new().await;
    let points = world.willing("points").await;
    let initiator = world.initiator().await;
    let order = || {
        initiator
            .execute("exchange", "order-1")
            .unique_business()
            .action(compensate("deduct", "points"))
    };

    let first = order().send().await.unwrap();
    let second = order().send().await.unwrap();

    assert!(!first.is_repeated() && second.is_repeated());
    assert_eq!(first.tx_id(), second.tx_id());
    assert_eq!(points.words(), ["deduct TRY"]);
}

#[tokio::test]
async fn the_same_begin_is_answered_alike_and_another_body_is_refused_by_its_field() {
    let mut world = World::new().await;
    world.willing("points").await;
    let initiator = world.initiator().await;
    let id = uuid::Uuid::now_v7();
    let order = |business_id: &str| {
        initiator
            .execute("exchange", business_id)
            .tx_id(id)
            .action(compensate("deduct", "points"))
    };

    let first = order("1").send().await.unwrap();
    let again = order("1").send().await.unwrap();
    let other = order("2").send().await.unwrap_err();

    assert_eq!(first.tx_id(), again.tx_id());
    assert!(again.is_repeated());
    assert_eq!(other.reason(), Some("TX_ID_REUSED"));
    assert!(other.to_string().contains("business_id"), "{other}");
}
