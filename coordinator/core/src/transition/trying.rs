//! Phase one: Tries, the deadline, questions to the initiator, and the initiator's own requests.

use std::sync::Arc;

use tercet_mutation::broken;

use super::{CallEnd, Context, Step, back_off, cut, decide, note, note_unsent, standing_decision};
use crate::{
    check,
    model::{
        Action, ActionSpec, ActionStatus, Attempt, AttemptOutcome, Cause, CheckBack,
        CheckBackInEffect, Decider, Mode, Operation, Outcome, Phase, Sent, Transaction, Unanswered,
    },
    port::{CallAnswer, CheckBackAnswer},
    refusal::Refusal,
    time::Timestamp,
};

/// Ends a call of Try.
pub(super) fn call_ended(tx: &Transaction, end: &CallEnd, cx: &Context) -> Step {
    let mut next = tx.clone();
    let action = &mut next.actions[end.action];
    match &end.answer {
        CallAnswer::Ok(result) => {
            action.state.status = ActionStatus::Tried;
            // Without a result there is nothing to keep: a repeated Try finds out again that it is TRIED.
            action.live.dirty |= !result.is_empty();
            action.state.result = result.clone();
            if !next.is_tried() {
                return Step::in_memory(next);
            }
            decide(&mut next, Outcome::Success, Cause::AllTried, cx.present());
        }
        CallAnswer::Rejected(reason) => {
            action.state.status = ActionStatus::Rejected;
            action.state.last_error = cut(reason);
            action.live.dirty = true;
            let cause = Cause::Rejected {
                action: action.spec.name.clone(),
                reason: reason.clone(),
            };
            if action.live.sent == Sent::Once {
                action.state.finished_at = Some(cx.now);
            }
            decide(&mut next, Outcome::Failure, cause, cx.present());
        }
        CallAnswer::Unknown(error) => {
            try_again_later(action, end, error, cx);
            return Step::durable_in_company(next);
        }
        CallAnswer::Unsent(error) => {
            try_once_more(action, end, error);
            return Step::durable_in_company(next);
        }
    }
    Step::durable(next)
}

/// Notes a Try that the participant never took: it is no attempt, and where it was the only one, none was sent.
fn try_once_more(action: &mut Action, end: &CallEnd, error: &str) {
    if action.live.sent == Sent::Once || broken("unsent_forgets_earlier_tries") {
        action.live.sent = Sent::Never;
    }
    let number = action.live.tries;
    action.live.tries = number.saturating_sub(1);
    let attempt = Attempt {
        operation: Operation::Try,
        at: end.sent_at.as_micros(),
        took: duration_micros(end),
        number,
        outcome: AttemptOutcome::Unreachable,
        error: error.to_owned(),
        next: None,
    };
    note_unsent(action, attempt);
}

fn try_again_later(action: &mut Action, end: &CallEnd, error: &str, cx: &Context) {
    let policy = action.spec.retry.in_effect();
    let failures = action.live.tries.saturating_sub(1);
    let pause = back_off(policy.first_delay, policy.max_delay, failures, cx.dice);
    let again = cx.now + pause;
    action.live.not_before = cx.moment + pause;
    note_try(action, end, AttemptOutcome::Unknown, error, Some(again));
}

/// Notes a Try that was not answered with OK.
pub(super) fn note_try(
    action: &mut Action,
    end: &CallEnd,
    outcome: AttemptOutcome,
    error: &str,
    next: Option<Timestamp>,
) {
    let attempt = Attempt {
        operation: Operation::Try,
        at: end.sent_at.as_micros(),
        took: duration_micros(end),
        // The incarnations before this one made those that are noted.
        number: action.live.tries.max(tries_noted(action) + 1),
        outcome,
        error: error.to_owned(),
        next: next.map(Timestamp::as_micros),
    };
    note(action, attempt);
}

/// Returns the number of the last Try that is noted; 0: none is.
fn tries_noted(action: &Action) -> u32 {
    let mut tries = action.state.attempts.iter().filter(|attempt| {
        attempt.operation == Operation::Try && attempt.outcome != AttemptOutcome::Unreachable
    });
    tries.next_back().map_or(0, |attempt| attempt.number)
}

pub(super) fn duration_micros(end: &CallEnd) -> u64 {
    u64::try_from(end.took.as_micros()).unwrap_or(u64::MAX)
}

pub(super) fn time_passed(tx: &Transaction, cx: &Context) -> Step {
    let early = broken("deadline_judged_early");
    if cx.moment < tx.moments.due && !early {
        return Step::unchanged(tx);
    }
    let mut next = tx.clone();
    match &tx.spec.check_back {
        None => decide(&mut next, Outcome::Failure, out_of_time(tx), cx.present()),
        Some(check_back) => {
            next.moments.due = tx.moments.due + check_back.in_effect().first_delay;
            next.phase = Phase::AskingBack {
                next: cx.present().time_of(next.moments.due),
            };
            next.check_backs = 1;
        }
    }
    Step::durable(next)
}

/// Returns the cause of a decision at the deadline: an action whose Try had no answer of OK, and what became of its
/// calls. Of several it is one that failed, before one that was not reached, not answered or not called.
fn out_of_time(tx: &Transaction) -> Cause {
    if !tx.spec.is_executed() {
        return Cause::Deadline {
            action: None,
            reason: "the initiator did not decide".to_owned(),
        };
    }
    let untried = tx.actions.iter().filter(|action| {
        action.spec.mode != Mode::Deliver && action.state.status == ActionStatus::Init
    });
    let named = untried.min_by_key(|action| {
        let noted = tries_noted(action);
        (
            noted == 0,
            action.state.attempts.is_empty(),
            action.live.sent == Sent::Never,
        )
    });
    Cause::Deadline {
        action: named.map(|action| action.spec.name.clone()),
        reason: named.map(calls_made).unwrap_or_default(),
    }
}

