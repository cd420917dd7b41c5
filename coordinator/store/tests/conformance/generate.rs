//! Any legal transaction.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use proptest::{
    collection, option,
    prelude::*,
    sample::select,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use tercet_core::{
    limits,
    model::{
        Action, ActionStatus, Attempt, AttemptOutcome, Cause, CheckBack, Decider, Decision, Ext,
        Mode, Name, Need, Operation, Outcome, Owner, Phase, Rest, RetryPolicy, Transaction,
        Unanswered, Want,
    },
    time::Timestamp,
};

use super::fixture::{self, at, id};

/// The stack of a test of generated transactions, in bytes: by value they are too large for that of a test.
const STACK: usize = 32 << 20;

/// Runs a test with this number of generated values, the same ones every time.
pub fn for_any<S: Strategy>(
    cases: u32,
    strategy: impl FnOnce() -> S + Send,
    test: impl Fn(S::Value) + Sync,
) {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let run = || {
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let mut runner = TestRunner::new_with_rng(config, rng);
        let result = runner.run(&strategy(), |value| {
            test(value);
            Ok(())
        });
        result.unwrap();
    };
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(STACK);
            let ended = thread.spawn_scoped(scope, run).unwrap().join();
            ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
    });
}

/// Text without NUL, of at most this many bytes; odd ones are frequent.
fn text(bytes: usize) -> impl Strategy<Value = String> {
    let odd = select(vec![
        "",
        " ",
        "a",
        "A",
        "a ",
        "'",
        "\"",
        "'; DROP TABLE tx_info; --",
        "%",
        "?1",
        "\\",
        "\u{1}",
        "\r\n",
        "\u{fffd}",
        "\u{1F9FE}",
        "null",
        "{}",
    ]);
    prop_oneof![
        odd.prop_map(String::from),
        "[^\u{0}]{1,40}",
        Just("x".repeat(bytes)),
    ]
    .prop_map(move |mut text| {
        while text.len() > bytes {
            text.pop();
        }
        text
    })
}

fn name() -> impl Strategy<Value = Name> {
    text(limits::NAME_BYTES).prop_map(|text| {
        if text.is_empty() {
            "-".into()
        } else {
            text.into()
        }
    })
}

fn ext() -> impl Strategy<Value = Ext> {
    collection::btree_map(text(40), text(200), 0..4)
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        Just(Bytes::new()),
        collection::vec(any::<u8>(), 1..300).prop_map(Bytes::from),
        Just(Bytes::from(vec![0; limits::PAYLOAD_BYTES])),
    ]
}

fn millis() -> impl Strategy<Value = Duration> {
    (0..10_000_000_u64).prop_map(Duration::from_millis)
}

fn time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        any::<i64>().prop_map(Timestamp::from_micros),
        (-1_000..1_000_000_i64).prop_map(at),
    ]
}

fn retry() -> impl Strategy<Value = RetryPolicy> {
    let policy = (
        option::of(millis()),
        option::of(millis()),
        option::of(any::<u32>()),
        option::of(millis()),
        option::of(millis()),
    );
    let policy = policy.prop_map(
        |(first_delay, max_delay, max_attempts, max_age, call_timeout)| RetryPolicy {
            first_delay,
            max_delay,
            max_attempts,
            max_age,
            call_timeout,
        },
    );
    prop_oneof![Just(RetryPolicy::default()), policy]
}

fn check_back() -> impl Strategy<Value = CheckBack> {
    (
        name(),
        option::of(millis()),
        option::of(millis()),
        option::of(millis()),
        option::of(any::<u32>()),
    )
        .prop_map(
            |(participant, first_delay, interval, max_interval, max_attempts)| CheckBack {
                participant,
                first_delay,
                interval,
                max_interval,
                max_attempts,
            },
        )
}

fn unanswered() -> impl Strategy<Value = Unanswered> {
    let parts = (
        any::<u32>(),
        time(),
        text(limits::REASON_BYTES),
        option::of(time()),
    );
    parts.prop_map(|(number, at, error, next)| Unanswered {
        number,
        at,
        error,
        next,
    })
}

fn cause() -> impl Strategy<Value = Cause> {
    let reason = || text(limits::REASON_BYTES);
    prop_oneof![
        Just(Cause::AllTried),
        (option::of(name()), reason())
            .prop_map(|(action, reason)| Cause::Deadline { action, reason }),
        (name(), reason()).prop_map(|(action, reason)| Cause::Rejected { action, reason }),
        reason().prop_map(|reason| Cause::Aborted { reason }),
        reason().prop_map(|reason| Cause::Initiator { reason }),
        reason().prop_map(|reason| Cause::CheckBack { reason }),
        reason().prop_map(|reason| Cause::Operator { reason }),
    ]
}

