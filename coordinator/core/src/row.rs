//! Rows of the database: the legal ones, and the transactions that they hold.
//!
//! A store hands over rows as it read them, words already parsed; an illegal one becomes an error that names it,
//! never a guess.

use std::{collections::BTreeSet, sync::Arc};

use tercet_mutation::broken;
use thiserror::Error;

use crate::{
    id::TxId,
    limits,
    model::{
        Action, ActionSpec, ActionState, ActionStatus, BizStatus, Cause, Decision, Live, Mode,
        Moments, Name, Outcome, Owner, Phase, Rest, Sent, Transaction, TxSpec, TxStatus,
        Unanswered,
    },
    time::Timestamp,
};

/// A row of `tx_info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxRow {
    /// The columns that never change.
    pub spec: TxSpec,
    /// `status`.
    pub status: TxStatus,
    /// `biz_status`.
    pub biz_status: BizStatus,
    /// `decision_cause`.
    pub cause: Option<Cause>,
    /// `retry_count`.
    pub check_backs: u32,
    /// `last_check_back`.
    pub last_check_back: Option<Box<Unanswered>>,
    /// `version`.
    pub version: u32,
    /// `owner`.
    pub owner: Owner,
    /// `rest`.
    pub rest: Option<Box<Rest>>,
    /// `unparked_at`: it may be left over from before in any status but PROCESSING.
    pub unparked_at: Option<Timestamp>,
    /// `decided_at`.
    pub decided_at: Option<Timestamp>,
    /// `finished_at`.
    pub finished_at: Option<Timestamp>,
}

/// A row of `action_info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionRow {
    /// The columns that never change.
    pub spec: ActionSpec,
    /// `create_time`.
    pub create_time: Timestamp,
    /// The columns that change.
    pub state: ActionState,
}

/// A row that no write of Tercet can have left behind.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "transaction {id} is not legal in the database: {what}; it is not touched until it is repaired"
)]
pub struct IllegalRow {
    /// The transaction.
    pub id: TxId,
    /// The rule that it breaks.
    pub what: String,
}

impl Transaction {
    /// Makes the transaction that these rows hold, its actions in the order of `position`, for an incarnation that
    /// did not write them.
    ///
    /// # Errors
    /// Rows that no write of Tercet can have left behind.
    pub fn from_rows(tx: TxRow, actions: Vec<ActionRow>) -> Result<Self, IllegalRow> {
        let id = tx.spec.id;
        let illegal = |what: String| IllegalRow { id, what };
        let phase = phase(&tx).map_err(illegal)?;
        check_numbers(&tx, &phase).map_err(illegal)?;
        check_actions(&tx, &phase, &actions).map_err(illegal)?;
        let unsent = tx.rest.as_ref().map_or(&[][..], |rest| &rest.unsent);
        let actions = actions
            .into_iter()
            .map(|row| loaded(row, &phase, unsent))
            .collect();
        let tx = Self {
            spec: Arc::new(tx.spec),
            phase,
            check_backs: tx.check_backs,
            last_check_back: tx.last_check_back,
            version: tx.version,
            owner: tx.owner,
            rest: tx.rest,
            actions,
            moments: Moments::default(),
        };
        check_progress(&tx).map_err(illegal)?;
        Ok(tx)
    }
}

/// Checks that phase two goes on as long as an action can be called, is parked where one is given up and none can be
/// called, and is over where none needs a call.
fn check_progress(tx: &Transaction) -> Result<(), String> {
    let (status, biz_status) = (tx.phase.status(), tx.phase.biz_status());
    let why_not = match &tx.phase {
        Phase::Finishing { .. } if !tx.is_workable() => "no action is left that can be called",
        Phase::Parked { .. } if tx.is_workable() => "an action is left that can be called",
        Phase::Parked { .. } if tx.is_over() => "no action is FAILED",
        Phase::Finished { .. } if !tx.is_over() => "an action needs a call",
        _ => return Ok(()),
    };
    Err(format!(
        "{why_not} while the transaction has {status} and {biz_status}"
    ))
}

