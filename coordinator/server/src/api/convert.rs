//! The core's words and the wire's, one into the other.

use tercet_core::{
    engine::Reply,
    model::{
        ActionSpec, ActionStatus, Attempt, BizStatus, Cause, CheckBack, Ext, Mode, Operation,
        Outcome, RetryPolicy, TxStatus,
    },
    row::ActionInfoRow,
    time::Timestamp,
    write::OperatorEntry,
};
use tercet_proto::v1;
use tercet_store::TxView;

/// Milliseconds of a duration, as the wire has them.
pub(crate) fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn micros(at: Option<Timestamp>) -> i64 {
    at.map_or(0, Timestamp::as_micros)
}

pub(crate) fn mode(mode: Mode) -> v1::Mode {
    match mode {
        Mode::Tcc => v1::Mode::Tcc,
        Mode::Compensate => v1::Mode::Compensate,
        Mode::Deliver => v1::Mode::Deliver,
    }
}

pub(crate) fn mode_from(mode: i32) -> Option<Mode> {
    match v1::Mode::try_from(mode).ok()? {
        v1::Mode::Unspecified => None,
        v1::Mode::Tcc => Some(Mode::Tcc),
        v1::Mode::Compensate => Some(Mode::Compensate),
        v1::Mode::Deliver => Some(Mode::Deliver),
    }
}

pub(crate) fn operation(operation: Operation) -> v1::Operation {
    match operation {
        Operation::Try => v1::Operation::Try,
        Operation::Confirm => v1::Operation::Confirm,
        Operation::Cancel => v1::Operation::Cancel,
    }
}

pub(crate) fn operation_from(operation: i32) -> Option<Operation> {
    match v1::Operation::try_from(operation).ok()? {
        v1::Operation::Unspecified => None,
        v1::Operation::Try => Some(Operation::Try),
        v1::Operation::Confirm => Some(Operation::Confirm),
        v1::Operation::Cancel => Some(Operation::Cancel),
    }
}

pub(crate) fn outcome_from(outcome: i32) -> Option<Outcome> {
    match v1::Outcome::try_from(outcome).ok()? {
        v1::Outcome::Unspecified => None,
        v1::Outcome::Success => Some(Outcome::Success),
        v1::Outcome::Failure => Some(Outcome::Failure),
    }
}

pub(crate) fn status(status: TxStatus) -> v1::TxStatus {
    match status {
        TxStatus::ProcessWaiting => v1::TxStatus::ProcessWaiting,
        TxStatus::Processing => v1::TxStatus::Processing,
        TxStatus::Success => v1::TxStatus::Success,
        TxStatus::Failure => v1::TxStatus::Failure,
    }
}

pub(crate) fn status_from(status: i32) -> Option<TxStatus> {
    match v1::TxStatus::try_from(status).ok()? {
        v1::TxStatus::Unspecified => None,
        v1::TxStatus::ProcessWaiting => Some(TxStatus::ProcessWaiting),
        v1::TxStatus::Processing => Some(TxStatus::Processing),
        v1::TxStatus::Success => Some(TxStatus::Success),
        v1::TxStatus::Failure => Some(TxStatus::Failure),
    }
}

pub(crate) fn biz_status(status: BizStatus) -> v1::BizStatus {
    match status {
        BizStatus::Init => v1::BizStatus::Init,
        BizStatus::Unknown => v1::BizStatus::Unknown,
        BizStatus::Success => v1::BizStatus::Success,
        BizStatus::Failure => v1::BizStatus::Failure,
    }
}

pub(crate) fn biz_status_from(status: i32) -> Option<BizStatus> {
    match v1::BizStatus::try_from(status).ok()? {
        v1::BizStatus::Unspecified => None,
        v1::BizStatus::Init => Some(BizStatus::Init),
        v1::BizStatus::Unknown => Some(BizStatus::Unknown),
        v1::BizStatus::Success => Some(BizStatus::Success),
        v1::BizStatus::Failure => Some(BizStatus::Failure),
    }
}

pub(crate) fn action_status(status: ActionStatus) -> v1::ActionStatus {
    match status {
        ActionStatus::Init => v1::ActionStatus::Init,
        ActionStatus::Tried => v1::ActionStatus::Tried,
        ActionStatus::Rejected => v1::ActionStatus::Rejected,
        ActionStatus::Confirmed => v1::ActionStatus::Confirmed,
        ActionStatus::Cancelled => v1::ActionStatus::Cancelled,
        ActionStatus::Failed => v1::ActionStatus::Failed,
    }
}

pub(crate) fn cause(cause: &Cause) -> v1::Cause {
    let (kind, action, reason) = match cause {
        Cause::AllTried => (v1::CauseKind::AllTried, "", ""),
        Cause::Rejected { action, reason } => (v1::CauseKind::Rejected, &**action, reason.as_str()),
        Cause::Deadline => (v1::CauseKind::Deadline, "", ""),
        Cause::Aborted { reason } => (v1::CauseKind::Aborted, "", reason.as_str()),
        Cause::Initiator { reason } => (v1::CauseKind::Initiator, "", reason.as_str()),
        Cause::CheckBack { reason } => (v1::CauseKind::CheckBack, "", reason.as_str()),
        Cause::Operator { reason } => (v1::CauseKind::Operator, "", reason.as_str()),
    };
    v1::Cause {
        kind: kind.into(),
        action: action.to_owned(),
        reason: reason.to_owned(),
    }
}

