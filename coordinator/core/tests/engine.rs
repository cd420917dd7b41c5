//! Named cases of the engine: what leaves, and when.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{
    World, command, compensate, following, new_begin, ok, owner, rejected, tcc, tx_id, unknown,
};
use tercet_core::{
    id::{CallId, StreamId},
    model::{ActionStatus, Cause, Operation, Outcome, Phase, TxStatus},
    port::{CallAnswer, Input, NewTransaction, Order, Reach, Request, Route, Wait},
    reason::Reason,
    refusal::Refusal,
    write::WriteResult,
};

#[test]
fn an_execute_tries_decides_confirms_and_ends() {
    let mut world = World::new();
    let caller = world.execute(Wait::Completed, [tcc("a"), tcc("b")]);
    assert_eq!(world.calls.len(), 2, "both Tries at once");
    world.answer_all();
    let phase = &world.transaction(caller).phase;
    assert_eq!(phase.status(), TxStatus::Success);
    assert_eq!(phase.decision().unwrap().cause, Cause::AllTried);
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
    world.execute(Wait::Completed, [compensate("a"), compensate("b")]);
    world.answer_all();
    assert_eq!(
        world.writes.len(),
        2,
        "begin, and the decision which is the completion"
    );
}

#[test]
fn nothing_leaves_before_its_write_is_durable() {
    let mut world = World::with_slow_table();
    let caller = world.execute(Wait::Decided, [tcc("a"), tcc("b")]);
    assert!(world.calls.is_empty(), "no Try before the begin is durable");
    world.written(WriteResult::Durable);
    for call in std::mem::take(&mut world.calls) {
        world.answer(&call, ok());
    }
    assert!(
        world.calls.is_empty() && world.replies.is_empty(),
        "no Confirm, no answer yet"
    );
    world.written(WriteResult::Durable);
    assert_eq!(world.calls.len(), 2);
    assert!(world.replies.contains_key(&caller));
}

#[test]
fn a_rejection_of_the_only_try_needs_no_cancel() {
    let mut world = World::new();
    let caller = world.execute(Wait::Completed, [tcc("a"), tcc("b")]);
    let calls = std::mem::take(&mut world.calls);
    world.answer(&calls[0], ok());
    world.answer(&calls[1], rejected());
    assert_eq!(world.answer_all(), [("a".into(), Operation::Cancel)]);
    let actions = &world.transaction(caller).actions;
    assert_eq!(actions[0].state.status, ActionStatus::Cancelled);
    assert_eq!(actions[1].state.status, ActionStatus::Rejected);
}

#[test]
fn a_rejection_after_an_unknown_try_is_cancelled_all_the_same() {
    let mut world = World::new();
    world.execute(Wait::Decided, [tcc("a")]);
    world.answer_call(unknown());
    world.after(Duration::from_secs(2));
    let call = world.answer_call(rejected());
    assert_eq!((call.operation, call.attempt), (Operation::Try, 2));
    assert_eq!(world.call().operation, Operation::Cancel);
}

#[test]
fn a_try_in_flight_is_cancelled_at_once_on_a_stream() {
    let mut world = World::new();
    world.execute(Wait::Decided, [tcc("a"), tcc("b")]);
    let calls = std::mem::take(&mut world.calls);
    world.answer(&calls[1], rejected());
    let cancel = world.call();
    assert_eq!(
        (&*cancel.action.name, cancel.operation),
        ("a", Operation::Cancel)
    );
    world.answer(&calls[0], ok());
    assert!(world.calls.is_empty(), "the late answer no longer counts");
}

#[test]
fn at_the_deadline_failure_is_decided_and_not_before() {
    let mut world = World::new();
    let caller = world.execute(Wait::Decided, [tcc("a"), tcc("b")]);
    world.after(Duration::from_micros(29_999_999));
    assert!(world.replies.is_empty());
    world.after(Duration::from_micros(1));
    let decision = world.transaction(caller).phase.decision().unwrap();
    let cause = Cause::Deadline {
        action: Some("a".into()),
        reason: "1 attempt: no answer from p within 29.999999s".into(),
    };
    assert_eq!(
        (decision.outcome, &decision.cause),
        (Outcome::Failure, &cause)
    );
}

