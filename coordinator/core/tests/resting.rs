//! Where a transaction waits: in hand, at rest in the table, and who brings it on from there.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{World, command, following, new_begin, ok, rejected, tcc, tx_id, unknown};
use tercet_core::{
    config::EngineConfig,
    id::{StreamId, TxId},
    model::{
        ActionSpec, ActionStatus, AttemptOutcome, Cause, CheckBack, DueRow, Operation, Outcome,
        Phase, Queue, TxStatus,
    },
    port::{CallAnswer, Input, NewTransaction, Order, Output, Reach, Read, Request, Route, Wait},
    write::WriteResult,
};

/// An action of another participant than "p".
fn of(participant: &str, action: ActionSpec) -> ActionSpec {
    ActionSpec {
        participant: participant.into(),
        ..action
    }
}

fn wait(participant: &str) -> Queue {
    Queue::Wait {
        participant: participant.into(),
        business_type: "exchange".into(),
    }
}

fn queues(world: &World, number: u64) -> Vec<Queue> {
    let rows = world.table.due_of(tx_id(number));
    rows.into_iter().map(|row| row.queue).collect()
}

fn status(world: &World, number: u64) -> TxStatus {
    world.table.transaction(tx_id(number)).phase.status()
}

/// Lets the loader look at the table, again and again.
fn look(world: &mut World) {
    for _ in 0..5 {
        world.after(Duration::from_millis(500));
    }
}

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
    assert_eq!(queues(&world, 1), [wait("x"), wait("y")]);
    assert_eq!(world.engine.stats().transactions, 0);

    world.attach_as("y", 5, 10);
    let confirm = world.answer_call(ok());
    assert_eq!(&*confirm.action.participant, "y");
    assert_eq!(queues(&world, 1), [wait("x")], "it rests for x alone");
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
    assert_eq!(queues(&world, 1), [Queue::Time, wait("p")]);
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

/// A participant "hung" that answers nothing fills its places and its window, and nothing more.
#[test]
fn a_participant_that_hangs_fills_no_memory_and_holds_up_no_other() {
    let config = EngineConfig {
        capacity: 100,
        ..EngineConfig::default()
    };
    let mut world = World::with(config);
    world.attach(1, 10);
    world.attach_as("hung", 2, 4);
    for _ in 0..500 {
        let action = of("hung", tcc("a"));
        world.execute(
            Wait::Accepted,
            [ActionSpec {
                retry: long(),
                ..action
            }],
        );
    }
    let in_memory = world.engine.stats().transactions;
    assert!(in_memory <= 4 + 2 * 16, "{in_memory} in memory");
    let hung = std::mem::take(&mut world.calls);
    assert_eq!(hung.len(), 4);
    world.execute(Wait::Decided, [tcc("a")]);
    assert_eq!(world.call().action.participant, "p".into());

    // Nor after a restart.
    world.restart();
    world.attach(3, 10);
    world.attach_as("hung", 4, 4);
    look(&mut world);
    let in_memory = world.engine.stats().transactions;
    assert!(in_memory <= 4 + 2 * 16, "{in_memory} in memory");
}

fn long() -> tercet_core::model::RetryPolicy {
    tercet_core::model::RetryPolicy {
        call_timeout: Duration::from_mins(10),
        ..Default::default()
    }
}

#[test]
fn what_is_new_does_not_starve_what_waits_in_the_table() {
    let mut world = World::detached();
    for _ in 0..100 {
        world.execute(Wait::Accepted, [tcc("a")]);
    }
    world.attach(1, 2);
    let old: Vec<TxId> = (1..=100).map(tx_id).collect();
    let mut answered = (0, 0);
    for _ in 0..200 {
        // New ones come faster than the participant answers.
        world.execute(Wait::Accepted, [tcc("a")]);
        world.execute(Wait::Accepted, [tcc("a")]);
        world.after(Duration::from_millis(10));
        let call = world.calls.remove(0);
        world.answer(&call, ok());
        if old.contains(&call.tx) {
            answered.0 += 1;
        } else {
            answered.1 += 1;
        }
    }
    assert!(answered.0 >= 50 && answered.1 >= 50, "{answered:?}");
}

#[test]
fn a_participant_that_comes_back_is_looked_up_at_once_among_any_number_of_others() {
    let mut world = World::detached();
    for number in 1..=50_u64 {
        let participant = format!("other-{number:02}");
        world.attach_as(&participant, number, 10);
    }
    world.execute(Wait::Accepted, [of("z", tcc("a"))]);
    world.attach_as("z", 99, 10);
    assert_eq!(world.call().action.participant, "z".into());
}

