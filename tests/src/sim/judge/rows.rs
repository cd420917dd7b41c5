//! The invariants of every change of a row of `tx_info`.

use std::{collections::BTreeSet, time::Duration};

use tercet_barrier::{RowState, initiator::Truth};
use tercet_core::{
    id::TxId,
    model::{
        ActionStatus, AttemptOutcome, Cause, DueRow, Mode, Name, Need, Outcome, Phase, TxStatus,
    },
};

use super::{Finding, Scene, Seen, is_executed};
use crate::sim::tables::{ActionLine, Row};

/// One change.
pub struct Case<'a> {
    /// The transaction.
    pub id: TxId,
    /// The row before; `None`: it is new.
    pub before: Option<&'a Row>,
    /// The row after.
    pub after: &'a Row,
    /// Whether an operator's command came with it.
    pub by_operator: bool,
    /// Whether that was to retry.
    pub is_retry: bool,
    /// The judge's knowledge of the transaction before this change.
    pub seen: &'a Seen,
    /// The databases.
    pub scene: Scene<'a>,
}

type Check = fn(&Case<'_>) -> Finding;

/// Every invariant of a change.
pub const INVARIANTS: &[(&str, Check)] = &[
    ("I10 the fence: every change is the version + 1", version),
    ("I1 the decision never changes", decision),
    ("statuses change as the table says", statuses),
    ("actions are kept", actions_kept),
    ("tx_due has the rows that the state has", due),
    ("a rest names every participant whose call is wanted", wants),
    (
        "an action is given up after its last call, not before",
        given_up,
    ),
    ("a retry brings a transaction back to work", retried),
    (
        "a transaction without any call ends at its deadline",
        never_sent,
    ),
    ("DEADLINE is never decided before the deadline", deadline),
    ("SUCCESS needs every Try OK", success),
    ("REJECTED means that a Try was rejected", rejected),
    ("the initiator's row and the decision agree", truth),
    ("a final action is where its participant is", claims),
    (
        "every action whose Try may have taken effect is cancelled",
        cancelled,
    ),
    ("I6 what was refused never takes effect", refused),
    ("I6 what was acknowledged stands", acknowledged),
];

impl Case<'_> {
    fn outcome(&self) -> Option<Outcome> {
        Some(self.after.head.phase.decision()?.outcome)
    }

    /// Returns the outcome and its cause, if this very change is the decision.
    fn decided_now(&self) -> Option<(Outcome, &Cause)> {
        let before = self.before.and_then(|row| row.head.phase.decision());
        let decision = self.after.head.phase.decision()?;
        before
            .is_none()
            .then_some((decision.outcome, &decision.cause))
    }

    fn barrier_state(&self, line: &ActionLine) -> Option<RowState> {
        let entry = self.scene.entry(self.id, &line.spec)?;
        entry.row.as_ref().map(|row| row.state)
    }

    fn was(&self, line: &ActionLine) -> Option<ActionStatus> {
        let before = self.before?;
        let found = before
            .actions
            .iter()
            .find(|other| other.spec.name == line.spec.name);
        found.map(|line| line.state.status)
    }

    fn by_a_person(&self) -> bool {
        let operator = self
            .after
            .head
            .phase
            .decision()
            .is_some_and(|decision| matches!(decision.cause, Cause::Operator { .. }));
        operator || self.seen.resolved || self.by_operator
    }
}

fn version(case: &Case<'_>) -> Finding {
    let before = case.before.map_or(0, |row| row.head.version);
    let after = case.after.head.version;
    if after == before + 1 && after as usize == case.seen.phases.len() + 1 {
        Ok(())
    } else {
        Err(format!(
            "version {before} became {after} after {} writes, by {}",
            case.seen.phases.len(),
            case.after.head.owner
        ))
    }
}

fn decision(case: &Case<'_>) -> Finding {
    let before = case.before.and_then(|row| row.head.phase.decision());
    let after = case.after.head.phase.decision();
    match before {
        Some(_) if before != after => Err(format!("{before:?} became {after:?}")),
        _ => Ok(()),
    }
}

fn statuses(case: &Case<'_>) -> Finding {
    let after = case.after.head.phase.status();
    let Some(before) = case.before.map(|row| row.head.phase.status()) else {
        return Ok(());
    };
    let legal = match (before, after) {
        (TxStatus::ProcessWaiting, _)
        | (TxStatus::Processing, TxStatus::Processing | TxStatus::Success | TxStatus::Failure) => {
            true
        }
        (TxStatus::Failure, _) => case.by_operator && after != TxStatus::ProcessWaiting,
        _ => false,
    };
    let went_back = matches!(
        (
            case.before.map(|row| &row.head.phase),
            &case.after.head.phase
        ),
        (Some(Phase::AskingBack { .. }), Phase::Trying)
    );
    if legal && !went_back {
        Ok(())
    } else {
        Err(format!("{before} became {after}"))
    }
}

