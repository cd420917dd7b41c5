//! What operators may do: decide for a silent initiator, retry and resolve what is parked.

use super::{Context, Step, decide, finishing::settle, standing_decision};
use crate::{
    model::{ActionStatus, Cause, Live, Name, Outcome, Phase, Transaction},
    refusal::Refusal,
    time::Timestamp,
    write::OperatorEntry,
};

fn entry(tx: &Transaction, command: String, reason: &str, cx: &Context) -> OperatorEntry {
    let actions: Vec<String> = tx
        .actions
        .iter()
        .map(|a| format!("{} {}", a.spec.name, a.status))
        .collect();
    OperatorEntry {
        at: cx.now,
        command,
        reason: reason.to_owned(),
        before: format!(
            "{}/{}; {}",
            tx.phase.status(),
            tx.phase.biz_status(),
            actions.join(", ")
        ),
    }
}

pub(super) fn decided(
    tx: &Transaction,
    outcome: Outcome,
    reason: &str,
    cx: &Context,
) -> Result<Step, Refusal> {
    if let Some(answer) = standing_decision(tx, outcome) {
        return answer;
    }
    if tx.phase == Phase::Trying {
        return Err(Refusal::PhaseOneRuns { id: tx.id() });
    }
    let mut next = tx.clone();
    decide(
        &mut next,
        outcome,
        Cause::Operator {
            reason: reason.to_owned(),
        },
        cx.now,
    );
    let operator = Some(entry(tx, format!("DECIDE {outcome}"), reason, cx));
    Ok(Step {
        operator,
        ..Step::durable(next)
    })
}

pub(super) fn retried(tx: &Transaction, reason: &str, cx: &Context) -> Result<Step, Refusal> {
    let Phase::Parked {
        decision,
        decided_at,
    } = &tx.phase
    else {
        return Err(Refusal::NotParked {
            id: tx.id(),
            status: tx.phase.status(),
        });
    };
    let mut next = tx.clone();
    next.phase = Phase::Finishing {
        decision: decision.clone(),
        decided_at: *decided_at,
    };
    for action in &mut next.actions {
        if action.status != ActionStatus::Failed {
            continue;
        }
        action.status = match decision.outcome {
            Outcome::Success => ActionStatus::Tried,
            Outcome::Failure => ActionStatus::Init,
        };
        action.retry_count = 0;
        let sent = action.live.sent;
        action.live = Live {
            sent,
            permit: true,
            dirty: true,
            ..Live::new()
        };
        action.live.not_before = Timestamp::default();
    }
    let operator = Some(entry(tx, "RETRY".into(), reason, cx));
    Ok(Step {
        operator,
        ..Step::durable(next)
    })
}

pub(super) fn resolved(
    tx: &Transaction,
    names: &[Name],
    status: ActionStatus,
    reason: &str,
    cx: &Context,
) -> Result<Step, Refusal> {
    let Phase::Parked {
        decision,
        decided_at,
    } = &tx.phase
    else {
        return Err(Refusal::NotParked {
            id: tx.id(),
            status: tx.phase.status(),
        });
    };
    let mut next = tx.clone();
    for name in names {
        let action = next
            .actions
            .iter_mut()
            .find(|action| &action.spec.name == name);
        match action {
            Some(action) if action.status == ActionStatus::Failed => action.end(status, cx.now),
            _ => {
                return Err(Refusal::NotFailed {
                    id: tx.id(),
                    action: name.to_string(),
                });
            }
        }
    }
    next.phase = Phase::Finishing {
        decision: decision.clone(),
        decided_at: *decided_at,
    };
    settle(&mut next, cx.now);
    let operator = Some(entry(
        tx,
        format!("RESOLVE {} AS {status}", names.join(" ")),
        reason,
        cx,
    ));
    Ok(Step {
        operator,
        ..Step::durable(next)
    })
}