#[test]
fn a_retry_that_is_far_off_is_spent_in_the_table_by_the_write_that_notes_it() {
    let mut world = World::new();
    let mut action = tcc("a");
    action.retry.first_delay = Duration::from_hours(1);
    action.retry.max_delay = Duration::from_hours(1);
    world.execute(Wait::Decided, [action]);
    world.answer_call(ok());
    let writes = world.writes.len();
    world.answer_call(unknown());
    assert_eq!(world.writes.len(), writes + 1);
    assert_eq!(queues(&world, 1), [wait("p")]);
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
        action.retry.max_attempts = 1;
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
    assert_eq!(queues(&world, 1), [wait("q")]);
    world.attach_as("q", 3, 10);
    assert_eq!(world.answer_all(), [("b".into(), Operation::Cancel)]);
    assert_eq!(status(&world, 1), TxStatus::Success);
}

/// An operator's command brings also the actions behind the one that failed to work.
#[test]
fn what_stood_behind_a_resolved_action_is_called() {
    let mut world = World::new();
    let actions = [tcc("a"), following("a", tcc("b"))].map(|mut action| {
        action.retry.max_attempts = 1;
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
fn memory_that_is_short_keeps_no_transaction_that_only_waits() {
    let config = EngineConfig {
        capacity: 10,
        ..EngineConfig::default()
    };
    let mut world = World::with(config);
    world.attach(1, 10);
    for number in 1..=100 {
        let caller = world.begin(new_begin(number));
        assert!(world.replies[&caller].is_ok(), "{number}");
    }
    assert!(world.engine.stats().transactions <= 10);
}

#[test]
fn an_initiator_that_is_away_costs_no_write_and_is_asked_when_it_is_back() {
    let mut world = World::new();
    let check_back = CheckBack {
        participant: "shop".into(),
        first_delay: Duration::ZERO,
        interval: Duration::from_secs(1),
        max_interval: Duration::from_secs(8),
        max_attempts: Some(1),
    };
    world.begin(NewTransaction {
        check_back: Some(check_back),
        ..new_begin(1)
    });
    world.after(Duration::from_secs(31));
    look(&mut world);
    assert_eq!(queues(&world, 1), [wait("shop")]);
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
fn calls_go_to_instances_that_have_the_handler() {
    let mut world = World::detached();
    for old in 1..=5 {
        world.attach_with("p", old, 10, &["a"]);
    }
    world.attach_with("p", 6, 10, &["a", "new"]);
    for _ in 0..60 {
        world.execute(
            Wait::Accepted,
            [ActionSpec {
                handler: "new".into(),
                ..tcc("a")
            }],
        );
    }
    let mut made = 0;
    while let Some(call) = world.calls.pop() {
        assert_eq!(call.route, Route::Stream(StreamId(6)));
        world.answer(&call, ok());
        made += 1;
    }
    look(&mut world);
    assert_eq!(made, 120, "every Try and every Confirm");
}

#[test]
fn a_handler_that_no_instance_has_waits_as_an_unreachable_one_and_says_so() {
    let mut world = World::detached();
    world.attach_with("p", 1, 10, &["a"]);
    world.execute(
        Wait::Accepted,
        [ActionSpec {
            handler: "new".into(),
            ..tcc("a")
        }],
    );
    let attempt = world.table.transaction(tx_id(1)).actions[0].state.attempts[0].clone();
    assert_eq!(attempt.outcome, AttemptOutcome::Unreachable);
    assert!(attempt.error.contains("handler new"), "{}", attempt.error);
    look(&mut world);
    assert!(world.calls.is_empty());
    world.attach_with("p", 2, 10, &["new"]);
    world.after(Duration::from_secs(2));
    assert_eq!(world.call().route, Route::Stream(StreamId(2)));
}

#[test]
fn an_instance_that_fails_at_once_draws_no_more_than_its_share() {
    let mut world = World::detached();
    for stream in 1..=5 {
        world.attach_as("p", stream, 10);
    }
    let mut failed = 0;
    for _ in 0..500 {
        world.execute(Wait::Accepted, [tcc("a")]);
        let call = world.calls.remove(0);
        if call.route == Route::Stream(StreamId(3)) {
            failed += 1;
            world.answer(&call, rejected());
        } else {
            world.answer_all();
            world.answer(&call, ok());
        }
        world.answer_all();
    }
    assert!((60..=140).contains(&failed), "{failed} of 500");
}

#[test]
fn a_participant_that_becomes_attached_ones_strands_no_call() {
    let mut world = World::detached();
    world.deliver(Input::Participant {
        name: "p".into(),
        reach: Reach::Direct { concurrency: 1 },
    });
    for _ in 0..5 {
        world.execute(Wait::Accepted, [tcc("a")]);
    }
    let first = world.call();
    world.deliver(Input::Participant {
        name: "p".into(),
        reach: Reach::Attach,
    });
    assert_eq!(world.engine.gate().load("p").waiting, 0);
    // The call that left to the address is judged as such.
    world.answer(&first, ok());
    world.attach(1, 10);
    look(&mut world);
    world.answer_all();
    for number in 1..=5 {
        assert_eq!(status(&world, number), TxStatus::Success, "{number}");
    }
}

#[test]
fn a_rejection_counts_by_the_way_on_which_the_call_left() {
    let mut world = World::detached();
    world.deliver(Input::Participant {
        name: "p".into(),
        reach: Reach::Direct { concurrency: 1 },
    });
    world.execute(Wait::Accepted, [tcc("a")]);
    world.answer_call(ok());
    let confirm = world.call();
    world.deliver(Input::Participant {
        name: "p".into(),
        reach: Reach::Attach,
    });
    world.answer(&confirm, rejected());
    assert_eq!(
        status(&world, 1),
        TxStatus::Processing,
        "a framework may have said so"
    );
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

#[test]
fn a_finished_transaction_leaves_nothing_waiting() {
    let mut world = World::detached();
    for _ in 0..100 {
        world.execute(Wait::Completed, [tcc("a"), of("q", tcc("b"))]);
    }
    world.after(Duration::from_secs(31));
    for _ in 0..10 {
        look(&mut world);
    }
    let stats = world.engine.stats();
    assert_eq!(
        (stats.transactions, stats.calls_waiting, stats.timers),
        (0, 0, 0)
    );
    assert!(world.table.due.is_empty());
    assert_eq!(world.replies.len(), 100);
}

/// The one call that was allowed is not used up by a rest, a restart and a load.
#[test]
fn a_single_permitted_call_survives_rest_and_restart() {
    let mut world = World::new();
    let mut action = tcc("a");
    action.retry.max_attempts = 1;
    world.execute(Wait::Accepted, [action]);
    let call = world.call();
    world.slow_table = true;
    world.answer(&call, ok());
    world.deliver(Input::Detached(StreamId(1)));
    world.slow_table = false;
    world.written(WriteResult::Durable);
    assert_eq!(queues(&world, 1), [wait("p")]);
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

#[test]
fn heavy_transactions_wait_in_the_table_too() {
    let config = EngineConfig {
        memory: 8 * 1024 * 1024,
        ..EngineConfig::default()
    };
    let mut world = World::with(config);
    world.attach_as("hung", 1, 1_000);
    world.attach(2, 10);
    for _ in 0..300 {
        let heavy = ActionSpec {
            payload: vec![0; 64 * 1024].into(),
            ..of("hung", tcc("a"))
        };
        world.execute(Wait::Accepted, [heavy]);
    }
    let bytes = world.engine.stats().bytes;
    assert!(bytes <= 1024 * 1024, "{bytes}");
    assert!(world.calls.len() < 20 && !world.calls.is_empty());
    world.calls.clear();
    world.execute(Wait::Accepted, [tcc("a")]);
    assert_eq!(world.call().action.participant, "p".into());
    assert_eq!(world.replies.len(), 301, "none was refused");
}

/// The end of the initiator's time in memory comes between two timers that are farther off: nothing spins.
#[test]
fn an_initiator_that_is_slow_is_waited_for_in_memory_where_the_deadline_is_near() {
    let mut world = World::new();
    world.begin(NewTransaction {
        timeout: Duration::from_secs(8),
        ..new_begin(1)
    });
    world.after(Duration::from_secs(6));
    assert!(matches!(queues(&world, 1)[..], [Queue::Hand(_)]));
    world.after(Duration::from_secs(3));
    let tx = world.table.transaction(tx_id(1));
    assert_eq!(tx.phase.decision().unwrap().outcome, Outcome::Failure);
}
