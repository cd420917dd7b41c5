//! Whether a request is one: every field, before anything reaches the engine. All that is wrong with a
//! request is told at once, each with the path of its field.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tercet_core::{
    engine::NewTransaction,
    id::TxId,
    limits,
    model::{ActionSpec, CheckBack, Driver, Mode, Name, Outcome, RetryPolicy},
};
use tercet_proto::v1;

pub(crate) use super::violations::{At, Violations};
use super::{convert, error::ApiError};
use crate::{directory::Known, limits as bounds};

/// Who begins: the two ways differ in what they accept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beginning {
    Begin,
    Execute,
}

/// A transaction to begin, or everything that is wrong with it. `id` is used when the request has none.
pub(crate) fn begin(
    request: v1::BeginRequest,
    beginning: Beginning,
    known: &Known,
    id: impl FnOnce() -> TxId,
) -> Result<NewTransaction, ApiError> {
    let root = match beginning {
        Beginning::Begin => At::field(""),
        Beginning::Execute => At::field("begin"),
    };
    let mut violations = Violations::default();
    let v = &mut violations;
    let given = if request.tx_id.is_empty() {
        None
    } else {
        v.tx_id(&root.of("tx_id"), &request.tx_id)
    };
    v.name(&root.of("business_type"), &request.business_type);
    v.name(&root.of("business_id"), &request.business_id);
    v.ext(&root.of("ext_properties"), &request.ext_properties);
    let timeout = v.millis(
        &root.of("timeout_ms"),
        request.timeout_ms,
        limits::TIMEOUT_MAX,
    );
    let asks_back = request.check_back.is_some();
    let check_back = request
        .check_back
        .as_ref()
        .and_then(|asked| check_back(asked, &root.of("check_back"), known, v));
    if beginning == Beginning::Execute {
        execute_only(&request.actions, asks_back, &root, v);
    }
    let actions = actions(request.actions, &root, known, v);
    violations.finish()?;
    Ok(NewTransaction {
        id: given.unwrap_or_else(id),
        business_type: request.business_type.into(),
        business_id: request.business_id.into(),
        unique_business: request.unique_business,
        driver: match beginning {
            Beginning::Begin => Driver::Initiator,
            Beginning::Execute => Driver::Coordinator,
        },
        timeout: timeout.unwrap_or(limits::TIMEOUT_DEFAULT),
        check_back,
        ext: request.ext_properties,
        actions,
    })
}

fn execute_only(actions: &[v1::Action], asks_back: bool, root: &At<'_>, v: &mut Violations) {
    if asks_back {
        v.add(
            &root.of("check_back"),
            "is not accepted in an Execute: the coordinator decides; use Begin",
        );
    }
    if actions.is_empty() {
        v.add(
            &root.of("actions"),
            "is empty; an Execute has at least one action",
        );
    } else if actions.iter().all(is_tried) {
        v.add(
            &root.of("actions"),
            "has only actions that are already tried; an Execute has at least one that is not",
        );
    }
}

fn is_tried(action: &v1::Action) -> bool {
    action.already_tried && action.mode() != v1::Mode::Deliver
}

fn actions(
    actions: Vec<v1::Action>,
    root: &At<'_>,
    known: &Known,
    v: &mut Violations,
) -> Vec<Arc<ActionSpec>> {
    if actions.len() > limits::ACTIONS {
        v.add(
            &root.of("actions"),
            format!(
                "has {} actions; at most {} are accepted",
                actions.len(),
                limits::ACTIONS
            ),
        );
        return Vec::new();
    }
    order(&actions, root, v);
    actions
        .into_iter()
        .enumerate()
        .filter_map(|(i, asked)| action(asked, &root.index("actions", i), known, v).map(Arc::new))
        .collect()
}

