//! Named cases of the engine: what leaves, and when.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{World, action, new_transaction, owner, tx_id};
use tercet_core::{
    engine::{CallOutcome, Input, NewTransaction, Request, Route, Settled, Wait},
    id::{CallId, StreamId},
    model::{ActionStatus, Cause, Driver, Mode, Operation, Outcome, Phase, TxStatus},
    refusal::Refusal,
};

fn two_tcc() -> Vec<tercet_core::model::ActionSpec> {
    vec![action("a", Mode::Tcc), action("b", Mode::Tcc)]
}

fn ok() -> CallOutcome {
    CallOutcome::Ok(Bytes::new())
}

fn unknown() -> CallOutcome {
    CallOutcome::Unknown("lost".into())
}

fn rejected() -> CallOutcome {
    CallOutcome::Rejected("short of points".into())
}

#[test]
fn an_execute_tries_decides_confirms_and_ends() {
    let mut world = World::new();
    let caller = world.begin(
        new_transaction(1, Driver::Coordinator, two_tcc()),
        Wait::Completed,
    );
    assert_eq!(world.calls.len(), 2, "both Tries at once");
    world.answer_all();
    let reply = world.reply(caller);
    assert_eq!(reply.transaction.phase.status(), TxStatus::Success);
    assert_eq!(
        reply.transaction.phase.decision().unwrap().cause,
        Cause::AllTried
    );
    assert_eq!(world.writes.len(), 3, "begin, decision, completion");
    assert_eq!(
        world.writes[1].actions,
        [],
        "nothing to keep at the decision"
    );
    assert_eq!(world.engine.stats().transactions, 0, "memory is a cache");
    assert_eq!(world.engine.stats().timers, 0);
}

#[test]
fn compensating_actions_end_with_the_decision() {
    let mut world = World::new();
    let actions = vec![action("a", Mode::Compensate), action("b", Mode::Compensate)];
    world.begin(
        new_transaction(1, Driver::Coordinator, actions),
        Wait::Completed,
    );
    world.answer_all();
    assert_eq!(
        world.writes.len(),
        2,
        "begin, and the decision which is the completion"
    );
}

#[test]
fn nothing_leaves_before_its_write_has_held() {
    let mut world = World::new();
    world.slow_table = true;
    let caller = world.begin(
        new_transaction(1, Driver::Coordinator, two_tcc()),
        Wait::Decided,
    );
    assert!(world.calls.is_empty(), "no Try before the begin is durable");
    world.settle(Settled::Held);
    for call in std::mem::take(&mut world.calls) {
        world.answer(&call, ok());
    }
    assert!(
        world.calls.is_empty() && world.replies.is_empty(),
        "no Confirm, no answer yet"
    );
    world.settle(Settled::Held);
    assert_eq!(world.calls.len(), 2);
    assert!(world.replies.contains_key(&caller));
}

#[test]
fn a_rejection_of_the_only_try_needs_no_cancel() {
    let mut world = World::new();
    let caller = world.begin(
        new_transaction(1, Driver::Coordinator, two_tcc()),
        Wait::Completed,
    );
    let calls = std::mem::take(&mut world.calls);
    world.answer(&calls[0], ok());
    world.answer(&calls[1], rejected());
    assert_eq!(world.answer_all(), [("a".into(), Operation::Cancel)]);
    let tx = &world.reply(caller).transaction;
    assert_eq!(tx.actions[0].status, ActionStatus::Cancelled);
    assert_eq!(tx.actions[1].status, ActionStatus::Rejected);
}

#[test]
fn a_rejection_after_an_unknown_try_is_cancelled_all_the_same() {
    let mut world = World::new();
    let actions = vec![action("a", Mode::Tcc)];
    world.begin(
        new_transaction(1, Driver::Coordinator, actions),
        Wait::Decided,
    );
    let call = world.call();
    world.answer(&call, unknown());
    world.after(Duration::from_secs(2));
    let call = world.call();
    assert_eq!((call.operation, call.attempt), (Operation::Try, 2));
    world.answer(&call, rejected());
    assert_eq!(world.call().operation, Operation::Cancel);
}