/// Returns the number of Tries of an action without an answer of OK, and the last error.
fn calls_made(action: &Action) -> String {
    let noted = tries_noted(action);
    let (made, error) = (action.live.tries.max(noted), &action.state.last_error);
    let unanswered = made > noted;
    match made {
        0 if !error.is_empty() => format!("no attempt could be made: {error}"),
        0 if action.live.sent == Sent::Never => format!(
            "its turn did not come: no call left for handler {} of participant {}",
            action.spec.handler, action.spec.participant
        ),
        0 => "no answer is known".to_owned(),
        1 if unanswered => "1 attempt, not answered".to_owned(),
        _ if unanswered && error.is_empty() => format!("{made} attempts, not answered"),
        _ if unanswered => {
            format!("{made} attempts, the last not answered; the last error: {error}")
        }
        1 => format!("1 attempt: {error}"),
        _ => format!("{made} attempts, the last error: {error}"),
    }
}

pub(super) fn asked_back(tx: &Transaction, answer: &CheckBackAnswer, cx: &Context) -> Step {
    let mut next = tx.clone();
    match answer {
        CheckBackAnswer::Decided(outcome) => {
            let reason = format!("the initiator answered {outcome}");
            decide(
                &mut next,
                *outcome,
                Cause::CheckBack { reason },
                cx.present(),
            );
            Step::durable(next)
        }
        CheckBackAnswer::Unknown(error) => ask_again_later(next, cx, error),
        // Not asked, and not counted: the gate lets the next one leave when there may be a way again.
        CheckBackAnswer::Unsent(_) => Step::unchanged(tx),
    }
}

/// Allows one more question after a pause, or decides FAILURE where the caller's `max_attempts` are used up.
fn ask_again_later(mut next: Transaction, cx: &Context, error: &str) -> Step {
    let Some(check_back) = next.spec.check_back.as_ref().map(CheckBack::in_effect) else {
        return Step::in_memory(next);
    };
    let is_last = check_back
        .max_attempts
        .is_some_and(|max| next.check_backs >= max);
    let pause = (!is_last).then(|| pause(&check_back, &next, cx));
    let again = pause.map(|pause| cx.now + pause);
    next.last_check_back = Some(Box::new(Unanswered {
        number: next.check_backs,
        at: cx.now,
        error: cut(error),
        next: again,
    }));
    let (Some(pause), Some(again)) = (pause, again) else {
        let reason = format!(
            "no answer to {} questions; the last: {error}",
            next.check_backs
        );
        decide(
            &mut next,
            Outcome::Failure,
            Cause::CheckBack { reason },
            cx.present(),
        );
        return Step::durable(next);
    };
    next.moments.due = cx.moment + pause;
    next.phase = Phase::AskingBack { next: again };
    next.check_backs = next.check_backs.saturating_add(1);
    Step::durable_in_company(next)
}

fn pause(check_back: &CheckBackInEffect, tx: &Transaction, cx: &Context) -> std::time::Duration {
    let failures = tx.check_backs.saturating_sub(1);
    back_off(
        check_back.interval,
        check_back.max_interval,
        failures,
        cx.dice,
    )
}

pub(super) fn add_action(
    tx: &Transaction,
    spec: &Arc<ActionSpec>,
    cx: &Context,
) -> Result<Step, Refusal> {
    let id = tx.id();
    if tx.spec.is_executed() {
        return Err(Refusal::ExecuteDecides { id });
    }
    if let Some((_, standing)) = tx.action(&spec.name) {
        return match standing.spec.first_difference(spec) {
            None => Ok(Step::repeated(tx)),
            Some(field) => Err(Refusal::ActionReused {
                id,
                action: spec.name.to_string(),
                field: field.to_owned(),
            }),
        };
    }
    match &tx.phase {
        Phase::Trying if cx.moment < tx.moments.due => {}
        Phase::Trying | Phase::AskingBack { .. } => return Err(Refusal::DeadlinePassed { id }),
        Phase::Finishing { decision, .. }
        | Phase::Finished { decision, .. }
        | Phase::Parked { decision, .. } => {
            return Err(Refusal::AlreadyDecided {
                id,
                stands: decision.outcome,
            });
        }
    }
    check::fits(tx, spec).map_err(|violation| Refusal::DoesNotFit { id, violation })?;
    let mut next = tx.clone();
    let mut action = Action::new(spec.clone(), Decider::Initiator);
    action.live.dirty = true;
    next.actions.push(action);
    Ok(Step::durable(next))
}

pub(super) fn decide_by_initiator(
    tx: &Transaction,
    outcome: Outcome,
    reason: &str,
    cx: &Context,
) -> Result<Step, Refusal> {
    if tx.spec.is_executed() && outcome == Outcome::Success {
        return Err(Refusal::ExecuteDecides { id: tx.id() });
    }
    if let Some(result) = standing_decision(tx, outcome) {
        return result;
    }
    let mut next = tx.clone();
    let reason = reason.to_owned();
    let cause = match outcome {
        Outcome::Success => Cause::Initiator { reason },
        Outcome::Failure => Cause::Aborted { reason },
    };
    decide(&mut next, outcome, cause, cx.present());
    Ok(Step::durable(next))
}
