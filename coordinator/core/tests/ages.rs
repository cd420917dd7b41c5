//! Ages: what becomes of an action whose participant stays away for longer than its `max_age`.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{
    World, command, following, ok, rejected, tcc, tx_id, unknown,
    waiting::{look, of, queues, status, wait},
};
use tercet_core::{
    id::StreamId,
    limits,
    model::{ActionSpec, ActionStatus, AttemptOutcome, Queue, TxStatus},
    port::{CallAnswer, Input, Order, Outage, Reach, Request, Wait},
    write::WriteResult,
};

const AGE: Duration = Duration::from_hours(1);

/// An action that is given up when it is an hour old.
fn aging(action: ActionSpec) -> ActionSpec {
    let mut action = action;
    action.retry.max_age = Some(AGE);
    action
}

/// A world in which each transaction with these actions is decided while every participant is gone: "x" and "y" were
/// attached as streams 1 and 2.
fn deserted_by(transactions: Vec<Vec<ActionSpec>>) -> World {
    let mut world = World::detached();
    world.attach_as("x", 1, 100);
    world.attach_as("y", 2, 100);
    for actions in transactions {
        world.execute(Wait::Accepted, actions);
    }
    world.slow_table = true;
    while let Some(call) = world.calls.pop() {
        world.answer(&call, ok());
        if !world.calls.is_empty() || !world.pending.is_empty() {
            continue;
        }
        world.written(WriteResult::Durable);
    }
    world.deliver(Input::Detached(StreamId(1)));
    world.deliver(Input::Detached(StreamId(2)));
    world.slow_table = false;
    world.written(WriteResult::Durable);
    assert!(world.calls.is_empty(), "{:?}", world.calls);
    world
}

fn deserted(actions: impl IntoIterator<Item = ActionSpec>) -> World {
    let world = deserted_by(vec![actions.into_iter().collect()]);
    assert_eq!(status(&world, 1), TxStatus::Processing);
    world
}

fn statuses(world: &World) -> Vec<ActionStatus> {
    let tx = world.table.transaction(tx_id(1));
    tx.actions.iter().map(|a| a.state.status).collect()
}

fn last_error(world: &World) -> String {
    let tx = world.table.transaction(tx_id(1));
    tx.actions[0].state.last_error.clone()
}

fn retry(world: &mut World) {
    let order = Order::Retry;
    world.request(Request::Operator(tx_id(1), command(order)));
}

/// Fails unless the transaction is given up after this time, and not 3 s before.
fn assert_given_up_after(world: &mut World, time: Duration) {
    world.after(time.saturating_sub(Duration::from_secs(5)));
    look(world);
    assert_eq!(status(world, 1), TxStatus::Processing);
    world.after(Duration::from_secs(3));
    look(world);
    assert_eq!(status(world, 1), TxStatus::Failure);
}

#[test]
fn an_action_whose_participant_stays_away_is_given_up_at_its_age() {
    let mut world = deserted([of("x", aging(tcc("a")))]);
    assert_eq!(queues(&world, 1), [Queue::Time, wait("x", "a")]);
    assert_eq!(world.engine.stats().transactions, 0, "it rests");
    let writes = world.writes.len();
    world.after(AGE.saturating_sub(Duration::from_secs(5)));
    look(&mut world);
    assert_eq!(status(&world, 1), TxStatus::Processing);
    assert_eq!(world.writes.len(), writes, "absence costs nothing");
    world.after(Duration::from_secs(3));
    look(&mut world);
    assert_eq!(status(&world, 1), TxStatus::Failure);
    assert_eq!(
        world.writes.len(),
        writes + 1,
        "one write gives up and parks"
    );
    let tx = world.table.transaction(tx_id(1));
    let action = &tx.actions[0];
    assert_eq!(action.state.status, ActionStatus::Failed);
    let outcomes: Vec<_> = action.state.attempts.iter().map(|a| a.outcome).collect();
    assert_eq!(
        outcomes,
        [AttemptOutcome::Unreachable; 2],
        "noted once, and at its end"
    );
    assert_eq!(action.state.attempts[1].next, None);
    let error = last_error(&world);
    assert!(
        error.contains("was not reachable") && error.contains("participant x"),
        "{error}"
    );
    assert_eq!(queues(&world, 1), [Queue::Parked]);
}

/// Nothing in memory is needed for it.
#[test]
fn an_age_counts_on_while_no_coordinator_runs() {
    let mut world = deserted([of("x", aging(tcc("a")))]);
    world.now = world.now + AGE;
    world.restart();
    look(&mut world);
    assert_eq!(status(&world, 1), TxStatus::Failure);
}

