//! Translates requests of `tercet.v1` into the core's types. A field that has no such form is a violation here;
//! every other rule is checked by [`check`] and [`requests`](crate::requests).

use std::{sync::Arc, time::Duration};

use tercet_core::{
    check,
    id::TxId,
    limits,
    model::{
        ActionSpec, ActionStatus, CheckBack, Decider, Mode, Name, Outcome, RetryPolicy, TxStatus,
    },
    port::{Command, NewTransaction, Order, Request, Wait},
    time::Timestamp,
    violation::{At, Violation, Violations},
};
use tercet_proto::v1;
use tercet_store::ListQuery;

use crate::{
    bounds,
    directory::{Known, Methods, Participant, Protocol},
    error::RequestError,
    requests::{self, Hello, Lookup, ParticipantsPage, Registration},
    wire::{compact, words},
};

/// Returns the request, if no rule is broken.
fn checked(
    request: Request,
    root: &At<'_>,
    known: &Known,
    v: Violations,
) -> Result<Request, RequestError> {
    Ok(check::checked(request, root, known, v)?)
}

/// Translates a Begin. `new_id` is used when the request has no id.
pub(super) fn begin(
    request: v1::BeginRequest,
    known: &Known,
    new_id: impl FnOnce() -> TxId,
) -> Result<Request, RequestError> {
    let mut v = Violations::default();
    let root = At::field("");
    let new = new_transaction(request, Decider::Initiator, &root, known, new_id, &mut v);
    checked(
        Request::Begin(Arc::new(new), Wait::Accepted),
        &root,
        known,
        v,
    )
}

/// Translates an Execute. `new_id` is used when the request has no id.
pub(super) fn execute(
    request: v1::ExecuteRequest,
    known: &Known,
    new_id: impl FnOnce() -> TxId,
) -> Result<Request, RequestError> {
    let Some(begin) = request.begin else {
        return Err(Violation::new("begin", "is missing").into());
    };
    let mut v = Violations::default();
    let root = At::field("begin");
    let new = new_transaction(begin, Decider::Coordinator, &root, known, new_id, &mut v);
    let wait = wait(request.wait, &mut v);
    checked(Request::Begin(Arc::new(new), wait), &root, known, v)
}

/// Translates an `AddAction`.
pub(super) fn add_action(
    request: v1::AddActionRequest,
    known: &Known,
) -> Result<Request, RequestError> {
    let mut v = Violations::default();
    let id = v.tx_id(&At::field("tx_id"), &request.tx_id);
    let Some(message) = request.action else {
        let missing = Violation::new("action", "is missing; give the action to add");
        return Err(v.and(missing).into());
    };
    let root = At::field("action");
    let spec = action(message, &root, known, &mut v);
    checked(Request::AddAction(id, Arc::new(spec)), &root, known, v)
}

/// Translates a Decide of an initiator.
pub(super) fn decide(request: v1::DecideRequest, known: &Known) -> Result<Request, RequestError> {
    let mut v = Violations::default();
    let id = v.tx_id(&At::field("tx_id"), &request.tx_id);
    let outcome = outcome(request.outcome, &mut v);
    let wait = wait(request.wait, &mut v);
    let decide = Request::Decide(id, outcome, request.reason, wait);
    checked(decide, &At::field(""), known, v)
}

/// Translates a Retry of an operator.
pub(super) fn retry(request: v1::RetryRequest, known: &Known) -> Result<Request, RequestError> {
    let v = Violations::default();
    operator(&request.tx_id, request.reason, Order::Retry, known, v)
}

