//! Callers that do not wait any longer: they left, or the database takes no writes.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{World, new_begin, ok, tcc, tx_id};
use tercet_core::{
    config::EngineConfig,
    id::CallerId,
    model::Outcome,
    port::{Input, Read, Request, Wait},
    reason::Reason,
    refusal::Refusal,
    write::WriteResult,
};

fn reasons(world: &World, callers: &[CallerId]) -> Vec<Reason> {
    let refusals = callers.iter().map(|caller| world.refusal(*caller));
    refusals.map(Refusal::reason).collect()
}

#[test]
fn callers_that_left_free_their_places() {
    let mut world = World::with_slow_table();
    world.begin(new_begin(1));
    world.written(WriteResult::Durable);
    world.decide(Outcome::Success);
    let places = EngineConfig::default().waiting_events;
    for _ in 0..2 * places {
        let asked = Request::Begin(Arc::new(new_begin(1)), Wait::Completed);
        for caller in [world.request(asked), world.decide(Outcome::Success)] {
            world.deliver(Input::CallerLeft {
                caller,
                id: tx_id(1),
            });
        }
    }
    let last = world.decide(Outcome::Success);
    world.written(WriteResult::Durable);
    assert!(world.reply(last).repeated);
}

/// A request goes on when its caller leaves, also one that waits for the write of another.
#[test]
fn the_request_of_a_caller_that_left_goes_on() {
    let mut world = World::with_slow_table();
    world.begin(new_begin(1));
    let caller = world.decide(Outcome::Success);
    world.deliver(Input::CallerLeft {
        caller,
        id: tx_id(1),
    });
    world.written(WriteResult::Durable);
    world.written(WriteResult::Durable);
    let asked = world.begin(new_begin(1));
    let decision = world.transaction(asked).phase.decision();
    assert_eq!(decision.unwrap().outcome, Outcome::Success);
}

#[test]
fn requests_that_were_not_written_changed_nothing() {
    let mut world = World::with_slow_table();
    let begun = world.begin(new_begin(1));
    let behind = world.decide(Outcome::Success);
    world.written(WriteResult::NotApplied);
    let unavailable = [Reason::StoreUnavailable; 2];
    assert_eq!(reasons(&world, &[begun, behind]), unavailable);
    assert_eq!(world.engine.stats().transactions, 0);

    // The same request succeeds later.
    let again = world.begin(new_begin(1));
    world.written(WriteResult::Durable);
    assert!(!world.reply(again).repeated);
}

/// The Execute took effect; what becomes of its decision is not known.
#[test]
fn callers_of_earlier_requests_are_not_told_that_nothing_changed() {
    let mut world = World::with_slow_table();
    let executed = world.execute(Wait::Decided, [tcc("a")]);
    world.written(WriteResult::Durable);
    world.answer_call(ok());
    let asked = Request::Begin(Arc::new(new_begin(1)), Wait::Decided);
    let asked = world.request(asked);
    world.written(WriteResult::NotApplied);
    assert_eq!(
        reasons(&world, &[executed, asked]),
        [Reason::OutcomeUnknown, Reason::StoreUnavailable]
    );
    assert_eq!(world.engine.stats().transactions, 0);
}

#[test]
fn a_write_without_an_answer_goes_on_without_its_callers() {
    let mut world = World::with_slow_table();
    let begun = world.begin(new_begin(1));
    let behind = world.decide(Outcome::Failure);
    let pending = world.pending.clone();
    world.written(WriteResult::Unanswered);
    assert_eq!(
        reasons(&world, &[begun, behind]),
        [Reason::OutcomeUnknown, Reason::StoreUnavailable]
    );
    let later = world.decide(Outcome::Success);
    world.pending = pending;
    world.written(WriteResult::Durable);
    world.written(WriteResult::Durable);
    assert!(!world.reply(later).repeated);
}

#[test]
fn a_read_that_fails_is_repeated_without_its_callers() {
    let mut world = World::new();
    let begun = world.begin(new_begin(1));
    let row = world.transaction(begun).clone();

    let mut world = World::new();
    let caller = CallerId(7);
    let request = Request::Decide(tx_id(1), Outcome::Success, String::new(), Wait::Accepted);
    world
        .engine
        .handle(world.present(), Input::Request { caller, request });
    let _lost = world.engine.drain();
    world.deliver(Input::ReadFailed(Read::Transactions(vec![tx_id(1)])));
    assert_eq!(world.refusal(caller).reason(), Reason::StoreUnavailable);
    world.table.insert(row);
    let poll = EngineConfig::default().poll;
    world.after(poll);
    let again = world.decide(Outcome::Success);
    assert!(!world.reply(again).repeated);
}
