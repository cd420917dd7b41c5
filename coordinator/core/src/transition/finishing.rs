//! Phase two: every action that needs it is called until it is where the decision wants it.

use super::{Answered, Context, Step, back_off, note, trying::duration_micros};
use crate::{
    engine::CallOutcome,
    model::{
        Action, ActionStatus, Attempt, AttemptOutcome, Operation, Outcome, Phase, Transaction,
    },
    time::Timestamp,
};

pub(super) fn answered(tx: &Transaction, answer: &Answered, cx: &Context) -> Step {
    let mut next = tx.clone();
    let Some(operation) = next.needs(answer.action) else {
        return Step::unchanged(tx);
    };
    let action = &mut next.actions[answer.action];
    action.live.unreachable = false;
    if matches!(answer.outcome, CallOutcome::Ok(_)) {
        action.end(
            if operation == Operation::Confirm {
                ActionStatus::Confirmed
            } else {
                ActionStatus::Cancelled
            },
            cx.now,
        );
        settle(&mut next, cx.now);
        let settled = next.phase.is_settled();
        return Step {
            write: settled,
            ..Step::in_memory(next)
        };
    }
    failed_call(&mut next, answer, operation, cx);
    settle(&mut next, cx.now);
    Step::durable_in_company(next)
}

/// A call that was not answered with OK: again later, or never.
fn failed_call(tx: &mut Transaction, answer: &Answered, operation: Operation, cx: &Context) {
    let age = tx.phase.decided_at().map(|decided| cx.now.since(decided));
    let action = &mut tx.actions[answer.action];
    let policy = action.spec.retry;
    let number = action.retry_count + 1;
    let (outcome, error) = match &answer.outcome {
        CallOutcome::Rejected(reason) => {
            action.live.rejections += 1;
            (AttemptOutcome::Rejected, reason.clone())
        }
        CallOutcome::Unknown(error) => {
            action.live.rejections = 0;
            (AttemptOutcome::Unknown, error.clone())
        }
        CallOutcome::Ok(_) => return,
    };
    let given_up = action.live.rejections >= answer.rejections_to_believe.max(1)
        || number >= policy.max_attempts
        || policy
            .max_age
            .is_some_and(|max| age.is_some_and(|age| age >= max));
    let again = (!given_up).then(|| {
        cx.now
            + back_off(
                policy.first_delay,
                policy.max_delay,
                action.retry_count,
                cx.dice,
            )
    });
    note(
        action,
        Attempt {
            operation,
            at: answer.sent_at.as_micros(),
            took: duration_micros(cx, answer),
            number,
            outcome,
            error,
            next: again.map(Timestamp::as_micros),
        },
    );
    match again {
        None => action.status = ActionStatus::Failed,
        Some(at) => {
            action.live.not_before = at;
            // A long wait is spent in the table: whoever loads the row authorises the call.
            if at.since(cx.now) <= cx.hold {
                authorise(action);
            }
        }
    }
}

/// Allows one more call; see `docs/adr/0010`.
fn authorise(action: &mut Action) {
    match first_call_unmade(action) {
        Some(noted) => noted.number = 0,
        None => action.retry_count += 1,
    }
    action.live.unreachable = false;
    action.live.permit = true;
    action.live.dirty = true;
}

/// The note that the decision's own permit was given back, where it says so and nothing came after it.
fn first_call_unmade(action: &mut Action) -> Option<&mut Attempt> {
    let last = action.attempts.last_mut()?;
    let unmade = action.retry_count == 0
        && last.outcome == AttemptOutcome::Unreachable
        && last.operation != Operation::Try
        && last.number == 1;
    unmade.then_some(last)
}

pub(super) fn authorised(tx: &Transaction, places: &[usize], cx: &Context) -> Step {
    let mut next = tx.clone();
    for &place in places {
        let action = &mut next.actions[place];
        if action.live.permit {
            continue;
        }
        let limit = action.spec.retry.max_attempts;
        if action.retry_count + 1 >= limit && first_call_unmade(action).is_none() {
            give_up_unsent(
                action,
                tx.phase.decision().map(|decision| decision.outcome),
                cx,
            );
        } else {
            authorise(action);
        }
    }
    settle(&mut next, cx.now);
    Step::durable_in_company(next)
}

/// The last call that was allowed may have been sent by an incarnation that is gone.
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
            number: action.retry_count + 1,
            outcome: AttemptOutcome::Unknown,
            error: "the coordinator restarted while the last call that was allowed was under way"
                .into(),
            next: None,
        },
    );
    action.status = ActionStatus::Failed;
}

/// Ends phase two where nothing is left that can be driven without a person.
pub(super) fn settle(tx: &mut Transaction, now: Timestamp) {
    let Phase::Finishing {
        decision,
        decided_at,
    } = &tx.phase
    else {
        return;
    };
    let (decision, decided_at) = (decision.clone(), *decided_at);
    if (0..tx.actions.len()).all(|place| tx.is_final(place)) {
        for action in &mut tx.actions {
            action.finished_at.get_or_insert(now);
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