/// Returns the phase of a row by its pair of statuses, each of which requires other columns: the table in
/// `ARCHITECTURE.md`, "States".
fn phase(tx: &TxRow) -> Result<Phase, String> {
    let outcome = match tx.biz_status {
        BizStatus::Init | BizStatus::Unknown => None,
        BizStatus::Success => Some(Outcome::Success),
        BizStatus::Failure => Some(Outcome::Failure),
    };
    let decided = match (outcome, &tx.cause, tx.decided_at) {
        (None, None, None) => None,
        (Some(outcome), Some(cause), Some(at)) => Some((
            Decision {
                outcome,
                cause: cause.clone(),
            },
            at,
        )),
        _ => {
            return Err(format!(
                "biz_status {} does not go with decision_cause {:?} and decided_at {:?}",
                tx.biz_status, tx.cause, tx.decided_at
            ));
        }
    };
    match (tx.status, decided, tx.finished_at) {
        (TxStatus::ProcessWaiting, None, None) => match tx.biz_status {
            // In hand the time is not stored: to ask once more does no harm.
            BizStatus::Unknown => Ok(Phase::AskingBack {
                next: tx
                    .rest
                    .as_ref()
                    .and_then(|rest| rest.earliest())
                    .unwrap_or_default(),
            }),
            _ => Ok(Phase::Trying),
        },
        (TxStatus::Processing, Some((decision, decided_at)), None) => Ok(Phase::Finishing {
            decision,
            decided_at,
            unparked_at: tx.unparked_at,
        }),
        (TxStatus::Success, Some((decision, decided_at)), Some(finished_at)) => {
            Ok(Phase::Finished {
                decision,
                decided_at,
                finished_at,
            })
        }
        (TxStatus::Failure, Some((decision, decided_at)), None) => Ok(Phase::Parked {
            decision,
            decided_at,
        }),
        (status, _, finished_at) => Err(format!(
            "status {status} does not go with biz_status {} and finished_at {finished_at:?}",
            tx.biz_status
        )),
    }
}

fn check_numbers(tx: &TxRow, phase: &Phase) -> Result<(), String> {
    if tx.version == 0 {
        return Err("version is 0".into());
    }
    check_count("version", tx.version)?;
    check_count("retry_count", tx.check_backs)?;
    check_name("business_type", &tx.spec.business_type)?;
    check_name("business_id", &tx.spec.business_id)?;
    match &tx.rest {
        Some(_) if phase.is_over() => {
            return Err(format!("rest does not go with status {}", tx.status));
        }
        Some(rest) if rest.earliest().is_none() => {
            return Err("rest says neither a participant nor a time".into());
        }
        _ => {}
    }
    if tx.biz_status == BizStatus::Unknown && tx.spec.check_back.is_none() {
        return Err("biz_status UNKNOWN without check_back_info".into());
    }
    Ok(())
}

fn check_actions(tx: &TxRow, phase: &Phase, actions: &[ActionRow]) -> Result<(), String> {
    if actions.len() > limits::ACTIONS || actions.len() < tx.spec.begun.len() {
        return Err(format!(
            "{} actions, {} begun",
            actions.len(),
            tx.spec.begun.len()
        ));
    }
    let names: BTreeSet<&Name> = actions.iter().map(|action| &action.spec.name).collect();
    for action in actions {
        let name = &action.spec.name;
        if action.state.version == 0 {
            return Err(format!("action {name} has version 0"));
        }
        check_sizes(action).map_err(|what| format!("action {name}: {what}"))?;
        if let Some(before) = action
            .spec
            .after
            .iter()
            .find(|before| !names.contains(before))
        {
            return Err(format!(
                "action {name} comes after {before}, which is not there"
            ));
        }
        if !status_is_legal(action.state.status, phase) {
            return Err(format!(
                "action {name} has status {} while the transaction has {} and {}",
                action.state.status, tx.status, tx.biz_status
            ));
        }
    }
    Ok(())
}