#[test]
fn the_order_holds_forwards_for_confirm_and_backwards_for_cancel() {
    let chain = || [tcc("a"), following("a", tcc("b"))];
    let mut world = World::new();
    world.execute(Wait::Completed, chain());
    world.answer_call(CallAnswer::Ok(Bytes::from_static(b"42")));
    let second = world.answer_call(ok());
    assert_eq!(second.results, [("a".into(), Bytes::from_static(b"42"))]);
    assert_eq!(
        world.answer_all(),
        [
            ("a".into(), Operation::Confirm),
            ("b".into(), Operation::Confirm)
        ]
    );

    let third = following("b", tcc("c"));
    world.execute(Wait::Completed, chain().into_iter().chain([third]));
    world.answer_call(ok());
    world.answer_call(ok());
    world.answer_call(rejected());
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
    let caller = world.execute(Wait::Completed, [tcc("a")]);
    world.answer_call(ok());
    for attempt in 1..=3 {
        let call = world.answer_call(unknown());
        assert_eq!(
            (call.operation, call.attempt),
            (Operation::Confirm, attempt)
        );
        world.after(Duration::from_mins(1));
    }
    assert!(world.calls.is_empty(), "three calls were allowed");
    let parked = world.transaction(caller).clone();
    assert!(matches!(parked.phase, Phase::Parked { .. }));
    assert_eq!(parked.actions[0].state.attempts.len(), 3);
    let caller = world.request(Request::Operator(tx_id(1), command(Order::Retry)));
    assert_eq!(
        world.transaction(caller).phase.status(),
        TxStatus::Processing
    );
    assert_eq!(world.answer_all(), [("a".into(), Operation::Confirm)]);
    let last = world.writes.last().unwrap();
    assert_eq!(last.head.phase.status(), TxStatus::Success);
}

#[test]
fn a_participant_that_is_not_attached_costs_no_attempt() {
    let mut world = World::detached();
    let caller = world.execute(Wait::Completed, [tcc("a"), tcc("b")]);
    world.after(Duration::from_secs(20));
    assert!(world.calls.is_empty());
    world.attach(1, 10);
    world.answer_all();
    assert_eq!(world.transaction(caller).phase.status(), TxStatus::Success);
}

/// A participant of a framework whose ABORTED may be a conflict of its own switches to a stream, or the other way,
/// while a call is under way: the answer is judged by the way on which the call left.
#[test]
fn an_answer_is_judged_by_the_way_on_which_its_call_left() {
    let direct = Reach::Direct { concurrency: 4 };
    for (left_by, then, is_believed) in [
        (direct, Reach::Attach, false),
        (Reach::Attach, direct, true),
    ] {
        let mut world = World::new();
        let set = |reach| Input::Participant {
            name: "p".into(),
            reach,
        };
        world.deliver(set(left_by));
        let caller = world.execute(Wait::Completed, [tcc("a")]);
        world.answer_call(ok());
        let confirm = world.call();
        world.deliver(set(then));
        world.answer(&confirm, rejected());
        assert_eq!(
            world.replies.contains_key(&caller),
            is_believed,
            "parked at once"
        );
        world.after(Duration::from_mins(1));
        assert_eq!(world.answer_all().is_empty(), is_believed);
    }
}

#[test]
fn an_answer_counts_only_on_its_stream_and_for_its_call() {
    let mut world = World::new();
    world.execute(Wait::Decided, [tcc("a")]);
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
    world.execute(Wait::Decided, [tcc("a")]);
    let first = world.call();
    world.deliver(Input::Detached(StreamId(1)));
    world.attach(2, 10);
    world.after(Duration::from_secs(2));
    let again = world.call();
    assert_ne!(first.id, again.id);
    assert_eq!(again.attempt, 2);
}

