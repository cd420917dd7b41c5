//! The rules for requests: every field, checked before a request reaches the engine.
//!
//! A front end translates a request into the core's own types and has it checked here; the rules depend on no wire
//! format. Every violation is reported at once, each with the path of its field.
//!
//! The rules that depend on the transaction's state are the [`transition`](mod@crate::transition)'s; those
//! that an added action shares with a begin are in [`fits`].

mod actions;
mod fields;

pub use self::actions::fits;
use crate::{
    limits,
    model::{ActionSpec, ActionStatus, CheckBack, Decider, Mode, Name, RetryPolicy},
    port::{Command, NewTransaction, Order, Request, Wait},
    violation::{At, Violations},
};

/// Checks every field of a request.
///
/// `root` is the path of the transaction within a begin, and of the action within an `AddAction`; `is_known`
/// returns whether a participant of that name is registered or has attached before.
pub fn request(
    request: &Request,
    root: &At<'_>,
    is_known: &dyn Fn(&str) -> bool,
    v: &mut Violations,
) {
    match request {
        Request::Begin(new, _) => begin(new, root, is_known, v),
        Request::AddAction(_, spec) => action(spec, root, is_known, v),
        Request::Decide(_, _, reason, wait) => {
            v.text(&At::field("reason"), reason, limits::REASON_BYTES);
            if *wait == Wait::Accepted {
                v.add("wait", "is not accepted here; give DECIDED or COMPLETED");
            }
        }
        Request::Operator(_, command) => operator(command, v),
    }
}

fn begin(new: &NewTransaction, root: &At<'_>, is_known: &dyn Fn(&str) -> bool, v: &mut Violations) {
    v.name(&root.of("business_type"), &new.business_type);
    v.name(&root.of("business_id"), &new.business_id);
    v.ext(&root.of("ext_properties"), &new.ext);
    v.given(&root.of("timeout_ms"), new.timeout, limits::TIMEOUT_MAX);
    if let Some(policy) = &new.check_back {
        check_back(policy, &root.of("check_back"), is_known, v);
    }
    if new.decider == Decider::Coordinator {
        execute(new, root, v);
    }
    if new.actions.len() > limits::ACTIONS {
        // Without their number: a front end may have translated no more than this.
        let max = limits::ACTIONS;
        v.add(
            &root.of("actions"),
            format!("has more than the {max} actions that are accepted"),
        );
        return;
    }
    actions::order(&new.actions, root, v);
    for (place, spec) in new.actions.iter().enumerate() {
        let at = root.index("actions", place);
        action(spec, &at, is_known, v);
        if let Some(problem) = fields::overlaid(&new.ext, &spec.ext) {
            v.add(&at.of("ext_properties"), problem);
        }
    }
}

/// Checks the rules that hold only where the coordinator makes the Tries and decides.
fn execute(new: &NewTransaction, root: &At<'_>, v: &mut Violations) {
    if new.check_back.is_some() {
        v.add(
            &root.of("check_back"),
            "is not accepted in an Execute: the coordinator decides; use Begin",
        );
    }
    let is_tried = |spec: &ActionSpec| spec.already_tried && spec.mode != Mode::Deliver;
    if new.actions.is_empty() {
        v.add(
            &root.of("actions"),
            "is empty; an Execute has at least one action",
        );
    } else if new.actions.iter().all(|spec| is_tried(spec)) {
        v.add(
            &root.of("actions"),
            "has only actions that are already tried; an Execute has at least one that is not",
        );
    }
}