/// Checks an action against the limits that its requests and answers have: a row beyond them takes up memory, or is
/// refused by participants, for ever.
fn check_sizes(action: &ActionRow) -> Result<(), String> {
    let ActionRow { spec, state, .. } = action;
    check_count("version", state.version)?;
    check_count("retry_count", state.retry_count)?;
    check_name("action_name", &spec.name)?;
    check_name("participant", &spec.participant)?;
    check_name("handler", &spec.handler)?;
    check_bytes("payload", spec.payload.len(), limits::PAYLOAD_BYTES)?;
    check_bytes("result", state.result.len(), limits::RESULT_BYTES)
}

fn check_count(column: &str, count: u32) -> Result<(), String> {
    if count <= limits::COUNT {
        Ok(())
    } else {
        Err(format!(
            "{column} is {count}, at most {} is legal",
            limits::COUNT
        ))
    }
}

fn check_name(column: &str, name: &Name) -> Result<(), String> {
    if name.is_empty() {
        return Err(format!("{column} is empty"));
    }
    check_bytes(column, name.len(), limits::NAME_BYTES)
}

fn check_bytes(column: &str, bytes: usize, limit: usize) -> Result<(), String> {
    if bytes <= limit {
        Ok(())
    } else {
        Err(format!(
            "{column} has {bytes} bytes, at most {limit} are legal"
        ))
    }
}

fn status_is_legal(status: ActionStatus, phase: &Phase) -> bool {
    match phase {
        Phase::Trying | Phase::AskingBack { .. } => {
            matches!(status, ActionStatus::Init | ActionStatus::Tried)
        }
        // An operator may have ended an action either way.
        Phase::Finishing { decision, .. } | Phase::Parked { decision, .. } => {
            may_stand_under(status, decision.outcome)
        }
        Phase::Finished { decision, .. } => {
            may_stand_under(status, decision.outcome)
                && !matches!(
                    status,
                    ActionStatus::Init | ActionStatus::Tried | ActionStatus::Failed
                )
        }
    }
}

/// Returns whether an action may have this status under this decision: no SUCCESS is decided over a rejected Try.
fn may_stand_under(status: ActionStatus, outcome: Outcome) -> bool {
    outcome == Outcome::Failure || status != ActionStatus::Rejected
}

/// Makes the action for an incarnation that did not write it: the first call of the present phase counts as sent, unless
/// the transaction rests and says that it was not.
fn loaded(row: ActionRow, phase: &Phase, unsent: &[Name]) -> Action {
    let ActionRow {
        spec, mut state, ..
    } = row;
    let phase_two = phase.decision().is_some();
    let is_unsent = unsent.contains(&spec.name)
        || broken("unsent_trusted_in_hand") && phase_two && state.attempts.is_empty()
        || broken("loaded_action_taken_as_unsent") && state.status == ActionStatus::Init;
    // The incarnation that sent the only Try has written with the rejection that the action is over.
    let only_try_rejected = state.status == ActionStatus::Rejected && state.finished_at.is_some();
    let sent = if is_unsent && !phase_two {
        Sent::Never
    } else if only_try_rejected {
        Sent::Once
    } else {
        Sent::Perhaps
    };
    let success = matches!(phase.decision(), Some(d) if d.outcome == Outcome::Success);
    if success && state.status == ActionStatus::Init && spec.mode != Mode::Compensate {
        state.status = ActionStatus::Tried;
    }
    if broken("attempts_reset_on_load") {
        state.retry_count = 0;
    }
    Action {
        spec: Arc::new(spec),
        state,
        live: Live {
            sent,
            permit: is_unsent && phase_two,
            ..Live::new()
        },
    }
}