/// What a caller is told of a transaction.
pub(crate) fn state(reply: Reply) -> v1::TransactionState {
    let tx = reply.transaction;
    v1::TransactionState {
        tx_id: tx.id().to_string(),
        status: status(tx.phase.status()).into(),
        biz_status: biz_status(tx.phase.biz_status()).into(),
        cause: tx.phase.decision().map(|decision| cause(&decision.cause)),
        actions: tx
            .actions
            .into_iter()
            .map(|action| v1::ActionState {
                name: action.spec.name.to_string(),
                status: action_status(action.status).into(),
                result: action.result,
            })
            .collect(),
        version: tx.version,
        owner: tx.owner.to_string(),
        repeated: reply.repeated,
        deadline_at_micros: tx.spec.deadline.as_micros(),
    }
}

/// A transaction for a person. `obstacles` are the caller's to fill in.
pub(crate) fn transaction(view: TxView) -> v1::Transaction {
    let TxView {
        tx,
        actions,
        operator_log,
    } = view;
    v1::Transaction {
        tx_id: tx.spec.id.to_string(),
        business_type: tx.spec.business_type.to_string(),
        business_id: tx.spec.business_id.to_string(),
        unique_business: tx.spec.unique_business,
        status: status(tx.status).into(),
        biz_status: biz_status(tx.biz_status).into(),
        cause: tx.cause.as_ref().map(cause),
        executed: tx.spec.is_executed(),
        check_back: tx.spec.check_back.as_ref().map(check_back),
        check_backs: tx.check_backs,
        ext_properties: tx.spec.ext,
        version: tx.version,
        owner: tx.owner.to_string(),
        waiting_for: tx
            .waiting_for
            .map(|name| name.to_string())
            .unwrap_or_default(),
        next_attempt_at_micros: micros(tx.next_attempt_at),
        deadline_at_micros: tx.spec.deadline.as_micros(),
        create_time_micros: tx.spec.create_time.as_micros(),
        decided_at_micros: micros(tx.decided_at),
        finished_at_micros: micros(tx.finished_at),
        actions: actions.into_iter().map(action_view).collect(),
        obstacles: Vec::new(),
        operator_log: operator_log.into_iter().map(operator_entry).collect(),
    }
}

fn check_back(check_back: &CheckBack) -> v1::CheckBack {
    v1::CheckBack {
        participant: check_back.participant.to_string(),
        first_delay_ms: millis(check_back.first_delay),
        interval_ms: millis(check_back.interval),
        max_interval_ms: millis(check_back.max_interval),
        max_attempts: check_back.max_attempts.unwrap_or(0),
    }
}

fn retry(policy: &RetryPolicy) -> v1::RetryPolicy {
    v1::RetryPolicy {
        first_delay_ms: millis(policy.first_delay),
        max_delay_ms: millis(policy.max_delay),
        max_attempts: policy.max_attempts,
        max_age_ms: policy.max_age.map_or(0, millis),
        call_timeout_ms: millis(policy.call_timeout),
    }
}

fn action(spec: ActionSpec) -> v1::Action {
    v1::Action {
        name: spec.name.to_string(),
        mode: mode(spec.mode).into(),
        participant: spec.participant.to_string(),
        handler: spec.handler.to_string(),
        payload: spec.payload,
        after: spec.after.iter().map(ToString::to_string).collect(),
        wants_results: spec.wants_results,
        already_tried: spec.already_tried,
        retry: Some(retry(&spec.retry)),
        ext_properties: spec.ext,
    }
}

fn action_view(row: ActionInfoRow) -> v1::ActionView {
    v1::ActionView {
        action: Some(action(row.spec)),
        status: action_status(row.status).into(),
        result: row.result,
        retry_count: row.retry_count,
        last_error: row.last_error,
        attempts: row.attempts.into_iter().map(attempt).collect(),
        version: row.version,
        create_time_micros: row.create_time.as_micros(),
        finished_at_micros: micros(row.finished_at),
    }
}

fn attempt(attempt: Attempt) -> v1::Attempt {
    v1::Attempt {
        operation: operation(attempt.operation).into(),
        at_micros: attempt.at,
        duration_micros: i64::try_from(attempt.took).unwrap_or(i64::MAX),
        number: attempt.number,
        outcome: attempt.outcome.word().to_owned(),
        error: attempt.error,
        next_at_micros: attempt.next.unwrap_or(0),
    }
}

fn operator_entry(entry: OperatorEntry) -> v1::OperatorEntry {
    v1::OperatorEntry {
        at_micros: entry.at.as_micros(),
        command: entry.command,
        reason: entry.reason,
        before: entry.before,
    }
}

/// The transaction's words, overlaid with the action's.
pub(crate) fn overlaid(tx: &Ext, action: &Ext) -> Ext {
    let mut all = tx.clone();
    all.extend(
        action
            .iter()
            .map(|(key, value)| (key.clone(), value.clone())),
    );
    all
}
