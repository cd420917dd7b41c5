//! Where a transaction waits: in hand, at rest in the table, and how it goes on from there.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{
    World, command, following, new_begin, ok, rejected, tcc, tx_id, unknown,
    waiting::{look, of, queues, status, wait},
};
use tercet_core::{
    id::StreamId,
    model::{
        ActionStatus, Cause, CheckBack, DueRow, Need, Operation, Outcome, Phase, Queue, TxStatus,
    },
    port::{CallAnswer, Input, NewTransaction, Order, Output, Read, Request, Wait},
    write::WriteResult,
};

#[test]
fn a_transaction_goes_on_with_whatever_participant_can_be_reached() {
    let mut world = World::detached();
    world.attach_as("x", 1, 10);
    world.attach_as("y", 2, 10);
    world.execute(Wait::Decided, [of("x", tcc("a")), of("y", tcc("b"))]);
    let tries = std::mem::take(&mut world.calls);
    world.deliver(Input::Detached(StreamId(1)));
    world.deliver(Input::Detached(StreamId(2)));
    world.attach_as("x", 3, 10);
    world.attach_as("y", 4, 10);
    drop(tries);
    look(&mut world);
    let tries = std::mem::take(&mut world.calls);
    assert_eq!(tries.len(), 2);
    // Both are gone when the decision is made.
    world.answer(&tries[0], ok());
    world.slow_table = true;
    world.answer(&tries[1], ok());
    world.deliver(Input::Detached(StreamId(3)));
    world.deliver(Input::Detached(StreamId(4)));
    world.slow_table = false;
    world.written(WriteResult::Durable);
    assert_eq!(queues(&world, 1), [wait("x", "a"), wait("y", "b")]);
    assert_eq!(world.engine.stats().transactions, 0);

    world.attach_as("y", 5, 10);
    let confirm = world.answer_call(ok());
    assert_eq!(&*confirm.action.participant, "y");
    assert_eq!(queues(&world, 1), [wait("x", "a")], "it rests for x alone");
    look(&mut world);
    assert!(world.calls.is_empty());
    world.attach_as("x", 6, 10);
    world.answer_call(ok());
    assert_eq!(status(&world, 1), TxStatus::Success);
    assert_eq!(queues(&world, 1), []);
}

#[test]
fn an_execute_that_was_never_sent_ends_at_its_deadline_wherever_it_waited() {
    let mut world = World::detached();
    let caller = world.execute(Wait::Completed, [tcc("a"), tcc("b")]);
    assert_eq!(
        queues(&world, 1),
        [Queue::Time, wait("p", "a"), wait("p", "b")]
    );
    assert_eq!(
        world.engine.stats().transactions,
        0,
        "it rests from its begin on"
    );
    world.restart();
    world.after(Duration::from_secs(29));
    look(&mut world);
    let tx = world.table.transaction(tx_id(1));
    assert!(matches!(tx.phase, Phase::Finished { .. }), "{:?}", tx.phase);
    let cause = &tx.phase.decision().unwrap().cause;
    assert!(matches!(cause, Cause::Deadline { .. }), "{cause:?}");
    assert!(world.calls.is_empty() && queues(&world, 1).is_empty());
    assert!(
        !world.replies.contains_key(&caller),
        "its caller was with the old incarnation"
    );
}

#[test]
fn a_caller_waits_on_while_its_transaction_rests() {
    let mut world = World::detached();
    let caller = world.execute(Wait::Completed, [tcc("a")]);
    assert_eq!(world.engine.stats().transactions, 0);
    world.attach(1, 10);
    world.answer_all();
    assert_eq!(world.transaction(caller).phase.status(), TxStatus::Success);
}

#[test]
fn a_try_whose_time_is_over_is_never_sent() {
    let mut world = World::with_slow_table();
    world.execute(Wait::Decided, [tcc("a")]);
    world.now = world.now + Duration::from_secs(31);
    world.written(WriteResult::Durable);
    assert!(world.calls.is_empty(), "{:?}", world.calls);
    world.written(WriteResult::Durable);
    let tx = world.table.transaction(tx_id(1));
    assert!(
        matches!(tx.phase, Phase::Finished { .. }),
        "what was never sent needs no Cancel"
    );
}

#[test]
fn a_retry_that_is_far_off_is_spent_in_the_table_by_the_write_that_notes_it() {
    let mut world = World::new();
    let mut action = tcc("a");
    action.retry.first_delay = Some(Duration::from_hours(1));
    action.retry.max_delay = Some(Duration::from_hours(1));
    world.execute(Wait::Decided, [action]);
    world.answer_call(ok());
    let writes = world.writes.len();
    world.answer_call(unknown());
    assert_eq!(world.writes.len(), writes + 1);
    assert_eq!(queues(&world, 1), [wait("p", "a")]);
    assert_eq!(world.engine.stats().transactions, 0);
    let at = world.table.due_of(tx_id(1))[0].at;
    world.now = at;
    look(&mut world);
    let call = world.answer_call(ok());
    assert_eq!((call.operation, call.attempt), (Operation::Confirm, 2));
    assert_eq!(status(&world, 1), TxStatus::Success);
    assert_eq!(
        world.writes.len(),
        writes + 3,
        "taken with its call authorised, and finished"
    );
}

