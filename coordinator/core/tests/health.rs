//! Participants that take no call, or answer none: what their transactions cost, and how they go on.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{World, new_begin, ok, tcc, tx_id, unknown, unsent};
use tercet_core::{
    limits,
    model::{
        ActionSpec, AttemptOutcome, CheckBack, Operation, Outcome, Phase, RetryPolicy, TxStatus,
    },
    port::{CheckBackAnswer, CheckBackResult, Input, NewTransaction, Reach, Wait},
    write::WriteResult,
};

/// A world in which "p" is called at an address, by so many calls at once.
fn direct(concurrency: u32) -> World {
    let mut world = World::detached();
    register(&mut world, "p", concurrency);
    world
}

fn register(world: &mut World, name: &str, concurrency: u32) {
    world.deliver(Input::Participant {
        name: name.into(),
        reach: Reach::Direct { concurrency },
    });
}

/// An action with pauses of a few milliseconds.
fn hasty(name: &str) -> ActionSpec {
    let mut action = tcc(name);
    action.retry = RetryPolicy {
        first_delay: Some(Duration::from_millis(5)),
        max_delay: Some(Duration::from_millis(20)),
        max_attempts: Some(10_000),
        ..RetryPolicy::default()
    };
    action
}

/// Lets time pass from one wake-up to the next; answers every call with the same.
fn pass(
    world: &mut World,
    duration: Duration,
    answer: impl Fn() -> tercet_core::port::CallAnswer,
) -> usize {
    let end = world.present().moment + duration;
    let mut calls = 0;
    while world.present().moment < end {
        let now = world.present().moment;
        let earliest = now + Duration::from_millis(1);
        let wakes_at = world.engine.next_wakeup().unwrap_or(end);
        world.after(wakes_at.max(earliest).min(end).since(now));
        for call in std::mem::take(&mut world.calls) {
            world.answer(&call, answer());
            calls += 1;
        }
    }
    calls
}

/// Begins so many transactions of one action of "p" whose Confirm is wanted from now on.
fn confirming(world: &mut World, number: u64) {
    for number in 1..=number {
        let mut new = new_begin(number);
        new.actions.truncate(1);
        new.actions[0] = std::sync::Arc::new(hasty("a"));
        world.begin(new);
        let decide = tercet_core::port::Request::Decide(
            tx_id(number),
            Outcome::Success,
            String::new(),
            Wait::Accepted,
        );
        world.request(decide);
    }
}

fn is_done(world: &World, number: u64) -> bool {
    let tx = world.table.transaction(tx_id(number));
    tx.phase.status() == TxStatus::Success
}

/// At the default concurrency, 300 transactions of an address that refuses connections.
#[test]
fn an_address_that_takes_no_call_costs_two_writes_per_probe() {
    let mut world = direct(64);
    confirming(&mut world, 300);
    pass(&mut world, Duration::from_secs(10), unsent);
    let writes = world.writes.len();
    let probes = pass(&mut world, Duration::from_mins(30), unsent);
    let most = 30 * 60 * 1_000 / (limits::PROBE_DELAY_MAX.as_millis() / 2);
    assert!((300..=most as usize).contains(&probes), "{probes} probes");
    let written = world.writes.len() - writes;
    assert!(
        written <= 2 * probes + 2,
        "{written} writes, {probes} probes"
    );
    assert!(world.engine.stats().transactions <= 1);
    for number in 1..=300 {
        let action = &world.table.transaction(tx_id(number)).actions[0];
        assert_eq!(action.state.retry_count, 0, "none is an attempt");
        let mut attempts = action.state.attempts.iter();
        assert!(attempts.all(|attempt| attempt.outcome == AttemptOutcome::Unreachable));
    }
    // The next probe finds it up, and all of them go on.
    pass(&mut world, Duration::from_secs(15), ok);
    let done = (1..=300).filter(|number| is_done(&world, *number));
    assert_eq!(done.count(), 300);
}

#[test]
fn probes_take_turns_among_the_transactions_that_wait() {
    let mut world = direct(1);
    confirming(&mut world, 5);
    let mut called = Vec::new();
    for _ in 0..3_000 {
        world.after(Duration::from_millis(10));
        for call in std::mem::take(&mut world.calls) {
            called.push(call.tx);
            world.answer(&call, unsent());
        }
    }
    let last: std::collections::BTreeSet<_> = called.iter().rev().take(5).collect();
    assert_eq!(last.len(), 5, "{called:?}");
}

