//! The invariants of every call that leaves the coordinator.

use std::time::Duration;

use tercet_barrier::RowState;
use tercet_core::{
    model::{ActionStatus, Mode, Operation, Outcome},
    port::{Call, Route},
};

use super::{Finding, Scene, Seen, Way, is_executed};
use crate::sim::tables::{ActionLine, Row};

/// One call.
pub struct Case<'a> {
    /// Its way.
    pub way: Way<'a>,
    /// The call.
    pub call: &'a Call,
    /// The durable row.
    pub row: Option<&'a Row>,
    /// The judge's knowledge of the transaction, this call included.
    pub seen: &'a Seen,
    /// The databases.
    pub scene: Scene<'a>,
}

/// The most by which the coordinator may be wrong about a time that is stored, without a restart.
const CLOCK_ERROR: Duration = Duration::from_secs(1);

type Check = fn(&Case<'_>) -> Finding;

/// Every invariant of a call.
pub const INVARIANTS: &[(&str, Check)] = &[
    ("an action is durable before its call leaves", durable),
    (
        "I2 no Confirm without a durable SUCCESS, no Cancel without a durable FAILURE",
        decided,
    ),
    ("a call goes where its handler is", handler),
    ("a Try has time left", time_left),
    ("a mode has only its operations", mode),
    (
        "only Execute makes Tries, and none after its decision",
        tries,
    ),
    (
        "Try and Confirm follow `after`, Cancel goes against it",
        order,
    ),
    ("results handed on are those that were returned", results),
    ("I13 attempts never exceed their limit", attempts),
    ("I13 the row allows each call of phase two", allowed),
];

impl Case<'_> {
    fn line(&self, name: &str) -> Option<&ActionLine> {
        let lines = self.row.map_or(&[][..], |row| &row.actions[..]);
        lines.iter().find(|line| &*line.spec.name == name)
    }

    fn barrier_state(&self, line: &ActionLine) -> Option<RowState> {
        let entry = self.scene.entry(self.call.tx, &line.spec)?;
        entry.row.as_ref().map(|row| row.state)
    }
}

fn durable(case: &Case<'_>) -> Finding {
    match case.line(&case.call.action.name) {
        Some(line) if line.spec == case.call.action => Ok(()),
        _ => Err(format!(
            "{} {} leaves, no such row is durable",
            case.call.operation, case.call.action.name
        )),
    }
}

fn decided(case: &Case<'_>) -> Finding {
    let stands = case
        .row
        .and_then(|row| row.head.phase.decision())
        .map(|decision| decision.outcome);
    let needs = match case.call.operation {
        Operation::Try => return Ok(()),
        Operation::Confirm => Outcome::Success,
        Operation::Cancel => Outcome::Failure,
    };
    if stands == Some(needs) {
        Ok(())
    } else {
        Err(format!(
            "{} of {} leaves while {stands:?} is durable",
            case.call.operation, case.call.action.name
        ))
    }
}

fn handler(case: &Case<'_>) -> Finding {
    let spec = &case.call.action;
    let able = match (case.call.route, case.way.abilities) {
        (Route::Direct, _) => true,
        (Route::Stream(_), Some(abilities)) => {
            let has = |mode| abilities.handlers.contains(&(spec.handler.clone(), mode));
            has(None) || has(Some(spec.mode))
        }
        (Route::Stream(_), None) => false,
    };
    if able {
        Ok(())
    } else {
        Err(format!(
            "{} of {} leaves to {}, which has no handler {}",
            case.call.operation, spec.name, spec.participant, spec.handler
        ))
    }
}

fn time_left(case: &Case<'_>) -> Finding {
    let phase_one = case.seen.phase_one.as_ref();
    let left = phase_one.map(|phase_one| phase_one.left(case.scene.now) + CLOCK_ERROR);
    let on_time = case.call.time_left > Duration::ZERO && left >= Some(case.call.time_left);
    if case.call.operation != Operation::Try || on_time {
        Ok(())
    } else {
        Err(format!(
            "the Try of {} says that {:?} are left; {left:?} are",
            case.call.action.name, case.call.time_left
        ))
    }
}

fn mode(case: &Case<'_>) -> Finding {
    match (case.call.action.mode, case.call.operation) {
        (Mode::Deliver, Operation::Try | Operation::Cancel)
        | (Mode::Compensate, Operation::Confirm) => Err(format!(
            "{} for {}",
            case.call.operation, case.call.action.mode
        )),
        _ => Ok(()),
    }
}

