//! Calls that are closed without an answer: each is withdrawn, once, on the way on which it left.

#![allow(clippy::unwrap_used)]

mod common;

use std::{collections::BTreeSet, time::Duration};

use common::{World, at, new_begin, ok, rejected, tcc, unknown};
use tercet_core::{
    id::StreamId,
    model::{CheckBack, Outcome},
    port::{CheckBackAnswer, CheckBackResult, Input, Output, Reach, Route, Wait},
    write::WriteResult,
};

type Story = fn(&mut World);

/// The ends of calls, each with the calls and questions that were withdrawn then.
const ENDS: &[(&str, usize, Story)] = &[
    ("answered OK", 0, |world| {
        world.execute(Wait::Completed, [tcc("a")]);
        world.answer_all();
    }),
    ("answered UNKNOWN", 0, |world| {
        world.execute(Wait::Completed, [tcc("a")]);
        world.answer_call(unknown());
    }),
    ("a wrong answer", 0, |world| {
        world.execute(Wait::Completed, [tcc("a"), tcc("b")]);
        let mut call = world.calls[0].clone();
        call.route = Route::Direct;
        world.answer(&call, ok());
    }),
    ("no answer in time", 2, |world| {
        world.execute(Wait::Completed, [tcc("a"), tcc("b")]);
        world.after(Duration::from_secs(10));
    }),
    ("no answer in time, at an address", 1, |world| {
        move_to_an_address(world);
        world.execute(Wait::Completed, [tcc("a")]);
        world.after(Duration::from_secs(10));
    }),
    ("decided meanwhile", 1, |world| {
        world.execute(Wait::Decided, [tcc("a"), tcc("b")]);
        let second = world.calls[1].clone();
        world.answer(&second, rejected());
    }),
    ("decided meanwhile, at an address", 0, |world| {
        move_to_an_address(world);
        world.execute(Wait::Decided, [tcc("a"), tcc("b")]);
        let second = world.calls[1].clone();
        world.answer(&second, rejected());
    }),
    ("the stream is gone", 2, |world| {
        world.execute(Wait::Decided, [tcc("a"), tcc("b")]);
        world.deliver(Input::Detached(world.stream));
    }),
    ("another stream is gone", 0, |world| {
        world.execute(Wait::Decided, [tcc("a"), tcc("b")]);
        world.deliver(Input::Detached(StreamId(99)));
    }),
    ("the row has moved on", 1, |world| {
        fail_a_write(world, WriteResult::Moved);
    }),
    ("the write was lost", 1, |world| {
        fail_a_write(world, WriteResult::Lost);
    }),
    ("the write was not applied", 1, |world| {
        fail_a_write(world, WriteResult::NotApplied);
    }),
    ("the write was refused", 1, |world| {
        fail_a_write(world, WriteResult::Refused);
    }),
    ("a question, answered", 0, |world| {
        ask(world);
        let question = world.asked[0].clone();
        world.deliver(Input::CheckBackResult(CheckBackResult {
            route: question.route,
            epoch: 1,
            call: question.id,
            tx: question.tx,
            answer: CheckBackAnswer::Unknown("not yet".into()),
        }));
    }),
    ("a question, no answer in time", 1, |world| {
        ask(world);
        world.after(Duration::from_secs(10));
    }),
    ("a question, decided meanwhile", 1, |world| {
        ask(world);
        world.decide(Outcome::Failure);
    }),
    ("a question, the stream is gone", 1, |world| {
        ask(world);
        world.deliver(Input::Detached(world.stream));
    }),
];

#[test]
fn a_call_that_is_closed_without_an_answer_is_withdrawn_once() {
    for (end, withdrawn, happens) in ENDS {
        let mut world = World::new();
        happens(&mut world);
        assert_eq!(world.withdrawn.len(), *withdrawn, "{end}");
        let once: BTreeSet<_> = world.withdrawn.iter().map(|(call, _)| *call).collect();
        assert_eq!(once.len(), *withdrawn, "{end}");
        for (call, route) in &world.withdrawn {
            assert!(world.left.contains(&(*call, *route)), "{end}: its own way");
            assert!(!world.engine.is_open(*call), "{end}");
        }
        let open = |(call, _): &&_| world.engine.is_open(*call);
        let open = world.left.iter().filter(open).count();
        assert_eq!(open, world.engine.stats().calls, "{end}");
    }
}

/// The withdrawal comes before the call that takes the place.
#[test]
fn a_call_is_withdrawn_before_another_leaves_in_its_place() {
    let mut world = World::detached();
    world.attach(1, 1);
    world.execute(Wait::Completed, [tcc("a")]);
    world.execute(Wait::Completed, [tcc("a")]);
    assert_eq!(world.left.len(), 1);
    world
        .engine
        .handle(at(world.now + Duration::from_secs(10)), Input::Tick);
    let order: Vec<_> = world
        .engine
        .drain()
        .iter()
        .filter_map(|output| match output {
            Output::Withdraw { call, .. } => Some(("withdraw", call.0)),
            Output::Call(call) => Some(("call", call.id.0)),
            _ => None,
        })
        .collect();
    assert_eq!(order[..2], [("withdraw", 1), ("call", 2)]);
}

fn move_to_an_address(world: &mut World) {
    world.deliver(Input::Detached(world.stream));
    world.deliver(Input::Participant {
        name: "p".into(),
        reach: Reach::Direct { concurrency: 10 },
    });
}

/// Ends the write of the decision like this, while a Try is under way.
fn fail_a_write(world: &mut World, result: WriteResult) {
    world.execute(Wait::Decided, [tcc("a"), tcc("b")]);
    let second = world.calls[1].clone();
    world.slow_table = true;
    world.answer(&second, rejected());
    assert!(
        world.withdrawn.is_empty(),
        "nothing before the write has ended"
    );
    world.written(result);
}

fn ask(world: &mut World) {
    let mut new = new_begin(1);
    new.check_back = Some(CheckBack {
        participant: "p".into(),
        first_delay: Some(Duration::ZERO),
        interval: Some(Duration::from_mins(1)),
        max_interval: Some(Duration::from_mins(1)),
        max_attempts: None,
    });
    let timeout = new.timeout;
    world.begin(new);
    world.after(timeout.unwrap());
    // Where it has been put to rest, it is found when it is due.
    world.after(Duration::from_secs(2));
    assert_eq!(world.asked.len(), 1);
}

/// What came while the process stood still is read before it is judged.
#[test]
fn the_answer_to_an_open_call_may_come_by_as_much_later_as_the_process_stood_still() {
    let mut world = World::new();
    world.execute(Wait::Completed, [tcc("a")]);
    let call = world.left[0].0;
    let second = Duration::from_secs(1);
    world.now = world.now + 12 * second;
    world.deliver(Input::StoodStill(8 * second));
    assert!(world.engine.is_open(call), "4 of its 10 s are over");
    world.after(5 * second);
    assert!(world.engine.is_open(call));
    world.after(second);
    assert!(!world.engine.is_open(call));
}
