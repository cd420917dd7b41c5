//! Which rows of the database are legal, and what they say.
//!
//! A store hands over rows as it read them, words already parsed; an illegal one becomes an error
//! that names it, never a guess.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use tercet_mutation::broken;
use thiserror::Error;

use crate::{
    id::TxId,
    limits,
    model::{
        Action, ActionSpec, ActionStatus, Attempt, BizStatus, Cause, Decision, Driver, Live, Mode,
        Name, Operation, Outcome, Owner, Phase, Sent, Transaction, TxSpec, TxStatus,
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
    /// `version`.
    pub version: u32,
    /// `owner`.
    pub owner: Owner,
    /// `waiting_for`.
    pub waiting_for: Option<Name>,
    /// `next_attempt_at`.
    pub next_attempt_at: Option<Timestamp>,
    /// `decided_at`.
    pub decided_at: Option<Timestamp>,
    /// `finished_at`.
    pub finished_at: Option<Timestamp>,
}

/// A row of `action_info`, in the order of `position`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionInfoRow {
    /// The columns that never change.
    pub spec: ActionSpec,
    /// `create_time`.
    pub create_time: Timestamp,
    /// `status`.
    pub status: ActionStatus,
    /// `result`.
    pub result: Bytes,
    /// `retry_count`.
    pub retry_count: u32,
    /// `last_error`.
    pub last_error: String,
    /// `attempts`.
    pub attempts: Vec<Attempt>,
    /// `version`.
    pub version: u32,
    /// `finished_at`.
    pub finished_at: Option<Timestamp>,
}

/// A row that no write of Tercet can have left behind.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "transaction {id} is not legal in the database: {what}; it is left alone until someone repairs it"
)]
pub struct IllegalRow {
    /// The transaction.
    pub id: TxId,
    /// What is wrong with it.
    pub what: String,
}

impl Transaction {
    /// The transaction that these rows say, as an incarnation sees it that did not write them.
    pub fn from_rows(tx: TxRow, actions: Vec<ActionInfoRow>) -> Result<Self, IllegalRow> {
        let id = tx.spec.id;
        let illegal = |what: String| IllegalRow { id, what };
        let phase = phase(&tx).map_err(illegal)?;
        check_numbers(&tx, &phase).map_err(illegal)?;
        check_actions(&tx, &phase, &actions).map_err(illegal)?;
        let actions = actions.into_iter().map(|row| loaded(row, &phase)).collect();
        Ok(Self {
            spec: Arc::new(tx.spec),
            phase,
            check_backs: tx.check_backs,
            version: tx.version,
            owner: tx.owner,
            waiting_for: tx.waiting_for,
            next_attempt_at: tx.next_attempt_at,
            actions,
        })
    }
}

/// Which pairs of statuses exist, and what each must carry: the table in `ARCHITECTURE.md`, "States".
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
        (TxStatus::ProcessWaiting, None, None) => match (tx.biz_status, tx.next_attempt_at) {
            (BizStatus::Unknown, Some(next)) => Ok(Phase::AskingBack { next }),
            _ => Ok(Phase::Trying),
        },
        (TxStatus::Processing, Some((decision, decided_at)), None) => Ok(Phase::Finishing {
            decision,
            decided_at,
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
    if tx.next_attempt_at.is_none() != phase.is_settled() {
        return Err(format!(
            "next_attempt_at {:?} does not go with status {}",
            tx.next_attempt_at, tx.status
        ));
    }
    if tx.biz_status == BizStatus::Unknown && tx.spec.check_back.is_none() {
        return Err("biz_status UNKNOWN without check_back_info".into());
    }
    Ok(())
}

fn check_actions(tx: &TxRow, phase: &Phase, actions: &[ActionInfoRow]) -> Result<(), String> {
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
        if action.version == 0 {
            return Err(format!("action {name} has version 0"));
        }
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
        if !status_is_legal(action.status, phase) {
            return Err(format!(
                "action {name} has status {} while the transaction has {} and {}",
                action.status, tx.status, tx.biz_status
            ));
        }
    }
    Ok(())
}

fn status_is_legal(status: ActionStatus, phase: &Phase) -> bool {
    match phase {
        Phase::Trying | Phase::AskingBack { .. } => {
            matches!(status, ActionStatus::Init | ActionStatus::Tried)
        }
        Phase::Finishing { decision, .. } => match decision.outcome {
            Outcome::Success => status != ActionStatus::Rejected,
            // An operator may have ended an action either way.
            Outcome::Failure => true,
        },
        Phase::Parked { .. } => true,
        Phase::Finished { .. } => !matches!(
            status,
            ActionStatus::Init | ActionStatus::Tried | ActionStatus::Failed
        ),
    }
}

/// What an incarnation knows of an action that it did not write: its Try counts as sent, and no call
/// of phase two is authorised.
fn loaded(row: ActionInfoRow, phase: &Phase) -> Action {
    // A pause of phase one says nothing about phase two.
    let phase_two = phase.decision().is_some();
    let last = row
        .attempts
        .last()
        .filter(|last| (last.operation == Operation::Try) != phase_two);
    let next = last.and_then(|attempt| attempt.next);
    let sent = if broken("loaded_action_taken_as_unsent") && row.status == ActionStatus::Init {
        Sent::Never
    } else {
        Sent::Perhaps
    };
    let success = matches!(phase.decision(), Some(d) if d.outcome == Outcome::Success);
    let status = match (row.status, row.spec.mode) {
        (ActionStatus::Init, Mode::Tcc | Mode::Deliver) if success => ActionStatus::Tried,
        (status, _) => status,
    };
    Action {
        status,
        result: row.result,
        retry_count: if broken("attempts_reset_on_load") {
            0
        } else {
            row.retry_count
        },
        last_error: row.last_error,
        attempts: row.attempts,
        version: row.version,
        finished_at: row.finished_at,
        live: Live {
            sent,
            not_before: next.map_or_else(Timestamp::default, Timestamp::from_micros),
            ..Live::new()
        },
        spec: Arc::new(row.spec),
    }
}

impl TxSpec {
    /// Whether this coordinator makes the Tries and decides.
    pub fn is_executed(&self) -> bool {
        self.driver == Driver::Coordinator
    }

    /// How long phase one was to take.
    pub fn timeout(&self) -> std::time::Duration {
        self.deadline.since(self.create_time)
    }
}
