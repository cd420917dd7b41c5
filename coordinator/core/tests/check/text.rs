//! The requests that the tables describe in text; the legend is in `main.rs`.

use std::{sync::Arc, time::Duration};

use tercet_core::{
    model::{ActionSpec, ActionStatus, CheckBack, Decider, Ext, Mode, Name, Outcome},
    port::{Command, NewTransaction, Order, Request, Wait},
};

use crate::common::{command, new_transaction, tcc, tx_id};

/// Makes the request that a line of a table describes.
pub(crate) fn request(text: &str) -> Request {
    let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
    match kind {
        "begin" => begin(Decider::Initiator, rest),
        "execute" => begin(Decider::Coordinator, rest),
        "add" => {
            let braced = rest.trim().trim_matches(['{', '}']);
            Request::AddAction(tx_id(1), actions(braced).remove(0))
        }
        _ => decision(kind, rest),
    }
}

fn begin(decider: Decider, text: &str) -> Request {
    let mut new = new_transaction(1, decider, []);
    for part in text.split('{') {
        let fields = match part.split_once('}') {
            Some((action, fields)) => {
                new.actions.extend(actions(action));
                fields
            }
            None => part,
        };
        for field in fields.split_whitespace() {
            set_transaction(&mut new, field);
        }
    }
    Request::Begin(Arc::new(new), Wait::Accepted)
}

fn set_transaction(new: &mut NewTransaction, field: &str) {
    let (name, value) = field.split_once('=').unwrap_or((field, ""));
    match name {
        "business_type" => new.business_type = text(value),
        "business_id" => new.business_id = text(value),
        "timeout_ms" => new.timeout = Some(millis(value)),
        "ext" => new.ext = ext(value),
        _ => set_check_back(new.check_back.get_or_insert_with(check_back), name, value),
    }
}

pub(crate) fn check_back() -> CheckBack {
    CheckBack::of("initiator".into())
}

fn set_check_back(asked: &mut CheckBack, name: &str, value: &str) {
    match name {
        "check_back" => {}
        "check_back.participant" => asked.participant = text(value),
        "check_back.first_delay_ms" => asked.first_delay = Some(millis(value)),
        "check_back.interval_ms" => asked.interval = Some(millis(value)),
        "check_back.max_interval_ms" => asked.max_interval = Some(millis(value)),
        "check_back.max_attempts" => asked.max_attempts = Some(value.parse().unwrap()),
        other => panic!("no field: {other}"),
    }
}

/// Makes the action between two braces, or several where its name stands for a list.
pub(crate) fn actions(text: &str) -> Vec<Arc<ActionSpec>> {
    let mut fields = text.split_whitespace();
    let names = list(fields.next().unwrap());
    let mut action = tcc("a");
    for field in fields {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        set_action(&mut action, name, value);
    }
    let specs = names.into_iter().map(|name| {
        let handler = match &*action.handler {
            "a" => name.clone(),
            _ => action.handler.clone(),
        };
        Arc::new(ActionSpec {
            name,
            handler,
            ..action.clone()
        })
    });
    specs.collect()
}

fn set_action(action: &mut ActionSpec, name: &str, value: &str) {
    match name {
        "handler" => action.handler = text(value),
        "participant" => action.participant = text(value),
        "mode" => action.mode = Mode::from_word(value).unwrap(),
        "payload" => action.payload = text(value).as_bytes().to_vec().into(),
        "after" => action.after = list(value),
        "wants_results" => action.wants_results = true,
        "already_tried" => action.already_tried = true,
        "ext" => action.ext = ext(value),
        "retry.first_delay_ms" => action.retry.first_delay = Some(millis(value)),
        "retry.max_delay_ms" => action.retry.max_delay = Some(millis(value)),
        "retry.max_attempts" => action.retry.max_attempts = Some(value.parse().unwrap()),
        "retry.max_age_ms" => action.retry.max_age = Some(millis(value)),
        "retry.call_timeout_ms" => action.retry.call_timeout = Some(millis(value)),
        other => panic!("no field: {other}"),
    }
}

fn decision(kind: &str, fields: &str) -> Request {
    let mut reason: Name = "because".into();
    let mut wait = Wait::Decided;
    let (mut actions, mut status) = (Vec::new(), ActionStatus::Confirmed);
    for field in fields.split_whitespace() {
        match field.split_once('=').unwrap() {
            ("reason", value) => reason = text(value),
            ("wait", "ACCEPTED") => wait = Wait::Accepted,
            ("wait", "COMPLETED") => wait = Wait::Completed,
            ("actions", value) => actions = list(value),
            ("as", value) => status = ActionStatus::from_word(value).unwrap(),
            other => panic!("no field: {other:?}"),
        }
    }
    let reason = reason.to_string();
    let order = match kind {
        "decide" => return Request::Decide(tx_id(1), Outcome::Success, reason, wait),
        "operator" => Order::Decide(Outcome::Failure),
        "retry" => Order::Retry,
        "resolve" => Order::Resolve { actions, status },
        other => panic!("no request: {other}"),
    };
    Request::Operator(
        tx_id(1),
        Command {
            reason,
            ..command(order)
        },
    )
}

fn text(value: &str) -> Name {
    match value.split_once('*') {
        Some((part, times)) => part.repeat(times.parse().unwrap()).into(),
        None => value.replace("''", "").replace(r"\0", "\0").into(),
    }
}

fn list(value: &str) -> Vec<Name> {
    match value.split_once('%') {
        Some((part, number)) => (0..number.parse::<usize>().unwrap())
            .map(|number| format!("{part}{number}").into())
            .collect(),
        None => value.split(',').map(text).collect(),
    }
}

fn ext(value: &str) -> Ext {
    let (keys, value) = value.split_once(':').unwrap();
    let value = text(value);
    let keys = list(keys).into_iter();
    keys.map(|key| (key.to_string(), value.to_string()))
        .collect()
}

fn millis(value: &str) -> Duration {
    Duration::from_millis(value.parse().unwrap())
}
