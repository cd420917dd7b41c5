//! Requests for what participants do not serve any more: a repetition is answered, anything new is refused.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{World, new_begin, new_transaction, ok, tcc, tx_id};
use tercet_core::{
    id::TxId,
    model::{ActionSpec, Decider, Outcome},
    port::{NewTransaction, Request, Wait},
    reason::Reason,
    refusal::Refusal,
    violation::Violation,
    write::WriteResult,
};

fn only_repeated(request: Request) -> Request {
    let refusal = Refusal::HandlerUnknown {
        id: request.id(),
        violations: vec![Violation::new("actions[0].handler", "is not there")],
    };
    Request::OnlyRepeated(Box::new(request), refusal)
}

fn begin(new: NewTransaction) -> Request {
    only_repeated(Request::Begin(Arc::new(new), Wait::Accepted))
}

fn add(id: TxId, action: ActionSpec) -> Request {
    only_repeated(Request::AddAction(id, Arc::new(action)))
}

#[test]
fn a_begin_is_answered_only_if_it_repeats_one() {
    let mut world = World::new();
    let first = world.request(begin(new_begin(1)));
    assert_eq!(world.refusal(first).reason(), Reason::HandlerUnknown);
    assert_eq!(world.engine.stats().transactions, 0);
    assert!(world.writes.is_empty());

    world.begin(new_begin(1));
    let in_hand = world.request(begin(new_begin(1)));
    assert!(world.reply(in_hand).repeated);
    world.restart();
    let loaded = world.request(begin(new_begin(1)));
    assert!(world.reply(loaded).repeated);
    world.decide(Outcome::Failure);
    let finished = world.request(begin(new_begin(1)));
    assert!(world.reply(finished).repeated);

    let mut other = new_begin(1);
    other.business_id = "other".into();
    let other = world.request(begin(other));
    assert_eq!(world.refusal(other).reason(), Reason::TxIdReused);
}

/// Only the write that is under way can tell whether there will be a row.
#[test]
fn a_repetition_waits_for_the_write_of_the_first() {
    let mut world = World::with_slow_table();
    let first = world.begin(new_begin(1));
    let repeated = world.request(begin(new_begin(1)));
    assert!(!world.replies.contains_key(&repeated));
    world.written(WriteResult::Durable);
    assert!(!world.reply(first).repeated);
    assert!(world.reply(repeated).repeated);
}

/// The business has another transaction, which answers the begin and its repetition.
#[test]
fn a_repetition_joins_like_the_first() {
    let unique = |number| NewTransaction {
        unique_business: true,
        ..new_begin(number)
    };
    let mut world = World::with_slow_table();
    world.begin(unique(1));
    world.written(WriteResult::Durable);
    let first = world.begin(unique(2));
    let repeated = world.request(begin(unique(2)));
    world.written(WriteResult::Exists(tx_id(1)));
    for caller in [first, repeated] {
        assert_eq!(world.transaction(caller).id(), tx_id(1));
    }
}

#[test]
fn an_action_is_added_only_if_it_was_before() {
    let mut world = World::new();
    let nowhere = world.request(add(tx_id(1), tcc("c")));
    assert_eq!(world.refusal(nowhere).reason(), Reason::TxNotFound);
    world.begin(new_begin(1));
    let first = world.request(add(tx_id(1), tcc("c")));
    assert_eq!(world.refusal(first).reason(), Reason::HandlerUnknown);
    world.request(Request::AddAction(tx_id(1), Arc::new(tcc("c"))));
    let repeated = world.request(add(tx_id(1), tcc("c")));
    assert!(world.reply(repeated).repeated);
    let mut other = tcc("c");
    other.payload = vec![1].into();
    let other = world.request(add(tx_id(1), other));
    assert_eq!(world.refusal(other).reason(), Reason::ActionReused);
}

/// An Execute in hand goes on, whatever its repetition says of its handlers now.
#[test]
fn a_repetition_waits_for_the_outcome() {
    let mut world = World::new();
    let first = world.execute(Wait::Decided, [tcc("a")]);
    let new = Arc::new(new_transaction(1, Decider::Coordinator, [tcc("a")]));
    let repeated = world.request(only_repeated(Request::Begin(new, Wait::Decided)));
    world.answer_call(ok());
    for caller in [first, repeated] {
        let decision = world.transaction(caller).phase.decision();
        assert_eq!(decision.unwrap().outcome, Outcome::Success);
    }
}
