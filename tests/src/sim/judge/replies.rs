//! The invariants of every reply to a caller.

use tercet_core::{
    id::TxId,
    model::{Outcome, Phase},
    port::Reply,
    refusal::Refusal,
};

use super::{Finding, RequestKind};
use crate::sim::tables::Row;

/// One reply.
pub struct Case<'a> {
    /// The transaction that the request was for.
    pub id: TxId,
    /// The kind of the request.
    pub kind: &'a RequestKind,
    /// The reply, or the refusal.
    pub result: &'a Result<Reply, Refusal>,
    /// The durable row.
    pub row: Option<&'a Row>,
    /// The incarnation that answers.
    pub epoch: u64,
    /// Whether its begin was acknowledged before.
    pub begun: bool,
    /// The row's phase at each version, from 1.
    pub phases: &'a [Phase],
}

type Check = fn(&Case<'_>) -> Finding;

/// Every invariant of a reply.
pub const INVARIANTS: &[(&str, Check)] = &[
    ("I6 only what is durable is acknowledged", durable),
    ("I6 an acknowledged request has taken effect", effective),
    ("I8 a repeated request is answered like the first", repeated),
    ("refusals say what is", refusals),
];

/// Returns whether the request can never take effect, however often it is repeated.
pub fn is_final(refusal: &Refusal) -> bool {
    !matches!(
        refusal,
        Refusal::Overloaded
            | Refusal::OutcomeUnknown { .. }
            | Refusal::Draining
            | Refusal::StoreUnavailable
            | Refusal::NotFound { .. }
            | Refusal::Corrupt { .. }
            | Refusal::DoesNotFit { .. }
    )
}

fn durable(case: &Case<'_>) -> Finding {
    let Ok(reply) = case.result else {
        return Ok(());
    };
    let replied = &reply.transaction;
    let version = replied.version as usize;
    match case.phases.get(version.wrapping_sub(1)) {
        // The time of the next question is stored at rest only, and no part of the answer.
        Some(Phase::AskingBack { .. }) if matches!(replied.phase, Phase::AskingBack { .. }) => {
            Ok(())
        }
        Some(phase) if *phase == replied.phase => Ok(()),
        phase => Err(format!(
            "the reply has version {version} with {:?}; durable at that version is {phase:?}",
            replied.phase
        )),
    }
}

fn effective(case: &Case<'_>) -> Finding {
    if case.result.is_err() {
        return Ok(());
    }
    let Some(row) = case.row else {
        return Err("acknowledged, and there is no row".into());
    };
    match case.kind {
        RequestKind::Add(name) if !row.actions.iter().any(|line| line.spec.name == *name) => {
            Err(format!("action {name} was acknowledged and is not there"))
        }
        RequestKind::Decide(outcome) => {
            let stands = row.head.phase.decision().map(|decision| decision.outcome);
            if stands == Some(*outcome) {
                Ok(())
            } else {
                Err(format!("{outcome} was acknowledged, {stands:?} stands"))
            }
        }
        _ => Ok(()),
    }
}

fn repeated(case: &Case<'_>) -> Finding {
    match (case.kind, case.result) {
        // No client of the world uses an id or name twice for different content.
        (_, Err(refusal @ (Refusal::TxIdReused { .. } | Refusal::ActionReused { .. }))) => {
            Err(refusal.to_string())
        }
        _ => Ok(()),
    }
}

fn refusals(case: &Case<'_>) -> Finding {
    let Err(refusal) = case.result else {
        return Ok(());
    };
    let stands: Option<Outcome> = case
        .row
        .and_then(|row| row.head.phase.decision())
        .map(|decision| decision.outcome);
    match refusal {
        Refusal::DecisionConflict { stands: named, .. }
        | Refusal::AlreadyDecided { stands: named, .. }
            if stands != Some(*named) =>
        {
            Err(format!(
                "the refusal says that {named} stands; {stands:?} does"
            ))
        }
        // A commit of a process that has died may be applied between the read and this reply.
        Refusal::TxIdExpired { .. }
            if case
                .row
                .is_some_and(|row| row.head.owner.epoch == case.epoch) =>
        {
            Err(format!("{refusal}; its row is there"))
        }
        Refusal::HandlerUnknown { .. } if case.begun && *case.kind == RequestKind::Begin => {
            Err(format!("{refusal}; its row is there"))
        }
        Refusal::NotFound { .. } if case.begun => Err(format!("{refusal}; its row is there")),
        Refusal::Corrupt { what } => Err(what.clone()),
        _ => Ok(()),
    }
}
