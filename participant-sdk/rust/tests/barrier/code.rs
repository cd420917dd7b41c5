//! The results of the action's code, and their storage.

use tercet_sdk::{
    ActionError, Call, Connection, Json,
    Operation::{Cancel, Confirm, Try},
    Participant,
    proto::{Mode, result::Outcome},
};

use crate::world::{Behave, Dialect, Is, World, effect, is, on_every_database};

on_every_database!(
    a_rejected_try_has_no_effect_and_is_kept,
    a_phase_two_rejection_rolls_back_everything,
    an_error_or_a_panic_rolls_back_everything,
    an_error_that_the_code_ignores_is_not_committed,
    a_result_is_at_most_64_kib,
    a_call_that_makes_no_sense_is_unknown,
    closures_are_actions_too,
);

async fn a_rejected_try_has_no_effect_and_is_kept<D: Dialect>() {
    let world = World::<D>::new().await;
    let tx = world.transaction();
    assert_eq!(is(&tx.behaving(Try, Behave::Reject).await), Is::Rejected);
    tx.left(&[], &["REJECTED"]).await;
    assert_eq!(is(&tx.does(Cancel).await), Is::Done);
    tx.left(&[], &["REJECTED"]).await;
}

async fn a_phase_two_rejection_rolls_back_everything<D: Dialect>() {
    let world = World::<D>::new().await;
    let tx = world.transaction();
    tx.does(Try).await;
    assert_eq!(
        is(&tx.behaving(Confirm, Behave::Reject).await),
        Is::Rejected
    );
    tx.left(&["TRY"], &["TRIED"]).await;
    assert_eq!(
        is(&tx.does(Confirm).await),
        Is::Done,
        "a later retry runs it again"
    );
    tx.left(&["CONFIRM", "TRY"], &["CONFIRMED"]).await;

    let tx = world.transaction();
    tx.does(Try).await;
    assert_eq!(is(&tx.behaving(Cancel, Behave::Reject).await), Is::Rejected);
    tx.left(&["TRY"], &["TRIED"]).await;

    let tx = world.transaction().handled_by("parcel", Mode::Deliver);
    assert_eq!(
        is(&tx.behaving(Confirm, Behave::Reject).await),
        Is::Rejected
    );
    tx.left(&[], &[]).await;
    assert_eq!(is(&tx.does(Confirm).await), Is::Done);
}

async fn an_error_or_a_panic_rolls_back_everything<D: Dialect>() {
    let world = World::<D>::new().await;
    for (behave, words) in [
        (Behave::Fail, "the disk is full"),
        (Behave::Panic, "as told"),
    ] {
        let tx = world.transaction();
        let check = async |operation| {
            let outcome = tx.behaving(operation, behave).await;
            assert!(
                matches!(&outcome, Outcome::Unknown(unknown) if unknown.error.contains(words)),
                "{operation:?} {behave:?}: {outcome:?}"
            );
        };
        check(Try).await;
        tx.left(&[], &[]).await;
        tx.does(Try).await;
        for operation in [Confirm, Cancel] {
            check(operation).await;
            tx.left(&["TRY"], &["TRIED"]).await;
        }
    }
}

async fn an_error_that_the_code_ignores_is_not_committed<D: Dialect>() {
    let world = World::<D>::new().await;
    let tx = world.transaction();
    let outcome = tx.behaving(Try, Behave::Swallow).await;
    // PostgreSQL ends the transaction at the first error; the others undo only the statement.
    match is(&outcome) {
        Is::Done => tx.left(&["TRY"], &["TRIED"]).await,
        Is::Unknown => tx.left(&[], &[]).await,
        Is::Rejected => panic!("{outcome:?}"),
    }
    assert_eq!(is(&tx.does(Try).await), Is::Done);
    tx.left(&["TRY"], &["TRIED"]).await;
}

async fn a_result_is_at_most_64_kib<D: Dialect>() {
    const LIMIT: usize = 64 * 1024;
    let world = World::<D>::new().await;
    let tx = world.transaction();
    let outcome = tx.behaving(Try, Behave::Return(LIMIT + 1)).await;
    assert!(
        matches!(&outcome, Outcome::Unknown(unknown) if unknown.error.contains("65537 bytes")),
        "{outcome:?}"
    );
    tx.left(&[], &[]).await;
    let first = tx.behaving(Try, Behave::Return(LIMIT)).await;
    assert!(matches!(&first, Outcome::Done(done) if done.result.len() == LIMIT));
    assert_eq!(tx.does(Try).await, first);
}