fn actions_kept(case: &Case<'_>) -> Finding {
    let before = case.before.map_or(&[][..], |row| &row.actions[..]);
    for (place, line) in before.iter().enumerate() {
        let after = case.after.actions.get(place);
        if after.is_none_or(|after| after.spec != line.spec) {
            return Err(format!("action {} is gone or another", line.spec.name));
        }
    }
    let decided = case
        .before
        .is_some_and(|row| row.head.phase.decision().is_some());
    if decided && case.after.actions.len() > before.len() {
        return Err("an action was added after the decision".into());
    }
    Ok(())
}

fn due(case: &Case<'_>) -> Finding {
    let transaction = match case.after.transaction() {
        Ok(transaction) => transaction,
        Err(illegal) => return Err(illegal.to_string()),
    };
    let of_the_state: BTreeSet<DueRow> = transaction.due_rows().into_iter().collect();
    if of_the_state == case.after.due {
        Ok(())
    } else {
        Err(format!(
            "{:?} stand, the state has {of_the_state:?}",
            case.after.due
        ))
    }
}

fn wants(case: &Case<'_>) -> Finding {
    let row = case.after;
    let Some(rest) = &row.head.rest else {
        return Ok(());
    };
    let named = rest.wants.iter();
    let named: Option<BTreeSet<_>> = named
        .map(|want| Some((&want.participant, want.need.clone()?)))
        .collect();
    let named = named.unwrap_or_default();
    let certain = wanted(row, false);
    let possible = wanted(row, true);
    let is_moved = rest.until_set_at.is_some();
    let has_end = if row.head.phase == Phase::Trying {
        rest.until.is_some() && (is_moved || rest.until == Some(row.spec.deadline))
    } else {
        let has_age = rest.until.is_some();
        (has_age || !wants_an_aging(row, false)) && (!has_age || wants_an_aging(row, true))
    };
    if named.is_superset(&certain) && named.is_subset(&possible) && has_end {
        Ok(())
    } else {
        Err(format!(
            "{rest:?} while calls of {certain:?} are wanted, at most of {possible:?}; phase one ends at {:?}",
            row.spec.deadline
        ))
    }
}

/// Returns the participants of which a call is wanted in the state of a row, each with what it needs there. An action that was rejected wants a Cancel
/// only if its Try may have been sent more than once, which a row does not say: `with_rejected`.
pub fn wanted(row: &Row, with_rejected: bool) -> BTreeSet<(&Name, Need)> {
    let called = wanted_lines(row, with_rejected).into_iter();
    let asked = row.spec.check_back.as_ref();
    let asked = asked.filter(|_| matches!(row.head.phase, Phase::AskingBack { .. }));
    called
        .map(|line| (&line.spec.participant, line.spec.need()))
        .chain(asked.map(|check_back| (&check_back.participant, Need::CheckBack)))
        .collect()
}

/// Returns whether a call of phase two is wanted of an action that is given up at an age.
pub fn wants_an_aging(row: &Row, with_rejected: bool) -> bool {
    let is_finishing = matches!(row.head.phase, Phase::Finishing { .. });
    let mut lines = wanted_lines(row, with_rejected).into_iter();
    is_finishing && lines.any(|line| line.spec.retry.max_age.is_some())
}

/// Returns the actions of which a call is wanted in the state of a row.
pub fn wanted_lines(row: &Row, with_rejected: bool) -> Vec<&ActionLine> {
    let by_status = |name: &Name| {
        let line = row.actions.iter().find(|line| line.spec.name == *name);
        line.map(|line| (line.spec.mode, line.state.status))
    };
    let is_wanted = |line: &&ActionLine| {
        let status = line.state.status;
        let mut before = line.spec.after.iter();
        let mut behind = row.actions.iter();
        match (&row.head.phase, row.head.phase.decision()) {
            (Phase::Trying, _) => {
                let tried = |name: &Name| {
                    matches!(
                        by_status(name),
                        Some((Mode::Deliver, _) | (_, ActionStatus::Tried))
                    )
                };
                let open = status == ActionStatus::Init && line.spec.mode != Mode::Deliver;
                is_executed(row) && open && before.all(tried)
            }
            (Phase::Finishing { .. }, Some(decision)) if decision.outcome == Outcome::Success => {
                let over =
                    |name: &Name| by_status(name).is_some_and(|(_, status)| is_ended(status));
                is_open(status) && before.all(over)
            }
            (Phase::Finishing { .. }, _) => {
                let needs = is_open(status) || with_rejected && status == ActionStatus::Rejected;
                let over = |other: &ActionLine| {
                    let rejected = with_rejected && other.state.status == ActionStatus::Rejected;
                    is_ended(other.state.status) || rejected
                };
                let name = &line.spec.name;
                needs && behind.all(|other| !other.spec.after.contains(name) || over(other))
            }
            _ => false,
        }
    };
    row.actions.iter().filter(is_wanted).collect()
}

