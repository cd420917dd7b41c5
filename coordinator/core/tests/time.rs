//! Clocks that jump.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{START, World, command, new_begin, ok, tcc, tx_id, unknown};
use tercet_core::{
    config::EngineConfig,
    id::StreamId,
    limits,
    model::{ActionSpec, Cause, CheckBack, Operation, Outcome, Phase, Rest, RetryPolicy},
    port::{CheckBackAnswer, CheckBackResult, Input, Order, Request, Wait},
    reason::Reason,
    write::WriteResult,
};

const HOUR: i64 = 3_600;
const YEAR: i64 = 365 * 24 * HOUR;
const JUMPS: [i64; 7] = [0, 1, 20, HOUR, YEAR, -HOUR, -YEAR];

/// The length of phase one, in seconds.
const TIMEOUT: u64 = 30;
/// The longest pause between two calls, in seconds.
const PAUSE: u64 = 8;
/// The age at which an action is given up, in seconds.
const AGE: u64 = 120;
/// By how many seconds a step may be late: the table is looked at twice a second, and time passes by seconds here.
const LATE: u64 = 3;

/// The ways in which a transaction waits.
#[derive(Clone, Copy, Debug)]
enum Waiting {
    /// In memory.
    InHand,
    /// In the table.
    AtRest,
}

impl Waiting {
    const ALL: [Self; 2] = [Self::InHand, Self::AtRest];

    fn world(self) -> World {
        let mut world = World::with(EngineConfig {
            hold: match self {
                Self::InHand => Duration::from_hours(1),
                Self::AtRest => Duration::ZERO,
            },
            ..EngineConfig::default()
        });
        world.attach(1, 1_000);
        world
    }
}

/// The clock jumps, and jumps back, or the coordinator is restarted on one of its sides.
#[derive(Clone, Copy, Debug)]
enum Story {
    /// It jumps while the wait lasts, and stays.
    Jumps,
    /// It had jumped before the wait began, and jumps back meanwhile.
    JumpsBack,
    /// It had jumped before the wait began, and jumps back while the coordinator restarts.
    JumpsBackAtRestart,
    /// The coordinator restarts, and then the clock jumps.
    RestartsAndJumps,
}

impl Story {
    const ALL: [Self; 4] = [
        Self::Jumps,
        Self::JumpsBack,
        Self::JumpsBackAtRestart,
        Self::RestartsAndJumps,
    ];

    fn before(self, world: &mut World, jump: i64) {
        if matches!(self, Self::JumpsBack | Self::JumpsBackAtRestart) {
            world.jump(jump);
        }
    }

    fn meanwhile(self, world: &mut World, jump: i64) {
        match self {
            Self::Jumps => world.jump(jump),
            Self::JumpsBack => world.jump(-jump),
            Self::JumpsBackAtRestart => {
                world.jump_unseen(-jump);
                world.restart();
                world.attach(2, 1_000);
            }
            Self::RestartsAndJumps => {
                world.restart();
                world.attach(2, 1_000);
                world.jump(jump);
            }
        }
    }

    /// The same, after which the participant is still gone.
    fn meanwhile_detached(self, world: &mut World, jump: i64) {
        match self {
            Self::Jumps | Self::JumpsBack => self.meanwhile(world, jump),
            Self::JumpsBackAtRestart => {
                world.jump_unseen(-jump);
                world.restart();
            }
            Self::RestartsAndJumps => {
                world.restart();
                world.jump(jump);
            }
        }
    }

    /// Returns whether the incarnation at the end saw the clock jump ahead; otherwise it judges by the clock as it is.
    fn is_seen(self, jump: i64) -> bool {
        !matches!(self, Self::JumpsBackAtRestart) || jump >= 0
    }

    /// Returns by how many seconds a step may be late.
    fn late(self, jump: i64) -> u64 {
        let unseen = match self {
            Self::JumpsBackAtRestart => u64::try_from(jump).unwrap_or(0),
            _ => 0,
        };
        LATE + unseen.min(limits::MISDATED_AFTER.as_secs())
    }

    /// The same of what had run for so many seconds before: after a restart at which the clock went back, nothing shows that.
    fn late_where_it_ran(self, jump: i64, seconds: u64) -> u64 {
        let again = match self {
            Self::JumpsBackAtRestart => seconds,
            _ => 0,
        };
        self.late(jump).max(LATE + again)
    }
}