/// One action, where nothing is wrong with it.
pub(crate) fn action(
    asked: v1::Action,
    at: &At<'_>,
    known: &Known,
    v: &mut Violations,
) -> Option<ActionSpec> {
    v.name(&at.of("name"), &asked.name);
    if !asked.handler.is_empty() {
        v.name(&at.of("handler"), &asked.handler);
    }
    let participant = v.participant(&at.of("participant"), &asked.participant, known);
    let mode = convert::mode_from(asked.mode);
    if mode.is_none() {
        v.add(
            &at.of("mode"),
            "is not given; give MODE_TCC, MODE_COMPENSATE or MODE_DELIVER",
        );
    }
    if asked.payload.len() > limits::PAYLOAD_BYTES {
        v.add(
            &at.of("payload"),
            format!(
                "has {} bytes; at most {} are accepted",
                asked.payload.len(),
                limits::PAYLOAD_BYTES
            ),
        );
    }
    if asked.already_tried && mode == Some(Mode::Deliver) {
        v.add(
            &at.of("already_tried"),
            "is not accepted with MODE_DELIVER, which has no TRY",
        );
    }
    if asked.wants_results && asked.after.is_empty() {
        v.add(
            &at.of("wants_results"),
            "is not accepted without `after`: there are no results to give",
        );
    }
    after(&asked, at, v);
    v.ext(&at.of("ext_properties"), &asked.ext_properties);
    let retry = match &asked.retry {
        None => RetryPolicy::default(),
        Some(policy) => retry(policy, &at.of("retry"), v),
    };
    let name: Name = asked.name.into();
    Some(ActionSpec {
        handler: if asked.handler.is_empty() {
            Arc::clone(&name)
        } else {
            asked.handler.into()
        },
        name,
        mode: mode?,
        participant: participant?,
        payload: crate::calls::wire::compact(&asked.payload),
        after: asked.after.into_iter().map(Name::from).collect(),
        wants_results: asked.wants_results,
        already_tried: asked.already_tried,
        retry,
        ext: asked.ext_properties,
    })
}

/// What can be said of one action's `after` without knowing the others.
fn after(asked: &v1::Action, at: &At<'_>, v: &mut Violations) {
    if asked.after.len() > limits::ACTIONS {
        v.add(
            &at.of("after"),
            format!(
                "has {} names; at most {} are accepted",
                asked.after.len(),
                limits::ACTIONS
            ),
        );
        return;
    }
    for (i, name) in asked.after.iter().enumerate() {
        let field = at.index("after", i);
        if *name == asked.name {
            v.add(&field, "names the action itself; name others");
        } else if asked.after[..i].contains(name) {
            v.add(&field, format!("names {name} again; name each action once"));
        } else {
            v.name(&field, name);
        }
    }
}

/// What can be said of all actions together: names are unique, `after` names actions that are there, and
/// there is no way round in circles.
fn order(actions: &[v1::Action], root: &At<'_>, v: &mut Violations) {
    let mut places = HashMap::with_capacity(actions.len());
    for (i, action) in actions.iter().enumerate() {
        if let Some(first) = places.insert(action.name.as_str(), i) {
            v.add(
                &root.index("actions", i).of("name"),
                format!("is that of actions[{first}] too; names are unique in a transaction"),
            );
        }
    }
    if actions.iter().all(|action| action.after.is_empty()) {
        return;
    }
    for (i, action) in actions.iter().enumerate() {
        for (j, name) in action.after.iter().enumerate().take(limits::ACTIONS) {
            if !places.contains_key(name.as_str()) {
                v.add(
                    &root.index("actions", i).index("after", j),
                    format!("names {name}, which is no action of this transaction"),
                );
            }
        }
    }
    if let Some(i) = cycle(actions, &places) {
        v.add(
            &root.index("actions", i).of("after"),
            "closes a circle: the action would have to come before itself",
        );
    }
}

/// The first action that cannot be reached by taking away, again and again, those that come after
/// nothing that is left.
fn cycle(actions: &[v1::Action], places: &HashMap<&str, usize>) -> Option<usize> {
    let mut left: HashSet<usize> = (0..actions.len()).collect();
    loop {
        let free: Vec<usize> = left
            .iter()
            .copied()
            .filter(|i| {
                actions[*i].after.iter().all(|name| {
                    places
                        .get(name.as_str())
                        .is_none_or(|before| before == i || !left.contains(before))
                })
            })
            .collect();
        if free.is_empty() {
            return left.into_iter().min();
        }
        for i in free {
            left.remove(&i);
        }
    }
}

