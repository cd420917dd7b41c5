//! The transition table: the effect of every event in every phase; and named cases.

#![allow(clippy::unwrap_used)]

mod common;

use std::{sync::Arc, time::Duration};

use common::{
    START, at, compensate, deliver, following, new_transaction, ok, owner, rejected, tcc,
    transitions::{asked_in_vain, cx, decide, end, next, operator, phase, phases, rest, too_old},
    unknown, unsent,
};
use proptest::prelude::*;
use tercet_core::{
    model::{
        ActionStatus, BizStatus, Cause, Decider, Operation, Outcome, Phase, Transaction, TxStatus,
    },
    port::{CheckBackAnswer, Order},
    transition::{Event, transition},
};

/// Every event, in the order of the table's lines.
fn events() -> Vec<(&'static str, Event)> {
    let resolve = Order::Resolve {
        actions: vec!["a".into()],
        status: ActionStatus::Confirmed,
    };
    let added = Arc::new(following("a", tcc("b")));
    vec![
        ("time passed", Event::TimePassed),
        ("try ok", Event::TryEnded(end(ok()))),
        ("try rejected", Event::TryEnded(end(rejected()))),
        ("try unknown", Event::TryEnded(end(unknown()))),
        ("try unsent", Event::TryEnded(end(unsent()))),
        ("finish ok", Event::FinishEnded(end(ok()))),
        ("finish rejected", Event::FinishEnded(end(rejected()))),
        ("finish unknown", Event::FinishEnded(end(unknown()))),
        ("finish unsent", Event::FinishEnded(end(unsent()))),
        ("rest", rest()),
        ("too old", too_old()),
        ("authorise", Event::Authorise { actions: vec![0] }),
        (
            "asked: SUCCESS",
            Event::AskedBack(CheckBackAnswer::Decided(Outcome::Success)),
        ),
        (
            "asked: FAILURE",
            Event::AskedBack(CheckBackAnswer::Decided(Outcome::Failure)),
        ),
        ("asked: UNKNOWN", asked_in_vain()),
        (
            "asked: unsent",
            Event::AskedBack(CheckBackAnswer::Unsent("refused".into())),
        ),
        ("add action", Event::AddAction(added)),
        ("decide SUCCESS", decide(Outcome::Success)),
        ("decide FAILURE", decide(Outcome::Failure)),
        (
            "operator SUCCESS",
            operator(Order::Decide(Outcome::Success)),
        ),
        (
            "operator FAILURE",
            operator(Order::Decide(Outcome::Failure)),
        ),
        ("retry", operator(Order::Retry)),
        ("resolve", operator(resolve)),
    ]
}

/// Returns the effect of an event as `transitions.txt` writes it.
fn cell(tx: &Transaction, event: &Event) -> String {
    let step = match transition(tx, event, &cx()) {
        Err(refusal) => return refusal.reason().to_string(),
        Ok(step) if step.next == *tx && !step.write => return "-".into(),
        Ok(step) => step,
    };
    let phase = match (step.next.phase.status(), step.next.phase.biz_status()) {
        (TxStatus::ProcessWaiting, BizStatus::Init) => "trying",
        (TxStatus::ProcessWaiting, BizStatus::Unknown) => "asking back",
        (TxStatus::Processing, BizStatus::Success) => "confirming",
        (TxStatus::Processing, BizStatus::Failure) => "cancelling",
        (TxStatus::Success, BizStatus::Success) => "committed",
        (TxStatus::Success, BizStatus::Failure) => "rolled back",
        (TxStatus::Failure, BizStatus::Success) => "parked confirming",
        (TxStatus::Failure, BizStatus::Failure) => "parked cancelling",
        illegal => panic!("{illegal:?}"),
    };
    let actions = step
        .next
        .actions
        .iter()
        .map(|action| match action.state.status {
            ActionStatus::Init => 'I',
            ActionStatus::Tried => 'T',
            ActionStatus::Rejected => 'R',
            ActionStatus::Confirmed => 'C',
            ActionStatus::Cancelled => 'X',
            ActionStatus::Failed => 'F',
        });
    let durable = if step.write { "!" } else { "" };
    format!("{durable}{phase} {}", actions.collect::<String>())
}

