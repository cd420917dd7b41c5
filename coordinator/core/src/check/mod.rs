//! The rules for requests: every field, checked before a request reaches the engine.
//!
//! A front end translates a request into the core's own types and has it checked here; the rules depend on no wire
//! format. Every violation is reported at once, each with the path of its field.
//!
//! The rules that depend on the transaction's state are the [`transition`](mod@crate::transition)'s; those
//! that an added action shares with a begin are in [`fits`].

mod actions;
mod fields;
mod served;

pub use self::{
    actions::fits,
    served::{Answers, Directory, Listed, Served, Unserved},
};
use crate::{
    limits,
    model::{ActionSpec, ActionStatus, CheckBack, Decider, Mode, Name, RetryPolicy},
    port::{Command, NewTransaction, Order, Request, Wait},
    refusal::Refusal,
    violation::{At, Invalid, Violation, Violations},
};

/// Returns the request, if no rule is broken. What a participant does not serve now is no broken rule for a request that
/// repeats one which took effect when it did: such a request is returned as [`Request::OnlyRepeated`].
///
/// # Errors
/// Every violation, otherwise.
pub fn checked(
    request: Request,
    root: &At<'_>,
    directory: &dyn Directory,
    mut v: Violations,
) -> Result<Request, Invalid> {
    self::request(&request, root, directory, &mut v);
    let id = request.id();
    let refusal = match v.give(()) {
        Ok(()) => return Ok(request),
        Err(Invalid::Unserved(violations)) => Refusal::HandlerUnknown { id, violations },
        Err(Invalid::UnreadableParticipants(violations)) => {
            Refusal::ParticipantUnreadable { id, violations }
        }
        Err(invalid) => return Err(invalid),
    };
    Ok(Request::OnlyRepeated(Box::new(request), refusal))
}

/// Checks every field of a request.
///
/// `root` is the path of the transaction within a begin, and of the action within an `AddAction`.
pub fn request(request: &Request, root: &At<'_>, directory: &dyn Directory, v: &mut Violations) {
    match request {
        Request::Begin(new, _) => begin(new, root, directory, v),
        Request::AddAction(_, spec) => action(spec, Decider::Initiator, root, directory, v),
        Request::Decide(_, _, reason, wait) => {
            v.text(&At::field("reason"), reason, limits::REASON_BYTES);
            if *wait == Wait::Accepted {
                v.add("wait", "is not accepted here; give DECIDED or COMPLETED");
            }
        }
        Request::Operator(_, command) => operator(command, v),
        Request::OnlyRepeated(repeated, _) => self::request(repeated, root, directory, v),
    }
}

fn begin(new: &NewTransaction, root: &At<'_>, directory: &dyn Directory, v: &mut Violations) {
    v.name(&root.of("business_type"), &new.business_type);
    v.name(&root.of("business_id"), &new.business_id);
    v.ext(&root.of("ext_properties"), &new.ext);
    v.given(&root.of("timeout_ms"), new.timeout, limits::TIMEOUT_MAX);
    if let Some(policy) = &new.check_back {
        check_back(policy, &root.of("check_back"), directory, v);
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
        action(spec, new.decider, &at, directory, v);
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
fn action(
    spec: &ActionSpec,
    decider: Decider,
    at: &At<'_>,
    directory: &dyn Directory,
    v: &mut Violations,
) {
    v.name(&at.of("name"), &spec.name);
    if spec.handler != spec.name {
        v.name(&at.of("handler"), &spec.handler);
    }
    let served = v.participant(&at.of("participant"), &spec.participant, directory);
    if let Some((field, problem)) = served.and_then(|served| served.unserved(spec, decider)) {
        v.add_unserved(Violation::new(&at.of(field), problem));
    }
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

fn check_back(policy: &CheckBack, at: &At<'_>, directory: &dyn Directory, v: &mut Violations) {
    let field = at.of("participant");
    let served = v.participant(&field, &policy.participant, directory);
    if served.is_some_and(|served| !served.answers_check_backs()) {
        let problem = format!(
            "participant {} answers no check-backs: none of its instances said so, or it is registered without a \
             method for them",
            policy.participant
        );
        v.add_unserved(Violation::new(&field, problem));
    }
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
