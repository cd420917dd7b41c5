//! The transition table: every (phase, event) pair and what comes of it.

#![allow(clippy::unwrap_used)]

mod common;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use common::{START, action, new_transaction, owner};
use proptest::prelude::*;
use tercet_core::{
    engine::CallOutcome,
    model::{
        ActionStatus, Cause, CheckBack, Driver, Mode, Operation, Outcome, Phase, Sent, Transaction,
    },
    transition::{Answered, Context, Event, Step, transition},
};

fn cx() -> Context {
    Context {
        now: START + Duration::from_secs(1),
        dice: 1,
        lease: Duration::from_secs(10),
        hold: Duration::from_secs(5),
    }
}

fn after_deadline() -> Context {
    Context {
        now: START + Duration::from_secs(30),
        ..cx()
    }
}

fn check_back() -> CheckBack {
    CheckBack {
        participant: "initiator".into(),
        first_delay: Duration::ZERO,
        interval: Duration::from_secs(1),
        max_interval: Duration::from_secs(8),
        max_attempts: None,
    }
}

/// A begun transaction of one TCC action whose Try the coordinator sent, or the initiator's.
fn begun(driver: Driver) -> Transaction {
    let mut new = new_transaction(1, driver, vec![action("a", Mode::Tcc)]);
    if driver == Driver::Initiator {
        new.check_back = Some(check_back());
    }
    let mut tx = Transaction::begin(&new, owner(1), START);
    tx.version = 1;
    tx.actions[0].version = 1;
    tx.actions[0].live.sent = Sent::Perhaps;
    tx
}

fn step(tx: &Transaction, event: &Event, cx: &Context) -> Step {
    transition(tx, event, cx).unwrap()
}

fn decide(outcome: Outcome) -> Event {
    Event::Decide {
        outcome,
        reason: "r".into(),
    }
}

fn answered(outcome: CallOutcome) -> Answered {
    Answered {
        action: 0,
        outcome,
        sent_at: START,
        rejections_to_believe: 1,
    }
}

fn ok() -> CallOutcome {
    CallOutcome::Ok(Bytes::new())
}

fn rejected() -> CallOutcome {
    CallOutcome::Rejected("no".into())
}

/// One transaction in each phase, the initiator's and the coordinator's where they differ.
fn phases() -> BTreeMap<&'static str, Transaction> {
    let trying = begun(Driver::Coordinator);
    let asking = step(
        &begun(Driver::Initiator),
        &Event::TimePassed,
        &after_deadline(),
    )
    .next;
    let confirming = step(&begun(Driver::Initiator), &decide(Outcome::Success), &cx()).next;
    let cancelling = step(&begun(Driver::Initiator), &decide(Outcome::Failure), &cx()).next;
    let confirmed = step(&confirming, &Event::FinishAnswered(answered(ok())), &cx()).next;
    let parked = step(
        &confirming,
        &Event::FinishAnswered(answered(rejected())),
        &cx(),
    )
    .next;
    BTreeMap::from([
        ("trying/coordinator", trying),
        ("trying/initiator", begun(Driver::Initiator)),
        ("asking back", asking),
        ("confirming", confirming),
        ("cancelling", cancelling),
        ("finished", confirmed),
        ("parked", parked),
    ])
}

fn events() -> Vec<(&'static str, Event)> {
    let mut late = action("b", Mode::Tcc);
    late.after = vec!["a".into()];
    vec![
        (
            "resumed",
            Event::Resumed {
                reachable_again: None,
            },
        ),
        ("time passed", Event::TimePassed),
        ("try ok", Event::TryAnswered(answered(ok()))),
        ("try rejected", Event::TryAnswered(answered(rejected()))),
        (
            "try unknown",
            Event::TryAnswered(answered(CallOutcome::Unknown("?".into()))),
        ),
        ("finish ok", Event::FinishAnswered(answered(ok()))),
        (
            "finish rejected",
            Event::FinishAnswered(answered(rejected())),
        ),
        (
            "finish unknown",
            Event::FinishAnswered(answered(CallOutcome::Unknown("?".into()))),
        ),
        (
            "unreachable",
            Event::Unreachable {
                action: 0,
                operation: Operation::Try,
            },
        ),
        ("authorise", Event::Authorise { actions: vec![0] }),
        ("asked: SUCCESS", Event::AskedBack(Ok(Outcome::Success))),
        ("asked: FAILURE", Event::AskedBack(Ok(Outcome::Failure))),
        ("asked: UNKNOWN", Event::AskedBack(Err("?".into()))),
        ("initiator unreachable", Event::InitiatorUnreachable),
        ("add action", Event::AddAction(Arc::new(late))),
        ("decide SUCCESS", decide(Outcome::Success)),
        ("decide FAILURE", decide(Outcome::Failure)),
        (
            "operator SUCCESS",
            Event::OperatorDecide {
                outcome: Outcome::Success,
                reason: "r".into(),
            },
        ),
        (
            "operator FAILURE",
            Event::OperatorDecide {
                outcome: Outcome::Failure,
                reason: "r".into(),
            },
        ),
        ("retry", Event::Retry { reason: "r".into() }),
        (
            "resolve",
            Event::Resolve {
                actions: vec!["a".into()],
                status: ActionStatus::Confirmed,
                reason: "r".into(),
            },
        ),
    ]
}

