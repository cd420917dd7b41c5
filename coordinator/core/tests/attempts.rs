//! Which calls count, in hand, at rest and after a load.

#![allow(clippy::unwrap_used)]

mod common;

use std::{sync::Arc, time::Duration};

use common::{
    START, at, new_transaction, owner, rejected, tcc,
    transitions::{
        after_deadline, asked_in_vain, check_back, cx, decide, end, loaded, next, phase, rest, step,
    },
    unknown, unsent,
};
use tercet_core::{
    context::Context,
    model::{
        ActionStatus, AttemptOutcome, CheckBack, Decider, DueRow, Mode, Need, Outcome, Queue, Sent,
        Transaction,
    },
    port::CallAnswer,
    time::Moment,
    transition::{CallEnd, Event},
};

#[test]
fn questions_that_are_bounded_end_in_failure_and_others_never() {
    let mut tx = phase("asking back");
    for _ in 0..1_000 {
        tx = step(&tx, &asked_in_vain(), &after_deadline()).next;
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
    tx = step(&tx, &asked_in_vain(), &after_deadline()).next;
    assert_eq!(tx.check_backs, 2);
    tx = step(&tx, &asked_in_vain(), &after_deadline()).next;
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
    spec.retry.max_attempts = Some(100);
    tx.actions[0].spec = Arc::new(spec);
    for _ in 0..2 {
        tx = next(&tx, &Event::FinishEnded(doubtful.clone()));
        assert_eq!(tx.actions[0].state.status, ActionStatus::Init);
    }
    tx = next(&tx, &Event::FinishEnded(doubtful));
    assert_eq!(tx.actions[0].state.status, ActionStatus::Failed);
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
    spec.retry.max_attempts = Some(1);
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
    spec.retry.max_attempts = Some(2);
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

/// The gate lets the next call leave; of many that never left the first and the last are kept.
#[test]
fn a_call_that_was_never_taken_is_wanted_again_at_once() {
    let mut tx = phase("confirming");
    tx = next(&tx, &Event::FinishEnded(end(unknown())));
    for number in 1..=50 {
        let refused = CallAnswer::Unsent(format!("refused {number}"));
        tx = next(&tx, &Event::FinishEnded(end(refused)));
        assert_eq!(tx.actions[0].live.not_before, Moment::default());
    }
    let attempts = tx.actions[0].state.attempts.iter();
    let kept: Vec<_> = attempts.map(|attempt| &*attempt.error).collect();
    assert_eq!(kept, ["lost", "refused 1", "refused 50"]);
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
fn rest_wants_a_call_of_each_participant_and_handler_at_its_own_time() {
    let mut actions = [tcc("a"), tcc("b"), tcc("c")];
    actions[1].participant = "q".into();
    let new = new_transaction(1, Decider::Initiator, actions);
    let begun = Transaction::begin(&new, owner(1), at(START));
    let mut tx = next(&begun, &decide(Outcome::Success));
    tx.actions[0].live.not_before = at(START).moment + Duration::from_mins(1);
    let rested = next(&tx, &rest());
    let rows: Vec<_> = rested.due_rows();
    let wait = |participant: &str, handler: &str, at| DueRow {
        queue: Queue::Wait {
            participant: participant.into(),
            need: Some(Need::Handler(handler.into(), Mode::Tcc)),
            business_type: "exchange".into(),
        },
        at,
    };
    let now = cx().now;
    let later = START + Duration::from_mins(1);
    let rests = [
        wait("p", "a", later),
        wait("p", "c", now),
        wait("q", "b", now),
    ];
    assert_eq!(rows, rests);
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
