//! Bad input of every request: the reason, the fields it names, and that nothing was written.

use std::sync::Arc;

use tercet_proto::v1;
use tercet_store::Store;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::harness::{Attached, Server, action, begin, execute, reason};

const INVALID: &str = "INVALID_ARGUMENT";

/// A server that knows the participant `points`.
async fn server() -> Server {
    let server = Server::start().await;
    let points = Attached::new(&server, "points", 1).await;
    drop(points);
    server
}

async fn nothing_was_written(server: &Server) {
    let all = tercet_store::ListQuery {
        limit: 10,
        ..tercet_store::ListQuery::default()
    };
    let found = server.store.list(&all).await.unwrap();
    assert!(found.is_empty(), "{found:?}");
}

fn one(change: impl FnOnce(&mut v1::Action)) -> v1::BeginRequest {
    let mut changed = action("spend", "points");
    change(&mut changed);
    begin(vec![changed])
}

fn with(change: impl FnOnce(&mut v1::BeginRequest)) -> v1::BeginRequest {
    let mut request = begin(vec![action("spend", "points")]);
    change(&mut request);
    request
}

fn after(pairs: &[(&str, &[&str])]) -> v1::BeginRequest {
    let actions = pairs.iter().map(|(name, before)| v1::Action {
        after: before.iter().map(|&name| name.to_owned()).collect(),
        ..action(name, "points")
    });
    begin(actions.collect())
}

fn retry(change: impl FnOnce(&mut v1::RetryPolicy)) -> v1::BeginRequest {
    one(|action| change(action.retry.as_mut().unwrap()))
}

fn check_back(change: impl FnOnce(&mut v1::CheckBack)) -> v1::BeginRequest {
    with(|request| {
        let mut asked = v1::CheckBack {
            participant: "points".to_owned(),
            ..v1::CheckBack::default()
        };
        change(&mut asked);
        request.check_back = Some(asked);
    })
}

