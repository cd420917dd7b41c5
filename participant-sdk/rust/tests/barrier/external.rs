//! Actions with an effect outside the database: the row TRYING exists before their code runs.

use tercet_sdk::{
    Operation::{Cancel, Confirm, Try},
    proto::Mode,
};

use crate::world::{Behave, Dialect, Is, World, is, on_every_database};

on_every_database!(
    a_try_that_may_have_run_is_tried_again,
    a_try_that_may_have_run_is_cancelled_by_the_code,
    an_external_try_that_is_rejected_is_final,
    an_external_cancel_that_comes_first_runs_nothing,
);

async fn a_try_that_may_have_run_is_tried_again<D: Dialect>() {
    let world = World::<D>::new().await;
    let tx = world.transaction().handled_by("outside", Mode::Tcc);
    for behave in [Behave::Fail, Behave::Panic] {
        assert_eq!(is(&tx.behaving(Try, behave).await), Is::Unknown);
        tx.left(&[], &["TRYING"]).await;
    }
    assert_eq!(is(&tx.does(Confirm).await), Is::Rejected);
    assert_eq!(is(&tx.does(Try).await), Is::Done);
    tx.left(&["TRY"], &["TRIED"]).await;
    assert_eq!(is(&tx.does(Confirm).await), Is::Done);
    tx.left(&["CONFIRM", "TRY"], &["CONFIRMED"]).await;
}

async fn a_try_that_may_have_run_is_cancelled_by_the_code<D: Dialect>() {
    let world = World::<D>::new().await;
    let tx = world.transaction().handled_by("outside", Mode::Tcc);
    assert_eq!(is(&tx.behaving(Try, Behave::Fail).await), Is::Unknown);
    assert_eq!(is(&tx.behaving(Cancel, Behave::Fail).await), Is::Unknown);
    tx.left(&[], &["TRYING"]).await;
    assert_eq!(is(&tx.does(Cancel).await), Is::Done);
    assert_eq!(is(&tx.does(Try).await), Is::Rejected);
    tx.left(&["CANCEL"], &["CANCELLED"]).await;
}

async fn an_external_try_that_is_rejected_is_final<D: Dialect>() {
    let world = World::<D>::new().await;
    let tx = world.transaction().handled_by("outside", Mode::Tcc);
    assert_eq!(is(&tx.behaving(Try, Behave::Reject).await), Is::Rejected);
    assert_eq!(is(&tx.does(Try).await), Is::Rejected);
    assert_eq!(is(&tx.does(Cancel).await), Is::Done);
    tx.left(&[], &["REJECTED"]).await;
}

async fn an_external_cancel_that_comes_first_runs_nothing<D: Dialect>() {
    let world = World::<D>::new().await;
    let tx = world.transaction().handled_by("outside", Mode::Tcc);
    assert_eq!(is(&tx.does(Cancel).await), Is::Done);
    assert_eq!(is(&tx.does(Try).await), Is::Rejected);
    tx.left(&[], &["CANCELLED"]).await;
}