#[test]
fn without_an_age_an_absent_participant_is_waited_for_without_end() {
    let mut world = deserted([of("x", tcc("a"))]);
    let writes = world.writes.len();
    assert_eq!(queues(&world, 1), [wait("x", "a")]);
    for _ in 0..400 {
        world.after(Duration::from_hours(24));
    }
    assert_eq!(world.writes.len(), writes);
    world.attach_as("x", 3, 10);
    world.answer_call(ok());
    assert_eq!(status(&world, 1), TxStatus::Success);
}

/// The others are driven to their end: then it is parked.
#[test]
fn only_the_action_whose_participant_is_away_is_given_up() {
    let mut world = deserted([
        of("x", aging(tcc("a"))),
        of("y", aging(tcc("b"))),
        of("y", tcc("c")),
    ]);
    world.attach_as("y", 3, 10);
    let mut calls = std::mem::take(&mut world.calls);
    calls.sort_by_key(|call| call.action.name.clone());
    world.answer(&calls[0], ok());
    world.answer(&calls[1], unknown());
    world.deliver(Input::Detached(StreamId(3)));
    look(&mut world);
    assert_eq!(
        queues(&world, 1),
        [Queue::Time, wait("x", "a"), wait("y", "c")]
    );
    world.after(AGE);
    look(&mut world);
    assert_eq!(
        statuses(&world),
        [
            ActionStatus::Failed,
            ActionStatus::Confirmed,
            ActionStatus::Tried
        ]
    );
    assert_eq!(status(&world, 1), TxStatus::Processing, "c has no age");
    assert_eq!(
        queues(&world, 1),
        [wait("y", "c")],
        "no time takes it further"
    );
    world.attach_as("x", 4, 10);
    world.attach_as("y", 5, 10);
    assert_eq!(world.answer_all().len(), 1);
    assert_eq!(status(&world, 1), TxStatus::Failure);
    assert_eq!(
        statuses(&world),
        [
            ActionStatus::Failed,
            ActionStatus::Confirmed,
            ActionStatus::Confirmed
        ]
    );
}

/// What stands behind an action that is given up is not called, whatever its own age.
#[test]
fn an_action_behind_one_that_is_given_up_parks_with_it() {
    let mut world = deserted([of("x", aging(tcc("a"))), of("y", following("a", tcc("b")))]);
    world.attach_as("y", 3, 10);
    assert!(world.calls.is_empty(), "its turn has not come");
    world.after(AGE);
    look(&mut world);
    assert_eq!(status(&world, 1), TxStatus::Failure);
    assert_eq!(
        statuses(&world),
        [ActionStatus::Failed, ActionStatus::Tried]
    );
}

/// While calls of another action are under way the transaction stays in memory: the age counts there too.
#[test]
fn an_action_is_given_up_at_its_age_while_another_is_called() {
    let mut world = deserted([of("x", aging(tcc("a"))), of("y", tcc("b"))]);
    world.after(AGE.saturating_sub(Duration::from_secs(5)));
    world.attach_as("y", 3, 10);
    let call = world.call();
    world.after(Duration::from_secs(6));
    assert_eq!(
        statuses(&world),
        [ActionStatus::Failed, ActionStatus::Tried]
    );
    world.answer(&call, ok());
    assert_eq!(status(&world, 1), TxStatus::Failure);
}

/// A participant that is there in time is called, however old the action is.
#[test]
fn a_participant_that_is_back_is_called_once_however_old_the_action_is() {
    for answer in [ok(), unknown()] {
        let is_ok = answer == ok();
        let mut world = deserted([of("x", aging(tcc("a")))]);
        world.now = world.now + AGE + Duration::from_secs(1);
        world.attach_as("x", 3, 10);
        look(&mut world);
        world.answer_call(answer);
        let ends = if is_ok {
            TxStatus::Success
        } else {
            TxStatus::Failure
        };
        assert_eq!(status(&world, 1), ends);
        look(&mut world);
        assert!(world.calls.is_empty());
    }
}

/// Its participant comes back, is busy for longer than the age, and leaves again.
#[test]
fn an_action_that_waits_for_a_place_is_looked_at_again_now_and_then() {
    const NUMBER: u64 = 60;
    let slow = || {
        let mut action = aging(of("x", tcc("a")));
        action.retry.call_timeout = Some(Duration::from_mins(10));
        vec![action]
    };
    let mut world = deserted_by((0..NUMBER).map(|_| slow()).collect());
    world.after(AGE.saturating_sub(Duration::from_secs(5)));
    world.attach_as("x", 3, 1);
    let at_rest = |world: &World| {
        let mut rests = (1..=NUMBER).map(|n| world.table.transaction(tx_id(n)).rest.is_some());
        (0..NUMBER).filter(|_| rests.next() == Some(true)).count()
    };
    look(&mut world);
    assert!(at_rest(&world) > 20, "they wait for its one place");
    let writes = world.writes.len();
    for _ in 0..60 {
        world.after(Duration::from_secs(5));
    }
    assert!(at_rest(&world) > 20);
    let more = world.writes.len() - writes;
    assert!(more < 150, "{more} writes");
    world.deliver(Input::Detached(StreamId(3)));
    world.after(limits::AGE_PAUSE);
    look(&mut world);
    let parked = |n: &u64| status(&world, *n) == TxStatus::Failure;
    assert_eq!((1..=NUMBER).filter(parked).count(), 60);
}