fn phase() -> impl Strategy<Value = Phase> {
    let decision =
        || (select(Outcome::ALL), cause()).prop_map(|(outcome, cause)| Decision { outcome, cause });
    prop_oneof![
        Just(Phase::Trying),
        time().prop_map(|next| Phase::AskingBack { next }),
        (decision(), time(), option::of(time())).prop_map(|(decision, decided_at, unparked_at)| {
            Phase::Finishing {
                decision,
                decided_at,
                unparked_at,
            }
        }),
        (decision(), time(), time()).prop_map(|(decision, decided_at, finished_at)| {
            Phase::Finished {
                decision,
                decided_at,
                finished_at,
            }
        }),
        (decision(), time()).prop_map(|(decision, decided_at)| Phase::Parked {
            decision,
            decided_at
        }),
    ]
}

/// Any legal rest.
fn rest() -> impl Strategy<Value = Rest> {
    let need = option::of((name(), select(Mode::ALL)));
    let wants = collection::btree_map((name(), need), time(), 0..4);
    let unsent = collection::vec(name(), 0..3);
    let parts = (
        wants,
        option::of(time()),
        time(),
        (option::of(time()), option::of(time())),
        unsent,
    );
    parts.prop_map(|(wants, until, otherwise, moved, unsent)| {
        let until = until.or_else(|| wants.is_empty().then_some(otherwise));
        let want = |((participant, need), at): ((Name, Option<(Name, Mode)>), _)| Want {
            participant,
            need: need.map(|(handler, mode)| Need::Handler(handler, mode)),
            at,
        };
        Rest {
            wants: wants.into_iter().map(want).collect(),
            until,
            until_set_at: moved.0,
            ages_from: moved.1,
            unsent,
        }
    })
}

/// The statuses that an action may have while its transaction is in this phase.
fn statuses(phase: &Phase) -> Vec<ActionStatus> {
    use ActionStatus::{Cancelled, Confirmed, Failed, Init, Rejected, Tried};
    match phase {
        Phase::Trying | Phase::AskingBack { .. } => vec![Init, Tried],
        Phase::Finishing { decision, .. } if decision.outcome == Outcome::Success => {
            vec![Init, Tried, Confirmed, Cancelled, Failed]
        }
        Phase::Finishing { .. } | Phase::Parked { .. } => ActionStatus::ALL.to_vec(),
        Phase::Finished { .. } => vec![Rejected, Confirmed, Cancelled],
    }
}

fn attempt() -> impl Strategy<Value = Attempt> {
    (
        select(Operation::ALL),
        any::<i64>(),
        any::<u64>(),
        any::<u32>(),
        select(AttemptOutcome::ALL),
        text(200),
        option::of(any::<i64>()),
    )
        .prop_map(
            |(operation, at, took, number, outcome, error, next)| Attempt {
                operation,
                at,
                took,
                number,
                outcome,
                error,
                next,
            },
        )
}

fn action(phase: &Phase) -> impl Strategy<Value = Action> + use<> {
    let spec = (
        name(),
        name(),
        name(),
        select(Mode::ALL),
        bytes(),
        any::<[bool; 2]>(),
        retry(),
        ext(),
    );
    let row = (
        select(statuses(phase)),
        bytes(),
        0..=limits::COUNT,
        text(limits::REASON_BYTES),
        collection::vec(attempt(), 0..4),
        option::of(time()),
    );
    (spec, row).prop_map(|(spec, row)| {
        let (name, participant, handler, mode, payload, [wants_results, already_tried], retry, ext) = spec;
        let mut action = fixture::action(&name, &participant);
        let spec = Arc::make_mut(&mut action.spec);
        spec.handler = handler;
        spec.mode = mode;
        spec.payload = payload;
        spec.wants_results = wants_results;
        spec.already_tried = already_tried;
        spec.retry = retry;
        spec.ext = ext;
        let state = &mut action.state;
        (state.status, state.result, state.retry_count) = (row.0, row.1, row.2);
        (state.last_error, state.attempts, state.finished_at) = (row.3, row.4, row.5);
        action
    })
}

