//! Instances with different handlers, as in a rolling deployment: calls of one handler do not stand in the way of those
//! of another.

mod common;

use std::time::Duration;

use common::{World, deliver, ok, tcc};
use tercet_core::{
    config::EngineConfig,
    id::StreamId,
    model::ActionSpec,
    port::{Input, Wait},
};

const STUCK: usize = 1_000;

/// A world with so many transactions at rest for the handler "a" of "p", whose one instance has "b".
fn stuck() -> World {
    let mut world = World::detached();
    world.attach_with("p", 1, 10, &["b"]);
    for _ in 0..STUCK {
        world.execute(Wait::Accepted, [deliver("a")]);
    }
    assert_eq!(world.table.waiting(), STUCK);
    world
}

#[test]
fn rows_for_a_handler_that_no_instance_has_are_not_read() {
    let mut world = stuck();
    for _ in 0..600 {
        world.after(Duration::from_millis(500));
    }
    assert_eq!(world.due_read, 0);
    world.restart();
    world.attach_with("p", 2, 10, &["b"]);
    for _ in 0..600 {
        world.after(Duration::from_millis(500));
    }
    assert_eq!(world.due_read, 0);
}

#[test]
fn a_call_of_another_handler_passes_them() {
    let mut world = stuck();
    world.deliver(Input::Detached(StreamId(1)));
    world.execute(Wait::Accepted, [deliver("b")]);
    assert_eq!(world.table.waiting(), STUCK + 1);
    world.attach_with("p", 2, 10, &["b"]);
    world.after(Duration::from_millis(1));
    assert_eq!(world.answer_call(ok()).action.handler, "b".into());
    assert_eq!(world.due_read, 1);
}

#[test]
fn they_go_on_when_an_instance_has_the_handler() {
    let mut world = stuck();
    world.attach_with("p", 2, 10, &["a"]);
    let mut delivered = 0;
    for _ in 0..STUCK {
        world.after(Duration::from_millis(50));
        delivered += world.answer_all().len();
    }
    assert_eq!(delivered, STUCK);
    assert_eq!(world.table.waiting(), 0);
}

#[test]
fn calls_that_wait_for_one_handler_leave_room_for_another() {
    let mut world = World::detached();
    world.attach_with("p", 1, 10, &["a"]);
    world.attach_with("p", 2, 10, &["b"]);
    // The instance with the handler "a" hangs.
    for _ in 0..STUCK {
        world.execute(Wait::Accepted, [deliver("a")]);
    }
    world.calls.clear();
    for _ in 0..100 {
        world.execute(Wait::Accepted, [deliver("b")]);
        let delivered = world.answer_all();
        assert_eq!(delivered.len(), 1, "at once, from memory");
    }
}

/// All calls of a transaction leave at once, however heavy it is: its bytes are in memory once.
#[test]
fn the_bytes_of_a_transaction_count_once_for_all_its_calls() {
    let mut world = World::with(EngineConfig {
        memory: 8 * 1024 * 1024,
        ..EngineConfig::default()
    });
    let names: Vec<String> = (0..64).map(|n| format!("h{n}")).collect();
    let handlers: Vec<&str> = names.iter().map(String::as_str).collect();
    world.attach_with("p", 1, 1_000, &handlers);
    let heavy = |name: &&str| ActionSpec {
        payload: vec![0; 64 * 1024].into(),
        ..tcc(name)
    };
    world.execute(Wait::Accepted, handlers.iter().map(heavy));
    assert_eq!(world.calls.len(), 64);
    // Another one goes on when the first has no call there any more.
    world.execute(Wait::Accepted, handlers.iter().map(heavy));
    assert_eq!(world.calls.len(), 64);
    assert_eq!(world.answer_all().len(), 2 * 64, "each Try and Confirm");
    for _ in 0..5 {
        world.after(Duration::from_millis(500));
    }
    assert_eq!(world.calls.len(), 64);
}
