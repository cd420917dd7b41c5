//! Repeated requests where values were left out, whose defaults may have changed since the first.

#![allow(clippy::unwrap_used)]

mod common;

use std::{sync::Arc, time::Duration};

use tercet_core::{
    context::Context,
    limits,
    model::{CheckBack, Decider, Outcome, RetryPolicy, Transaction, TxSpec},
    port::{CheckBackAnswer, NewTransaction},
    transition::{Event, transition},
};

use common::{START, at, new_transaction, owner, tcc};

/// A begin, its values one word each: `timeout`, `first`, `max`, `attempts`, `call` of the action's policy, `ask` (a
/// check-back), `ask-first`, `ask-every`, `ask-max`; times in seconds.
fn request(words: &str) -> NewTransaction {
    let mut retry = RetryPolicy::default();
    let mut check_back = None;
    let mut timeout = None;
    for word in words.split_whitespace() {
        let (name, value) = word.split_once('=').unwrap_or((word, "0"));
        let number: u32 = value.parse().unwrap();
        let time = Some(Duration::from_secs(number.into()));
        let ask = || CheckBack::of("shop".into());
        match name {
            "timeout" => timeout = time,
            "first" => retry.first_delay = time,
            "max" => retry.max_delay = time,
            "attempts" => retry.max_attempts = Some(number),
            "call" => retry.call_timeout = time,
            "ask" => check_back = Some(ask()),
            "ask-first" => check_back.get_or_insert_with(ask).first_delay = time,
            "ask-every" => check_back.get_or_insert_with(ask).interval = time,
            "ask-max" => check_back.get_or_insert_with(ask).max_interval = time,
            other => panic!("no value: {other}"),
        }
    }
    let mut action = tcc("a");
    action.retry = retry;
    NewTransaction {
        timeout,
        check_back,
        ..new_transaction(1, Decider::Initiator, [action])
    }
}

fn begun(words: &str) -> Transaction {
    Transaction::begin(&request(words), owner(1), at(START))
}

/// The present defaults of everything, as the version before stored what was left out.
const RESOLVED: &str =
    "timeout=30 first=1 max=60 attempts=100 call=10 ask-first=0 ask-every=1 ask-max=60";

#[test]
fn a_repeated_begin_is_compared_as_given_and_else_by_its_effect() {
    let same: Option<&str> = None;
    for (first, again, difference) in [
        ("", "", same),
        ("ask", "ask", same),
        ("timeout=30", "timeout=30", same),
        // Rows of the version before, and callers that spell a default out.
        (RESOLVED, "ask", same),
        ("ask", RESOLVED, same),
        (RESOLVED, RESOLVED, same),
        (RESOLVED, "ask attempts=100 call=10", same),
        // The default of one of a pair gives way to the other.
        ("first=120 max=120 attempts=100 call=10", "first=120", same),
        (
            "first=3 max=3 attempts=100 call=10",
            "max=3",
            Some("actions[0].retry"),
        ),
        ("ask-every=90 ask-max=90 ask-first=0", "ask-every=90", same),
        ("timeout=29", "", Some("timeout_ms")),
        ("", "timeout=29", Some("timeout_ms")),
        ("timeout=29", "timeout=30", Some("timeout_ms")),
        ("call=9", "", Some("actions[0].retry")),
        ("", "call=9", Some("actions[0].retry")),
        ("attempts=99", "attempts=100", Some("actions[0].retry")),
        ("first=1", "first=2", Some("actions[0].retry")),
        ("ask", "", Some("check_back")),
        ("", "ask", Some("check_back")),
        ("ask-every=2", "ask", Some("check_back")),
        ("ask", "ask-max=59", Some("check_back")),
    ] {
        let found = begun(first).first_difference(&request(again));
        assert_eq!(found.as_deref(), difference, "{first:?}, then {again:?}");
    }
}

/// Returns the transaction that a version whose default was another one has begun.
fn begun_when_the_default_was(timeout: Duration) -> Transaction {
    let mut tx = begun("ask");
    let spec = TxSpec {
        deadline: START + timeout,
        ..(*tx.spec).clone()
    };
    tx.spec = Arc::new(spec);
    tx
}