#[test]
fn one_probe_leaves_at_a_time_with_pauses_that_grow() {
    let mut world = direct(10);
    confirming(&mut world, 3);
    for call in std::mem::take(&mut world.calls) {
        world.answer(&call, unsent());
    }
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let since = world.now;
        while world.calls.is_empty() {
            world.after(Duration::from_millis(1));
        }
        pauses.push(world.now.since(since));
        // Nothing but the probe, for as long as it is under way.
        for _ in 0..100 {
            world.after(Duration::from_millis(1));
        }
        let probe = world.call();
        world.answer(&probe, unsent());
    }
    for (place, pause) in pauses.iter().enumerate() {
        let whole = (limits::PROBE_DELAY * (1 << place)).min(limits::PROBE_DELAY_MAX);
        let slack = Duration::from_millis(2);
        assert!(*pause >= whole / 2 && *pause <= whole + slack, "{pauses:?}");
    }
}

#[test]
fn a_probe_that_takes_long_has_left() {
    let mut world = direct(2);
    confirming(&mut world, 4);
    for call in std::mem::take(&mut world.calls) {
        world.answer(&call, unsent());
    }
    while world.calls.is_empty() {
        world.after(Duration::from_millis(10));
    }
    for _ in 0..110 {
        world.after(limits::PROBE_PATIENCE / 100);
        if world.calls.len() > 1 {
            return;
        }
    }
    panic!("{:?}", world.calls);
}

/// The transaction of the probe is loaded again while the probe is under way: its end will say nothing.
#[test]
fn a_probe_that_is_given_up_makes_room_for_another() {
    let mut world = direct(2);
    world.attach_as("q", 7, 10);
    let b = ActionSpec {
        participant: "q".into(),
        ..hasty("b")
    };
    let mut new = new_begin(1);
    new.actions = [hasty("a"), b].map(std::sync::Arc::new).into();
    world.begin(new);
    world.decide(Outcome::Success);
    let calls = std::mem::take(&mut world.calls);
    let [to_p, to_q] = &calls[..] else {
        panic!("{calls:?}")
    };
    world.answer(to_p, unsent());
    while world.calls.is_empty() {
        world.after(Duration::from_millis(10));
    }
    let probe = world.call();
    assert_eq!(probe.action.participant, "p".into());
    world.slow_table = true;
    world.answer(to_q, unknown());
    world.slow_table = false;
    world.written(WriteResult::Moved);
    assert!(world.engine.gate().outage("p").is_some());
    pass(&mut world, Duration::from_secs(20), ok);
    assert!(is_done(&world, 1));
}

#[test]
fn a_new_address_is_called_at_once() {
    let mut world = direct(2);
    confirming(&mut world, 2);
    for call in std::mem::take(&mut world.calls) {
        world.answer(&call, unsent());
    }
    assert!(world.engine.gate().outage("p").is_some());
    register(&mut world, "p", 2);
    assert!(world.engine.gate().outage("p").is_none());
    assert!(!world.calls.is_empty());
}

/// What is begun while the address is down rests from its begin on, and ends at its deadline without a call.
#[test]
fn an_execute_to_an_address_that_is_down_rests_from_its_begin_on() {
    let mut world = direct(1);
    world.execute(Wait::Accepted, [hasty("a")]);
    let first = world.call();
    world.answer(&first, unsent());
    let writes = world.writes.len();
    let caller = world.execute(Wait::Completed, [hasty("a")]);
    assert_eq!(world.writes.len(), writes + 1);
    assert!(world.table.transaction(tx_id(2)).rest.is_some());
    let error = &world.table.transaction(tx_id(2)).actions[0]
        .state
        .last_error;
    assert!(
        error.contains("takes no call: connection refused"),
        "{error}"
    );
    pass(&mut world, Duration::from_secs(40), unsent);
    let tx = world.transaction(caller);
    assert!(matches!(tx.phase, Phase::Finished { .. }), "{:?}", tx.phase);
}

/// The other participant's calls go on, and the transaction with them.
#[test]
fn a_transaction_goes_on_with_its_other_participants() {
    let mut world = direct(1);
    register(&mut world, "q", 1);
    let b = ActionSpec {
        participant: "q".into(),
        ..tcc("b")
    };
    let mut new = new_begin(1);
    new.actions = [tcc("a"), b].map(std::sync::Arc::new).into();
    world.begin(new);
    world.decide(Outcome::Success);
    let mut confirmed = Vec::new();
    for _ in 0..1_000 {
        for call in std::mem::take(&mut world.calls) {
            if &*call.action.participant == "p" {
                world.answer(&call, unsent());
            } else {
                confirmed.push(call.operation);
                world.answer(&call, ok());
            }
        }
        world.after(Duration::from_millis(10));
    }
    assert_eq!(confirmed, [Operation::Confirm]);
    pass(&mut world, Duration::from_secs(10), ok);
    assert!(is_done(&world, 1));
}