/// An address that takes no call is away like a participant that is not attached.
#[test]
fn an_address_that_is_down_is_away() {
    let mut world = deserted([of("x", aging(tcc("a")))]);
    world.deliver(Input::Participant {
        name: "x".into(),
        reach: Reach::Direct { concurrency: 4 },
    });
    world.answer_call(CallAnswer::Unsent("connection refused".into()));
    let is_down = |(_, outage): &(_, Option<Outage>)| outage.is_some();
    assert!(world.outages.iter().any(is_down));
    for _ in 0..(AGE.as_secs() / 5 + 4) {
        world.after(Duration::from_secs(5));
        if let Some(call) = world.calls.pop() {
            world.answer(&call, CallAnswer::Unsent("connection refused".into()));
        }
    }
    assert_eq!(status(&world, 1), TxStatus::Failure);
    assert!(
        last_error(&world).contains("connection refused"),
        "{}",
        last_error(&world)
    );
}

/// Which handlers are there counts, not which participants.
#[test]
fn a_handler_that_nobody_has_is_away() {
    let mut world = deserted([of("x", aging(tcc("a"))), of("x", aging(tcc("b")))]);
    world.after(AGE.saturating_sub(Duration::from_secs(1)));
    world.attach_with("x", 3, 10, &["b"]);
    let call = world.call();
    assert_eq!(&*call.action.name, "b");
    world.after(Duration::from_secs(2));
    assert_eq!(
        statuses(&world),
        [ActionStatus::Failed, ActionStatus::Tried]
    );
    let tx = world.table.transaction(tx_id(1));
    assert!(
        tx.actions[1].state.attempts.len() < 2,
        "its call is under way"
    );
    world.answer(&call, ok());
    assert_eq!(
        statuses(&world),
        [ActionStatus::Failed, ActionStatus::Confirmed]
    );
    assert_eq!(status(&world, 1), TxStatus::Failure);
}

/// A pause that its policy asks for is waited for first, as it is where the participant can be reached.
#[test]
fn an_action_that_is_not_due_at_its_age_is_given_up_when_it_is() {
    let mut action = aging(tcc("a"));
    action.retry.first_delay = Some(Duration::from_hours(24));
    action.retry.max_delay = Some(Duration::from_hours(24));
    let mut world = deserted([of("x", action)]);
    world.attach_as("x", 3, 10);
    world.answer_call(unknown());
    let rows = world.table.due_of(tx_id(1));
    let at = rows.iter().map(|row| row.at).max().unwrap();
    assert!(rows.len() == 2 && at > world.now + AGE, "{rows:?}");
    world.deliver(Input::Detached(StreamId(3)));
    let wait = at.since(world.now);
    assert_given_up_after(&mut world, wait);
}

/// An operator who retries means: from now on. Also across restarts.
#[test]
fn the_age_counts_anew_from_an_operators_retry() {
    for restarts in [false, true] {
        let mut world = deserted([of("x", aging(tcc("a")))]);
        world.after(AGE);
        look(&mut world);
        assert_eq!(status(&world, 1), TxStatus::Failure);
        world.after(Duration::from_hours(5));
        retry(&mut world);
        assert_eq!(
            status(&world, 1),
            TxStatus::Processing,
            "its participant may be back soon"
        );
        if restarts {
            world.restart();
        }
        assert_given_up_after(&mut world, AGE);
    }
}

/// The same where its calls fail, and where another incarnation has it in hand then.
#[test]
fn a_call_that_fails_after_a_retry_does_not_give_up_at_once() {
    for restarts in [false, true] {
        let mut world = deserted([of("x", aging(tcc("a")))]);
        world.attach_as("x", 3, 10);
        world.answer_call(rejected());
        assert_eq!(status(&world, 1), TxStatus::Failure);
        world.after(AGE * 2);
        retry(&mut world);
        if restarts {
            world.restart();
            world.attach_as("x", 4, 10);
            look(&mut world);
        }
        world.answer_call(unknown());
        assert_eq!(
            status(&world, 1),
            TxStatus::Processing,
            "restarts: {restarts}"
        );
    }
}
