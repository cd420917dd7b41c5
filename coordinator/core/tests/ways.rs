//! The ways to a participant, and which of them a call takes.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{
    World, ok, rejected, tcc, tx_id,
    waiting::{look, of, status},
};
use tercet_core::{
    id::StreamId,
    model::{ActionSpec, AttemptOutcome, TxStatus},
    port::{Input, Reach, Route, Wait},
};

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
    for _ in 0..20 {
        while let Some(call) = world.calls.pop() {
            assert_eq!(call.route, Route::Stream(StreamId(6)));
            world.answer(&call, ok());
            made += 1;
        }
        world.after(Duration::from_millis(50));
    }
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