#[test]
fn an_initiator_that_is_slow_is_waited_for_in_the_table() {
    let mut world = World::new();
    world.begin(new_begin(1));
    world.after(Duration::from_secs(6));
    assert_eq!(queues(&world, 1), [Queue::Time]);
    assert_eq!(world.engine.stats().transactions, 0);
    world.decide(Outcome::Success);
    assert_eq!(world.answer_all().len(), 2);
    assert_eq!(status(&world, 1), TxStatus::Success);
}

#[test]
fn patience_that_ends_shortly_before_the_deadline_wakes_the_engine_once() {
    let mut world = World::new();
    world.begin(new_begin(1));
    world.after(Duration::from_secs(24));
    world.request(Request::AddAction(tx_id(1), std::sync::Arc::new(tcc("c"))));
    world.after(Duration::from_secs(5));
    assert_eq!(
        queues(&world, 1).len(),
        1,
        "it stays in hand for its deadline"
    );
    world.after(Duration::from_secs(1));
    assert_eq!(status(&world, 1), TxStatus::Processing);
}

/// A rejection of the only Try is as final at rest as in hand: no Cancel is wanted afterwards.
#[test]
fn a_rejection_of_the_only_try_is_remembered_at_rest() {
    let mut world = World::new();
    world.attach_as("q", 2, 10);
    let actions = ["a", "b"].map(|name| {
        let mut action = tcc(name);
        action.retry.max_attempts = Some(1);
        action
    });
    let [a, b] = actions;
    world.execute(Wait::Accepted, [a, of("q", b)]);
    let calls = std::mem::take(&mut world.calls);
    world.answer(&calls[1], ok());
    world.slow_table = true;
    world.answer(&calls[0], rejected());
    world.deliver(Input::Detached(StreamId(2)));
    world.slow_table = false;
    world.written(WriteResult::Durable);
    assert_eq!(queues(&world, 1), [wait("q", "b")]);
    world.attach_as("q", 3, 10);
    assert_eq!(world.answer_all(), [("b".into(), Operation::Cancel)]);
    assert_eq!(status(&world, 1), TxStatus::Success);
}

/// An operator's command brings also the actions behind the one that failed to work.
#[test]
fn what_stood_behind_a_resolved_action_is_called() {
    let mut world = World::new();
    let actions = [tcc("a"), following("a", tcc("b"))].map(|mut action| {
        action.retry.max_attempts = Some(1);
        action
    });
    world.execute(Wait::Accepted, actions);
    world.answer_call(ok());
    world.answer_call(ok());
    world.answer_call(rejected());
    assert_eq!(status(&world, 1), TxStatus::Failure);
    let order = Order::Resolve {
        actions: vec!["a".into()],
        status: ActionStatus::Confirmed,
    };
    world.request(Request::Operator(tx_id(1), command(order)));
    assert_eq!(world.answer_all(), [("b".into(), Operation::Confirm)]);
    assert_eq!(status(&world, 1), TxStatus::Success);
}

#[test]
fn time_that_jumps_during_a_look_at_the_table_does_not_postpone_the_next_one_for_long() {
    let mut world = World::new();
    world.after(Duration::from_secs(1));
    world.engine.handle(world.present(), Input::Tick);
    let mut looks = world.engine.drain().into_iter();
    while looks.len() == 0 {
        world.now = world.now + Duration::from_millis(100);
        world.engine.handle(world.present(), Input::Tick);
        looks = world.engine.drain().into_iter();
    }
    let is_look = |output: &Output| matches!(output, Output::Read(Read::Queues(_)));
    let Some(Output::Read(Read::Queues(query))) = looks.find(is_look) else {
        panic!("no look at the table");
    };
    world.now = world.now + Duration::from_mins(5);
    let found = Input::Queues(query, Vec::new());
    world.engine.handle(world.present(), found);
    world.now = world.now + Duration::from_mins(1);
    world.engine.handle(world.present(), Input::Tick);
    assert!(world.engine.drain().iter().any(is_look));
}

#[test]
fn an_initiator_that_is_away_costs_no_write_and_is_asked_when_it_is_back() {
    let mut world = World::new();
    let check_back = CheckBack {
        participant: "shop".into(),
        first_delay: Some(Duration::ZERO),
        interval: Some(Duration::from_secs(1)),
        max_interval: Some(Duration::from_secs(8)),
        max_attempts: Some(1),
    };
    world.begin(NewTransaction {
        check_back: Some(check_back),
        ..new_begin(1)
    });
    world.after(Duration::from_secs(31));
    look(&mut world);
    let question = Queue::Wait {
        participant: "shop".into(),
        need: Some(Need::CheckBack),
        business_type: "exchange".into(),
    };
    assert_eq!(queues(&world, 1), [question]);
    let writes = world.writes.len();
    for _ in 0..1_000 {
        world.after(Duration::from_secs(10));
    }
    assert_eq!(world.writes.len(), writes);
    world.attach_as("shop", 5, 1);
    assert_eq!(world.asked.len(), 1);
}