#[test]
fn a_default_that_changed_does_not_make_a_repeated_begin_differ() {
    let other = limits::TIMEOUT_DEFAULT + Duration::from_secs(12);
    let tx = begun_when_the_default_was(other);
    assert_eq!(tx.first_difference(&request("ask")), None);
    // That is its length now, so it is what a caller who spells it out may mean.
    assert_eq!(tx.first_difference(&request("ask timeout=42")), None);
    let difference = tx.first_difference(&request("ask timeout=30"));
    assert_eq!(difference.as_deref(), Some("timeout_ms"));
}

/// A policy keeps what was left out as left out: its default, whatever it is by then, takes its place where it is used.
#[test]
fn a_policy_is_kept_as_it_was_given() {
    for (policy, json) in [
        ("", "{}"),
        ("first=2", r#"{"first_delay":2000}"#),
        (
            "first=2 max=3 attempts=4 call=5",
            r#"{"first_delay":2000,"max_delay":3000,"max_attempts":4,"call_timeout":5000}"#,
        ),
    ] {
        let retry = request(policy).actions[0].retry;
        assert_eq!(serde_json::to_string(&retry).unwrap(), json);
        let read: RetryPolicy = serde_json::from_str(json).unwrap();
        assert_eq!(read, retry);
    }
    let all = r#"{"first_delay":1000,"max_delay":60000,"max_attempts":100,"max_age":null,"call_timeout":10000}"#;
    let of_before: RetryPolicy = serde_json::from_str(all).unwrap();
    assert!(of_before.is_same(&RetryPolicy::default()));
    let all = r#"{"participant":"shop","first_delay":0,"interval":1000,"max_interval":60000,"max_attempts":null}"#;
    let of_before: CheckBack = serde_json::from_str(all).unwrap();
    assert!(of_before.is_same(&CheckBack::of("shop".into())));
    assert_eq!(
        serde_json::to_string(&CheckBack::of("shop".into())).unwrap(),
        r#"{"participant":"shop"}"#
    );
}

#[test]
fn an_added_action_is_compared_like_one_of_a_begin() {
    let cx = Context {
        now: START,
        moment: at(START).moment,
        dice: 0,
        hold: Duration::from_secs(5),
    };
    for (first, again, same) in [
        ("", "call=10 attempts=100", true),
        ("first=1 max=60 attempts=100 call=10", "", true),
        ("call=9", "", false),
    ] {
        let repeat = Event::AddAction(request(again).actions[0].clone());
        let answer = transition(&begun(first), &repeat, &cx);
        assert_eq!(
            answer.is_ok_and(|step| step.repeated),
            same,
            "{first:?}, {again:?}"
        );
    }
}

#[test]
fn the_last_question_without_an_outcome_is_kept_with_its_reason() {
    let asking = begun("ask-every=8 ask-max=8");
    let after = |seconds: u64| Context {
        now: START + Duration::from_secs(seconds),
        moment: at(START).moment + Duration::from_secs(seconds),
        dice: 2_000_000,
        hold: Duration::from_secs(5),
    };
    let asking = transition(&asking, &Event::TimePassed, &after(30))
        .unwrap()
        .next;
    assert_eq!(asking.last_check_back, None);
    let long = "é".repeat(limits::REASON_BYTES);
    let answers = [(31, "the row is locked"), (40, ""), (50, &long)];
    let mut tx = asking;
    for (number, (seconds, reason)) in (1..).zip(answers) {
        let step = transition(
            &tx,
            &Event::AskedBack(CheckBackAnswer::Unknown(reason.into())),
            &after(seconds),
        )
        .unwrap();
        assert!(step.write && !step.urgent, "the write that there is anyway");
        tx = step.next;
        let last = tx.last_check_back.as_deref().unwrap();
        assert_eq!((last.number, last.at), (number, after(seconds).now));
        assert_eq!(last.next, Some(after(seconds + 2).now));
        let kept = reason.floor_char_boundary(limits::REASON_BYTES);
        assert_eq!(last.error, reason[..kept]);
    }
    // What was known stays with the decision.
    let decided = transition(
        &tx,
        &Event::AskedBack(CheckBackAnswer::Decided(Outcome::Success)),
        &after(60),
    )
    .unwrap();
    assert_eq!(decided.next.last_check_back, tx.last_check_back);
}