/// Runs every case; a case returns what is wrong.
fn each(case: impl Fn(Waiting, Story, i64) -> Result<(), String>) {
    let mut wrong = Vec::new();
    for waiting in Waiting::ALL {
        for story in Story::ALL {
            for jump in JUMPS {
                if let Err(what) = case(waiting, story, jump) {
                    wrong.push(format!("{waiting:?}, {story:?}, {jump} s: {what}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Returns after how many seconds this happens.
fn seconds_until(world: &mut World, happens: impl Fn(&World) -> bool) -> Result<u64, String> {
    let limit = 10 * TIMEOUT;
    for second in 0..limit {
        if happens(world) {
            return Ok(second);
        }
        world.after(Duration::from_secs(1));
    }
    Err(format!("not within {limit} s"))
}

/// Phase one gets its time, and no more than that, whatever the database's clock does.
#[test]
fn no_jump_makes_phase_one_shorter_or_longer() {
    each(|waiting, story, jump| {
        let mut world = waiting.world();
        story.before(&mut world, jump);
        let mut new = new_begin(1);
        new.id = world.id_of_now();
        let id = new.id;
        world.begin(new);
        world.after(Duration::from_secs(10));
        story.meanwhile(&mut world, jump);
        let over = |world: &World| world.table.transaction(id).phase.decision().is_some();
        let after = 10 + seconds_until(&mut world, over)?;
        let late = story.late_where_it_ran(jump, 10);
        let early = after < TIMEOUT && story.is_seen(jump);
        if early || after > TIMEOUT + late {
            return Err(format!("ended after {after} s"));
        }
        Ok(())
    });
}

fn failing_call() -> ActionSpec {
    ActionSpec {
        retry: RetryPolicy {
            first_delay: Some(Duration::from_secs(PAUSE)),
            max_delay: Some(Duration::from_secs(PAUSE)),
            max_attempts: Some(100),
            max_age: Some(Duration::from_hours(24)),
            ..RetryPolicy::default()
        },
        ..tcc("a")
    }
}

/// A call of phase two is repeated after its pause; no jump gives its action up for its age.
#[test]
fn no_jump_holds_a_retry_up() {
    each(|waiting, story, jump| {
        let mut world = waiting.world();
        story.before(&mut world, jump);
        let id = world.id_of_now();
        world.execute_as(id, [failing_call()]);
        world.answer_call(ok());
        for _ in 0..5 {
            seconds_until(&mut world, |world| !world.calls.is_empty())?;
            let call = world.answer_call(unknown());
            assert_eq!(call.operation, Operation::Confirm);
        }
        story.meanwhile(&mut world, jump);
        let given_up =
            |world: &World| matches!(world.table.transaction(id).phase, Phase::Parked { .. });
        let goes_on = |world: &World| !world.calls.is_empty() || given_up(world);
        let after = seconds_until(&mut world, goes_on)?;
        if after > PAUSE + story.late(jump) {
            return Err(format!("called again after {after} s"));
        }
        if !given_up(&world) {
            world.answer_call(unknown());
        }
        match &world.table.transaction(id).phase {
            Phase::Finishing { .. } => Ok(()),
            // Its age is what the clock shows.
            Phase::Parked { .. } if !story.is_seen(jump) => Ok(()),
            phase => Err(format!("{phase:?}")),
        }
    });
}

/// An action whose participant is gone is given up at its age: no jump makes that earlier, or later than the clock tells.
#[test]
fn no_jump_gives_an_absent_action_up_early_or_never() {
    each(|waiting, story, jump| {
        let mut world = waiting.world();
        story.before(&mut world, jump);
        let id = world.id_of_now();
        let mut action = failing_call();
        action.retry.max_age = Some(Duration::from_secs(AGE));
        world.execute_as(id, [action]);
        let call = world.call();
        world.slow_table = true;
        world.answer(&call, ok());
        world.deliver(Input::Detached(StreamId(1)));
        world.slow_table = false;
        world.written(WriteResult::Durable);
        world.after(Duration::from_secs(10));
        story.meanwhile_detached(&mut world, jump);
        let parked =
            |world: &World| matches!(world.table.transaction(id).phase, Phase::Parked { .. });
        let after = 10 + seconds_until(&mut world, parked)?;
        let late = story.late_where_it_ran(jump, 10);
        let early = after < AGE && story.is_seen(jump);
        if early || after > AGE + late {
            return Err(format!("given up after {after} s"));
        }
        Ok(())
    });
}

#[test]
fn no_jump_holds_a_question_up() {
    each(|waiting, story, jump| {
        let mut world = waiting.world();
        story.before(&mut world, jump);
        let pause = Duration::from_secs(PAUSE);
        let mut new = new_begin(1);
        new.id = world.id_of_now();
        new.check_back = Some(CheckBack {
            participant: "p".into(),
            first_delay: Some(Duration::ZERO),
            interval: Some(pause),
            max_interval: Some(pause),
            max_attempts: None,
        });
        world.begin(new);
        for _ in 0..2 {
            seconds_until(&mut world, |world| !world.asked.is_empty())?;
            let asked = world.asked.remove(0);
            let answer = CheckBackResult {
                route: asked.route,
                epoch: 1,
                call: asked.id,
                tx: asked.tx,
                answer: CheckBackAnswer::Unknown("not yet".into()),
            };
            world.deliver(Input::CheckBackResult(answer));
        }
        story.meanwhile(&mut world, jump);
        let after = seconds_until(&mut world, |world| !world.asked.is_empty())?;
        if after > PAUSE + story.late(jump) {
            return Err(format!("asked again after {after} s"));
        }
        Ok(())
    });
}

/// A call whose answer does not come is given up after its time, and one that waits is not cut short.
#[test]
fn no_jump_ends_a_call() {
    for jump in JUMPS {
        let mut world = World::new();
        world.execute(Wait::Completed, [tcc("a")]);
        let call = world.call();
        world.jump(jump);
        let given_up = |world: &World| world.engine.stats().calls == 0;
        let after = seconds_until(&mut world, given_up).unwrap();
        assert_eq!(Duration::from_secs(after), call.timeout, "{jump}");
        let action = &world.table.transaction(tx_id(1)).actions[0];
        assert_eq!(action.state.attempts[0].took, 10_000_000, "{jump}");
    }
}

/// What is stored follows the clock at once, both ways.
#[test]
fn what_is_stored_follows_the_clock() {
    let mut world = World::new();
    for jump in [HOUR, -HOUR, YEAR, -YEAR] {
        world.jump(jump);
        let mut new = new_begin(1);
        new.id = world.id_of_now();
        let begun = world.begin(new);
        let spec = &world.transaction(begun).spec;
        assert_eq!(spec.create_time, world.now);
        world.after(Duration::from_secs(1));
    }
}

/// The time of an id counts if it is near the database's clock before a jump or after it.
#[test]
fn ids_are_refused_only_if_both_clocks_refuse_them() {
    let days = |days: u64| i64::try_from(Duration::from_hours(24 * days).as_micros()).unwrap();
    // Refused by the clock that is believed alone; by none; by both.
    let cases = [(0, true), (-days(30), false), (days(30), true)];
    for (difference, refused) in cases {
        let mut world = World::new();
        world.after(Duration::from_hours(24 * 30));
        world.deliver(Input::DatabaseClock { difference });
        let caller = world.begin(new_begin(1));
        let reply = world.replies[&caller].as_ref();
        let reason = reply.err().map(tercet_core::refusal::Refusal::reason);
        assert_eq!(
            reason,
            refused.then_some(Reason::TxIdExpired),
            "{difference}"
        );
    }
}

/// Initiators whose own clocks are right go on through a jump, and those whose clocks jumped too.
#[test]
fn ids_of_both_sides_of_a_jump_are_taken_for_a_day() {
    let mut world = World::new();
    let right = |world: &mut World, number, accepted: bool| {
        let caller = world.begin(new_begin(number));
        let reply = world.replies[&caller].is_ok();
        assert_eq!(reply, accepted, "{number}");
    };
    right(&mut world, 1, true);
    world.jump(YEAR);
    right(&mut world, 2, true);
    let mut new = new_begin(3);
    new.id = world.id_of_now();
    let wrong = world.begin(new);
    assert!(world.replies[&wrong].is_ok());
    world.after(Duration::from_hours(23));
    right(&mut world, 4, true);
    world.after(Duration::from_hours(2));
    right(&mut world, 5, false);
}

/// Its deadline would come when the wrong time does.
#[test]
fn an_operator_decides_what_was_begun_with_a_wrong_clock() {
    let mut wrong = World::new();
    wrong.after(Duration::from_hours(23));
    let begun = wrong.begin(new_begin(1));
    let mut row = wrong.transaction(begun).clone();
    assert!(row.spec.create_time > START);

    let mut world = World::new();
    row.rest = Some(Box::new(Rest {
        until: Some(row.spec.deadline),
        ..Rest::default()
    }));
    world.table.insert(row);
    let order = Order::Decide(Outcome::Failure);
    let decided = world.request(Request::Operator(tx_id(1), command(order.clone())));
    let decision = world
        .transaction(decided)
        .phase
        .decision()
        .cloned()
        .unwrap();
    assert!(
        matches!(decision.cause, Cause::Operator { .. }),
        "{decision:?}"
    );

    // Of an Execute only FAILURE: what was not tried cannot be confirmed.
    let mut wrong = World::detached();
    wrong.after(Duration::from_hours(23));
    wrong.execute(Wait::Accepted, [tcc("a")]);
    let mut world = World::detached();
    world.table.insert(wrong.table.transaction(tx_id(1)));
    let success = command(Order::Decide(Outcome::Success));
    let refused = world.request(Request::Operator(tx_id(1), success));
    assert_eq!(world.refusal(refused).reason(), Reason::ExecuteDecides);

    // With a clock that is right, phase one is its initiator's.
    let mut world = World::new();
    world.begin(new_begin(1));
    let early = world.request(Request::Operator(tx_id(1), command(order)));
    assert_eq!(world.refusal(early).reason(), Reason::PhaseOneRuns);
}