/// Returns whether an action of this status is to be confirmed or cancelled.
fn is_open(status: ActionStatus) -> bool {
    matches!(status, ActionStatus::Init | ActionStatus::Tried)
}

/// Returns whether an action of this status stays in it.
fn is_ended(status: ActionStatus) -> bool {
    matches!(status, ActionStatus::Confirmed | ActionStatus::Cancelled)
}

/// Checks that an action whose calls were used up had as many, but for those that an incarnation was allowed to make
/// before it lost the transaction.
fn given_up(case: &Case<'_>) -> Finding {
    for line in &case.after.actions {
        let failed = line.state.status == ActionStatus::Failed;
        let policy = line.spec.retry.in_effect();
        let used_up = line
            .state
            .attempts
            .last()
            .is_some_and(|last| last.outcome != AttemptOutcome::Rejected);
        if !failed || !used_up || case.was(line) == Some(ActionStatus::Failed) {
            continue;
        }
        let name = &line.spec.name;
        let calls = case.seen.actions.get(name).map_or(0, |seen| seen.left);
        let before = case.before.map(|row| &row.head.phase);
        let from = before.and_then(|phase| case.seen.ages_from(phase));
        let age = from.map_or(Duration::MAX, |from| case.scene.now.since(from));
        let is_old = policy.max_age.is_some_and(|max| age >= max);
        if !is_old && calls + case.seen.losses < policy.max_attempts {
            return Err(format!(
                "{name} is given up after {calls} calls of {} and {} losses of memory, {:?} old of {:?}",
                policy.max_attempts,
                case.seen.losses,
                from.map(|_| age),
                policy.max_age
            ));
        }
    }
    Ok(())
}

/// Checks that a transaction that an operator retries goes on.
fn retried(case: &Case<'_>) -> Finding {
    if case.is_retry && case.after.head.phase.status() == TxStatus::Failure {
        return Err("it was retried, and is parked at once".into());
    }
    Ok(())
}

fn never_sent(case: &Case<'_>) -> Finding {
    let by_deadline = matches!(case.decided_now(), Some((_, Cause::Deadline { .. })));
    let finished = matches!(case.after.head.phase, Phase::Finished { .. });
    let is_known = is_executed(case.after) && case.seen.losses == 0;
    if by_deadline && is_known && !case.seen.has_left && !finished {
        let status = case.after.head.phase.status();
        return Err(format!("no Try was ever sent, and it is {status}"));
    }
    Ok(())
}

fn deadline(case: &Case<'_>) -> Finding {
    let phase_one = case.seen.phase_one.as_ref();
    let earliest = phase_one.map_or(case.scene.now, |phase_one| phase_one.earliest);
    let early = case.scene.now < earliest;
    let asks_back = matches!(case.after.head.phase, Phase::AskingBack { .. });
    let judged = matches!(
        case.decided_now(),
        Some((_, Cause::Deadline { .. } | Cause::CheckBack { .. }))
    );
    if early && (asks_back || judged) {
        return Err(format!(
            "the deadline is {:?} away",
            earliest.since(case.scene.now)
        ));
    }
    Ok(())
}

fn success(case: &Case<'_>) -> Finding {
    if !is_executed(case.after) || !matches!(case.decided_now(), Some((Outcome::Success, _))) {
        return Ok(());
    }
    for line in &case.after.actions {
        let tried = case.barrier_state(line) == Some(RowState::Tried);
        if line.spec.mode != Mode::Deliver && !tried {
            return Err(format!(
                "{}'s participant has {:?}",
                line.spec.name,
                case.barrier_state(line)
            ));
        }
    }
    Ok(())
}

fn rejected(case: &Case<'_>) -> Finding {
    let Some((Outcome::Failure, Cause::Rejected { action, .. })) = case.decided_now() else {
        return Ok(());
    };
    let line = case
        .after
        .actions
        .iter()
        .find(|line| line.spec.name == *action);
    match line.map(|line| case.barrier_state(line)) {
        Some(Some(RowState::Rejected | RowState::Cancelled)) => Ok(()),
        other => Err(format!("{action}'s participant has {other:?}")),
    }
}

