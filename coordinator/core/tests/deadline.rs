//! The end of phase one by time, and what its cause says.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{
    START, at, new_transaction, ok, owner, rejected, tcc,
    transitions::{after_deadline, begun, cx, decide, end, next, rest, step},
    unknown,
};
use tercet_core::{
    context::Context,
    model::{
        ActionStatus, AttemptOutcome, Cause, Decider, Name, Operation, Outcome, Phase, Sent,
        Transaction,
    },
    port::CallAnswer,
    transition::{CallEnd, Event},
};

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
        now: START + Duration::from_micros(29_999_999),
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
        (
            executed([0, 0]),
            "a",
            "its turn did not come: no call left for handler a of participant p",
        ),
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