async fn a_call_that_makes_no_sense_is_unknown<D: Dialect>() {
    let world = World::<D>::new().await;
    let tx = world.transaction();
    let good = tx.call(Try);
    let long = "x".repeat(129);
    let wrong = [
        ("handler", {
            let mut call = good.clone();
            call.handler = "nobody".into();
            call
        }),
        ("participant", {
            let mut call = good.clone();
            call.participant = "other".into();
            call
        }),
        ("mode", {
            let mut call = good.clone();
            call.mode = Mode::Deliver.into();
            call
        }),
        ("mode", {
            let mut call = good.clone();
            call.mode = 77;
            call
        }),
        ("operation", {
            let mut call = good.clone();
            call.operation = 0;
            call
        }),
        ("tx_id", {
            let mut call = good.clone();
            call.tx_id = "17".into();
            call
        }),
        ("tx_id", {
            let mut call = good.clone();
            call.tx_id = uuid::Uuid::nil().into();
            call
        }),
        ("action", {
            let mut call = good.clone();
            call.action = String::new();
            call
        }),
        ("action", {
            let mut call = good.clone();
            call.action = "a\0b".into();
            call
        }),
        ("action", {
            let mut call = good.clone();
            call.action = long;
            call
        }),
        ("payload", {
            let mut call = good.clone();
            call.payload = "{".into();
            call
        }),
    ];
    for (field, call) in wrong {
        let outcome = tx.send(call).await;
        assert!(
            matches!(&outcome, Outcome::Unknown(unknown) if unknown.error.contains(field)),
            "{field}: {outcome:?}"
        );
        tx.left(&[], &[]).await;
    }
    assert_eq!(is(&tx.send(good).await), Is::Done);
}

async fn closures_are_actions_too<D: Dialect>() {
    let world = World::<D>::new().await;
    let shop = Participant::builder("shop")
        .database(world.pool.clone())
        .tcc_fn(
            "ledger",
            |tx, call: &Call<Json<String>>| Box::pin(async { write::<D>(tx, call).await }),
            |tx, call| Box::pin(async { write::<D>(tx, call).await }),
            |tx, call| Box::pin(async { write::<D>(tx, call).await }),
        )
        .compensate_fn(
            "sale",
            |tx, call: &Call<Json<String>>| Box::pin(async { write::<D>(tx, call).await }),
            |tx, call| Box::pin(async { write::<D>(tx, call).await }),
        )
        .deliver_fn("parcel", |tx, call: &Call<Json<String>>| {
            Box::pin(async { write::<D>(tx, call).await })
        })
        .build()
        .unwrap();
    let done = async |call| is(&shop.call(call).await.outcome.unwrap()) == Is::Done;

    let tx = world.transaction();
    assert!(done(tx.call(Try)).await && done(tx.call(Confirm)).await);
    tx.left(&["CONFIRM", "TRY"], &["CONFIRMED"]).await;
    let tx = world.transaction();
    assert!(done(tx.call(Try)).await && done(tx.call(Cancel)).await);
    tx.left(&["CANCEL", "TRY"], &["CANCELLED"]).await;
    let tx = world.transaction().handled_by("sale", Mode::Compensate);
    assert!(done(tx.call(Try)).await && done(tx.call(Cancel)).await);
    tx.left(&["CANCEL", "TRY"], &["CANCELLED"]).await;
    let tx = world.transaction().handled_by("parcel", Mode::Deliver);
    assert!(done(tx.call(Confirm)).await);
    tx.left(&["CONFIRM"], &["CONFIRMED"]).await;
}

async fn write<D: Dialect>(
    tx: &mut Connection<D>,
    call: &Call<Json<String>>,
) -> Result<(), ActionError> {
    let operation = format!("{:?}", call.operation).to_uppercase();
    D::run(tx, effect(call.tx_id, &call.action, &operation)).await?;
    Ok(())
}