/// 300 transactions whose participant refuses each call at once, with pauses of a few milliseconds: the number of
/// writes per second is bounded whatever the number of transactions, on a stream as at an address.
#[test]
fn a_participant_that_fails_at_once_is_called_in_measure() {
    for is_attached in [true, false] {
        let mut world = direct(64);
        if is_attached {
            world = World::detached();
            world.attach(1, 64);
        }
        confirming(&mut world, 300);
        pass(&mut world, Duration::from_secs(2), unknown);
        let writes = world.writes.len();
        let calls = pass(&mut world, Duration::from_secs(20), unknown);
        let intervals = 20_000 / limits::RETRY_INTERVAL.as_millis() as usize + 1;
        let most = intervals * limits::RETRIES_AT_ONCE as usize;
        assert!(
            (most / 2..=most).contains(&calls),
            "{calls} of {most} calls"
        );
        let written = world.writes.len() - writes;
        assert!(written <= 2 * most + 200, "{written} writes");
        let kept = world.engine.stats().transactions;
        assert!(kept <= 64 + 2 * 128, "{kept} in memory");
        // The first answer ends the measure.
        let calls = pass(&mut world, Duration::from_secs(4), ok);
        assert!(calls >= 300, "{calls}");
        assert!((1..=300).all(|number| is_done(&world, number)));
    }
}

/// While one participant fails, another's calls and writes do not wait.
#[test]
fn a_participant_that_fails_holds_up_no_other() {
    let mut world = direct(64);
    confirming(&mut world, 500);
    pass(&mut world, Duration::from_secs(5), unknown);
    world.attach_as("q", 7, 10);
    let writes = world.writes.len();
    for number in 501..=1_500 {
        let mut new = new_begin(number);
        let other = ActionSpec {
            participant: "q".into(),
            ..tcc("a")
        };
        new.actions = vec![std::sync::Arc::new(other)];
        new.decider = tercet_core::model::Decider::Coordinator;
        world.begin(new);
        for call in std::mem::take(&mut world.calls) {
            let answer = if &*call.action.participant == "q" {
                ok()
            } else {
                unknown()
            };
            world.answer(&call, answer);
        }
        world.answer_all();
        world.after(Duration::from_millis(1));
    }
    assert!((501..=1_500).all(|number| is_done(&world, number)));
    let of_p = world.writes[writes..].iter();
    let of_p = of_p.filter(|write| write.id <= tx_id(500)).count();
    assert!(of_p <= 4 * 2 * limits::RETRIES_AT_ONCE as usize, "{of_p}");
}

/// A question that never left is not counted: the one that is allowed comes after any number of them, and a restart.
#[test]
fn a_question_that_never_left_is_none() {
    let mut world = direct(1);
    register(&mut world, "shop", 1);
    let check_back = CheckBack {
        participant: "shop".into(),
        first_delay: Some(Duration::ZERO),
        interval: Some(Duration::from_millis(10)),
        max_interval: Some(Duration::from_millis(10)),
        max_attempts: Some(1),
    };
    world.begin(NewTransaction {
        check_back: Some(check_back),
        ..new_begin(1)
    });
    world.after(Duration::from_secs(31));
    for epoch in 1..=3 {
        let mut asked = 0;
        for _ in 0..2_000 {
            world.after(Duration::from_millis(10));
            for question in std::mem::take(&mut world.asked) {
                asked += 1;
                assert_eq!(question.attempt, 1);
                world.deliver(Input::CheckBackResult(CheckBackResult {
                    route: question.route,
                    epoch,
                    call: question.id,
                    tx: question.tx,
                    answer: CheckBackAnswer::Unsent("connection refused".into()),
                }));
            }
        }
        let tx = world.table.transaction(tx_id(1));
        assert!(
            matches!(tx.phase, Phase::AskingBack { .. }),
            "{:?}",
            tx.phase
        );
        assert_eq!((tx.check_backs, asked > 3), (1, true));
        assert!(tx.rest.is_some());
        world.restart();
        register(&mut world, "p", 1);
        register(&mut world, "shop", 1);
    }
}