#[test]
fn the_same_begin_again_is_answered_and_another_body_is_refused() {
    let mut world = World::new();
    world.begin(new_begin(1));
    let again = world.begin(new_begin(1));
    assert!(world.reply(again).repeated);
    let mut other = new_begin(1);
    let mut changed = (*other.actions[1]).clone();
    changed.payload = Bytes::from_static(b"other");
    other.actions[1] = changed.into();
    let refused = world.begin(other);
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
    world.begin(new_begin(1));
    let first = world.decide(Outcome::Success);
    let same = world.decide(Outcome::Success);
    let opposite = world.decide(Outcome::Failure);
    assert!(!world.reply(first).repeated && world.reply(same).repeated);
    assert_eq!(world.refusal(opposite).reason(), Reason::DecisionConflict);
}

/// The begin of a business that transactions 1, 2, … compete for.
fn unique(number: u64) -> NewTransaction {
    NewTransaction {
        id: tx_id(number),
        unique_business: true,
        ..new_begin(1)
    }
}

#[test]
fn a_second_begin_of_a_unique_business_is_answered_with_the_first() {
    let mut world = World::with_slow_table();
    world.begin(unique(1));
    world.written(WriteResult::Durable);
    let caller = world.begin(unique(2));
    world.written(WriteResult::Exists(tx_id(1)));
    let reply = world.reply(caller);
    assert_eq!((reply.transaction.id(), reply.repeated), (tx_id(1), true));
}

#[test]
fn a_caller_who_joined_a_begin_follows_it_to_the_transaction_that_has_the_business() {
    let mut world = World::with_slow_table();
    world.begin(unique(1));
    world.written(WriteResult::Durable);
    // The third finds the second, which turns out to have lost to the first.
    let second = world.begin(unique(2));
    let under_way = std::mem::take(&mut world.pending);
    let third = world.begin(unique(3));
    world.written(WriteResult::Exists(tx_id(2)));
    world.pending = under_way;
    world.written(WriteResult::Exists(tx_id(1)));
    for caller in [second, third] {
        assert_eq!(world.transaction(caller).id(), tx_id(1));
    }
}

#[test]
fn a_caller_who_joined_a_transaction_is_answered_also_when_its_next_write_moves() {
    let mut first = World::new();
    let begun = first.begin(new_begin(1));
    let mut transaction = first.transaction(begun).clone();
    transaction.owner = owner(0);
    let mut world = World::with_slow_table();
    world.table.insert(transaction);
    let second = world.begin(new_begin(2));
    world.written(WriteResult::Exists(tx_id(1)));
    assert_eq!(world.pending, [tx_id(1)], "it is taken over first");
    world.written(WriteResult::Moved);
    world.written(WriteResult::Durable);
    assert_eq!(world.transaction(second).id(), tx_id(1));
}

#[test]
fn a_write_that_moved_is_judged_again_by_the_row() {
    let mut world = World::new();
    world.begin(new_begin(1));
    world.slow_table = true;
    let caller = world.decide(Outcome::Success);
    // Another node decided FAILURE in the meantime.
    let mut other = World::new();
    other.begin(new_begin(1));
    let aborted = other.decide(Outcome::Failure);
    let row = other.transaction(aborted).clone();
    world.table.insert(row);
    world.written(WriteResult::Moved);
    assert_eq!(world.refusal(caller).reason(), Reason::DecisionConflict);
}

#[test]
fn an_id_outside_of_its_window_begins_nothing() {
    let mut world = World::new();
    world.after(Duration::from_hours(25));
    let caller = world.begin(new_begin(1));
    assert_eq!(world.refusal(caller).reason(), Reason::TxIdExpired);
    assert!(world.writes.is_empty());
}

#[test]
fn a_value_that_the_database_refuses_is_answered_and_not_kept() {
    let mut world = World::with_slow_table();
    let caller = world.begin(new_begin(1));
    world.written(WriteResult::Refused);
    assert_eq!(world.refusal(caller).reason(), Reason::ContentRefused);
    assert_eq!(world.engine.stats().transactions, 0);
}

#[test]
fn calls_of_one_participant_wait_for_a_place() {
    let mut world = World::detached();
    world.attach(1, 1);
    world.execute(Wait::Decided, [tcc("a"), tcc("b")]);
    let first = world.answer_call(ok());
    let second = world.call();
    assert_ne!(first.action.name, second.action.name);
}
