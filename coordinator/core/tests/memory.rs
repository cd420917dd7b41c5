//! The share of memory and of places that each has, whatever the others do.

#![allow(clippy::unwrap_used)]

mod common;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use common::{
    World, deliver, new_begin, ok, tcc, tx_id,
    waiting::{look, of},
};
use tercet_core::{
    config::EngineConfig,
    id::TxId,
    limits,
    model::{ActionSpec, Outcome},
    port::{Request, Wait},
    refusal::Refusal,
    write::WriteResult,
};

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
        call_timeout: Some(Duration::from_mins(10)),
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

/// All that waits for a participant comes back into memory and to the lane a bounded number at a time.
#[test]
fn a_participant_that_returns_is_drained_in_measured_portions() {
    let mut world = World::detached();
    for _ in 0..5_000 {
        world.execute(Wait::Accepted, [deliver("a")]);
    }
    assert_eq!(world.engine.stats().transactions, 0);
    world.slow_table = true;
    world.attach(1, 10_000);
    for _ in 0..100 {
        world.after(Duration::from_millis(20));
    }
    let in_memory = world.engine.stats().transactions;
    assert_eq!(in_memory, limits::TABLE_AT_ONCE);
    assert_eq!(world.pending.len(), limits::TABLE_AT_ONCE);

    let is_done = |world: &World| world.table.due.is_empty();
    for round in 0..1_000 {
        world.written(WriteResult::Durable);
        world.answer_all();
        let in_memory = world.engine.stats().transactions;
        assert!(in_memory <= 2 * limits::TABLE_AT_ONCE, "{in_memory}");
        world.after(Duration::from_millis(20));
        if is_done(&world) {
            assert!(round >= 5, "{round}");
            break;
        }
    }
    assert!(is_done(&world));
    assert_eq!(world.engine.stats().on_the_move, 0);
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

/// Requests that wait for a write count by their bytes, as transactions do, and are given back with its end.
#[test]
fn requests_that_wait_for_a_write_are_bounded_in_bytes() {
    let config = EngineConfig {
        memory: 1024 * 1024,
        ..EngineConfig::default()
    };
    let mut world = World::with(config);
    world.slow_table = true;
    let begun = world.begin(new_begin(1));
    let add = |number: usize, bytes: usize| {
        let action = ActionSpec {
            payload: Bytes::from(vec![7; bytes]),
            ..tcc(&format!("a{number}"))
        };
        Request::AddAction(tx_id(1), Arc::new(action))
    };
    let before = world.engine.stats().bytes;
    let added: Vec<_> = (0..40).map(|n| world.request(add(n, 60_000))).collect();
    assert!(world.engine.stats().bytes <= 1024 * 1024 * 9 / 8);
    for caller in &added[20..] {
        assert_eq!(*world.refusal(*caller), Refusal::Overloaded);
    }
    // A decision brings nothing, and is taken in.
    world.decide(Outcome::Failure);
    world.written(WriteResult::NotApplied);
    assert_eq!(*world.refusal(begun), Refusal::StoreUnavailable);
    assert_eq!(*world.refusal(added[0]), Refusal::StoreUnavailable);
    assert!(world.engine.stats().bytes < before);
}