#[test]
fn a_try_in_flight_is_cancelled_at_once_on_a_stream() {
    let mut world = World::new();
    world.begin(
        new_transaction(1, Driver::Coordinator, two_tcc()),
        Wait::Decided,
    );
    let calls = std::mem::take(&mut world.calls);
    world.answer(&calls[1], rejected());
    let cancel = world.call();
    assert_eq!(
        (&*cancel.action.name, cancel.operation),
        ("a", Operation::Cancel)
    );
    world.answer(&calls[0], ok());
    assert!(world.calls.is_empty(), "the late answer counts no longer");
}

#[test]
fn at_the_deadline_failure_is_decided_and_not_before() {
    let mut world = World::new();
    let caller = world.begin(
        new_transaction(1, Driver::Coordinator, two_tcc()),
        Wait::Decided,
    );
    world.after(Duration::from_micros(29_999_999));
    assert!(world.replies.is_empty());
    world.after(Duration::from_micros(1));
    let decision = world
        .reply(caller)
        .transaction
        .phase
        .decision()
        .unwrap()
        .clone();
    assert_eq!(
        (decision.outcome, decision.cause),
        (Outcome::Failure, Cause::Deadline)
    );
}

#[test]
fn the_order_holds_forwards_for_confirm_and_backwards_for_cancel() {
    let chain = || {
        let mut second = action("b", Mode::Tcc);
        second.after = vec!["a".into()];
        second.wants_results = true;
        vec![action("a", Mode::Tcc), second]
    };
    let mut world = World::new();
    world.begin(
        new_transaction(1, Driver::Coordinator, chain()),
        Wait::Completed,
    );
    let first = world.call();
    world.answer(&first, CallOutcome::Ok(Bytes::from_static(b"42")));
    let second = world.call();
    assert_eq!(second.results, [("a".into(), Bytes::from_static(b"42"))]);
    world.answer(&second, ok());
    assert_eq!(
        world.answer_all(),
        [
            ("a".into(), Operation::Confirm),
            ("b".into(), Operation::Confirm)
        ]
    );

    let mut third = action("c", Mode::Tcc);
    third.after = vec!["b".into()];
    let mut actions = chain();
    actions.push(third);
    world.begin(
        new_transaction(2, Driver::Coordinator, actions),
        Wait::Completed,
    );
    for _ in 0..2 {
        let call = world.call();
        world.answer(&call, ok());
    }
    let last = world.call();
    world.answer(&last, rejected());
    assert_eq!(
        world.answer_all(),
        [
            ("b".into(), Operation::Cancel),
            ("a".into(), Operation::Cancel)
        ]
    );
}

#[test]
fn calls_that_run_out_park_the_transaction_and_an_operator_brings_it_on() {
    let mut world = World::new();
    let actions = vec![action("a", Mode::Tcc)];
    let caller = world.begin(
        new_transaction(1, Driver::Coordinator, actions),
        Wait::Completed,
    );
    let call = world.call();
    world.answer(&call, ok());
    for attempt in 1..=3 {
        let call = world.call();
        assert_eq!(
            (call.operation, call.attempt),
            (Operation::Confirm, attempt)
        );
        world.answer(&call, unknown());
        world.after(Duration::from_mins(1));
    }
    assert!(world.calls.is_empty(), "three calls were allowed");
    let parked = world.reply(caller).transaction.clone();
    assert!(matches!(parked.phase, Phase::Parked { .. }));
    assert_eq!(parked.actions[0].attempts.len(), 3);
    world.table.insert(tx_id(1), parked);
    let caller = world.ask(Request::Retry(tx_id(1), "the service is back".into()));
    assert_eq!(
        world.reply(caller).transaction.phase.status(),
        TxStatus::Processing
    );
    assert_eq!(world.answer_all(), [("a".into(), Operation::Confirm)]);
    let last = world.writes.last().unwrap();
    assert_eq!(last.head.phase.status(), TxStatus::Success);
}