/// Translates a Resolve of an operator.
pub(super) fn resolve(request: v1::ResolveRequest, known: &Known) -> Result<Request, RequestError> {
    let mut v = Violations::default();
    let order = Order::Resolve {
        actions: request.actions.into_iter().map(Name::from).collect(),
        // The statuses in which no action ends are refused with the other rules.
        status: v.word(
            "as",
            request.r#as,
            words::action_status_from(request.r#as),
            ActionStatus::Confirmed,
            words::RESOLVED,
        ),
    };
    operator(&request.tx_id, request.reason, order, known, v)
}

/// Translates a Decide of an operator.
pub(super) fn operator_decide(
    request: v1::OperatorDecideRequest,
    known: &Known,
) -> Result<Request, RequestError> {
    let mut v = Violations::default();
    let order = Order::Decide(outcome(request.outcome, &mut v));
    operator(&request.tx_id, request.reason, order, known, v)
}

fn operator(
    tx_id: &str,
    reason: String,
    order: Order,
    known: &Known,
    mut v: Violations,
) -> Result<Request, RequestError> {
    let id = v.tx_id(&At::field("tx_id"), tx_id);
    let who = requests::author();
    let command = Command { who, reason, order };
    checked(Request::Operator(id, command), &At::field(""), known, v)
}

fn new_transaction(
    request: v1::BeginRequest,
    decider: Decider,
    root: &At<'_>,
    known: &Known,
    new_id: impl FnOnce() -> TxId,
    v: &mut Violations,
) -> NewTransaction {
    let id = if request.tx_id.is_empty() {
        new_id()
    } else {
        v.tx_id(&root.of("tx_id"), &request.tx_id)
    };
    let timeout = v.millis(&root.of("timeout_ms"), request.timeout_ms);
    let check_back = request
        .check_back
        .map(|message| check_back(&message, &root.of("check_back"), known, v));
    let actions = request
        .actions
        .into_iter()
        // One more than the rules accept is enough for them to refuse the rest.
        .take(limits::ACTIONS + 1)
        .enumerate()
        .map(|(place, message)| Arc::new(action(message, &root.index("actions", place), known, v)))
        .collect();
    NewTransaction {
        id,
        business_type: request.business_type.into(),
        business_id: request.business_id.into(),
        unique_business: request.unique_business,
        decider,
        timeout,
        check_back,
        ext: request.ext_properties,
        actions,
    }
}

fn action(message: v1::Action, at: &At<'_>, known: &Known, v: &mut Violations) -> ActionSpec {
    let mode = v.word(
        &at.of("mode"),
        message.mode,
        words::mode_from(message.mode),
        Mode::Tcc,
        words::MODES,
    );
    let retry = message.retry.unwrap_or_default();
    let name = Name::from(message.name);
    ActionSpec {
        handler: if message.handler.is_empty() {
            Name::clone(&name)
        } else {
            message.handler.into()
        },
        name,
        mode,
        participant: shared_name(message.participant, known),
        payload: compact(&message.payload),
        after: message.after.into_iter().map(Name::from).collect(),
        wants_results: message.wants_results,
        already_tried: message.already_tried,
        retry: retry_policy(&retry, &at.of("retry"), v),
        ext: message.ext_properties,
    }
}

/// Returns a participant's name, the directory's own copy of it where there is one.
fn shared_name(name: String, known: &Known) -> Name {
    match known.get(&name) {
        Some(participant) => Name::clone(&participant.name),
        None => name.into(),
    }
}

fn retry_policy(message: &v1::RetryPolicy, at: &At<'_>, v: &mut Violations) -> RetryPolicy {
    RetryPolicy {
        first_delay: v.millis(&at.of("first_delay_ms"), message.first_delay_ms),
        max_delay: v.millis(&at.of("max_delay_ms"), message.max_delay_ms),
        max_attempts: given(message.max_attempts),
        max_age: v.millis(&at.of("max_age_ms"), message.max_age_ms),
        call_timeout: v.millis(&at.of("call_timeout_ms"), message.call_timeout_ms),
    }
}

fn check_back(
    message: &v1::CheckBack,
    at: &At<'_>,
    known: &Known,
    v: &mut Violations,
) -> CheckBack {
    CheckBack {
        participant: shared_name(message.participant.clone(), known),
        first_delay: v.millis(&at.of("first_delay_ms"), message.first_delay_ms),
        interval: v.millis(&at.of("interval_ms"), message.interval_ms),
        max_interval: v.millis(&at.of("max_interval_ms"), message.max_interval_ms),
        max_attempts: given(message.max_attempts),
    }
}

/// Returns a number; `None` for 0, which means that none is given.
fn given(number: u32) -> Option<u32> {
    (number > 0).then_some(number)
}

fn outcome(number: i32, v: &mut Violations) -> Outcome {
    v.word(
        "outcome",
        number,
        words::outcome_from(number),
        Outcome::Failure,
        words::OUTCOMES,
    )
}

fn wait(number: i32, v: &mut Violations) -> Wait {
    let wait = match v1::Wait::try_from(number) {
        Ok(v1::Wait::Unspecified | v1::Wait::Decided) => Some(Wait::Decided),
        Ok(v1::Wait::Completed) => Some(Wait::Completed),
        Ok(v1::Wait::Accepted) => Some(Wait::Accepted),
        Err(_) => None,
    };
    v.word("wait", number, wait, Wait::Decided, words::WAITS)
}

/// Translates a Get.
pub(super) fn lookup(request: v1::GetRequest) -> Result<Lookup, RequestError> {
    let v1::GetRequest {
        tx_id,
        business_type,
        business_id,
    } = request;
    Ok(Lookup::checked(&tx_id, business_type, business_id)?)
}

/// Translates a Watch.
pub(super) fn watched(request: &v1::WatchRequest) -> Result<TxId, RequestError> {
    let mut v = Violations::default();
    let id = v.tx_id(&At::field("tx_id"), &request.tx_id);
    Ok(v.give(id)?)
}

/// Translates a List at this time.
pub(super) fn list(request: v1::ListRequest, now: Timestamp) -> Result<ListQuery, RequestError> {
    let mut v = Violations::default();
    let given = |value: String| (!value.is_empty()).then_some(value);
    let before =
        (!request.cursor.is_empty()).then(|| v.tx_id(&At::field("cursor"), &request.cursor));
    let query = ListQuery {
        business_type: given(request.business_type),
        business_id: given(request.business_id),
        statuses: statuses(
            &request.statuses,
            ("statuses", words::STATUSES),
            words::status_from,
            &mut v,
        ),
        biz_statuses: statuses(
            &request.biz_statuses,
            ("biz_statuses", words::BIZ_STATUSES),
            words::biz_status_from,
            &mut v,
        ),
        participant: given(request.participant),
        begun_until: ago(now, "older_than_ms", request.older_than_ms, &mut v),
        begun_from: ago(now, "younger_than_ms", request.younger_than_ms, &mut v),
        stuck_since: request.stuck.then(|| now - bounds::STUCK_AFTER),
        before,
        limit: match request.page_size {
            0 => bounds::PAGE_DEFAULT,
            size => size,
        },
    };
    requests::check_list(&query, &mut v);
    Ok(v.give(query)?)
}

/// Translates a List of participants.
pub(super) fn participants(
    request: v1::ListParticipantsRequest,
) -> Result<ParticipantsPage, RequestError> {
    let limit = match request.page_size {
        0 => bounds::PAGE_DEFAULT,
        size => size,
    };
    Ok(ParticipantsPage::checked(request.cursor, limit)?)
}

/// Returns the time that is this many milliseconds before `now`; `None` for 0, which means that none is given.
fn ago(now: Timestamp, field: &str, millis: i64, v: &mut Violations) -> Option<Timestamp> {
    let duration: Option<Duration> = v.millis(&At::field(field), millis);
    duration.map(|duration| now - duration)
}

fn statuses<T>(
    numbers: &[i32],
    (field, known): (&str, &str),
    from: impl Fn(i32) -> Option<T>,
    v: &mut Violations,
) -> Vec<T> {
    // More values than there are words would only repeat some.
    if numbers.len() > TxStatus::ALL.len() * 4 {
        v.add(field, "has too many values; give each once");
        return Vec::new();
    }
    let root = At::field("");
    numbers
        .iter()
        .enumerate()
        .filter_map(|(place, number)| {
            let word = from(*number);
            if word.is_none() {
                v.no_word(&root.index(field, place), *number, known);
            }
            word
        })
        .collect()
}

/// Translates the first message of a participant that attaches.
pub(super) fn hello(hello: v1::Hello) -> Result<Hello, RequestError> {
    let handlers = hello.handlers.into_iter().map(|handler| {
        let mode = match v1::Mode::try_from(handler.mode) {
            Ok(v1::Mode::Unspecified) => Ok(None),
            _ => words::mode_from(handler.mode).map(Some).ok_or(handler.mode),
        };
        (handler.name.into(), mode)
    });
    let hello = Hello {
        participant: hello.participant.into(),
        instance: hello.instance,
        handlers: handlers.collect(),
        check_backs: hello.answers_check_back,
        concurrency: hello.concurrency,
    };
    Ok(hello.checked()?)
}

/// Translates a Register.
pub(super) fn registration(request: v1::RegisterRequest) -> Result<Participant, RequestError> {
    let methods = request.methods.into_iter().map(|methods| {
        let paths = Methods {
            tries: methods.r#try,
            confirm: methods.confirm,
            cancel: methods.cancel,
        };
        (methods.handler, paths)
    });
    let registration = Registration {
        participant: request.participant.into(),
        protocol: match v1::Protocol::try_from(request.protocol) {
            Ok(v1::Protocol::Attach) => Ok(Protocol::Attach),
            Ok(v1::Protocol::Invoke) => Ok(Protocol::Invoke),
            Ok(v1::Protocol::Grpc) => Ok(Protocol::Grpc),
            Ok(v1::Protocol::Http) => Ok(Protocol::Http),
            Ok(v1::Protocol::Unspecified) | Err(_) => Err(request.protocol),
        },
        address: request.address,
        methods: methods.collect(),
        check_back: request.check_back,
        concurrency: request.concurrency,
    };
    Ok(registration.checked()?)
}
