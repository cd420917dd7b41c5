//! The transition table: the effect of every event in every phase; and named cases.

#![allow(clippy::unwrap_used)]

mod common;

use std::{sync::Arc, time::Duration};

use common::{
    START, at, command, compensate, deliver, following, new_transaction, ok, owner, rejected, tcc,
    unknown, unsent,
};
use proptest::prelude::*;
use tercet_core::{
    context::Context,
    model::{
        ActionStatus, AttemptOutcome, BizStatus, Cause, CheckBack, Decider, DueRow, Name,
        Operation, Outcome, Phase, Queue, Sent, Transaction, TxStatus,
    },
    port::{CallAnswer, Order},
    time::Course,
    transition::{CallEnd, Event, Step, transition},
};

fn cx() -> Context {
    Context {
        now: START + Duration::from_secs(1),
        moment: at(START).moment + Duration::from_secs(1),
        dice: 1,
        hold: Duration::from_secs(5),
    }
}

fn after_deadline() -> Context {
    Context {
        now: START + Duration::from_secs(30),
        moment: at(START).moment + Duration::from_secs(30),
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
fn begun(decider: Decider) -> Transaction {
    let mut new = new_transaction(1, decider, [tcc("a")]);
    if decider == Decider::Initiator {
        new.check_back = Some(check_back());
    }
    let mut tx = Transaction::begin(&new, owner(1), at(START));
    tx.version = 1;
    tx.actions[0].state.version = 1;
    tx.actions[0].live.sent = Sent::Perhaps;
    tx
}

fn step(tx: &Transaction, event: &Event, cx: &Context) -> Step {
    transition(tx, event, cx).unwrap()
}

/// Returns the transaction after an event before the deadline.
fn next(tx: &Transaction, event: &Event) -> Transaction {
    step(tx, event, &cx()).next
}

fn decide(outcome: Outcome) -> Event {
    Event::Decide {
        outcome,
        reason: "r".into(),
    }
}

fn end(answer: CallAnswer) -> CallEnd {
    CallEnd {
        action: 0,
        answer,
        sent_at: START,
        took: Duration::from_secs(1),
        rejections_to_believe: 1,
    }
}

/// The event that puts a transaction to rest while there is no way to its participant.
fn rest() -> Event {
    Event::Rest {
        unreachable: vec!["p".into()],
    }
}

fn operator(order: Order) -> Event {
    Event::Operator(command(order))
}

/// One transaction in each phase, in the order of the table's columns.
fn phases() -> Vec<(&'static str, Transaction)> {
    let initiators = begun(Decider::Initiator);
    let asking = step(&initiators, &Event::TimePassed, &after_deadline()).next;
    let confirming = next(&initiators, &decide(Outcome::Success));
    let cancelling = next(&initiators, &decide(Outcome::Failure));
    let finished = next(&confirming, &Event::FinishEnded(end(ok())));
    let parked = next(&confirming, &Event::FinishEnded(end(rejected())));
    vec![
        ("trying/coordinator", begun(Decider::Coordinator)),
        ("trying/initiator", initiators),
        ("asking back", asking),
        ("confirming", confirming),
        ("cancelling", cancelling),
        ("finished", finished),
        ("parked", parked),
    ]
}

fn phase(name: &str) -> Transaction {
    let found = phases().into_iter().find(|(phase, _)| *phase == name);
    found.unwrap().1
}

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
        ("authorise", Event::Authorise { actions: vec![0] }),
        ("asked: SUCCESS", Event::AskedBack(Ok(Outcome::Success))),
        ("asked: FAILURE", Event::AskedBack(Ok(Outcome::Failure))),
        ("asked: UNKNOWN", Event::AskedBack(Err("?".into()))),
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

#[test]
fn the_deadline_decides_or_asks_back() {
    let executed = begun(Decider::Coordinator);
    let decided = step(&executed, &Event::TimePassed, &after_deadline()).next;
    let cause = &decided.phase.decision().unwrap().cause;
    assert!(matches!(cause, Cause::Deadline { .. }), "{cause:?}");
    let asking = step(
        &begun(Decider::Initiator),
        &Event::TimePassed,
        &after_deadline(),
    )
    .next;
    assert!(matches!(asking.phase, Phase::AskingBack { .. }));
    let early = Context {
        moment: at(START).moment + Duration::from_micros(29_999_999),
        ..cx()
    };
    assert!(!step(&executed, &Event::TimePassed, &early).write);
}

/// Returns a transaction of the actions a and b, of which the Try of `sent` was sent so often.
fn executed(sent: [u32; 2]) -> Transaction {
    let new = new_transaction(1, Decider::Coordinator, [tcc("a"), tcc("b")]);
    let mut tx = Transaction::begin(&new, owner(1), at(START));
    for (action, tries) in tx.actions.iter_mut().zip(sent) {
        action.live.tries = tries;
        if tries > 0 {
            action.live.sent = Sent::Perhaps;
        }
    }
    tx
}

/// Returns the cause that the deadline gives: the action, and the reason.
fn cause_at_deadline(tx: &Transaction) -> (Option<Name>, String) {
    let decided = step(tx, &Event::TimePassed, &after_deadline()).next;
    match decided.phase.decision().unwrap().cause.clone() {
        Cause::Deadline { action, reason } => (action, reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_deadline_names_the_action_its_attempts_and_the_last_error() {
    let failed = |tx: &Transaction, action: usize, error: &str| {
        let answer = CallAnswer::Unknown(error.into());
        next(
            tx,
            &Event::TryEnded(CallEnd {
                action,
                ..end(answer)
            }),
        )
    };
    let twice = failed(&failed(&executed([0, 1]), 1, "refused"), 1, "no handler");
    let mut loaded = twice.clone();
    loaded.actions[1].live.tries = 1;
    let mut again = executed([0, 3]);
    again.actions[1].state = twice.actions[1].state.clone();
    let cases = [
        (executed([1, 1]), "a", "1 attempt, not answered"),
        (executed([0, 1]), "b", "1 attempt, not answered"),
        (executed([0, 0]), "a", "its turn did not come"),
        (
            next(&executed([0, 0]), &rest()),
            "a",
            "no attempt could be made: there is no way to participant p: it is not attached, or without handler a",
        ),
        (failed(&executed([1, 1]), 1, "busy"), "b", "1 attempt: busy"),
        (twice, "b", "2 attempts, the last error: no handler"),
        (
            failed(&loaded, 1, "gone"),
            "b",
            "3 attempts, the last error: gone",
        ),
        (
            again,
            "b",
            "3 attempts, the last not answered; the last error: no handler",
        ),
    ];
    for (tx, action, reason) in cases {
        let cause = cause_at_deadline(&tx);
        assert_eq!(
            (cause.0.as_deref(), &*cause.1),
            (Some(action), reason),
            "{tx:?}"
        );
    }
    let answered = next(
        &executed([1, 1]),
        &Event::TryEnded(CallEnd {
            action: 0,
            ..end(ok())
        }),
    );
    assert_eq!(cause_at_deadline(&answered).0.as_deref(), Some("b"));
    let new = new_transaction(1, Decider::Initiator, [tcc("a")]);
    let begun = Transaction::begin(&new, owner(1), at(START));
    let undecided = (None, "the initiator did not decide".to_owned());
    assert_eq!(cause_at_deadline(&begun), undecided);
}

/// The end of a Try that was under way at the decision is kept for people, and changes nothing else.
#[test]
fn a_try_that_ends_after_the_decision_is_noted() {
    let tx = executed([1, 0]);
    let cancelling = next(&tx, &decide(Outcome::Failure));
    for (answer, outcome) in [
        (unknown(), Some(AttemptOutcome::Unknown)),
        (rejected(), Some(AttemptOutcome::Rejected)),
        (ok(), None),
    ] {
        let late = step(&cancelling, &Event::TryEnded(end(answer)), &cx());
        let noted = late.next.actions[0].state.attempts.last();
        let noted = noted.map(|attempt| {
            assert_eq!((attempt.operation, attempt.number), (Operation::Try, 1));
            attempt.outcome
        });
        assert_eq!((noted, late.write), (outcome, false));
        assert_eq!(late.next.actions[0].state.status, ActionStatus::Init);
        assert_eq!(late.next.phase, cancelling.phase);
    }
}

/// The path of a field is the same in a refusal that compares and in one that checks.
#[test]
fn a_field_that_differs_is_named_by_its_path_in_the_request() {
    let request = |decider, timeout_s: u64, payload: &'static [u8]| {
        let mut action = tcc("a");
        action.payload = payload.into();
        let mut new = new_transaction(1, decider, [action]);
        new.timeout = Duration::from_secs(timeout_s);
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
fn questions_that_are_bounded_end_in_failure_and_others_never() {
    let mut tx = phase("asking back");
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
    tx = step(&tx, &Event::AskedBack(Err("?".into())), &after_deadline()).next;
    assert_eq!(tx.phase.decision().unwrap().outcome, Outcome::Failure);
}

#[test]
fn a_rejection_that_a_framework_may_have_made_counts_at_the_third_time() {
    let mut tx = phase("confirming");
    let doubtful = CallEnd {
        rejections_to_believe: 3,
        ..end(rejected())
    };
    let mut spec = (*tx.actions[0].spec).clone();
    spec.retry.max_attempts = 100;
    tx.actions[0].spec = Arc::new(spec);
    for _ in 0..2 {
        tx = next(&tx, &Event::FinishEnded(doubtful.clone()));
        assert_eq!(tx.actions[0].state.status, ActionStatus::Init);
    }
    tx = next(&tx, &Event::FinishEnded(doubtful));
    assert_eq!(tx.actions[0].state.status, ActionStatus::Failed);
}

/// Returns the transaction as an incarnation reads it that did not write it.
fn loaded(tx: &Transaction) -> Transaction {
    let mut rows = common::rows::Rows::default();
    rows.insert(tx.clone());
    let mut tx = rows.transaction(tx.id());
    tx.resume(&Course::new(at(cx().now)));
    tx
}

/// Only an unused permit is given back: calls that earlier incarnations made stay counted.
#[test]
fn rest_gives_back_only_an_unused_permit() {
    let mut tx = phase("cancelling");
    let mut count_after = |permit: bool, count: u32| {
        tx.actions[0].live.permit = permit;
        tx.actions[0].state.retry_count = count;
        let rested = loaded(&next(&tx, &rest()));
        let unsent = rested.rest.unwrap().unsent.len();
        let action = rested.actions[0].clone();
        (action.live.permit, action.state.retry_count, unsent)
    };
    assert_eq!(count_after(true, 2), (false, 1, 0));
    assert_eq!(
        count_after(false, 2),
        (false, 2, 0),
        "an earlier incarnation may have sent it"
    );
    assert_eq!(
        count_after(true, 0),
        (true, 0, 1),
        "the first call was never made, and is not counted"
    );
}

#[test]
fn a_call_that_was_never_made_is_not_counted_however_often_its_row_is_loaded() {
    let authorise = Event::Authorise { actions: vec![0] };
    let mut tx = phase("confirming");
    let mut spec = (*tx.actions[0].spec).clone();
    spec.retry.max_attempts = 1;
    tx.actions[0].spec = Arc::new(spec);
    for _ in 0..5 {
        tx = loaded(&next(&tx, &rest()));
        tx = next(&tx, &authorise);
        let action = &tx.actions[0];
        assert_eq!((action.live.permit, action.state.retry_count), (true, 0));
    }
    // Taken in hand, and loaded while that permit may have been used: the call counts.
    tx.rest = None;
    tx = next(&loaded(&tx), &authorise);
    assert_eq!(tx.actions[0].state.status, ActionStatus::Failed);
}

/// A call that the participant never took is no attempt: not in memory, not in the row, not after a load.
#[test]
fn a_call_that_was_never_taken_is_not_counted() {
    let mut tx = phase("confirming");
    let mut spec = (*tx.actions[0].spec).clone();
    spec.retry.max_attempts = 2;
    tx.actions[0].spec = Arc::new(spec);
    let authorise = Event::Authorise { actions: vec![0] };
    let long_wait = Context {
        dice: u64::MAX - 1,
        hold: Duration::ZERO,
        ..cx()
    };
    for count in [0, 1] {
        for _ in 0..5 {
            tx.actions[0].live.permit = false;
            tx = next(&tx, &Event::FinishEnded(end(unsent())));
            let action = &tx.actions[0];
            assert_eq!(
                (action.live.permit, action.state.retry_count),
                (true, count)
            );
            // The same where the next call is far: the row rests, and is loaded.
            tx.actions[0].live.permit = false;
            tx = step(&tx, &Event::FinishEnded(end(unsent())), &long_wait).next;
            tx = loaded(&next(&tx, &rest()));
            assert_eq!(tx.actions[0].live.permit, count == 0);
            tx = next(&tx, &authorise);
            let action = &tx.actions[0];
            assert_eq!(
                (action.live.permit, action.state.retry_count),
                (true, count)
            );
        }
        let last = tx.actions[0].state.attempts.last().unwrap();
        assert_eq!(last.outcome, AttemptOutcome::Unreachable);
        // One that was taken counts, and the second of two is the last.
        tx.actions[0].live.permit = false;
        tx = next(&tx, &Event::FinishEnded(end(unknown())));
    }
    assert_eq!(tx.actions[0].state.status, ActionStatus::Failed);
}

#[test]
fn pauses_between_calls_that_were_never_taken_grow() {
    let mut tx = phase("confirming");
    let mut pauses = Vec::new();
    for _ in 0..4 {
        let bound = tx.actions[0].spec.retry.first_delay * (1 << pauses.len());
        let dice = u64::try_from(bound.as_micros()).unwrap();
        let context = Context { dice, ..cx() };
        tx = step(&tx, &Event::FinishEnded(end(unsent())), &context).next;
        pauses.push(tx.actions[0].live.not_before.since(context.moment));
        assert_eq!(pauses.last(), Some(&bound));
    }
}

/// An earlier Try that may have been taken is not forgotten.
#[test]
fn a_try_that_was_never_taken_was_never_sent_unless_an_earlier_one_was() {
    let unsent = Event::TryEnded(end(unsent()));
    for (sent, ends) in [
        (Sent::Once, ActionStatus::Cancelled),
        (Sent::Perhaps, ActionStatus::Init),
    ] {
        let mut tx = phase("trying/coordinator");
        tx.actions[0].live.sent = sent;
        tx.actions[0].live.tries = 1;
        tx = next(&tx, &unsent);
        assert_eq!(tx.actions[0].live.tries, 0);
        let after = step(&tx, &Event::TimePassed, &after_deadline()).next;
        assert_eq!(after.actions[0].state.status, ends, "{sent:?}");
    }
}

#[test]
fn a_try_that_was_never_sent_is_known_as_such_at_rest_and_not_in_hand() {
    let new = new_transaction(1, Decider::Coordinator, [tcc("a"), tcc("b")]);
    let mut tx = Transaction::begin(&new, owner(1), at(START));
    tx.version = 1;
    tx.actions[0].live.sent = Sent::Once;
    let sent = |tx: &Transaction| [tx.actions[0].live.sent, tx.actions[1].live.sent];
    let mut at_rest = next(&tx, &rest());
    at_rest.actions[0].state.version = 1;
    at_rest.actions[1].state.version = 1;
    let at_rest = loaded(&at_rest);
    assert_eq!(sent(&at_rest), [Sent::Perhaps, Sent::Never]);
    let in_hand = Transaction {
        rest: None,
        ..at_rest
    };
    assert_eq!(sent(&loaded(&in_hand)), [Sent::Perhaps, Sent::Perhaps]);
}

#[test]
fn rest_wants_a_call_of_each_participant_at_its_own_time() {
    let mut actions = [tcc("a"), tcc("b"), tcc("c")];
    actions[1].participant = "q".into();
    let new = new_transaction(1, Decider::Initiator, actions);
    let begun = Transaction::begin(&new, owner(1), at(START));
    let mut tx = next(&begun, &decide(Outcome::Success));
    tx.actions[0].live.not_before = at(START).moment + Duration::from_mins(1);
    let rested = next(&tx, &rest());
    let rows: Vec<_> = rested.due_rows();
    let wait = |participant: &str, at| DueRow {
        queue: Queue::Wait {
            participant: participant.into(),
            business_type: "exchange".into(),
        },
        at,
    };
    let now = cx().now;
    assert_eq!(rows, [wait("p", now), wait("q", now)]);
    // The note for people stands at those that cannot be reached, and keeps the time of the next call.
    let notes: Vec<_> = rested
        .actions
        .iter()
        .map(|a| a.state.attempts.first())
        .collect();
    assert!(notes[1].is_none(), "q is only busy");
    let next_call = notes[0].unwrap().next;
    assert_eq!(
        next_call,
        Some((START + Duration::from_mins(1)).as_micros())
    );
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
                prop_assert!(action.state.retry_count < action.spec.retry.max_attempts);
            }
            tx = step.next;
        }
    }
}