fn truth(case: &Case<'_>) -> Finding {
    let Some(check_back) = &case.after.spec.check_back else {
        return Ok(());
    };
    let Some((outcome, why)) = case.decided_now() else {
        return Ok(());
    };
    let given_up = check_back.max_attempts.is_some() && outcome == Outcome::Failure;
    let bound = match why {
        Cause::CheckBack { .. } => !given_up,
        Cause::Initiator { .. } | Cause::Aborted { .. } => true,
        _ => false,
    };
    let shop = case.scene.books.get(&check_back.participant);
    let row = shop.and_then(|books| books.truth(case.id));
    let expected = match outcome {
        Outcome::Success => Truth::Success,
        Outcome::Failure => Truth::Failure,
    };
    let questions = case.seen.questions;
    let given_up_early = check_back.max_attempts.is_some_and(|max| questions < max);
    if given_up && matches!(why, Cause::CheckBack { .. }) && row != Some(expected) && given_up_early
    {
        return Err(format!("given up after {questions} questions"));
    }
    if !bound || row == Some(expected) {
        Ok(())
    } else {
        Err(format!(
            "{outcome} is decided, the initiator's row has {row:?}"
        ))
    }
}

fn claims(case: &Case<'_>) -> Finding {
    if case.by_a_person() {
        return Ok(());
    }
    for line in &case.after.actions {
        if case.was(line) == Some(line.state.status) {
            continue;
        }
        let state = case.barrier_state(line);
        let mode = line.spec.mode;
        let agrees = match line.state.status {
            ActionStatus::Confirmed => {
                mode == Mode::Compensate || state == Some(RowState::Confirmed)
            }
            ActionStatus::Cancelled => !matches!(
                state,
                Some(RowState::Tried | RowState::Trying | RowState::Confirmed)
            ),
            ActionStatus::Tried if is_executed(case.after) => {
                mode == Mode::Deliver || state.is_some()
            }
            ActionStatus::Rejected => {
                matches!(state, Some(RowState::Rejected | RowState::Cancelled))
            }
            _ => true,
        };
        if !agrees {
            return Err(format!(
                "{} is {}, its participant has {state:?}",
                line.spec.name, line.state.status
            ));
        }
    }
    Ok(())
}

/// Checks that a Cancel was answered with OK, or that none was needed.
fn cancelled(case: &Case<'_>) -> Finding {
    if case.outcome() != Some(Outcome::Failure) || case.by_a_person() {
        return Ok(());
    }
    let finished = case.after.head.phase.status() == TxStatus::Success;
    for line in &case.after.actions {
        let over = line.state.status == ActionStatus::Cancelled || finished;
        if line.spec.mode == Mode::Deliver || !over {
            continue;
        }
        let answered = case
            .scene
            .entry(case.id, &line.spec)
            .is_some_and(|entry| entry.cancel_answered);
        let tries = case
            .seen
            .actions
            .get(&line.spec.name)
            .map_or(0, |seen| seen.tries);
        let known = is_executed(case.after)
            && match line.state.status {
                ActionStatus::Rejected => tries == 1,
                _ => tries == 0,
            };
        if !answered && !known {
            return Err(format!(
                "{} is {} after {tries} Tries and no Cancel",
                line.spec.name, line.state.status
            ));
        }
    }
    Ok(())
}

fn refused(case: &Case<'_>) -> Finding {
    if case.before.is_none() && case.seen.refused_begin {
        return Err("its begin was refused and it begins".into());
    }
    let outcome = case.decided_now().map(|(outcome, _)| outcome);
    if let Some(outcome) = outcome.filter(|outcome| case.seen.refused_outcomes.contains(outcome)) {
        return Err(format!("{outcome} was refused and stands"));
    }
    let names = case.after.actions.iter().map(|line| &line.spec.name);
    match names
        .into_iter()
        .find(|name| case.seen.refused.contains(*name))
    {
        Some(name) => Err(format!("action {name} was refused and is there")),
        None => Ok(()),
    }
}

fn acknowledged(case: &Case<'_>) -> Finding {
    let there = |name: &_| {
        case.after
            .actions
            .iter()
            .any(|line| line.spec.name == *name)
    };
    match case.seen.acknowledged.iter().find(|name| !there(*name)) {
        Some(name) => Err(format!("action {name} was acknowledged and is not there")),
        None => Ok(()),
    }
}
