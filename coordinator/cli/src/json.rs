//! JSON for scripts: the wire's fields under the wire's names.

use serde_json::{Value, json};
use tercet_proto::v1;

use crate::{payload, words::short};

fn cause(cause: Option<&v1::Cause>) -> Value {
    cause.map_or(Value::Null, |cause| {
        json!({
            "kind": short(cause.kind().as_str_name(), "CAUSE_KIND_"),
            "action": cause.action,
            "reason": cause.reason,
        })
    })
}

/// A transaction; payloads and results in hexadecimal, and as text and as JSON where they are that.
pub(crate) fn transaction(tx: &v1::Transaction) -> Value {
    json!({
        "tx_id": tx.tx_id,
        "business_type": tx.business_type,
        "business_id": tx.business_id,
        "unique_business": tx.unique_business,
        "status": short(tx.status().as_str_name(), "TX_STATUS_"),
        "biz_status": short(tx.biz_status().as_str_name(), "BIZ_STATUS_"),
        "cause": cause(tx.cause.as_ref()),
        "executed": tx.executed,
        "check_back": tx.check_back.as_ref().map(check_back),
        "check_backs": tx.check_backs,
        "last_check_back": tx.last_check_back.as_ref().map(last_check_back),
        "ext_properties": tx.ext_properties,
        "version": tx.version,
        "owner": tx.owner,
        "waiting_for": tx.waiting_for,
        "next_attempt_at_micros": tx.next_attempt_at_micros,
        "deadline_at_micros": tx.deadline_at_micros,
        "create_time_micros": tx.create_time_micros,
        "decided_at_micros": tx.decided_at_micros,
        "finished_at_micros": tx.finished_at_micros,
        "actions": tx.actions.iter().map(action).collect::<Vec<_>>(),
        "obstacles": tx.obstacles,
        "operator_log": tx.operator_log.iter().map(operator_entry).collect::<Vec<_>>(),
    })
}

fn check_back(check_back: &v1::CheckBack) -> Value {
    json!({
        "participant": check_back.participant,
        "first_delay_ms": check_back.first_delay_ms,
        "interval_ms": check_back.interval_ms,
        "max_interval_ms": check_back.max_interval_ms,
        "max_attempts": check_back.max_attempts,
    })
}

fn last_check_back(last: &v1::UnansweredCheckBack) -> Value {
    json!({
        "number": last.number,
        "at_micros": last.at_micros,
        "error": last.error,
        "next_at_micros": last.next_at_micros,
    })
}

fn action(view: &v1::ActionView) -> Value {
    let begun = view.action.clone().unwrap_or_default();
    json!({
        "name": begun.name,
        "mode": short(begun.mode().as_str_name(), "MODE_"),
        "participant": begun.participant,
        "handler": begun.handler,
        "payload_hex": payload::hex(&begun.payload),
        "payload_text": payload::text(&begun.payload),
        "payload_json": payload::json(&begun.payload),
        "after": begun.after,
        "wants_results": begun.wants_results,
        "already_tried": begun.already_tried,
        "ext_properties": begun.ext_properties,
        "status": short(view.status().as_str_name(), "ACTION_STATUS_"),
        "result_hex": payload::hex(&view.result),
        "result_text": payload::text(&view.result),
        "result_json": payload::json(&view.result),
        "retry_count": view.retry_count,
        "last_error": view.last_error,
        "attempts": view.attempts.iter().map(attempt).collect::<Vec<_>>(),
        "version": view.version,
        "create_time_micros": view.create_time_micros,
        "finished_at_micros": view.finished_at_micros,
    })
}

fn attempt(attempt: &v1::Attempt) -> Value {
    json!({
        "operation": short(attempt.operation().as_str_name(), "OPERATION_"),
        "at_micros": attempt.at_micros,
        "duration_micros": attempt.duration_micros,
        "number": attempt.number,
        "outcome": attempt.outcome,
        "error": attempt.error,
        "next_at_micros": attempt.next_at_micros,
    })
}

fn operator_entry(entry: &v1::OperatorEntry) -> Value {
    json!({
        "at_micros": entry.at_micros,
        "who": entry.who,
        "command": entry.command,
        "reason": entry.reason,
        "before": entry.before,
    })
}

/// The state of a transaction after a command.
pub(crate) fn state(state: &v1::TransactionState) -> Value {
    json!({
        "tx_id": state.tx_id,
        "status": short(state.status().as_str_name(), "TX_STATUS_"),
        "biz_status": short(state.biz_status().as_str_name(), "BIZ_STATUS_"),
        "cause": cause(state.cause.as_ref()),
        "version": state.version,
        "owner": state.owner,
    })
}

/// A participant.
pub(crate) fn participant(view: &v1::ParticipantView) -> Value {
    json!({
        "participant": view.participant,
        "protocol": short(view.protocol().as_str_name(), "PROTOCOL_"),
        "address": view.address,
        "methods": methods(&view.methods),
        "check_back": view.check_back,
        "concurrency": view.concurrency,
        "attached": view.attached,
        "calls_open": view.calls_open,
        "calls_waiting": view.calls_waiting,
        "handlers": view.handlers.iter().map(handler).collect::<Vec<_>>(),
        "answers_check_back": view.answers_check_back,
        "handlers_open": view.handlers_open,
        "unreadable": view.unreadable,
    })
}

fn handler(handler: &v1::Handler) -> Value {
    let mode = match handler.mode() {
        v1::Mode::Unspecified => "ANY",
        mode => short(mode.as_str_name(), "MODE_"),
    };
    json!({ "name": handler.name, "mode": mode })
}

/// A registration of a participant.
pub(crate) fn registration(registration: &v1::RegisterRequest) -> Value {
    json!({
        "participant": registration.participant,
        "protocol": short(registration.protocol().as_str_name(), "PROTOCOL_"),
        "address": registration.address,
        "methods": methods(&registration.methods),
        "check_back": registration.check_back,
        "concurrency": registration.concurrency,
    })
}

fn methods(all: &[v1::Methods]) -> Value {
    let methods = all.iter().map(|methods| {
        json!({
            "handler": methods.handler,
            "try": methods.r#try,
            "confirm": methods.confirm,
            "cancel": methods.cancel,
        })
    });
    methods.collect()
}
