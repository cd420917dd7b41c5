//! Operators' commands: decide for a silent initiator, retry and resolve parked transactions.

use tercet_mutation::broken;

use super::{Context, Step, decide, finishing::conclude, standing_decision};
use crate::{
    limits,
    model::{ActionStatus, Cause, Decision, Live, Name, Outcome, Phase, Transaction},
    port::{Command, Order},
    refusal::Refusal,
    time::Timestamp,
    write::OperatorEntry,
};

/// Carries out a command. Its row of `operator_log` goes with the same write.
pub(super) fn carry_out(
    tx: &Transaction,
    command: &Command,
    cx: &Context,
) -> Result<Step, Refusal> {
    let step = match &command.order {
        Order::Decide(outcome) => decide_by_operator(tx, *outcome, &command.reason, cx)?,
        Order::Retry => Step::durable(retry(tx, cx)?),
        Order::Resolve { actions, status } => Step::durable(resolve(tx, actions, *status, cx)?),
    };
    Ok(Step {
        operator: step.write.then(|| entry(tx, command, cx.now)),
        ..step
    })
}

fn entry(tx: &Transaction, command: &Command, now: Timestamp) -> OperatorEntry {
    let actions: Vec<String> = tx
        .actions
        .iter()
        .map(|action| format!("{} {}", action.spec.name, action.state.status))
        .collect();
    OperatorEntry {
        at: now,
        who: command.who.clone(),
        command: command.order.to_string(),
        reason: command.reason.clone(),
        before: format!(
            "{}/{}; {}",
            tx.phase.status(),
            tx.phase.biz_status(),
            actions.join(", ")
        ),
    }
}

fn decide_by_operator(
    tx: &Transaction,
    outcome: Outcome,
    reason: &str,
    cx: &Context,
) -> Result<Step, Refusal> {
    if let Some(result) = standing_decision(tx, outcome) {
        return result;
    }
    // Begun while the clock was ahead, it would wait for its deadline until that time comes.
    let clock_was_wrong = tx.spec.create_time > cx.now + limits::BEGUN_AHEAD;
    if tx.phase == Phase::Trying && !clock_was_wrong {
        return Err(Refusal::PhaseOneRuns { id: tx.id() });
    }
    // Its Tries are the coordinator's to make: until each is answered with OK, SUCCESS would confirm what was not tried.
    if tx.phase == Phase::Trying && tx.spec.is_executed() && outcome == Outcome::Success {
        return Err(Refusal::ExecuteDecides { id: tx.id() });
    }
    let mut next = tx.clone();
    let reason = reason.to_owned();
    decide(&mut next, outcome, Cause::Operator { reason }, cx.present());
    Ok(Step::durable(next))
}

/// Returns the decision of a parked transaction, and when it was made.
fn parked(tx: &Transaction) -> Result<(&Decision, Timestamp), Refusal> {
    match &tx.phase {
        Phase::Parked {
            decision,
            decided_at,
        } => Ok((decision, *decided_at)),
        phase => Err(Refusal::NotParked {
            id: tx.id(),
            status: phase.status(),
            biz_status: phase.biz_status(),
        }),
    }
}

/// Returns a parked transaction in phase two again. An action that was neither ended nor given up stood behind one that
/// was, and has probably never been called: the operator's command allows a call of it, as the decision did. Otherwise one
/// that may be called once only would be given up without any call. The ages of all actions count from now on.
fn unparked(tx: &Transaction, cx: &Context) -> Result<Transaction, Refusal> {
    let (decision, decided_at) = parked(tx)?;
    let mut next = tx.clone();
    next.phase = Phase::Finishing {
        decision: decision.clone(),
        decided_at,
        unparked_at: Some(cx.now),
    };
    if !broken("ages_from_the_decision_alone") {
        next.moments.ages_from = cx.moment;
    }
    for place in 0..next.actions.len() {
        next.actions[place].live.permit |= next.needs(place).is_some();
    }
    Ok(next)
}

fn retry(tx: &Transaction, cx: &Context) -> Result<Transaction, Refusal> {
    let (decision, _) = parked(tx)?;
    let mut next = unparked(tx, cx)?;
    for action in &mut next.actions {
        if action.state.status != ActionStatus::Failed {
            continue;
        }
        action.state.status = match decision.outcome {
            Outcome::Success => ActionStatus::Tried,
            Outcome::Failure => ActionStatus::Init,
        };
        action.state.retry_count = 0;
        action.live = Live {
            sent: action.live.sent,
            permit: true,
            dirty: true,
            ..Live::new()
        };
    }
    Ok(next)
}

fn resolve(
    tx: &Transaction,
    names: &[Name],
    status: ActionStatus,
    cx: &Context,
) -> Result<Transaction, Refusal> {
    let mut next = unparked(tx, cx)?;
    for name in names {
        let action = next
            .actions
            .iter_mut()
            .find(|action| &action.spec.name == name);
        match action {
            Some(action) if action.state.status == ActionStatus::Failed => {
                action.end(status, cx.now);
            }
            _ => {
                return Err(Refusal::NotFailed {
                    id: tx.id(),
                    action: name.to_string(),
                });
            }
        }
    }
    conclude(&mut next, cx.now);
    Ok(next)
}
