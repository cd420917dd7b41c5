//! The Try that an initiator does itself: its row is the one by which the action is confirmed or
//! cancelled.

use futures::future::BoxFuture;
use tercet_sdk::{
    ActionError, Connection, Json,
    Operation::{Cancel, Confirm, Try},
    initiator::{Action, AlreadyTried, OwnTryError},
};
use uuid::Uuid;

use crate::world::{Behave, Dialect, Is, Tx, World, days_ago, effect, is, on_every_database};

on_every_database!(
    an_own_try_is_confirmed_or_cancelled_by_its_row,
    a_repeated_own_try_gives_the_first_result,
    an_own_try_after_its_cancel_has_no_effect,
    an_own_try_that_fails_leaves_nothing,
    an_own_try_that_is_refused_is_cancelled_without_effect,
    an_own_try_races_its_cancel,
    an_own_try_of_an_old_transaction_is_unknown,
);

type Changed<'c> = BoxFuture<'c, Result<Json<String>, ActionError>>;

/// The end of the change, after its effect.
#[derive(Clone, Copy)]
enum End {
    Return(&'static str),
    Fail,
    Refuse,
}

/// The initiator's own change, with an effect that is recorded like that of a Try.
fn change<D: Dialect>(
    tx_id: Uuid,
    end: End,
) -> impl for<'c> Fn(&'c mut Connection<D>) -> Changed<'c> + Send + Sync {
    move |local| {
        Box::pin(async move {
            D::run(local, effect(tx_id, "take", "TRY")).await?;
            match end {
                End::Return(word) => Ok(Json(word.to_owned())),
                End::Fail => Err(ActionError::failed("the disk is full")),
                End::Refuse => Err(ActionError::rejected("sold out")),
            }
        })
    }
}

async fn try_own<D: Dialect>(
    tx: Tx<'_, D>,
    end: End,
) -> Result<(Json<String>, AlreadyTried), OwnTryError> {
    let own = Action::tcc("take", "shop").handler("ledger");
    let change = change::<D>(tx.id, end);
    AlreadyTried::commit(&tx.world.barrier, tx.id, own, change).await
}

async fn an_own_try_is_confirmed_or_cancelled_by_its_row<D: Dialect>() {
    let world = World::<D>::new().await;
    for (operation, effects, row) in [
        (Confirm, &["CONFIRM", "TRY"], &["CONFIRMED"]),
        (Cancel, &["CANCEL", "TRY"], &["CANCELLED"]),
    ] {
        let tx = world.transaction();
        try_own(tx, End::Return("mine")).await.unwrap();
        tx.left(&["TRY"], &["TRIED"]).await;
        for _ in 0..2 {
            // The code of the Confirm reads what the Try returned.
            let outcome = tx.does(operation).await;
            assert_eq!(is(&outcome), Is::Done, "{outcome:?}");
            tx.left(effects, row).await;
        }
    }
}

async fn a_repeated_own_try_gives_the_first_result<D: Dialect>() {
    let world = World::<D>::new().await;
    let tx = world.transaction();
    for returned in ["first", "second"] {
        let (Json(result), _) = try_own(tx, End::Return(returned)).await.unwrap();
        assert_eq!(result, "first");
        tx.left(&["TRY"], &["TRIED"]).await;
    }
    assert_eq!(is(&tx.does(Confirm).await), Is::Done);
    let (Json(result), _) = try_own(tx, End::Return("third")).await.unwrap();
    assert_eq!(result, "first");
    tx.left(&["CONFIRM", "TRY"], &["CONFIRMED"]).await;
}

async fn an_own_try_after_its_cancel_has_no_effect<D: Dialect>() {
    let world = World::<D>::new().await;
    let tx = world.transaction();
    assert_eq!(is(&tx.does(Cancel).await), Is::Done);
    let error = try_own(tx, End::Return("late")).await.unwrap_err();
    assert!(matches!(error, OwnTryError::Rejected(_)), "{error}");
    tx.left(&[], &["CANCELLED"]).await;
}

async fn an_own_try_that_fails_leaves_nothing<D: Dialect>() {
    let world = World::<D>::new().await;
    let tx = world.transaction();
    let error = try_own(tx, End::Fail).await.unwrap_err();
    assert!(
        matches!(&error, OwnTryError::Unknown(text) if text == "the disk is full"),
        "{error}"
    );
    tx.left(&[], &[]).await;
    let deliver = Action::deliver("take", "shop");
    let change = change::<D>(tx.id, End::Return(""));
    let error = AlreadyTried::commit(&world.barrier, tx.id, deliver, change).await;
    assert!(matches!(error, Err(OwnTryError::Invalid(_))), "{error:?}");
    try_own(tx, End::Return("again")).await.unwrap();
    tx.left(&["TRY"], &["TRIED"]).await;
}

async fn an_own_try_that_is_refused_is_cancelled_without_effect<D: Dialect>() {
    let world = World::<D>::new().await;
    let tx = world.transaction();
    for end in [End::Refuse, End::Return("later")] {
        let error = try_own(tx, end).await.unwrap_err();
        assert!(
            matches!(&error, OwnTryError::Rejected(why) if why == "sold out"),
            "{error}"
        );
        tx.left(&[], &["REJECTED"]).await;
    }
    assert_eq!(is(&tx.does(Cancel).await), Is::Done);
    tx.left(&[], &["REJECTED"]).await;
}

async fn an_own_try_races_its_cancel<D: Dialect>() {
    let world = World::<D>::new().await;
    for round in 0..30 {
        let tx = world.transaction();
        let (tried, cancelled) = if round % 2 == 0 {
            tokio::join!(try_own(tx, End::Return("")), tx.does(Cancel))
        } else {
            let (cancelled, tried) = tokio::join!(tx.does(Cancel), try_own(tx, End::Return("")));
            (tried, cancelled)
        };
        assert_eq!(is(&cancelled), Is::Done, "{cancelled:?}");
        match tried {
            Ok(_) => tx.left(&["CANCEL", "TRY"], &["CANCELLED"]).await,
            Err(OwnTryError::Rejected(_)) => tx.left(&[], &["CANCELLED"]).await,
            Err(error) => panic!("{error}"),
        }
    }
}

async fn an_own_try_of_an_old_transaction_is_unknown<D: Dialect>() {
    let world = World::<D>::new().await;
    let tx = world.transaction_of(days_ago(31));
    let error = try_own(tx, End::Return("late")).await.unwrap_err();
    assert!(matches!(error, OwnTryError::Unknown(_)), "{error}");
    tx.left(&[], &[]).await;
    // The participant's own Try is the same operation.
    let tx = world.transaction();
    tx.behaving(Try, Behave::Well).await;
    assert!(try_own(tx, End::Return("second")).await.is_ok());
    tx.left(&["TRY"], &["TRIED"]).await;
}
