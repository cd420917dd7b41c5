//! The invariants of every transaction once faults have ended and time has passed.

use std::collections::BTreeSet;

use tercet_barrier::RowState;
use tercet_core::{
    id::TxId,
    model::{ActionStatus, Cause, Mode, Name, Outcome, TxStatus},
};

use super::{Finding, Scene, rows};
use crate::sim::tables::{ActionLine, Row};

/// One transaction.
pub struct Case<'a> {
    /// The transaction.
    pub id: TxId,
    /// Its row.
    pub row: &'a Row,
    /// Participants that never came back.
    pub gone: &'a BTreeSet<Name>,
    /// Whether an operator resolved actions of it.
    pub resolved: bool,
    /// The databases.
    pub scene: Scene<'a>,
}

type Check = fn(&Case<'_>) -> Finding;

/// Every invariant of the end.
pub const INVARIANTS: &[(&str, Check)] = &[
    ("I7 nothing stays unfinished", finished),
    ("a parked transaction says why", parked),
    ("I5 every share has taken effect, or none", conserved),
];

/// Returns whether a row is where it stays for as long as these participants are gone: over, or unfinished for the sake of
/// a call of them and nothing else, of actions without an age. One that is called at an address is called again and again.
pub fn is_settled(row: &Row, gone: &BTreeSet<Name>) -> bool {
    if rows::wants_an_aging(row, false) {
        return false;
    }
    let Some(rest) = &row.head.rest else {
        let mut wanted = rows::wanted(row, false).into_iter().peekable();
        let wants_the_gone = wanted.peek().is_some() && wanted.all(|(name, _)| gone.contains(name));
        return row.head.phase.is_over() || wants_the_gone;
    };
    let mut wants = rest.wants.iter();
    rest.until.is_none() && wants.all(|want| gone.contains(&want.participant))
}

fn finished(case: &Case<'_>) -> Finding {
    if is_settled(case.row, case.gone) {
        return Ok(());
    }
    let head = &case.row.head;
    let actions: Vec<String> = case
        .row
        .actions
        .iter()
        .map(|line| {
            let participant = &line.spec.participant;
            format!("{} of {participant} {}", line.spec.name, line.state.status)
        })
        .collect();
    Err(format!(
        "it is {}/{} at version {}, by {}, rest {:?}; {}",
        head.phase.status(),
        head.phase.biz_status(),
        head.version,
        head.owner,
        head.rest,
        actions.join(", ")
    ))
}

fn parked(case: &Case<'_>) -> Finding {
    let failed = |line: &&ActionLine| line.state.status == ActionStatus::Failed;
    let mut failed = case.row.actions.iter().filter(failed).peekable();
    if case.row.head.phase.status() != TxStatus::Failure {
        return Ok(());
    }
    if failed.peek().is_none() {
        return Err("it is parked and no action is FAILED".into());
    }
    match failed.find(|line| line.state.last_error.is_empty()) {
        Some(line) => Err(format!("{} is FAILED without an error", line.spec.name)),
        None => Ok(()),
    }
}

fn conserved(case: &Case<'_>) -> Finding {
    let Some(decision) = case.row.head.phase.decision() else {
        return Ok(());
    };
    let by_a_person = case.resolved || matches!(decision.cause, Cause::Operator { .. });
    if case.row.head.phase.status() != TxStatus::Success || by_a_person {
        return Ok(());
    }
    for line in &case.row.actions {
        let entry = case.scene.entry(case.id, &line.spec);
        let effects = entry.map(|entry| entry.effects).unwrap_or_default();
        let state = entry
            .and_then(|entry| entry.row.as_ref())
            .map(|row| row.state);
        let holds = match (decision.outcome, line.spec.mode) {
            (Outcome::Success, Mode::Compensate) => {
                state == Some(RowState::Tried) && effects.tried == 1
            }
            (Outcome::Success, _) => effects.confirmed == 1,
            (Outcome::Failure, _) => {
                !effects.open() && effects.confirmed == 0 && state != Some(RowState::Tried)
            }
        };
        if !holds {
            return Err(format!(
                "{} is decided; {} ({}) has {effects:?} and its row is {state:?}",
                decision.outcome, line.spec.name, line.spec.mode
            ));
        }
    }
    Ok(())
}