/// Any legal transaction, at version 1 throughout.
pub fn transaction() -> impl Strategy<Value = Transaction> {
    phase().prop_flat_map(|phase| {
        // Without actions there is nothing to confirm or cancel: the decision ends it.
        let least = usize::from(matches!(
            phase,
            Phase::Finishing { .. } | Phase::Parked { .. }
        ));
        let actions = collection::vec(action(&phase), least..5);
        let spec = (
            name(),
            name(),
            any::<bool>(),
            select(Decider::ALL),
            option::of(check_back()),
            ext(),
        );
        let times = (time(), time());
        let head = (
            0..=limits::COUNT,
            text(60),
            0..=i64::MAX as u64,
            option::of(rest()),
            option::of(unanswered()),
            any::<bool>(),
        );
        (Just(phase), actions, spec, times, head).prop_map(|(phase, actions, spec, times, head)| {
            let mut tx = fixture::with_actions(0, ordered(in_phase(&phase, actions)));
            let tx_spec = Arc::make_mut(&mut tx.spec);
            tx_spec.business_type = spec.0;
            tx_spec.business_id = spec.1;
            tx_spec.unique_business = spec.2;
            tx_spec.decider = spec.3;
            tx_spec.check_back = spec.4;
            tx_spec.ext = spec.5;
            (tx_spec.create_time, tx_spec.deadline) = (times.0, times.1);
            tx_spec.timeout_given = head.5;
            if let Phase::AskingBack { .. } = &phase {
                let asked = tx_spec
                    .check_back
                    .get_or_insert_with(|| CheckBack::of("initiator".into()));
                asked.max_attempts = None;
            }
            tx.rest = head.3.filter(|_| !phase.is_over()).map(Box::new);
            tx.phase = phase;
            tx.check_backs = head.0;
            tx.last_check_back = head.4.map(Box::new);
            tx.owner = Owner {
                node: head.1.into(),
                epoch: head.2,
            };
            tx
        })
    })
}

/// The actions with statuses that go with this phase together: one that can still be called, one that is given up and none
/// that can be called, or none of either.
fn in_phase(phase: &Phase, mut actions: Vec<Action>) -> Vec<Action> {
    use ActionStatus::{Cancelled, Failed, Init, Rejected, Tried};
    let statuses = actions.iter_mut().map(|action| &mut action.state.status);
    for (place, status) in statuses.enumerate() {
        *status = match (phase, *status) {
            (Phase::Finishing { .. }, _) if place == 0 => Tried,
            (Phase::Finishing { .. }, Failed) => Tried,
            (Phase::Parked { .. }, _) if place == 0 => Failed,
            (Phase::Parked { .. }, Init | Tried | Rejected) => Failed,
            (Phase::Finished { .. }, Rejected) => Cancelled,
            (_, status) => status,
        };
    }
    actions
}

/// Names made unique, and each action after some of those before it.
fn ordered(mut actions: Vec<Action>) -> Vec<Action> {
    let mut before: Vec<Name> = Vec::new();
    for (place, action) in actions.iter_mut().enumerate() {
        let spec = Arc::make_mut(&mut action.spec);
        if before.contains(&spec.name) {
            spec.name = format!("{place}").into();
        }
        spec.after = before.iter().skip(place / 2).cloned().collect();
        before.push(Arc::clone(&spec.name));
    }
    actions
}

/// The same under another id and business.
pub fn renamed(tx: &Transaction, millis: u64) -> Transaction {
    fixture::respec(tx.clone(), |spec| {
        spec.id = id(millis);
        let mut business_id = format!("{millis}-{}", spec.business_id);
        business_id.truncate(business_id.floor_char_boundary(limits::NAME_BYTES));
        spec.business_id = business_id.into();
    })
}

/// A begin, and the change that makes the transaction of it: all its actions but the first change, and the
/// last one is added.
pub fn steps(after: &Transaction) -> (Transaction, Transaction) {
    let mut after = after.clone();
    after.version = 2;
    let keep = after.actions.len().saturating_sub(1);
    let mut before = Transaction {
        phase: Phase::Trying,
        version: 1,
        check_backs: 0,
        last_check_back: None,
        rest: None,
        owner: fixture::owner(),
        actions: after.actions[..keep].to_vec(),
        ..after.clone()
    };
    Arc::make_mut(&mut before.spec).begun.truncate(keep);
    after.spec = Arc::clone(&before.spec);
    for (old, new) in before.actions.iter_mut().zip(&mut after.actions) {
        let untouched = fixture::action(&old.spec.name, &old.spec.participant);
        *old = Action {
            spec: Arc::clone(&old.spec),
            ..untouched
        };
        new.state.version = 2;
    }
    (before, after)
}

/// The states of a transaction, each one write on from the one before: begun, in hand and at rest in any way, and then
/// anything that is legal.
pub fn history() -> impl Strategy<Value = Vec<Transaction>> {
    let rests = collection::vec(option::of(rest()), 0..4);
    (transaction(), rests).prop_map(|(tx, rests)| {
        let (begun, mut after) = steps(&tx);
        let mut history = vec![begun.clone()];
        for rest in rests {
            history.push(Transaction {
                rest: rest.map(Box::new),
                ..begun.clone()
            });
        }
        after.spec = Arc::clone(&begun.spec);
        history.push(after);
        for (version, tx) in (1..).zip(&mut history) {
            tx.version = version;
        }
        history
    })
}