#[test]
fn a_participant_that_is_not_attached_costs_no_attempt() {
    let mut world = World::detached();
    let caller = world.begin(
        new_transaction(1, Driver::Coordinator, two_tcc()),
        Wait::Completed,
    );
    world.after(Duration::from_secs(20));
    assert!(world.calls.is_empty());
    world.attach(1, 10);
    world.answer_all();
    assert_eq!(
        world.reply(caller).transaction.phase.status(),
        TxStatus::Success
    );
}

#[test]
fn an_answer_counts_only_on_its_stream_and_for_its_call() {
    let mut world = World::new();
    let actions = vec![action("a", Mode::Tcc)];
    world.begin(
        new_transaction(1, Driver::Coordinator, actions),
        Wait::Decided,
    );
    let call = world.call();
    let mut elsewhere = call.clone();
    elsewhere.route = Route::Stream(StreamId(99));
    world.answer(&elsewhere, ok());
    let mut other = call.clone();
    other.tx = tx_id(2);
    world.answer(&other, ok());
    let mut never = call.clone();
    never.id = CallId(77);
    world.answer(&never, ok());
    let mut operation = call.clone();
    operation.operation = Operation::Confirm;
    world.answer(&operation, ok());
    assert!(world.calls.is_empty() && world.replies.is_empty());
    world.answer(&call, ok());
    assert_eq!(world.call().operation, Operation::Confirm);
}

#[test]
fn a_broken_stream_makes_its_open_calls_unknown() {
    let mut world = World::new();
    let actions = vec![action("a", Mode::Tcc)];
    world.begin(
        new_transaction(1, Driver::Coordinator, actions),
        Wait::Decided,
    );
    let first = world.call();
    world.tell(Input::Detached(StreamId(1)));
    world.attach(2, 10);
    world.after(Duration::from_secs(2));
    let again = world.call();
    assert_ne!(first.id, again.id);
    assert_eq!(again.attempt, 2);
}

#[test]
fn the_same_begin_again_is_answered_and_another_body_is_refused() {
    let mut world = World::new();
    let new = new_transaction(1, Driver::Initiator, two_tcc());
    world.begin(new.clone(), Wait::Accepted);
    let again = world.begin(new.clone(), Wait::Accepted);
    assert!(world.reply(again).repeated);
    let mut other = new;
    let mut changed = (*other.actions[1]).clone();
    changed.payload = Bytes::from_static(b"other");
    other.actions[1] = changed.into();
    let refused = world.begin(other, Wait::Accepted);
    let field = "actions[1].payload".into();
    assert_eq!(
        *world.refusal(refused),
        Refusal::TxIdReused {
            id: tx_id(1),
            field
        }
    );
}

#[test]
fn the_opposite_decision_is_refused_by_naming_the_one_that_stands() {
    let mut world = World::new();
    world.begin(
        new_transaction(1, Driver::Initiator, two_tcc()),
        Wait::Accepted,
    );
    let decide = |outcome| Request::Decide(tx_id(1), outcome, "because".into(), Wait::Decided);
    let first = world.ask(decide(Outcome::Success));
    let same = world.ask(decide(Outcome::Success));
    let opposite = world.ask(decide(Outcome::Failure));
    assert!(!world.reply(first).repeated && world.reply(same).repeated);
    assert_eq!(world.refusal(opposite).reason(), "DECISION_CONFLICT");
}

#[test]
fn a_second_begin_of_a_unique_business_is_answered_with_the_first() {
    let mut world = World::new();
    world.slow_table = true;
    let mut first = new_transaction(1, Driver::Initiator, two_tcc());
    first.unique_business = true;
    world.begin(first.clone(), Wait::Accepted);
    world.settle(Settled::Held);
    let second = NewTransaction {
        id: tx_id(2),
        ..first
    };
    let caller = world.begin(second, Wait::Accepted);
    world.settle(Settled::Exists(tx_id(1)));
    let reply = world.reply(caller);
    assert_eq!((reply.transaction.id(), reply.repeated), (tx_id(1), true));
}