/// How the table writes what came of an event: the next statuses, "!" where it must be durable, or the
/// refusal; "-" where nothing changed.
fn cell(tx: &Transaction, event: &Event, cx: &Context) -> String {
    match transition(tx, event, cx) {
        Err(refusal) => refusal.reason().to_owned(),
        Ok(step) if step.next == *tx && !step.write => "-".into(),
        Ok(step) => format!(
            "{}{}/{} {}",
            if step.write { "!" } else { "" },
            step.next.phase.status(),
            step.next.phase.biz_status(),
            step.next
                .actions
                .iter()
                .map(|a| a.status.word())
                .collect::<Vec<_>>()
                .join(" ")
        ),
    }
}

#[test]
fn every_pair_of_phase_and_event_is_in_the_table() {
    let lines = events().into_iter().flat_map(|(event_name, event)| {
        phases().into_iter().map(move |(phase_name, tx)| {
            format!("{event_name} | {phase_name} | {}", cell(&tx, &event, &cx()))
        })
    });
    let lines: Vec<String> = lines.collect();
    let expected = include_str!("transitions.txt");
    let expected: Vec<&str> = expected.lines().collect();
    let missing: Vec<&String> = lines
        .iter()
        .filter(|line| !expected.contains(&line.as_str()))
        .collect();
    assert!(
        missing.is_empty(),
        "not in tests/transitions.txt: {missing:#?}"
    );
    assert_eq!(lines.len(), expected.len(), "the table has other lines too");
}

#[test]
fn the_deadline_decides_or_asks_back() {
    let executed = begun(Driver::Coordinator);
    let decided = step(&executed, &Event::TimePassed, &after_deadline()).next;
    assert_eq!(decided.phase.decision().unwrap().cause, Cause::Deadline);
    let asking = step(
        &begun(Driver::Initiator),
        &Event::TimePassed,
        &after_deadline(),
    )
    .next;
    assert!(matches!(asking.phase, Phase::AskingBack { .. }));
    let early = Context {
        now: START + Duration::from_micros(29_999_999),
        ..cx()
    };
    assert!(!step(&executed, &Event::TimePassed, &early).write);
}

#[test]
fn questions_that_are_bounded_end_in_failure_and_others_never() {
    let mut tx = phases().remove("asking back").unwrap();
    for _ in 0..1_000 {
        tx = step(&tx, &Event::AskedBack(Err("?".into())), &after_deadline()).next;
        assert!(
            tx.phase.decision().is_none(),
            "a guess could contradict the initiator"
        );
    }
    let mut spec = (*tx.spec).clone();
    spec.check_back = Some(CheckBack {
        max_attempts: Some(2),
        ..check_back()
    });
    let mut tx = Transaction {
        spec: Arc::new(spec),
        check_backs: 1,
        ..tx
    };
    tx = step(&tx, &Event::AskedBack(Err("?".into())), &after_deadline()).next;
    assert_eq!(tx.check_backs, 2);
    let resumed = Event::Resumed {
        reachable_again: None,
    };
    let much_later = Context {
        now: START + Duration::from_hours(1),
        ..cx()
    };
    let loaded = step(&tx, &resumed, &much_later).next;
    assert_eq!(loaded, tx, "the last question may not have been asked");
    tx = step(&tx, &Event::AskedBack(Err("?".into())), &after_deadline()).next;
    assert_eq!(tx.phase.decision().unwrap().outcome, Outcome::Failure);
}

