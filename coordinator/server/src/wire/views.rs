//! Transactions in the form in which callers and people see them.

use tercet_core::{
    model::{ActionSpec, Attempt, CheckBack, Rest, RetryPolicy, Unanswered},
    port::Reply,
    row::ActionRow,
    time::Timestamp,
    write::OperatorEntry,
};
use tercet_proto::v1;
use tercet_store::TxView;

use super::{
    millis,
    words::{action_status, biz_status, cause, mode, operation, status},
};

fn micros(at: Option<Timestamp>) -> i64 {
    at.map_or(0, Timestamp::as_micros)
}

/// Converts a reply of the engine.
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
                status: action_status(action.state.status).into(),
                result: action.state.result,
            })
            .collect(),
        version: tx.version,
        owner: tx.owner.to_string(),
        repeated: reply.repeated,
        deadline_at_micros: tx.spec.deadline.as_micros(),
    }
}

/// Converts a transaction for a person, with the obstacles in its way.
pub(crate) fn transaction(view: TxView, obstacles: Vec<String>) -> v1::Transaction {
    let TxView {
        tx,
        actions,
        operator_log,
        failing: _,
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
        waiting_for: tx.rest.as_deref().map(waiting_for).unwrap_or_default(),
        next_attempt_at_micros: micros(tx.rest.as_ref().and_then(|rest| rest.earliest())),
        deadline_at_micros: tx.spec.deadline.as_micros(),
        create_time_micros: tx.spec.create_time.as_micros(),
        decided_at_micros: micros(tx.decided_at),
        finished_at_micros: micros(tx.finished_at),
        actions: actions.into_iter().map(action_view).collect(),
        obstacles,
        operator_log: operator_log.into_iter().map(operator_entry).collect(),
        last_check_back: tx.last_check_back.map(|last| unanswered(*last)),
    }
}

/// Returns the names of the participants whose calls are wanted.
fn waiting_for(rest: &Rest) -> String {
    let mut names: Vec<&str> = rest.wants.iter().map(|want| &*want.participant).collect();
    names.dedup();
    names.join(", ")
}

/// Converts the values in effect, those that were left out included.
fn check_back(check_back: &CheckBack) -> v1::CheckBack {
    let policy = check_back.in_effect();
    v1::CheckBack {
        participant: check_back.participant.to_string(),
        first_delay_ms: millis(policy.first_delay),
        interval_ms: millis(policy.interval),
        max_interval_ms: millis(policy.max_interval),
        max_attempts: policy.max_attempts.unwrap_or(0),
    }
}

fn unanswered(last: Unanswered) -> v1::UnansweredCheckBack {
    v1::UnansweredCheckBack {
        number: last.number,
        at_micros: last.at.as_micros(),
        error: last.error,
        next_at_micros: micros(last.next),
    }
}

/// Converts the values in effect, those that were left out included.
fn retry(policy: &RetryPolicy) -> v1::RetryPolicy {
    let policy = policy.in_effect();
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

fn action_view(row: ActionRow) -> v1::ActionView {
    v1::ActionView {
        action: Some(action(row.spec)),
        status: action_status(row.state.status).into(),
        result: row.state.result,
        retry_count: row.state.retry_count,
        last_error: row.state.last_error,
        attempts: row.state.attempts.into_iter().map(attempt).collect(),
        version: row.state.version,
        create_time_micros: row.create_time.as_micros(),
        finished_at_micros: micros(row.state.finished_at),
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
        who: entry.who.to_string(),
        command: entry.command,
        reason: entry.reason,
        before: entry.before,
    }
}
