//! Operations that race on one row: the effects are those of one of their orders.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sqlx::Database as _;
use tercet_sdk::{
    ActionError, Call, Connection, DeliverAction, Json,
    Operation::{Cancel, Confirm, Try},
    Participant,
    proto::Mode,
};
use tokio::sync::Barrier;

use crate::world::{Dialect, Is, World, is, on_every_database};

on_every_database!(
    a_try_races_its_cancel,
    an_external_try_races_its_cancel,
    a_try_races_itself,
    a_confirm_races_itself,
    a_confirm_races_a_cancel,
    deadlocks_are_tried_again,
);

const ROUNDS: usize = 60;

async fn a_try_races_its_cancel<D: Dialect>() {
    try_against_cancel::<D>("ledger").await;
}

async fn an_external_try_races_its_cancel<D: Dialect>() {
    try_against_cancel::<D>("outside").await;
}

async fn try_against_cancel<D: Dialect>(handler: &'static str) {
    let world = World::<D>::new().await;
    for round in 0..ROUNDS {
        let tx = world.transaction().handled_by(handler, Mode::Tcc);
        // In half of the rounds the Cancel starts first.
        let (tried, cancelled) = if round % 2 == 0 {
            tokio::join!(tx.does(Try), tx.does(Cancel))
        } else {
            let (cancelled, tried) = tokio::join!(tx.does(Cancel), tx.does(Try));
            (tried, cancelled)
        };
        assert_eq!(is(&cancelled), Is::Done, "{cancelled:?}");
        assert_eq!(tx.rows().await, ["CANCELLED"]);
        let effects = tx.effects().await;
        match is(&tried) {
            Is::Done => assert_eq!(effects, ["CANCEL", "TRY"]),
            // An external Try that was announced and has not run yet is cancelled by the code too.
            Is::Rejected if handler == "outside" => assert!(!effects.contains(&"TRY".to_owned())),
            Is::Rejected => assert!(effects.is_empty(), "{effects:?}"),
            Is::Unknown => panic!("{tried:?}"),
        }
    }
}

async fn a_try_races_itself<D: Dialect>() {
    let world = World::<D>::new().await;
    for _ in 0..ROUNDS {
        let tx = world.transaction();
        let (first, second, third) = tokio::join!(tx.does(Try), tx.does(Try), tx.does(Try));
        assert_eq!(is(&first), Is::Done, "{first:?}");
        assert!(
            first == second && second == third,
            "{first:?} {second:?} {third:?}"
        );
        tx.left(&["TRY"], &["TRIED"]).await;
    }
}

async fn a_confirm_races_itself<D: Dialect>() {
    let world = World::<D>::new().await;
    for _ in 0..ROUNDS {
        let tx = world.transaction();
        tx.does(Try).await;
        let (first, second) = tokio::join!(tx.does(Confirm), tx.does(Confirm));
        assert_eq!(
            (is(&first), is(&second)),
            (Is::Done, Is::Done),
            "{first:?} {second:?}"
        );
        tx.left(&["CONFIRM", "TRY"], &["CONFIRMED"]).await;
    }
}

/// The coordinator never sends both, but the barrier does not rely on that.
async fn a_confirm_races_a_cancel<D: Dialect>() {
    let world = World::<D>::new().await;
    for _ in 0..ROUNDS {
        let tx = world.transaction();
        tx.does(Try).await;
        let (confirmed, cancelled) = tokio::join!(tx.does(Confirm), tx.does(Cancel));
        match (is(&confirmed), is(&cancelled)) {
            (Is::Done, Is::Rejected) => tx.left(&["CONFIRM", "TRY"], &["CONFIRMED"]).await,
            (Is::Rejected, Is::Done) => tx.left(&["CANCEL", "TRY"], &["CANCELLED"]).await,
            _ => panic!("{confirmed:?} {cancelled:?}"),
        }
    }
}

/// Two actions take the same two rows in opposite orders, each its first row before the other takes
/// its second.
async fn deadlocks_are_tried_again<D: Dialect>() {
    let world = World::<D>::new().await;
    world
        .run("CREATE TABLE account (id INTEGER PRIMARY KEY, amount INTEGER)".to_owned())
        .await;
    world
        .run("INSERT INTO account VALUES (1, 0), (2, 0)".to_owned())
        .await;
    let runs = Arc::new(AtomicU32::new(0));
    let transfer = Transfer {
        met: Barrier::new(2),
        runs: Arc::clone(&runs),
    };
    let shop = Participant::builder("shop")
        .database(world.pool.clone())
        .deliver("parcel", transfer)
        .build()
        .unwrap();
    let transfer = async |payload: &'static str| {
        let mut call = world
            .transaction()
            .handled_by("parcel", Mode::Deliver)
            .call(Confirm);
        call.payload = payload.into();
        shop.call(call).await.outcome.unwrap()
    };
    let (there, back) = tokio::join!(transfer("[1, 2]"), transfer("[2, 1]"));
    assert_eq!(
        (is(&there), is(&back)),
        (Is::Done, Is::Done),
        "{there:?} {back:?}"
    );
    let sql = "SELECT CAST(amount AS CHAR(8)) FROM account ORDER BY id".to_owned();
    let amounts: Vec<String> = D::words(&world.pool, sql)
        .await
        .iter()
        .map(|amount| amount.trim().to_owned())
        .collect();
    assert_eq!(amounts, ["0", "0"]);
    // SQLite has one writer at a time, so that the two never meet.
    let met = if D::NAME == sqlx::Sqlite::NAME { 2 } else { 3 };
    assert!(
        runs.load(Ordering::Relaxed) >= met,
        "no deadlock came about"
    );
}

/// Takes one row, waits until another has taken its own, then takes the second.
struct Transfer {
    met: Barrier,
    runs: Arc<AtomicU32>,
}

impl<D: Dialect> DeliverAction<D> for Transfer {
    type Request = Json<(u32, u32)>;

    async fn deliver(
        &self,
        tx: &mut Connection<D>,
        call: &Call<Json<(u32, u32)>>,
    ) -> Result<(), ActionError> {
        let Json((from, to)) = call.request;
        D::run(
            tx,
            format!("UPDATE account SET amount = amount - 1 WHERE id = {from}"),
        )
        .await?;
        if self.runs.fetch_add(1, Ordering::Relaxed) < 2 {
            let _ = tokio::time::timeout(Duration::from_millis(300), self.met.wait()).await;
        }
        D::run(
            tx,
            format!("UPDATE account SET amount = amount + 1 WHERE id = {to}"),
        )
        .await?;
        Ok(())
    }
}
