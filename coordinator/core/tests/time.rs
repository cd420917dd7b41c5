//! Clocks that jump.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{START, World, command, new_begin, tx_id};
use tercet_core::{
    model::{Cause, Outcome, Rest},
    port::{Input, Order, Request},
    reason::Reason,
};

/// The time of an id counts if it is near the database's clock before a jump or after it.
#[test]
fn ids_are_refused_only_if_both_clocks_refuse_them() {
    let days = |days: u64| i64::try_from(Duration::from_hours(24 * days).as_micros()).unwrap();
    // Refused by the engine's time alone; with a database that is back; with one that is elsewhere.
    let cases = [(0, true), (-days(30), false), (days(30), true)];
    for (difference, refused) in cases {
        let mut world = World::new();
        world.after(Duration::from_hours(24 * 30));
        world.deliver(Input::DatabaseClock { difference });
        let caller = world.begin(new_begin(1));
        let reply = world.replies[&caller].as_ref();
        let reason = reply.err().map(tercet_core::refusal::Refusal::reason);
        assert_eq!(
            reason,
            refused.then_some(Reason::TxIdExpired),
            "{difference}"
        );
    }
}

/// Its deadline would come when the wrong time does.
#[test]
fn an_operator_decides_what_was_begun_with_a_wrong_clock() {
    let mut wrong = World::new();
    wrong.after(Duration::from_hours(23));
    let begun = wrong.begin(new_begin(1));
    let mut row = wrong.transaction(begun).clone();
    assert!(row.spec.create_time > START);

    let mut world = World::new();
    row.rest = Some(Box::new(Rest {
        until: Some(row.spec.deadline),
        ..Rest::default()
    }));
    world.table.insert(row);
    let order = Order::Decide(Outcome::Failure);
    let decided = world.request(Request::Operator(tx_id(1), command(order.clone())));
    let decision = world
        .transaction(decided)
        .phase
        .decision()
        .cloned()
        .unwrap();
    assert!(
        matches!(decision.cause, Cause::Operator { .. }),
        "{decision:?}"
    );

    // With a clock that is right, phase one is its initiator's.
    let mut world = World::new();
    world.begin(new_begin(1));
    let early = world.request(Request::Operator(tx_id(1), command(order)));
    assert_eq!(world.refusal(early).reason(), Reason::PhaseOneRuns);
}