fn retry(policy: &v1::RetryPolicy, at: &At<'_>, v: &mut Violations) -> RetryPolicy {
    let default = RetryPolicy::default();
    let first = v.millis(
        &at.of("first_delay_ms"),
        policy.first_delay_ms,
        limits::FIRST_DELAY_MAX,
    );
    let max = v.millis(
        &at.of("max_delay_ms"),
        policy.max_delay_ms,
        limits::MAX_DELAY_MAX,
    );
    let (first_delay, max_delay) = spread(first, max, default.first_delay, default.max_delay);
    if max_delay < first_delay {
        v.add(
            &at.of("max_delay_ms"),
            format!(
                "is {}, below first_delay_ms; give at least {}",
                policy.max_delay_ms, policy.first_delay_ms
            ),
        );
    }
    RetryPolicy {
        first_delay,
        max_delay,
        max_attempts: v
            .count(
                &at.of("max_attempts"),
                policy.max_attempts,
                limits::MAX_ATTEMPTS_MAX,
            )
            .unwrap_or(default.max_attempts),
        max_age: v.millis(&at.of("max_age_ms"), policy.max_age_ms, limits::MAX_AGE_MAX),
        call_timeout: v
            .millis(
                &at.of("call_timeout_ms"),
                policy.call_timeout_ms,
                limits::CALL_TIMEOUT_MAX,
            )
            .unwrap_or(default.call_timeout),
    }
}

/// A back-off's first step and cap: a default gives way to what is given of the other.
fn spread(
    first: Option<Duration>,
    cap: Option<Duration>,
    default_first: Duration,
    default_cap: Duration,
) -> (Duration, Duration) {
    match (first, cap) {
        (Some(first), Some(cap)) => (first, cap),
        (Some(first), None) => (first, default_cap.max(first)),
        (None, Some(cap)) => (default_first.min(cap), cap),
        (None, None) => (default_first, default_cap),
    }
}

fn check_back(
    asked: &v1::CheckBack,
    at: &At<'_>,
    known: &Known,
    v: &mut Violations,
) -> Option<CheckBack> {
    let participant = v.participant(&at.of("participant"), &asked.participant, known);
    let first_delay = v.millis(
        &at.of("first_delay_ms"),
        asked.first_delay_ms,
        bounds::CHECK_BACK_FIRST_DELAY_MAX,
    );
    let interval = v.millis(
        &at.of("interval_ms"),
        asked.interval_ms,
        bounds::CHECK_BACK_INTERVAL_MAX,
    );
    let max_interval = v.millis(
        &at.of("max_interval_ms"),
        asked.max_interval_ms,
        bounds::CHECK_BACK_MAX_INTERVAL_MAX,
    );
    let (interval, max_interval) = spread(
        interval,
        max_interval,
        bounds::CHECK_BACK_INTERVAL_DEFAULT,
        bounds::CHECK_BACK_MAX_INTERVAL_DEFAULT,
    );
    if max_interval < interval {
        v.add(
            &at.of("max_interval_ms"),
            format!(
                "is {}, below interval_ms; give at least {}",
                asked.max_interval_ms, asked.interval_ms
            ),
        );
    }
    let max_attempts = v.count(
        &at.of("max_attempts"),
        asked.max_attempts,
        bounds::CHECK_BACK_ATTEMPTS_MAX,
    );
    Some(CheckBack {
        participant: participant?,
        first_delay: first_delay.unwrap_or_default(),
        interval,
        max_interval,
        max_attempts,
    })
}

/// A decision.
pub(crate) fn outcome(asked: i32, v: &mut Violations) -> Option<Outcome> {
    let outcome = convert::outcome_from(asked);
    if outcome.is_none() {
        v.add(
            "outcome",
            "is not given; give OUTCOME_SUCCESS or OUTCOME_FAILURE",
        );
    }
    outcome
}