#[test]
fn every_pair_of_phase_and_event_is_in_the_table() {
    let mut expected = common::table(include_str!("transitions.txt"));
    let names: Vec<&str> = phases().iter().map(|(name, _)| *name).collect();
    assert_eq!(expected.next().unwrap()[1..], names);
    let mut missing = Vec::new();
    for (event_name, event) in events() {
        let cells = phases().into_iter().map(|(_, tx)| cell(&tx, &event));
        let line: Vec<String> = [event_name.to_owned()].into_iter().chain(cells).collect();
        if expected.next().is_none_or(|expected| expected != line) {
            missing.push(line.join(" | "));
        }
    }
    assert!(
        missing.is_empty(),
        "not in tests/transitions.txt: {missing:#?}"
    );
    assert_eq!(expected.count(), 0, "the table has other lines too");
}

/// The path of a field is the same in a refusal that compares and in one that checks.
#[test]
fn a_field_that_differs_is_named_by_its_path_in_the_request() {
    let request = |decider, timeout_s: u64, payload: &'static [u8]| {
        let mut action = tcc("a");
        action.payload = payload.into();
        let mut new = new_transaction(1, decider, [action]);
        new.timeout = Some(Duration::from_secs(timeout_s));
        new
    };
    let (execute, begin) = (Decider::Coordinator, Decider::Initiator);
    for (first, other, path) in [
        (request(execute, 9, b"1"), request(execute, 9, b"1"), None),
        (
            request(execute, 9, b"1"),
            request(execute, 8, b"1"),
            Some("begin.timeout_ms"),
        ),
        (
            request(execute, 9, b"1"),
            request(execute, 9, b"2"),
            Some("begin.actions[0].payload"),
        ),
        (
            request(begin, 9, b"1"),
            request(begin, 9, b"2"),
            Some("actions[0].payload"),
        ),
        (
            request(begin, 9, b"1"),
            request(execute, 9, b"1"),
            Some("executed"),
        ),
    ] {
        let tx = Transaction::begin(&first, owner(1), at(START));
        assert_eq!(tx.first_difference(&other).as_deref(), path);
    }
}

#[test]
fn a_cause_of_an_earlier_version_is_read() {
    let read: Cause = serde_json::from_str(r#"{"kind":"DEADLINE"}"#).unwrap();
    let bare = Cause::Deadline {
        action: None,
        reason: String::new(),
    };
    assert_eq!(read, bare);
    assert_eq!(
        serde_json::to_string(&bare).unwrap(),
        r#"{"kind":"DEADLINE"}"#
    );
}

#[test]
fn a_retry_of_what_is_not_parked_is_refused_by_its_standing() {
    let rolled_back = next(&phase("cancelling"), &Event::FinishEnded(end(ok())));
    for (tx, words) in [
        (phase("trying/coordinator"), "is trying, not parked"),
        (phase("asking back"), "is asking back, not parked"),
        (phase("cancelling"), "is cancelling, not parked"),
        (phase("finished"), "is committed, not parked"),
        (rolled_back, "is rolled back, not parked"),
    ] {
        let refusal = transition(&tx, &operator(Order::Retry), &cx()).unwrap_err();
        assert!(refusal.to_string().contains(words), "{refusal}");
    }
}

#[test]
fn mixed_modes_end_where_the_decision_wants_them() {
    let actions = [tcc("t"), compensate("c"), deliver("d")];
    let new = new_transaction(1, Decider::Initiator, actions);
    let tx = Transaction::begin(&new, owner(1), at(START));
    let success = next(&tx, &decide(Outcome::Success));
    let needs: Vec<_> = (0..3).map(|place| success.needs(place)).collect();
    assert_eq!(
        needs,
        [Some(Operation::Confirm), None, Some(Operation::Confirm)]
    );
    let failure = next(&tx, &decide(Outcome::Failure));
    let needs: Vec<_> = (0..3).map(|place| failure.needs(place)).collect();
    assert_eq!(
        needs,
        [Some(Operation::Cancel), Some(Operation::Cancel), None]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// In any order of events: a decision never changes, a finished transaction never changes, and calls
    /// of phase two never exceed their limit.
    #[test]
    fn a_decision_is_for_ever(start in prop::sample::select(phases()), picks in prop::collection::vec(prop::sample::select(events()), 1..40)) {
        let (_, mut tx) = start;
        for (_, event) in picks {
            let Ok(step) = transition(&tx, &event, &cx()) else { continue };
            if let Some(decision) = tx.phase.decision() {
                prop_assert_eq!(step.next.phase.decision(), Some(decision));
            }
            if matches!(tx.phase, Phase::Finished { .. }) {
                prop_assert_eq!(&step.next, &tx);
            }
            let changed = step.next.phase != tx.phase;
            prop_assert!(!changed || step.write, "a phase changed in memory only");
            for action in &step.next.actions {
                prop_assert!(action.state.retry_count < action.spec.retry.in_effect().max_attempts);
            }
            tx = step.next;
        }
    }
}
