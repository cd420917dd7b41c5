//! The barrier's table, cell by cell.

use std::time::Duration;

use serde::Deserialize;
use tercet_sdk::{
    Barrier,
    Operation::{self, Cancel, Confirm, Try},
    database::MIN_RETENTION,
    proto::{Mode, result::Outcome},
};

use crate::world::{Behave, Dialect, Is, Tx, World, days_ago, is, on_every_database};

on_every_database!(
    every_cell_of_the_table,
    after_an_empty_cancel_a_confirm_is_rejected_and_a_cancel_repeats,
    a_deliver_is_delivered_once,
    a_compensate_is_undone_once,
    a_repeated_try_gives_the_first_result,
    a_try_whose_time_is_over_only_reads_the_row,
    names_are_compared_as_bytes,
    without_a_row_an_old_transaction_is_unknown,
    final_rows_are_purged_and_tried_ones_stay,
    what_a_purge_may_have_removed_is_unknown_to_every_barrier,
    no_row_is_kept_for_less_than_the_shortest_retention,
    without_the_barrier_repeated_and_late_calls_take_effect,
);

/// The origin of a row.
#[derive(Clone, Copy, Debug)]
enum Before {
    Tried,
    Confirmed,
    EmptyCancelled,
    Cancelled,
    Rejected,
}

async fn prepare<D: Dialect>(tx: Tx<'_, D>, before: Before) {
    let (steps, behave): (&[Operation], _) = match before {
        Before::Tried => (&[Try], Behave::Well),
        Before::Confirmed => (&[Try, Confirm], Behave::Well),
        Before::EmptyCancelled => (&[Cancel], Behave::Well),
        Before::Cancelled => (&[Try, Cancel], Behave::Well),
        Before::Rejected => (&[Try], Behave::Reject),
    };
    for &step in steps {
        tx.behaving(step, behave).await;
    }
}

/// The cells that SDKs in every language share; `participant-sdk/conformance/README.md` explains them.
const CELLS: &str = include_str!("../../../conformance/barrier.json");

#[derive(Deserialize)]
struct Table {
    cells: Vec<Cell>,
}

#[derive(Deserialize)]
struct Cell {
    name: String,
    modes: Vec<String>,
    before: Vec<String>,
    send: Vec<Exchange>,
}

#[derive(Deserialize)]
struct Exchange {
    call: String,
    answer: String,
}

/// The cells of mode TCC in which no calls race.
fn sequential_cells() -> impl Iterator<Item = Cell> {
    let table: Table = serde_json::from_str(CELLS).unwrap();
    let cells = table.cells.into_iter();
    let cells = cells.filter(|cell| cell.modes.contains(&"TCC".to_owned()));
    cells.filter(|cell| cell.send.len() == 1)
}

async fn call<D: Dialect>(tx: Tx<'_, D>, call: &str) -> Outcome {
    match call {
        "TRY" => tx.does(Try).await,
        "TRY_REJECTED" => tx.behaving(Try, Behave::Reject).await,
        "CONFIRM" => tx.does(Confirm).await,
        "CANCEL" => tx.does(Cancel).await,
        other => panic!("{other:?} is no call"),
    }
}

type Left = &'static [&'static str];

/// The contents of the database after each cell: the effects, and the state of the row.
#[rustfmt::skip]
const LEFT: [(&str, Left, Left); 16] = [
    ("TRY on no row", &["TRY"], &["TRIED"]),
    ("TRY on TRIED (a repetition)", &["TRY"], &["TRIED"]),
    ("TRY on CONFIRMED", &["CONFIRM", "TRY"], &["CONFIRMED"]),
    ("TRY on CANCELLED", &["CANCEL", "TRY"], &["CANCELLED"]),
    ("TRY after an empty CANCEL (a late Try)", &[], &["CANCELLED"]),
    ("TRY on REJECTED", &[], &["REJECTED"]),
    ("CONFIRM on no row", &[], &[]),
    ("CONFIRM on TRIED", &["CONFIRM", "TRY"], &["CONFIRMED"]),
    ("CONFIRM on CONFIRMED (a repetition)", &["CONFIRM", "TRY"], &["CONFIRMED"]),
    ("CONFIRM on CANCELLED", &["CANCEL", "TRY"], &["CANCELLED"]),
    ("CONFIRM on REJECTED", &[], &["REJECTED"]),
    ("CANCEL on no row (an empty cancel)", &[], &["CANCELLED"]),
    ("CANCEL on TRIED", &["CANCEL", "TRY"], &["CANCELLED"]),
    ("CANCEL on CONFIRMED", &["CONFIRM", "TRY"], &["CONFIRMED"]),
    ("CANCEL on CANCELLED (a repetition)", &["CANCEL", "TRY"], &["CANCELLED"]),
    ("CANCEL on REJECTED", &[], &["REJECTED"]),
];