#[test]
fn a_framework_that_says_aborted_has_to_say_it_three_times() {
    let mut tx = phases().remove("confirming").unwrap();
    let doubtful = Answered {
        rejections_to_believe: 3,
        ..answered(rejected())
    };
    let mut spec = (*tx.actions[0].spec).clone();
    spec.retry.max_attempts = 100;
    tx.actions[0].spec = Arc::new(spec);
    for _ in 0..2 {
        tx = step(&tx, &Event::FinishAnswered(doubtful.clone()), &cx()).next;
        assert_eq!(tx.actions[0].status, ActionStatus::Init);
    }
    tx = step(&tx, &Event::FinishAnswered(doubtful), &cx()).next;
    assert_eq!(tx.actions[0].status, ActionStatus::Failed);
}

/// Only what was not sent is given back: calls that earlier incarnations made stay counted.
#[test]
fn no_way_to_a_participant_gives_back_only_a_permit_that_was_not_used() {
    let unreachable = Event::Unreachable {
        action: 0,
        operation: Operation::Cancel,
    };
    let mut tx = step(&begun(Driver::Initiator), &decide(Outcome::Failure), &cx()).next;
    let mut count_after = |permit: bool, count: u32| {
        tx.actions[0].live.permit = permit;
        tx.actions[0].retry_count = count;
        let action = step(&tx, &unreachable, &cx()).next.actions[0].clone();
        (action.live.permit, action.retry_count)
    };
    assert_eq!(count_after(true, 2), (false, 1));
    assert_eq!(
        count_after(false, 2),
        (false, 2),
        "somebody may have sent it"
    );
    assert_eq!(
        count_after(true, 0),
        (false, 0),
        "and is given again for nothing"
    );
}

#[test]
fn a_call_that_was_never_made_is_not_counted_however_often_its_row_is_loaded() {
    let confirm = Operation::Confirm;
    let unreachable = Event::Unreachable {
        action: 0,
        operation: confirm,
    };
    let authorise = Event::Authorise { actions: vec![0] };
    let mut tx = step(&begun(Driver::Initiator), &decide(Outcome::Success), &cx()).next;
    let mut spec = (*tx.actions[0].spec).clone();
    spec.retry.max_attempts = 1;
    tx.actions[0].spec = Arc::new(spec);
    for _ in 0..5 {
        tx = step(&tx, &unreachable, &cx()).next;
        tx = step(&tx, &authorise, &cx()).next;
        let action = &tx.actions[0];
        assert_eq!((action.live.permit, action.retry_count), (true, 0));
    }
    // Loaded while that permit may have been used: nothing is given for nothing any more.
    tx.actions[0].live.permit = false;
    tx = step(&tx, &authorise, &cx()).next;
    assert_eq!(tx.actions[0].status, ActionStatus::Failed);
}

#[test]
fn mixed_modes_end_where_the_decision_wants_them() {
    let modes = [
        ("t", Mode::Tcc),
        ("c", Mode::Compensate),
        ("d", Mode::Deliver),
    ];
    let actions = modes.map(|(name, mode)| action(name, mode)).to_vec();
    let new = new_transaction(1, Driver::Initiator, actions);
    let tx = Transaction::begin(&new, owner(1), START);
    let success = step(&tx, &decide(Outcome::Success), &cx()).next;
    let needs: Vec<_> = (0..3).map(|place| success.needs(place)).collect();
    assert_eq!(
        needs,
        [Some(Operation::Confirm), None, Some(Operation::Confirm)]
    );
    let failure = step(&tx, &decide(Outcome::Failure), &cx()).next;
    let needs: Vec<_> = (0..3).map(|place| failure.needs(place)).collect();
    assert_eq!(
        needs,
        [Some(Operation::Cancel), Some(Operation::Cancel), None]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever happens in whatever order: a decision never changes, what is finished never changes,
    /// and calls of phase two never exceed their limit.
    #[test]
    fn a_decision_is_for_ever(start in 0..7_usize, picks in prop::collection::vec(0..21_usize, 1..40)) {
        let mut tx = phases().into_values().nth(start).unwrap();
        let events = events();
        for pick in picks {
            let Ok(step) = transition(&tx, &events[pick].1, &cx()) else { continue };
            if let Some(decision) = tx.phase.decision() {
                prop_assert_eq!(step.next.phase.decision(), Some(decision));
            }
            if matches!(tx.phase, Phase::Finished { .. }) {
                prop_assert_eq!(&step.next, &tx);
            }
            let changed = step.next.phase != tx.phase;
            prop_assert!(!changed || step.write, "a phase changed in memory only");
            for action in &step.next.actions {
                prop_assert!(action.retry_count < action.spec.retry.max_attempts);
            }
            tx = step.next;
        }
    }
}