#[test]
fn whoever_joined_a_begin_goes_on_with_it_to_the_transaction_that_has_the_business() {
    let mut world = World::new();
    world.slow_table = true;
    let unique = |number| NewTransaction {
        id: tx_id(number),
        unique_business: true,
        ..new_transaction(1, Driver::Initiator, two_tcc())
    };
    // The third is told of the second, which turns out to have lost to the first.
    world.begin(unique(1), Wait::Accepted);
    world.settle(Settled::Held);
    let second = world.begin(unique(2), Wait::Accepted);
    let under_way = std::mem::take(&mut world.pending);
    let third = world.begin(unique(3), Wait::Accepted);
    world.settle(Settled::Exists(tx_id(2)));
    world.pending = under_way;
    world.settle(Settled::Exists(tx_id(1)));
    for caller in [second, third] {
        assert_eq!(world.reply(caller).transaction.id(), tx_id(1));
    }
}

#[test]
fn whoever_joined_a_transaction_is_answered_also_when_its_next_write_moves() {
    let mut first = World::new();
    let begun = first.begin(
        new_transaction(1, Driver::Initiator, two_tcc()),
        Wait::Accepted,
    );
    let mut transaction = first.reply(begun).transaction.clone();
    transaction.owner = owner(0);
    let mut world = World::new();
    world.table.insert(tx_id(1), transaction);
    world.slow_table = true;
    let second = world.begin(
        new_transaction(2, Driver::Initiator, two_tcc()),
        Wait::Accepted,
    );
    world.settle(Settled::Exists(tx_id(1)));
    assert_eq!(world.pending, [tx_id(1)], "it is taken over first");
    world.settle(Settled::Moved);
    world.settle(Settled::Held);
    assert_eq!(world.reply(second).transaction.id(), tx_id(1));
}

#[test]
fn a_write_that_moved_is_judged_again_by_the_row() {
    let mut world = World::new();
    world.begin(
        new_transaction(1, Driver::Initiator, two_tcc()),
        Wait::Accepted,
    );
    world.slow_table = true;
    let caller = world.ask(Request::Decide(
        tx_id(1),
        Outcome::Success,
        String::new(),
        Wait::Decided,
    ));
    // Somebody else decided FAILURE in the meantime.
    let mut other = World::new();
    other.begin(
        new_transaction(1, Driver::Initiator, two_tcc()),
        Wait::Accepted,
    );
    let aborted = other.ask(Request::Decide(
        tx_id(1),
        Outcome::Failure,
        "no".into(),
        Wait::Decided,
    ));
    world
        .table
        .insert(tx_id(1), other.reply(aborted).transaction.clone());
    world.settle(Settled::Moved);
    assert_eq!(world.refusal(caller).reason(), "DECISION_CONFLICT");
}

#[test]
fn an_id_outside_of_its_window_begins_nothing() {
    let mut world = World::new();
    world.after(Duration::from_hours(25));
    let caller = world.begin(
        new_transaction(1, Driver::Initiator, two_tcc()),
        Wait::Accepted,
    );
    assert_eq!(world.refusal(caller).reason(), "TX_ID_EXPIRED");
    assert!(world.writes.is_empty());
}

#[test]
fn what_the_database_refuses_is_answered_and_not_kept() {
    let mut world = World::new();
    world.slow_table = true;
    let caller = world.begin(
        new_transaction(1, Driver::Initiator, two_tcc()),
        Wait::Accepted,
    );
    world.settle(Settled::Refused);
    assert_eq!(world.refusal(caller).reason(), "CONTENT_REFUSED");
    assert_eq!(world.engine.stats().transactions, 0);
}

#[test]
fn calls_of_one_participant_wait_for_a_place() {
    let mut world = World::detached();
    world.attach(1, 1);
    world.begin(
        new_transaction(1, Driver::Coordinator, two_tcc()),
        Wait::Decided,
    );
    let first = world.call();
    world.answer(&first, ok());
    let second = world.call();
    assert_ne!(first.action.name, second.action.name);
}