fn tries(case: &Case<'_>) -> Finding {
    if case.call.operation != Operation::Try {
        return Ok(());
    }
    if !case.row.is_some_and(is_executed) {
        return Err("a Try for an initiator that makes its own".into());
    }
    if case.seen.decision_known_in == Some(case.way.epoch) {
        return Err(format!(
            "a Try of {} leaves after the decision",
            case.call.action.name
        ));
    }
    Ok(())
}

fn order(case: &Case<'_>) -> Finding {
    let name = &case.call.action.name;
    let operation = case.call.operation;
    let lines = case.row.map_or(&[][..], |row| &row.actions[..]);
    for line in lines {
        let before = match operation {
            Operation::Try | Operation::Confirm => case.call.action.after.contains(&line.spec.name),
            Operation::Cancel => line.spec.after.contains(name),
        };
        if before && !is_done(case, line, operation) {
            return Err(format!(
                "{operation} of {name} leaves while {} is {} and its participant has {:?}",
                line.spec.name,
                line.state.status,
                case.barrier_state(line)
            ));
        }
    }
    Ok(())
}

/// Returns whether an action that comes first is where the operation requires it.
fn is_done(case: &Case<'_>, line: &ActionLine, operation: Operation) -> bool {
    let state = case.barrier_state(line);
    let ended = matches!(
        line.state.status,
        ActionStatus::Confirmed | ActionStatus::Cancelled
    );
    match (operation, line.spec.mode) {
        (Operation::Try | Operation::Cancel, Mode::Deliver)
        | (Operation::Confirm, Mode::Compensate) => true,
        (Operation::Try, _) => state == Some(RowState::Tried),
        (Operation::Confirm, _) => ended || state == Some(RowState::Confirmed),
        (Operation::Cancel, _) => {
            ended || matches!(state, Some(RowState::Cancelled | RowState::Rejected))
        }
    }
}

fn results(case: &Case<'_>) -> Finding {
    let call = case.call;
    for (name, result) in &call.results {
        let Some(line) = case.line(name) else {
            return Err(format!("the result of {name}, which is not there"));
        };
        let entry = case.scene.entry(call.tx, &line.spec);
        let stored = entry.and_then(|entry| entry.row.as_ref());
        let returned = stored.map_or(&[][..], |row| &row.result[..]);
        // The initiator alone gets the result of a Try that it makes itself.
        if result[..] != *returned && !result.is_empty() {
            return Err(format!(
                "{name} returned {returned:?}, {result:?} is handed on"
            ));
        }
        if call.operation == Operation::Try && result[..] != *returned {
            return Err(format!(
                "{name} returned {returned:?}, nothing is handed on"
            ));
        }
    }
    let wanted = if call.operation == Operation::Try && call.action.wants_results {
        &call.action.after[..]
    } else {
        &[][..]
    };
    let missing = wanted.iter().find(|name| {
        let has_try = case
            .line(name)
            .is_some_and(|line| line.spec.mode != Mode::Deliver);
        has_try && !call.results.iter().any(|(given, _)| given == *name)
    });
    match missing {
        Some(name) => Err(format!("the result of {name} is not handed on")),
        None => Ok(()),
    }
}

fn attempts(case: &Case<'_>) -> Finding {
    let max = case.call.action.retry.in_effect().max_attempts;
    let sent = case
        .seen
        .actions
        .get(&case.call.action.name)
        .map_or(0, |seen| seen.finishing);
    if case.call.operation == Operation::Try || sent <= max {
        Ok(())
    } else {
        Err(format!(
            "{} of {} leaves for the {sent}th time, {max} are allowed",
            case.call.operation, case.call.action.name
        ))
    }
}

/// Checks that a durable write has allowed this call: the first one comes with the decision, each further one is counted
/// in the row before it leaves.
fn allowed(case: &Case<'_>) -> Finding {
    let name = &case.call.action.name;
    let counted = case.line(name).map_or(0, |line| line.state.retry_count);
    let sent = case.seen.actions.get(name).map_or(0, |seen| seen.finishing);
    if case.call.operation == Operation::Try || sent <= counted + 1 {
        Ok(())
    } else {
        Err(format!(
            "{} of {name} leaves for the {sent}th time, the row counts {counted} before it",
            case.call.operation
        ))
    }
}
