//! What every answer to a caller keeps.

use tercet_core::{
    engine::Reply,
    id::TxId,
    model::{Outcome, Phase},
    refusal::Refusal,
};

use super::{Asked, Finding};
use crate::sim::tables::Row;

/// One answer.
pub struct Case<'a> {
    /// The transaction that was asked about.
    pub id: TxId,
    /// What was asked for.
    pub asked: &'a Asked,
    /// The answer.
    pub result: &'a Result<Reply, Refusal>,
    /// The row as it is durable.
    pub row: Option<&'a Row>,
    /// Its begin was acknowledged before.
    pub begun: bool,
    /// The row's phase at each version, from 1.
    pub phases: &'a [Phase],
}

type Check = fn(&Case<'_>) -> Finding;

/// Every invariant of an answer.
pub const INVARIANTS: &[(&str, Check)] = &[
    ("I6 only what is durable is acknowledged", durable),
    ("I6 an acknowledged request has taken effect", effective),
    ("I8 a repeated request is answered like the first", repeated),
    ("refusals say what is", refusals),
];

/// Whether the request can never take effect, however often it is repeated.
pub fn is_final(refusal: &Refusal) -> bool {
    !matches!(
        refusal,
        Refusal::Overloaded
            | Refusal::OutcomeUnknown { .. }
            | Refusal::Draining
            | Refusal::NotFound { .. }
            | Refusal::Corrupt { .. }
            | Refusal::InvalidArgument { .. }
    )
}

fn durable(case: &Case<'_>) -> Finding {
    let Ok(reply) = case.result else {
        return Ok(());
    };
    let told = &reply.transaction;
    let version = told.version as usize;
    match case.phases.get(version.wrapping_sub(1)) {
        Some(phase) if *phase == told.phase => Ok(()),
        phase => Err(format!(
            "told version {version} with {:?}; durable at that version is {phase:?}",
            told.phase
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
    match case.asked {
        Asked::Add(name) if !row.actions.iter().any(|line| line.spec.name == *name) => {
            Err(format!("action {name} was acknowledged and is not there"))
        }
        Asked::Decide(outcome) => {
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
    match (case.asked, case.result) {
        // Nobody in the world asks with the same id or name for something else.
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
        Refusal::DecisionConflict { stands: told, .. }
        | Refusal::AlreadyDecided { stands: told, .. }
            if stands != Some(*told) =>
        {
            Err(format!("told that {told} stands; {stands:?} does"))
        }
        Refusal::TxIdExpired { .. } if case.row.is_some() => {
            Err(format!("{refusal}; its row is there"))
        }
        // A commit of a process that has died may land between the read and this answer.
        Refusal::NotFound { .. } if case.begun => Err(format!("{refusal}; its row is there")),
        Refusal::Corrupt { what } => Err(what.clone()),
        _ => Ok(()),
    }
}