#[test]
fn a_write_that_the_database_refuses_is_not_repeated_at_once() {
    let mut world = World::new();
    world.execute(Wait::Accepted, [tcc("a")]);
    world.slow_table = true;
    let call = world.call();
    world.answer(&call, CallAnswer::Ok("result".into()));
    world.written(WriteResult::Refused);
    assert!(
        world.pending.is_empty(),
        "no second write at the same instant"
    );
    look(&mut world);
    assert!(world.pending.is_empty());
    // After a minute it is tried once more.
    world.after(Duration::from_mins(1));
    look(&mut world);
    assert_eq!(world.pending, [tx_id(1)]);
}

#[test]
fn a_row_that_was_repaired_is_looked_at_again() {
    let mut world = World::detached();
    world.execute(Wait::Accepted, [tcc("a")]);
    world.table.break_row(tx_id(1));
    world.attach(1, 10);
    look(&mut world);
    assert_eq!(world.illegal, 1, "reported once, and passed over");
    world.table.repair_row(tx_id(1));
    world.after(Duration::from_secs(20));
    look(&mut world);
    assert_eq!(world.illegal, 1);
    assert!(world.calls.is_empty());
    // Its deadline has passed when the minute is over; until then it was held up for itself alone.
    world.after(Duration::from_secs(40));
    look(&mut world);
    assert_eq!(status(&world, 1), TxStatus::Success);
}

#[test]
fn rows_in_hand_of_an_earlier_incarnation_are_taken_at_once() {
    let mut world = World::new();
    world.execute(Wait::Accepted, [tcc("a")]);
    world.calls.clear();
    assert!(matches!(queues(&world, 1)[..], [Queue::Hand(_)]));
    world.restart();
    assert!(!matches!(queues(&world, 1)[..], [Queue::Hand(ref owner)] if owner.epoch == 1));
    world.attach(2, 10);
    look(&mut world);
    world.answer_all();
    assert_eq!(status(&world, 1), TxStatus::Success);
}

#[test]
fn a_row_in_hand_that_memory_lost_is_found_within_a_lease() {
    let mut world = World::new();
    world.execute(Wait::Accepted, [tcc("a")]);
    world.slow_table = true;
    let call = world.call();
    world.answer(&call, CallAnswer::Ok("result".into()));
    world.written(WriteResult::Lost);
    assert_eq!(world.engine.stats().transactions, 0);
    world.slow_table = false;
    world.after(Duration::from_secs(11));
    look(&mut world);
    world.answer_all();
    assert_eq!(status(&world, 1), TxStatus::Success);
}

/// The one call that was allowed is not used up by a rest, a restart and a load.
#[test]
fn a_single_permitted_call_survives_rest_and_restart() {
    let mut world = World::new();
    let mut action = tcc("a");
    action.retry.max_attempts = Some(1);
    world.execute(Wait::Accepted, [action]);
    let call = world.call();
    world.slow_table = true;
    world.answer(&call, ok());
    world.deliver(Input::Detached(StreamId(1)));
    world.slow_table = false;
    world.written(WriteResult::Durable);
    assert_eq!(queues(&world, 1), [wait("p", "a")]);
    world.restart();
    world.attach(2, 10);
    let confirm = world.answer_call(ok());
    assert_eq!(
        (confirm.operation, confirm.attempt),
        (Operation::Confirm, 1)
    );
    assert_eq!(status(&world, 1), TxStatus::Success);
}

#[test]
fn a_decision_reaches_a_transaction_at_rest() {
    let mut world = World::detached();
    world.execute(Wait::Accepted, [tcc("a")]);
    let aborted = world.decide(Outcome::Failure);
    let tx = world.transaction(aborted);
    assert!(
        matches!(tx.phase, Phase::Finished { .. }),
        "nothing was sent"
    );
    assert_eq!(tx.actions[0].state.status, ActionStatus::Cancelled);
}

#[test]
fn a_parked_transaction_stands_in_its_own_queue() {
    let mut world = World::new();
    world.execute(Wait::Accepted, [tcc("a")]);
    world.answer_call(ok());
    world.answer_call(rejected());
    assert!(matches!(
        world.table.due_of(tx_id(1))[..],
        [DueRow {
            queue: Queue::Parked,
            ..
        }]
    ));
    world.request(Request::Operator(tx_id(1), command(Order::Retry)));
    assert!(matches!(queues(&world, 1)[..], [Queue::Hand(_)]));
}

/// The end of the initiator's time in memory comes between two timers that are farther off: nothing spins.
#[test]
fn an_initiator_that_is_slow_is_waited_for_in_memory_where_the_deadline_is_near() {
    let mut world = World::new();
    world.begin(NewTransaction {
        timeout: Some(Duration::from_secs(8)),
        ..new_begin(1)
    });
    world.after(Duration::from_secs(6));
    assert!(matches!(queues(&world, 1)[..], [Queue::Hand(_)]));
    world.after(Duration::from_secs(3));
    let tx = world.table.transaction(tx_id(1));
    assert_eq!(tx.phase.decision().unwrap().outcome, Outcome::Failure);
}
