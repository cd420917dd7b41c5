//! Phase two: every action that needs it is called until it is confirmed or cancelled, as the decision requires.

use std::time::Duration;

use tercet_mutation::broken;

use super::{
    CallEnd, Context, Step, back_off, note, note_unsent,
    trying::{duration_micros, note_try},
};
use crate::{
    model::{
        Action, ActionStatus, Attempt, AttemptOutcome, Operation, Outcome, Phase, Transaction,
    },
    port::CallAnswer,
    time::Timestamp,
};

/// Ends a call of Confirm or Cancel.
pub(super) fn call_ended(tx: &Transaction, end: &CallEnd, cx: &Context) -> Step {
    let mut next = tx.clone();
    let Some(operation) = next.needs(end.action) else {
        return Step::unchanged(tx);
    };
    let action = &mut next.actions[end.action];
    if matches!(end.answer, CallAnswer::Ok(_)) {
        action.end(
            if operation == Operation::Confirm {
                ActionStatus::Confirmed
            } else {
                ActionStatus::Cancelled
            },
            cx.now,
        );
        conclude(&mut next, cx.now);
        let over = next.phase.is_over();
        return Step {
            write: over,
            ..Step::in_memory(next)
        };
    }
    if let CallAnswer::Unsent(error) = &end.answer {
        note_unsent_call(&mut next, end, operation, error, cx);
    } else {
        note_failed_call(&mut next, end, operation, cx);
    }
    conclude(&mut next, cx.now);
    Step::durable_in_company(next)
}

/// Notes the end of a Try that was under way when the decision was made. It changes nothing but what is kept for
/// people, and goes with the next write.
pub(super) fn try_ended(tx: &Transaction, end: &CallEnd) -> Step {
    let mut next = tx.clone();
    let (outcome, error) = match &end.answer {
        CallAnswer::Rejected(reason) => (AttemptOutcome::Rejected, reason),
        CallAnswer::Unknown(error) => (AttemptOutcome::Unknown, error),
        CallAnswer::Ok(_) | CallAnswer::Unsent(_) => return Step::unchanged(tx),
    };
    if !tx.spec.is_executed() || tx.needs(end.action).is_none() {
        return Step::unchanged(tx);
    }
    note_try(&mut next.actions[end.action], end, outcome, error, None);
    Step::in_memory(next)
}

/// Notes a call that was not answered with OK, and sets the time of the next one or gives the action up.
fn note_failed_call(tx: &mut Transaction, end: &CallEnd, operation: Operation, cx: &Context) {
    let too_old = is_too_old(tx, end.action, cx);
    let action = &mut tx.actions[end.action];
    let policy = action.spec.retry.in_effect();
    let number = action.state.retry_count + 1;
    let (outcome, error) = match &end.answer {
        CallAnswer::Rejected(reason) => {
            action.live.rejections += 1;
            (AttemptOutcome::Rejected, reason.clone())
        }
        CallAnswer::Unknown(error) => {
            action.live.rejections = 0;
            (AttemptOutcome::Unknown, error.clone())
        }
        CallAnswer::Ok(_) | CallAnswer::Unsent(_) => return,
    };
    let given_up = action.live.rejections >= end.rejections_to_believe.max(1)
        || number >= policy.max_attempts
        || too_old;
    let pause = (!given_up).then(|| {
        back_off(
            policy.first_delay,
            policy.max_delay,
            action.state.retry_count,
            cx.dice,
        )
    });
    note(
        action,
        Attempt {
            operation,
            at: end.sent_at.as_micros(),
            took: duration_micros(end),
            number,
            outcome,
            error,
            next: pause.map(|pause| (cx.now + pause).as_micros()),
        },
    );
    call_again(action, pause, cx);
}

/// Notes a call that the participant never took. That is no attempt: its permit is there for the next call.
fn note_unsent_call(
    tx: &mut Transaction,
    end: &CallEnd,
    operation: Operation,
    error: &str,
    cx: &Context,
) {
    let too_old = is_too_old(tx, end.action, cx);
    let action = &mut tx.actions[end.action];
    action.live.permit = !broken("unsent_call_counted");
    if too_old {
        action.state.status = ActionStatus::Failed;
    }
    note_unsent(
        action,
        Attempt {
            operation,
            at: end.sent_at.as_micros(),
            took: duration_micros(end),
            number: 0,
            outcome: AttemptOutcome::Unreachable,
            error: error.to_owned(),
            next: None,
        },
    );
}

/// Returns whether the action is so old that it is given up when a call of it does not succeed.
fn is_too_old(tx: &Transaction, place: usize, cx: &Context) -> bool {
    tx.too_old_from(place).is_some_and(|from| from <= cx.moment)
}

/// Sets the moment of the next call, or gives the action up.
fn call_again(action: &mut Action, pause: Option<Duration>, cx: &Context) {
    match pause {
        None => action.state.status = ActionStatus::Failed,
        Some(pause) => {
            action.live.not_before = cx.moment + pause;
            // A long wait is spent in the table: the incarnation that loads the row authorises the call.
            if pause <= cx.hold && !action.live.permit {
                authorise(action);
            }
        }
    }
}

/// Allows one more call; see `docs/adr/0010`.
fn authorise(action: &mut Action) {
    action.state.retry_count += 1;
    action.live.permit = true;
    action.live.dirty = true;
}

/// Authorises a call of each action at these places, or gives the action up where no call is left.
pub(super) fn authorise_all(tx: &Transaction, places: &[usize], cx: &Context) -> Step {
    let mut next = tx.clone();
    for &place in places {
        let action = &mut next.actions[place];
        if action.live.permit {
            continue;
        }
        let limit = action.spec.retry.in_effect().max_attempts;
        if action.state.retry_count + 1 >= limit {
            give_up_unsent(
                action,
                tx.phase.decision().map(|decision| decision.outcome),
                cx,
            );
        } else {
            authorise(action);
        }
    }
    conclude(&mut next, cx.now);
    Step::durable_in_company(next)
}

/// Gives up an action whose last allowed call may have been sent by an earlier incarnation.
fn give_up_unsent(action: &mut Action, outcome: Option<Outcome>, cx: &Context) {
    let operation = match outcome {
        Some(Outcome::Success) => Operation::Confirm,
        _ => Operation::Cancel,
    };
    note(
        action,
        Attempt {
            operation,
            at: cx.now.as_micros(),
            took: 0,
            number: action.state.retry_count + 1,
            outcome: AttemptOutcome::Unknown,
            error: "the coordinator restarted while the last call that was allowed was under way"
                .into(),
            next: None,
        },
    );
    action.state.status = ActionStatus::Failed;
}

/// Ends phase two where no action is left that can be finished without a person.
pub(super) fn conclude(tx: &mut Transaction, now: Timestamp) {
    let Phase::Finishing {
        decision,
        decided_at,
        ..
    } = &tx.phase
    else {
        return;
    };
    let (decision, decided_at) = (decision.clone(), *decided_at);
    if tx.is_over() {
        for action in &mut tx.actions {
            action.state.finished_at.get_or_insert(now);
        }
        tx.phase = Phase::Finished {
            decision,
            decided_at,
            finished_at: now,
        };
    } else if !tx.is_workable() {
        tx.phase = Phase::Parked {
            decision,
            decided_at,
        };
    }
}
