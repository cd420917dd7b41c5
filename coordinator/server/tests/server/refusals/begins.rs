//! Bad begins and executes.

use std::collections::BTreeMap;

use tercet_proto::v1;

use super::{assert_nothing_was_written, cases, invalid};
use crate::harness::{Server, action, begin, execute, refusal, tcc};

type Case = (&'static str, v1::BeginRequest, &'static str);

/// Makes a begin of one action, changed.
fn with(change: impl FnOnce(&mut v1::BeginRequest)) -> v1::BeginRequest {
    let mut request = begin([tcc("points")]);
    change(&mut request);
    request
}

/// Makes a begin of one changed action.
fn one(change: impl FnOnce(&mut v1::Action)) -> v1::BeginRequest {
    with(|request| change(&mut request.actions[0]))
}

/// Makes a begin of one action with a changed policy.
fn retry(change: impl FnOnce(&mut v1::RetryPolicy)) -> v1::BeginRequest {
    one(|action| change(action.retry.as_mut().unwrap()))
}

/// Makes a begin with a changed check-back.
fn check_back(change: impl FnOnce(&mut v1::CheckBack)) -> v1::BeginRequest {
    let mut check_back = v1::CheckBack {
        participant: "points".to_owned(),
        ..v1::CheckBack::default()
    };
    change(&mut check_back);
    with(|request| request.check_back = Some(check_back))
}

/// Makes a begin of actions in an order: `a, b after a c` has a first action `a` and a second, `b`, that comes after
/// `a` and `c`.
fn order(text: &str) -> v1::BeginRequest {
    let actions = text.split(", ").map(|text| {
        let (name, after) = text.split_once(" after ").unwrap_or((text, ""));
        v1::Action {
            after: after.split_whitespace().map(str::to_owned).collect(),
            ..action(name, "points")
        }
    });
    v1::BeginRequest {
        actions: actions.collect(),
        ..begin([])
    }
}

fn names_and_ids() -> Vec<Case> {
    const NOT_V7: &str = "6f0e5c0e-8f5a-4c3a-9d4e-0123456789ab";
    let unhyphenated = uuid::Uuid::now_v7().simple().to_string();
    let wrong_everywhere = with(|r| {
        r.business_type.clear();
        r.timeout_ms = -1;
        r.actions[0].mode = 0;
        r.actions[0].participant = "stranger".to_owned();
    });
    cases! {
        "no business type":      with(|r| r.business_type.clear())          => "business_type";
        "a long business type":  with(|r| r.business_type = "é".repeat(65)) => "business_type";
        "NUL in a business id":  with(|r| r.business_id = "a\0".to_owned()) => "business_id";
        "an id that is no UUID": with(|r| r.tx_id = "17".to_owned())        => "tx_id";
        "an id that is no v7":   with(|r| r.tx_id = NOT_V7.to_owned())      => "tx_id";
        "an id without hyphens": with(|r| r.tx_id = unhyphenated)           => "tx_id";
        "no action name":        one(|a| a.name.clear())                    => "actions[0].name";
        "a long handler":        one(|a| a.handler = "n".repeat(129))       => "actions[0].handler";
        "no participant":        one(|a| a.participant.clear())             => "actions[0].participant";
        "everything at once":     wrong_everywhere
            => "actions[0].mode, actions[0].participant, business_type, timeout_ms";
    }
}

fn sizes_and_times() -> Vec<Case> {
    let many = (0..65)
        .map(|i| action(&format!("a{i}"), "points"))
        .collect();
    let keys = (0..17).map(|i| (i.to_string(), String::new())).collect();
    let large = BTreeMap::from([("key".to_owned(), "v".repeat(4_096))]);
    let large_too = large.clone();
    cases! {
        "65 actions":                    with(|r| r.actions = many)                  => "actions";
        "64 KiB of payload and 1 byte":  one(|a| a.payload = vec![0; 65_537].into()) => "actions[0].payload";
        "17 keys":                       with(|r| r.ext_properties = keys)           => "ext_properties";
        "large properties":              with(|r| r.ext_properties = large)          => "ext_properties";
        "large properties of an action": one(|a| a.ext_properties = large_too)       => "actions[0].ext_properties";
        "a deadline in the past":        with(|r| r.timeout_ms = -1)                 => "timeout_ms";
        "8 days":                        with(|r| r.timeout_ms = 8 * 86_400_000)     => "timeout_ms";
        "a negative delay":              retry(|p| p.first_delay_ms = -5)            => "actions[0].retry.first_delay_ms";
        "a first delay above its cap":   retry(|p| p.first_delay_ms = 2_000)         => "actions[0].retry.max_delay_ms";
        "too many attempts":             retry(|p| p.max_attempts = 10_001)          => "actions[0].retry.max_attempts";
        "too great an age":              retry(|p| p.max_age_ms = i64::MAX)          => "actions[0].retry.max_age_ms";
        "too long a call":               retry(|p| p.call_timeout_ms = 600_001)      => "actions[0].retry.call_timeout_ms";
        "an interval above its cap":     check_back(|c| (c.interval_ms, c.max_interval_ms) = (2_000, 1_000))
            => "check_back.max_interval_ms";
        "too many questions":            check_back(|c| c.max_attempts = 10_001)     => "check_back.max_attempts";
    }
}

