//! Rows at rest for a handler that no instance has at present, as in a rolling deployment.

mod common;

use std::time::Duration;

use common::{World, deliver, ok};
use tercet_core::{
    id::StreamId,
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