/// Checks one action, without the others of its transaction.
fn action(spec: &ActionSpec, at: &At<'_>, is_known: &dyn Fn(&str) -> bool, v: &mut Violations) {
    v.name(&at.of("name"), &spec.name);
    if spec.handler != spec.name {
        v.name(&at.of("handler"), &spec.handler);
    }
    v.participant(&at.of("participant"), &spec.participant, is_known);
    if spec.payload.len() > limits::PAYLOAD_BYTES {
        v.too_many(
            &at.of("payload"),
            "bytes",
            spec.payload.len(),
            limits::PAYLOAD_BYTES,
        );
    }
    if spec.already_tried && spec.mode == Mode::Deliver {
        v.add(
            &at.of("already_tried"),
            "is not accepted with MODE_DELIVER, which has no TRY",
        );
    }
    if spec.wants_results && spec.after.is_empty() {
        v.add(
            &at.of("wants_results"),
            "is not accepted without `after`: there are no results to give",
        );
    }
    actions::after(spec, at, v);
    v.ext(&at.of("ext_properties"), &spec.ext);
    retry(&spec.retry, &at.of("retry"), v);
}

fn retry(policy: &RetryPolicy, at: &At<'_>, v: &mut Violations) {
    let (first, max) = (policy.first_delay, policy.max_delay);
    v.given(&at.of("first_delay_ms"), first, limits::FIRST_DELAY_MAX);
    v.given(&at.of("max_delay_ms"), max, limits::MAX_DELAY_MAX);
    v.not_below(&at.of("max_delay_ms"), max, "first_delay_ms", first);
    if let Some(attempts) = policy.max_attempts {
        v.count(&at.of("max_attempts"), attempts, limits::MAX_ATTEMPTS_MAX);
    }
    v.given(&at.of("max_age_ms"), policy.max_age, limits::MAX_AGE_MAX);
    v.given(
        &at.of("call_timeout_ms"),
        policy.call_timeout,
        limits::CALL_TIMEOUT_MAX,
    );
}

fn check_back(
    policy: &CheckBack,
    at: &At<'_>,
    is_known: &dyn Fn(&str) -> bool,
    v: &mut Violations,
) {
    v.participant(&at.of("participant"), &policy.participant, is_known);
    v.given(
        &at.of("first_delay_ms"),
        policy.first_delay,
        limits::CHECK_BACK_FIRST_DELAY_MAX,
    );
    let (interval, max) = (policy.interval, policy.max_interval);
    v.given(
        &at.of("interval_ms"),
        interval,
        limits::CHECK_BACK_INTERVAL_MAX,
    );
    v.given(
        &at.of("max_interval_ms"),
        max,
        limits::CHECK_BACK_MAX_INTERVAL_MAX,
    );
    v.not_below(&at.of("max_interval_ms"), max, "interval_ms", interval);
    if let Some(attempts) = policy.max_attempts {
        v.count(
            &at.of("max_attempts"),
            attempts,
            limits::CHECK_BACK_ATTEMPTS_MAX,
        );
    }
}

fn operator(command: &Command, v: &mut Violations) {
    let reason = At::field("reason");
    if command.reason.is_empty() {
        v.add(
            &reason,
            format!(
                "is empty; give the reason in 1 to {} bytes",
                limits::REASON_BYTES
            ),
        );
    }
    v.text(&reason, &command.reason, limits::REASON_BYTES);
    if let Order::Resolve { actions, status } = &command.order {
        resolved(actions, v);
        if !matches!(status, ActionStatus::Confirmed | ActionStatus::Cancelled) {
            v.add("as", "is neither CONFIRMED nor CANCELLED; give one of them");
        }
    }
}

/// Checks the names of the actions to resolve.
fn resolved(names: &[Name], v: &mut Violations) {
    if names.is_empty() {
        v.add("actions", "is empty; name the actions to resolve");
    } else if names.len() > limits::ACTIONS {
        v.too_many(&At::field("actions"), "names", names.len(), limits::ACTIONS);
    } else {
        let root = At::field("");
        for (place, name) in names.iter().enumerate() {
            let field = root.index("actions", place);
            if !fields::is_name(name) {
                v.name(&field, name);
            } else if names[..place].contains(name) {
                v.add(&field, format!("names {name} again; name each action once"));
            }
        }
    }
}