fn modes_and_order() -> Vec<Case> {
    let deliver = v1::Mode::Deliver.into();
    cases! {
        "no mode":              one(|a| a.mode = 0)                                  => "actions[0].mode";
        "a mode that is none":  one(|a| a.mode = 9)                                  => "actions[0].mode";
        "a TRY of DELIVER":     one(|a| (a.mode, a.already_tried) = (deliver, true)) => "actions[0].already_tried";
        "results of nothing":   one(|a| a.wants_results = true)                      => "actions[0].wants_results";
        "one name twice":       order("a, a")                                        => "actions[1].name";
        "after itself":         order("a after a")                                   => "actions[0].after[0]";
        "after none of them":   order("a after b")                                   => "actions[0].after[0]";
        "after the same twice": order("a, b after a a")                              => "actions[1].after[1]";
        "a circle":             order("a, b after a d, c after b, d after c")        => "actions[1].after";
    }
}

#[tokio::test]
async fn a_bad_begin_names_its_fields_and_writes_nothing() {
    let server = Server::knowing(["points"]).await;
    let mut client = server.coordinator();
    for (case, request, fields) in [names_and_ids(), sizes_and_times(), modes_and_order()].concat()
    {
        let begun = client.begin(request.clone()).await;
        assert_eq!(refusal(begun), invalid(fields), "{case}");
        // An Execute checks the same, below its own field.
        if request.check_back.is_none() {
            let execute = v1::ExecuteRequest {
                begin: Some(request),
                wait: 0,
            };
            let below: Vec<_> = fields.split(", ").map(|f| format!("begin.{f}")).collect();
            let executed = client.execute(execute).await;
            assert_eq!(refusal(executed), invalid(&below.join(", ")), "{case}");
        }
    }
    assert_nothing_was_written(&server).await;
}

#[tokio::test]
async fn an_unknown_participant_has_a_reason_of_its_own() {
    let server = Server::knowing(["points"]).await;
    let mut client = server.coordinator();
    for (request, field) in [
        (begin([tcc("stranger")]), "actions[0].participant"),
        (
            check_back(|c| c.participant = "stranger".to_owned()),
            "check_back.participant",
        ),
    ] {
        let refused = client.begin(request).await;
        assert_eq!(refusal(refused), format!("PARTICIPANT_UNKNOWN: {field}"));
    }
    assert_nothing_was_written(&server).await;
    // Known, but not attached now: that is no mistake.
    server.begin(begin([tcc("points")])).await;
}

#[tokio::test]
async fn an_execute_refuses_what_only_a_begin_may_have() {
    let server = Server::knowing(["points"]).await;
    let mut client = server.coordinator();
    let with = |change: &dyn Fn(&mut v1::ExecuteRequest)| {
        let mut request = execute([tcc("points")], v1::Wait::Decided);
        change(&mut request);
        request
    };
    let tried = v1::Action {
        already_tried: true,
        ..tcc("points")
    };
    let decided = v1::Wait::Decided;
    for (case, request, fields) in cases! {
        "nothing":            v1::ExecuteRequest::default()                 => "begin";
        "no action":          execute([], decided)                          => "begin.actions";
        "only tried actions": execute([tried], decided)                     => "begin.actions";
        "a check-back":       with(&|r| r.begin = Some(check_back(|_| {}))) => "begin.check_back";
        "an unknown wait":    with(&|r| r.wait = 77)                        => "wait";
    } {
        let refused = client.execute(request).await;
        assert_eq!(refusal(refused), invalid(fields), "{case}");
    }
    assert_nothing_was_written(&server).await;
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused() {
    let server = Server::knowing(["points"]).await;
    let request = one(|a| a.payload = vec![0; 9 * 1024 * 1024].into());
    let refused = server.coordinator().begin(request).await;
    assert_eq!(refusal(refused), "MESSAGE_TOO_LONG");
    assert_nothing_was_written(&server).await;
}