async fn every_cell_of_the_table<D: Dialect>() {
    let world = World::<D>::new().await;
    let mut left = LEFT.iter();
    for Cell {
        name, before, send, ..
    } in sequential_cells()
    {
        let (expected, effects, rows) = left.next().unwrap();
        assert_eq!(name, *expected, "the data and what is left, in one order");
        let tx = world.transaction();
        for step in &before {
            call(tx, step).await;
        }
        let outcome = call(tx, &send[0].call).await;
        let answer = match send[0].answer.as_str() {
            "DONE" | "FIRST_RESULT" => Is::Done,
            "REJECTED" => Is::Rejected,
            other => panic!("{name}: {other:?} is no answer of one call"),
        };
        assert_eq!(is(&outcome), answer, "{name}: {outcome:?}");
        assert_eq!(tx.effects().await, *effects, "{name}: what took effect");
        assert_eq!(tx.rows().await, *rows, "{name}: the row that is left");
    }
    assert_eq!(left.next(), None, "a cell that the data does not have");
}

async fn after_an_empty_cancel_a_confirm_is_rejected_and_a_cancel_repeats<D: Dialect>() {
    let world = World::<D>::new().await;
    for (operation, answer) in [(Confirm, Is::Rejected), (Cancel, Is::Done)] {
        let tx = world.transaction();
        prepare(tx, Before::EmptyCancelled).await;
        let outcome = tx.does(operation).await;
        assert_eq!(is(&outcome), answer, "{operation:?}: {outcome:?}");
        tx.left(&[], &["CANCELLED"]).await;
    }
}

async fn a_deliver_is_delivered_once<D: Dialect>() {
    let world = World::<D>::new().await;
    let tx = world.transaction().handled_by("parcel", Mode::Deliver);
    assert_eq!(is(&tx.behaving(Confirm, Behave::Fail).await), Is::Unknown);
    tx.left(&[], &[]).await;
    for _ in 0..2 {
        assert_eq!(is(&tx.does(Confirm).await), Is::Done);
        tx.left(&["CONFIRM"], &["CONFIRMED"]).await;
    }
    for operation in [Try, Cancel] {
        assert_eq!(is(&tx.does(operation).await), Is::Unknown, "{operation:?}");
    }
    tx.left(&["CONFIRM"], &["CONFIRMED"]).await;
}

async fn a_compensate_is_undone_once<D: Dialect>() {
    let world = World::<D>::new().await;
    let tx = world.transaction().handled_by("sale", Mode::Compensate);
    assert_eq!(is(&tx.does(Try).await), Is::Done);
    assert_eq!(
        is(&tx.does(Confirm).await),
        Is::Unknown,
        "there is no Confirm"
    );
    for _ in 0..2 {
        assert_eq!(is(&tx.does(Cancel).await), Is::Done);
    }
    tx.left(&["CANCEL", "TRY"], &["CANCELLED"]).await;
}

async fn a_repeated_try_gives_the_first_result<D: Dialect>() {
    let world = World::<D>::new().await;
    let tx = world.transaction();
    let first = tx.does(Try).await;
    assert!(matches!(&first, Outcome::Done(done) if done.result.starts_with(b"\"TRY ")));
    assert_eq!(tx.does(Try).await, first);
    tx.does(Confirm).await;
    assert_eq!(tx.does(Try).await, first, "after Confirm too");

    let tx = world.transaction();
    let first = tx.behaving(Try, Behave::Reject).await;
    assert!(matches!(&first, Outcome::Rejected(rejected) if rejected.reason == "sold out"));
    assert_eq!(tx.does(Try).await, first, "a rejection is for ever");
    tx.left(&[], &["REJECTED"]).await;
}

async fn a_try_whose_time_is_over_only_reads_the_row<D: Dialect>() {
    let world = World::<D>::new().await;
    let tx = world.transaction();
    let mut late = tx.call(Try);
    for over in [0, -1] {
        late.time_left_ms = Some(over);
        assert_eq!(is(&tx.send(late.clone()).await), Is::Unknown, "{over} ms");
        tx.left(&[], &[]).await;
    }
    let first = tx.does(Try).await;
    assert_eq!(tx.send(late).await, first);

    let mut late_cancel = tx.call(Cancel);
    late_cancel.time_left_ms = Some(0);
    assert_eq!(
        is(&tx.send(late_cancel).await),
        Is::Done,
        "phase two is never too late"
    );

    let mut unlimited = world.transaction().call(Try);
    unlimited.time_left_ms = None;
    assert_eq!(is(&tx.send(unlimited).await), Is::Done, "no limit is given");
}

async fn names_are_compared_as_bytes<D: Dialect>() {
    let world = World::<D>::new().await;
    let tx = world.transaction();
    let names = ["a", "A", "a ", "ä", "a\u{308}"];
    for name in names {
        let mut call = tx.call(Try);
        name.clone_into(&mut call.action);
        assert_eq!(is(&tx.send(call).await), Is::Done);
    }
    assert_eq!(tx.effects().await.len(), names.len());
    assert_eq!(tx.rows().await.len(), names.len());
}