type Case = (&'static str, v1::BeginRequest, &'static [&'static str]);

fn names_and_ids() -> Vec<Case> {
    let long = "n".repeat(129);
    vec![
        (
            "no business type",
            with(|r| r.business_type.clear()),
            &["business_type"],
        ),
        (
            "a long business type",
            with(|r| r.business_type = "é".repeat(65)),
            &["business_type"],
        ),
        (
            "NUL in a business id",
            with(|r| r.business_id = "a\0".to_owned()),
            &["business_id"],
        ),
        ("no uuid", with(|r| r.tx_id = "17".to_owned()), &["tx_id"]),
        (
            "an id that is no v7",
            with(|r| r.tx_id = "6f0e5c0e-8f5a-4c3a-9d4e-0123456789ab".to_owned()),
            &["tx_id"],
        ),
        (
            "an id without hyphens",
            with(|r| r.tx_id = uuid::Uuid::now_v7().simple().to_string()),
            &["tx_id"],
        ),
        (
            "no action name",
            one(|a| a.name.clear()),
            &["actions[0].name"],
        ),
        (
            "a long handler",
            one(|a| a.handler.clone_from(&long)),
            &["actions[0].handler"],
        ),
        (
            "no participant",
            one(|a| a.participant.clear()),
            &["actions[0].participant"],
        ),
        (
            "everything at once",
            with(|r| {
                r.business_type.clear();
                r.timeout_ms = -1;
                r.actions[0].mode = 0;
                r.actions[0].participant = "nobody".to_owned();
            }),
            &[
                "actions[0].mode",
                "actions[0].participant",
                "business_type",
                "timeout_ms",
            ],
        ),
    ]
}

fn sizes_and_times() -> Vec<Case> {
    let many = (0..65)
        .map(|i| action(&format!("a{i}"), "points"))
        .collect();
    let keys = (0..17).map(|i| (i.to_string(), String::new())).collect();
    let big = || {
        [("key".to_owned(), "v".repeat(4_096))]
            .into_iter()
            .collect()
    };
    vec![
        ("65 actions", begin(many), &["actions"]),
        (
            "a payload of 64 KiB and one byte",
            one(|a| a.payload = vec![0; 65_537].into()),
            &["actions[0].payload"],
        ),
        (
            "17 keys",
            with(|r| r.ext_properties = keys),
            &["ext_properties"],
        ),
        (
            "large properties",
            with(|r| r.ext_properties = big()),
            &["ext_properties"],
        ),
        (
            "large properties of an action",
            one(|a| a.ext_properties = big()),
            &["actions[0].ext_properties"],
        ),
        (
            "a deadline in the past",
            with(|r| r.timeout_ms = -1),
            &["timeout_ms"],
        ),
        (
            "8 days",
            with(|r| r.timeout_ms = 8 * 86_400_000),
            &["timeout_ms"],
        ),
        (
            "a negative delay",
            retry(|p| p.first_delay_ms = -5),
            &["actions[0].retry.first_delay_ms"],
        ),
        (
            "a first delay above its cap",
            retry(|p| p.first_delay_ms = 2_000),
            &["actions[0].retry.max_delay_ms"],
        ),
        (
            "too many attempts",
            retry(|p| p.max_attempts = 10_001),
            &["actions[0].retry.max_attempts"],
        ),
        (
            "an age",
            retry(|p| p.max_age_ms = i64::MAX),
            &["actions[0].retry.max_age_ms"],
        ),
        (
            "a long call",
            retry(|p| p.call_timeout_ms = 600_001),
            &["actions[0].retry.call_timeout_ms"],
        ),
        (
            "an interval above its cap",
            check_back(|c| {
                c.interval_ms = 2_000;
                c.max_interval_ms = 1_000;
            }),
            &["check_back.max_interval_ms"],
        ),
        (
            "too many questions",
            check_back(|c| c.max_attempts = 10_001),
            &["check_back.max_attempts"],
        ),
    ]
}

fn modes_and_order() -> Vec<Case> {
    let deliver = v1::Mode::Deliver.into();
    vec![
        ("no mode", one(|a| a.mode = 0), &["actions[0].mode"]),
        (
            "a mode that is none",
            one(|a| a.mode = 9),
            &["actions[0].mode"],
        ),
        (
            "a TRY of DELIVER",
            one(|a| {
                a.mode = deliver;
                a.already_tried = true;
            }),
            &["actions[0].already_tried"],
        ),
        (
            "results of nothing",
            one(|a| a.wants_results = true),
            &["actions[0].wants_results"],
        ),
        (
            "one name twice",
            after(&[("a", &[]), ("a", &[])]),
            &["actions[1].name"],
        ),
        (
            "after itself",
            after(&[("a", &["a"])]),
            &["actions[0].after[0]"],
        ),
        (
            "after nobody",
            after(&[("a", &["b"])]),
            &["actions[0].after[0]"],
        ),
        (
            "after the same twice",
            after(&[("a", &[]), ("b", &["a", "a"])]),
            &["actions[1].after[1]"],
        ),
        (
            "a circle",
            after(&[("a", &[]), ("b", &["a", "d"]), ("c", &["b"]), ("d", &["c"])]),
            &["actions[1].after"],
        ),
    ]
}

#[tokio::test]
async fn a_bad_begin_names_its_fields_and_writes_nothing() {
    let server = server().await;
    let mut client = server.coordinator();
    let cases = [names_and_ids(), sizes_and_times(), modes_and_order()].concat();
    for (what, request, fields) in cases {
        let begun = client.begin(request.clone()).await.expect_err(what);
        assert_eq!(
            reason(&begun),
            (INVALID.to_owned(), owned(fields)),
            "{what}"
        );
        // An Execute checks the same, below its own field.
        if request.check_back.is_none() {
            let wanted = v1::ExecuteRequest {
                begin: Some(request),
                wait: 0,
            };
            let executed = client.execute(wanted).await.expect_err(what);
            let below: Vec<_> = fields
                .iter()
                .map(|field| format!("begin.{field}"))
                .collect();
            assert_eq!(reason(&executed), (INVALID.to_owned(), below), "{what}");
        }
    }
    nothing_was_written(&server).await;
}

fn owned(fields: &[&str]) -> Vec<String> {
    fields.iter().map(|&field| field.to_owned()).collect()
}

#[tokio::test]
async fn an_unknown_participant_has_a_reason_of_its_own() {
    let server = server().await;
    let mut client = server.coordinator();
    let unknown = |field: &str| ("PARTICIPANT_UNKNOWN".to_owned(), vec![field.to_owned()]);
    let refused = client
        .begin(begin(vec![action("a", "nobody")]))
        .await
        .unwrap_err();
    assert_eq!(reason(&refused), unknown("actions[0].participant"));
    let asked = check_back(|c| c.participant = "nobody".to_owned());
    let refused = client.begin(asked).await.unwrap_err();
    assert_eq!(reason(&refused), unknown("check_back.participant"));
    nothing_was_written(&server).await;
    // Known, but not attached now: that is no mistake.
    client
        .begin(begin(vec![action("a", "points")]))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_execute_refuses_what_only_a_begin_may_have() {
    let server = server().await;
    let mut client = server.coordinator();
    let decided = v1::Wait::Decided;
    let mut tried = action("a", "points");
    tried.already_tried = true;
    let mut asks_back = execute(vec![action("a", "points")], decided);
    asks_back.begin = Some(check_back(|_| {}));
    let mut waits = execute(vec![action("a", "points")], decided);
    waits.wait = 77;
    let cases = [
        ("nothing", v1::ExecuteRequest::default(), "begin"),
        ("no action", execute(Vec::new(), decided), "begin.actions"),
        (
            "only what is tried",
            execute(vec![tried], decided),
            "begin.actions",
        ),
        ("a check-back", asks_back, "begin.check_back"),
        ("an unknown wait", waits, "wait"),
    ];
    for (what, request, field) in cases {
        let refused = client.execute(request).await.expect_err(what);
        assert_eq!(
            reason(&refused),
            (INVALID.to_owned(), owned(&[field])),
            "{what}"
        );
    }
    nothing_was_written(&server).await;
}

#[tokio::test]
async fn bad_requests_about_a_transaction_name_their_fields() {
    let server = server().await;
    let mut client = server.coordinator();
    let mut operator = server.operator();
    let id = uuid::Uuid::now_v7().to_string();
    let add = v1::AddActionRequest::default();
    let refused = client.add_action(add).await.unwrap_err();
    assert_eq!(
        reason(&refused),
        (INVALID.to_owned(), owned(&["action", "tx_id"]))
    );
    let add = v1::AddActionRequest {
        tx_id: id.clone(),
        action: Some(v1::Action {
            name: String::new(),
            after: vec!["b".to_owned(), "b".to_owned()],
            ..action("a", "points")
        }),
    };
    let refused = client.add_action(add).await.unwrap_err();
    assert_eq!(
        reason(&refused),
        (
            INVALID.to_owned(),
            owned(&["action.after[1]", "action.name"])
        )
    );
    let decide = v1::DecideRequest {
        tx_id: "x".to_owned(),
        outcome: 0,
        reason: "r".repeat(1_025),
        wait: v1::Wait::Accepted.into(),
    };
    let refused = client.decide(decide).await.unwrap_err();
    assert_eq!(
        reason(&refused),
        (
            INVALID.to_owned(),
            owned(&["outcome", "reason", "tx_id", "wait"])
        )
    );

    let refused = operator
        .retry(v1::RetryRequest::default())
        .await
        .unwrap_err();
    assert_eq!(
        reason(&refused),
        (INVALID.to_owned(), owned(&["reason", "tx_id"]))
    );
    let resolve = v1::ResolveRequest {
        tx_id: id.clone(),
        actions: vec!["a".to_owned(), "a".to_owned(), String::new()],
        r#as: v1::ActionStatus::Tried.into(),
        reason: "seen".to_owned(),
    };
    let refused = operator.resolve(resolve).await.unwrap_err();
    assert_eq!(
        reason(&refused),
        (
            INVALID.to_owned(),
            owned(&["actions[1]", "actions[2]", "as"])
        )
    );
    let decide = v1::OperatorDecideRequest {
        tx_id: id.clone(),
        ..v1::OperatorDecideRequest::default()
    };
    let refused = operator.decide(decide).await.unwrap_err();
    assert_eq!(
        reason(&refused),
        (INVALID.to_owned(), owned(&["outcome", "reason"]))
    );
    nothing_was_written(&server).await;
}

#[tokio::test]
async fn bad_reads_name_their_fields() {
    let server = server().await;
    let mut client = server.coordinator();
    let get = |tx_id: &str, business_type: &str, business_id: &str| v1::GetRequest {
        tx_id: tx_id.to_owned(),
        business_type: business_type.to_owned(),
        business_id: business_id.to_owned(),
    };
    let id = uuid::Uuid::now_v7().to_string();
    for (request, code, fields) in [
        (get("", "", ""), INVALID, &["tx_id"][..]),
        (get("x", "", ""), INVALID, &["tx_id"]),
        (get("", "t", ""), INVALID, &["business_id"]),
        (get(&id, "t", "i"), INVALID, &["business_type"]),
        (get(&id, "", ""), "TX_NOT_FOUND", &[]),
        (get("", "t", "i"), "BUSINESS_NOT_FOUND", &[]),
    ] {
        let refused = client.get(request).await.unwrap_err();
        assert_eq!(reason(&refused), (code.to_owned(), owned(fields)));
    }
    let list = v1::ListRequest {
        business_type: "t\0".to_owned(),
        statuses: vec![v1::TxStatus::Success.into(), 0],
        biz_statuses: vec![99],
        older_than_ms: -1,
        younger_than_ms: -1,
        page_size: 501,
        cursor: "x".to_owned(),
        ..v1::ListRequest::default()
    };
    let refused = client.list(list).await.unwrap_err();
    let fields = [
        "biz_statuses[0]",
        "business_type",
        "cursor",
        "older_than_ms",
        "page_size",
        "statuses[1]",
        "younger_than_ms",
    ];
    assert_eq!(reason(&refused), (INVALID.to_owned(), owned(&fields)));
    let watch = v1::WatchRequest::default();
    let refused = client.watch(watch).await.unwrap_err();
    assert_eq!(reason(&refused), (INVALID.to_owned(), owned(&["tx_id"])));
}

fn right_registration() -> v1::RegisterRequest {
    v1::RegisterRequest {
        participant: "shop".to_owned(),
        protocol: v1::Protocol::Grpc.into(),
        address: "http://127.0.0.1:1".to_owned(),
        methods: vec![v1::Methods {
            handler: "h".to_owned(),
            r#try: "/a.B/C".to_owned(),
            ..v1::Methods::default()
        }],
        ..v1::RegisterRequest::default()
    }
}

fn wrong_registrations() -> Vec<(v1::RegisterRequest, &'static [&'static str])> {
    let with = |change: &dyn Fn(&mut v1::RegisterRequest)| {
        let mut request = right_registration();
        change(&mut request);
        request
    };
    vec![
        (with(&|r| r.participant.clear()), &["participant"]),
        (
            with(&|r| r.protocol = v1::Protocol::Attach.into()),
            &["protocol"],
        ),
        (
            with(&|r| r.address = "https://127.0.0.1:1".to_owned()),
            &["address"],
        ),
        (
            with(&|r| r.address = "http://u:p@127.0.0.1:1".to_owned()),
            &["address"],
        ),
        (
            with(&|r| r.address = "127.0.0.1:1".to_owned()),
            &["address"],
        ),
        (with(&|r| r.concurrency = 10_001), &["concurrency"]),
        (with(&|r| r.methods.clear()), &["methods"]),
        (
            with(&|r| r.methods[0].r#try = "/C".to_owned()),
            &["methods[0].try"],
        ),
        (with(&|r| r.methods[0].r#try.clear()), &["methods[0]"]),
        (
            with(&|r| r.methods.push(r.methods[0].clone())),
            &["methods[1].handler"],
        ),
        (with(&|r| r.check_back = "x".to_owned()), &["check_back"]),
        (
            with(&|r| {
                r.protocol = v1::Protocol::Invoke.into();
                r.check_back = "/a.B/C".to_owned();
            }),
            &["check_back", "methods"],
        ),
        (
            with(&|r| {
                r.protocol = v1::Protocol::Http.into();
                r.methods[0].cancel = "no path".to_owned();
            }),
            &["methods[0].cancel"],
        ),
    ]
}

#[tokio::test]
async fn a_bad_registration_names_its_fields() {
    let server = Server::start().await;
    let mut client = server.participants();
    for (request, fields) in wrong_registrations() {
        let refused = client.register(request.clone()).await.unwrap_err();
        assert_eq!(
            reason(&refused),
            (INVALID.to_owned(), owned(fields)),
            "{request:?}"
        );
    }
    let store: &Arc<_> = &server.store;
    assert!(store.participants().await.unwrap().is_empty());
    assert_eq!(
        client
            .register(right_registration())
            .await
            .unwrap()
            .into_inner()
            .version,
        1
    );
    assert_eq!(
        client
            .register(right_registration())
            .await
            .unwrap()
            .into_inner()
            .version,
        2
    );
}

#[tokio::test]
async fn a_session_with_too_large_a_batch_ends() {
    let server = server().await;
    let (send, requests) = mpsc::channel(1);
    let requests = ReceiverStream::new(requests);
    let mut replies = server
        .coordinator()
        .session(requests)
        .await
        .unwrap()
        .into_inner();
    let batch = v1::SessionRequests {
        requests: vec![v1::SessionRequest::default(); 1_025],
    };
    send.send(batch).await.unwrap();
    let refused = replies.message().await.unwrap_err();
    assert_eq!(reason(&refused), (INVALID.to_owned(), owned(&["requests"])));
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused() {
    let server = server().await;
    let request = one(|a| a.payload = vec![0; 9 * 1024 * 1024].into());
    let refused = server.coordinator().begin(request).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::OutOfRange, "{refused:?}");
    nothing_was_written(&server).await;
}
