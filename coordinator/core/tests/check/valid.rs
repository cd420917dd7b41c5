//! Requests by the rules, at random and up to every limit.

use std::{sync::Arc, time::Duration};

use proptest::{collection, option, prelude::*, sample};
use tercet_core::{
    limits,
    model::{ActionSpec, ActionStatus, CheckBack, Decider, Ext, Mode, Name, Outcome, RetryPolicy},
    port::{NewTransaction, Order, Request, Wait},
};

use crate::{
    common::{command, compensate, deliver, new_transaction, tcc, tx_id},
    text::check_back,
};

/// A name within its limit, of characters of several bytes.
fn a_name() -> impl Strategy<Value = Name> {
    "[a-zé]{1,64}".prop_map(Name::from)
}

fn up_to(max: Duration) -> impl Strategy<Value = Duration> {
    (0..=u64::try_from(max.as_millis()).unwrap()).prop_map(Duration::from_millis)
}

/// Properties of which those of a transaction and of an action fit together.
fn an_ext() -> impl Strategy<Value = Ext> {
    collection::btree_map("[a-z]{1,14}", "[a-z]{0,50}", 0..=limits::EXT_KEYS / 2)
}

fn a_retry() -> impl Strategy<Value = RetryPolicy> {
    let fields = (
        option::of(up_to(limits::FIRST_DELAY_MAX)),
        option::of(up_to(limits::MAX_DELAY_MAX)),
        option::of(0..=limits::MAX_ATTEMPTS_MAX),
        option::of(up_to(limits::MAX_AGE_MAX)),
        option::of(up_to(limits::CALL_TIMEOUT_MAX)),
    );
    fields.prop_map(
        |(first_delay, max_delay, max_attempts, max_age, call_timeout)| RetryPolicy {
            first_delay,
            max_delay: max_delay.map(|max| max.max(first_delay.unwrap_or_default())),
            max_attempts,
            max_age,
            call_timeout,
        },
    )
}

fn a_check_back() -> impl Strategy<Value = CheckBack> {
    let fields = (
        option::of(up_to(limits::CHECK_BACK_FIRST_DELAY_MAX)),
        option::of(up_to(limits::CHECK_BACK_INTERVAL_MAX)),
        option::of(up_to(limits::CHECK_BACK_MAX_INTERVAL_MAX)),
        option::of(0..=limits::CHECK_BACK_ATTEMPTS_MAX),
    );
    fields.prop_map(
        |(first_delay, interval, max_interval, max_attempts)| CheckBack {
            first_delay,
            interval,
            max_interval: max_interval.map(|max| max.max(interval.unwrap_or_default())),
            max_attempts,
            ..check_back()
        },
    )
}

/// An action that comes after some of those with the names `before`.
fn an_action(name: Name, before: Vec<Name>) -> impl Strategy<Value = ActionSpec> {
    let most = before.len();
    let fields = (
        sample::select(vec![tcc("a"), compensate("a"), deliver("a")]),
        option::of(a_name()),
        sample::subsequence(before, 0..=most).prop_shuffle(),
        (any::<bool>(), any::<bool>()),
        0..=limits::PAYLOAD_BYTES,
        a_retry(),
        an_ext(),
    );
    fields.prop_map(
        move |(action, handler, after, (wants, tried), payload, retry, ext)| ActionSpec {
            name: name.clone(),
            handler: handler.unwrap_or_else(|| name.clone()),
            wants_results: wants && !after.is_empty(),
            after,
            already_tried: tried && action.mode != Mode::Deliver,
            payload: vec![0; payload].into(),
            retry,
            ext,
            ..action
        },
    )
}

/// Actions in any order, each after some of those that were made before it.
fn some_actions() -> impl Strategy<Value = Vec<ActionSpec>> {
    let names = prop_oneof![
        9 => collection::btree_set(a_name(), 0..=6),
        1 => collection::btree_set(a_name(), limits::ACTIONS - 1..=limits::ACTIONS),
    ];
    names.prop_flat_map(|names| {
        let names: Vec<Name> = names.into_iter().collect();
        let actions: Vec<_> = (0..names.len())
            .map(|place| an_action(names[place].clone(), names[..place].to_vec()))
            .collect();
        actions.prop_shuffle()
    })
}

fn a_begin() -> impl Strategy<Value = Request> {
    let fields = (
        (a_name(), a_name()),
        option::of(up_to(limits::TIMEOUT_MAX)),
        an_ext(),
        option::of(a_check_back()),
        some_actions(),
        any::<bool>(),
    );
    fields.prop_map(
        |((business_type, business_id), timeout, ext, check_back, mut actions, executes)| {
            let decider = match actions.first_mut() {
                Some(first) if executes => {
                    first.already_tried = false;
                    Decider::Coordinator
                }
                _ => Decider::Initiator,
            };
            let new = NewTransaction {
                business_type,
                business_id,
                timeout,
                ext,
                check_back: check_back.filter(|_| decider == Decider::Initiator),
                ..new_transaction(1, decider, actions)
            };
            Request::Begin(Arc::new(new), Wait::Accepted)
        },
    )
}

fn an_order() -> impl Strategy<Value = Order> {
    let statuses = vec![ActionStatus::Confirmed, ActionStatus::Cancelled];
    let names = collection::btree_set(a_name(), 1..=limits::ACTIONS);
    prop_oneof![
        Just(Order::Retry),
        sample::select(Outcome::ALL).prop_map(Order::Decide),
        (names, sample::select(statuses)).prop_map(|(names, status)| Order::Resolve {
            actions: names.into_iter().collect(),
            status,
        }),
    ]
}

pub(crate) fn a_request() -> impl Strategy<Value = Request> {
    let waits = sample::select(vec![Wait::Decided, Wait::Completed]);
    let outcomes = sample::select(Outcome::ALL);
    prop_oneof![
        4 => a_begin(),
        1 => (Just(tx_id(1)), an_action("b".into(), vec!["a".into()]).prop_map(Arc::new))
            .prop_map(|(id, action)| Request::AddAction(id, action)),
        1 => (Just(tx_id(1)), outcomes, "[a-zé]{0,512}", waits)
            .prop_map(|(id, outcome, reason, wait)| Request::Decide(id, outcome, reason, wait)),
        1 => (Just(tx_id(1)), an_order()).prop_map(|(id, order)| Request::Operator(id, command(order))),
    ]
}