async fn without_a_row_an_old_transaction_is_unknown<D: Dialect>() {
    let world = World::<D>::new().await;
    let old = world.transaction_of(days_ago(31));
    for operation in [Try, Confirm, Cancel] {
        assert_eq!(is(&old.does(operation).await), Is::Unknown, "{operation:?}");
    }
    old.left(&[], &[]).await;
    let parcel = old.handled_by("parcel", Mode::Deliver);
    assert_eq!(
        is(&parcel.does(Confirm).await),
        Is::Unknown,
        "it may have been delivered"
    );
    let young = world.transaction_of(days_ago(29));
    assert_eq!(is(&young.does(Cancel).await), Is::Done);
    young.left(&[], &["CANCELLED"]).await;
}

async fn final_rows_are_purged_and_tried_ones_stay<D: Dialect>() {
    const DAY: Duration = Duration::from_hours(24);
    let world = World::<D>::with(|barrier| barrier.retention(1_000 * DAY)).await;
    let old: Vec<_> = (0..5).map(|_| world.transaction_of(days_ago(40))).collect();
    for (tx, before) in old.iter().zip([
        Before::Tried,
        Before::Confirmed,
        Before::EmptyCancelled,
        Before::Cancelled,
        Before::Rejected,
    ]) {
        prepare(*tx, before).await;
    }
    world.age_rows().await;
    // A transaction that began long ago and is final only now.
    let late = world.transaction_of(days_ago(40));
    prepare(late, Before::Confirmed).await;
    let young = world.transaction();
    prepare(young, Before::Confirmed).await;

    let careful = Barrier::new(world.pool.clone()).retention(1_000 * DAY);
    assert_eq!(
        careful.purge(100).await.unwrap(),
        0,
        "never younger than the retention"
    );
    let barrier = Barrier::new(world.pool.clone());
    assert_eq!(barrier.purge(3).await.unwrap(), 3);
    assert_eq!(barrier.purge(3).await.unwrap(), 1);
    assert_eq!(barrier.purge(3).await.unwrap(), 0);
    assert_eq!(old[0].rows().await, ["TRIED"]);
    for tx in &old[1..] {
        assert!(tx.rows().await.is_empty());
    }
    assert_eq!(late.rows().await, ["CONFIRMED"]);
    assert_eq!(young.rows().await, ["CONFIRMED"]);
}

/// The row that a barrier with a shorter retention removed is not taken for one that was never there.
async fn what_a_purge_may_have_removed_is_unknown_to_every_barrier<D: Dialect>() {
    let world = World::<D>::new().await;
    let old = |handler, mode| world.transaction_of(days_ago(9)).handled_by(handler, mode);
    let confirmed = old("ledger", Mode::Tcc);
    prepare(confirmed, Before::Confirmed).await;
    let cancelled = old("ledger", Mode::Tcc);
    prepare(cancelled, Before::Cancelled).await;
    let delivered = old("parcel", Mode::Deliver);
    assert_eq!(is(&delivered.does(Confirm).await), Is::Done);
    let external = old("outside", Mode::Tcc);
    prepare(external, Before::Confirmed).await;
    world.age_rows().await;

    let forgetful = Barrier::new(world.pool.clone()).retention(MIN_RETENTION);
    assert_eq!(forgetful.purge(100).await.unwrap(), 4);
    for tx in [confirmed, cancelled, external] {
        let effects = tx.effects().await;
        for operation in [Try, Confirm, Cancel] {
            assert_eq!(is(&tx.does(operation).await), Is::Unknown, "{operation:?}");
        }
        assert_eq!(tx.effects().await, effects);
        assert!(tx.rows().await.is_empty());
    }
    assert_eq!(is(&delivered.does(Confirm).await), Is::Unknown);
    delivered.left(&["CONFIRM"], &[]).await;
    let young = world.transaction_of(days_ago(7));
    assert_eq!(is(&young.does(Try).await), Is::Done);
}

async fn no_row_is_kept_for_less_than_the_shortest_retention<D: Dialect>() {
    let world = World::<D>::new().await;
    let tx = world.transaction_of(days_ago(7));
    prepare(tx, Before::Confirmed).await;
    world.age_rows().await;
    let hasty = Barrier::new(world.pool.clone()).retention(Duration::ZERO);
    assert_eq!(hasty.purge(100).await.unwrap(), 0);
    assert_eq!(tx.rows().await, ["CONFIRMED"]);
}

/// Shows the purpose of the barrier.
async fn without_the_barrier_repeated_and_late_calls_take_effect<D: Dialect>() {
    let world = World::<D>::unfenced().await;
    let tx = world.transaction();
    for operation in [Cancel, Try, Try] {
        assert_eq!(is(&tx.does(operation).await), Is::Done);
    }
    tx.left(&["CANCEL", "TRY", "TRY"], &[]).await;
    assert_eq!(is(&tx.behaving(Try, Behave::Reject).await), Is::Rejected);
    assert_eq!(is(&tx.behaving(Try, Behave::Fail).await), Is::Unknown);
    tx.left(&["CANCEL", "TRY", "TRY"], &[]).await;
}
