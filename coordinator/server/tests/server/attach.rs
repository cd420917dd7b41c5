//! Participants that attach: who does not keep to the protocol, and answers that are wrong.

use std::time::Duration;

use tercet_proto::v1::{
    self, attach_reply::Message as FromServer, attach_request::Message as ToServer, result::Outcome,
};
use tokio::time::timeout;

use crate::harness::{
    Attached, PATIENCE, Server, action, begin, done, execute, hello, open, quick, reason, result,
};

fn message(message: ToServer) -> v1::AttachRequest {
    v1::AttachRequest {
        message: Some(message),
    }
}

#[tokio::test]
async fn whoever_does_not_keep_to_the_protocol_is_told_and_cut_off() {
    let server = Server::start().await;
    let mut nameless = hello("", 0);
    if let Some(ToServer::Hello(hello)) = &mut nameless.message {
        hello.instance = "\0".to_owned();
        hello.handlers = vec![v1::Handler::default()];
    }
    let cases: Vec<(_, &str, &[&str])> = vec![
        (
            message(ToServer::Results(v1::Results::default())),
            "ATTACH_PROTOCOL",
            &[],
        ),
        (v1::AttachRequest::default(), "ATTACH_PROTOCOL", &[]),
        (
            message(ToServer::Drain(v1::Drain {})),
            "ATTACH_PROTOCOL",
            &[],
        ),
        (
            hello("points", 100_001),
            "INVALID_ARGUMENT",
            &["hello.concurrency"],
        ),
        (
            nameless,
            "INVALID_ARGUMENT",
            &[
                "hello.concurrency",
                "hello.handlers[0].name",
                "hello.instance",
                "hello.participant",
            ],
        ),
    ];
    for (first, code, fields) in cases {
        let (_send, replies) = open(&server, first.clone()).await;
        let refused = replies.unwrap().message().await.unwrap_err();
        let (told, named) = reason(&refused);
        assert_eq!(
            (told.as_str(), named.as_slice()),
            (
                code,
                fields
                    .iter()
                    .map(|&f| f.to_owned())
                    .collect::<Vec<_>>()
                    .as_slice()
            ),
            "{first:?}"
        );
    }
    let known = server
        .participants()
        .list(v1::ListParticipantsRequest {})
        .await
        .unwrap();
    assert!(known.into_inner().participants.is_empty());
}

#[tokio::test]
async fn a_second_hello_ends_the_stream() {
    let server = Server::start().await;
    let mut points = Attached::new(&server, "points", 1).await;
    points.send.send(hello("points", 1)).await.unwrap();
    let refused = points.replies.message().await.unwrap_err();
    assert_eq!(reason(&refused).0, "ATTACH_PROTOCOL");
}

#[tokio::test]
async fn a_participant_is_known_after_its_first_hello_and_counted_while_it_is_there() {
    let server = Server::start().await;
    let points = Attached::new(&server, "points", 5).await;
    let list = || async {
        let request = v1::ListParticipantsRequest {};
        server
            .participants()
            .list(request)
            .await
            .unwrap()
            .into_inner()
            .participants
    };
    let known = list().await;
    assert_eq!(known[0].participant, "points");
    assert_eq!(known[0].protocol(), v1::Protocol::Attach);
    assert_eq!(known[0].attached, 1);
    drop(points);
    timeout(PATIENCE, async {
        while list().await[0].attached != 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
}

/// Answers that do not count: the Try is still open after them, and its true answer counts.
#[tokio::test]
async fn an_answer_for_another_call_does_not_count() {
    let server = Server::start().await;
    let mut points = Attached::new(&server, "points", 10).await;
    let mut other = Attached::new(&server, "coupons", 10).await;
    let wanted = execute(vec![action("spend", "points")], v1::Wait::Accepted);
    let tx_id = server
        .coordinator()
        .execute(wanted)
        .await
        .unwrap()
        .into_inner()
        .tx_id;
    let call = points.call().await;
    let right = result(&call, Outcome::Rejected(v1::Rejected::default()));
    let wrong = |change: &dyn Fn(&mut v1::Result)| {
        let mut wrong = right.clone();
        change(&mut wrong);
        wrong
    };
    for answer in [
        wrong(&|r| r.epoch += 1),
        wrong(&|r| r.call_id += 1),
        wrong(&|r| r.tx_id = uuid::Uuid::now_v7().to_string()),
        wrong(&|r| r.tx_id = "none".to_owned()),
        wrong(&|r| r.action = "other".to_owned()),
        wrong(&|r| r.operation = v1::Operation::Cancel.into()),
        wrong(&|r| r.operation = 0),
    ] {
        points.send(answer).await;
    }
    // The right words on another stream.
    other.send(right).await;
    points.answer(&call, done(b"")).await;
    let confirm = points.call().await;
    assert_eq!(confirm.operation(), v1::Operation::Confirm);
    points.answer(&confirm, done(b"")).await;
    let tx = server
        .until(&tx_id, |tx| tx.status() == v1::TxStatus::Success)
        .await;
    assert_eq!(tx.biz_status(), v1::BizStatus::Success);
    let nothing = timeout(Duration::from_millis(50), other.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
}

/// Answers that count as UNKNOWN: the Try is called again.
#[tokio::test]
async fn an_answer_that_says_nothing_usable_is_unknown_and_the_try_is_repeated() {
    let server = Server::start().await;
    let cases: Vec<(Option<Outcome>, &str)> = vec![
        (None, "without an outcome"),
        (
            Some(Outcome::Done(v1::Done {
                result: vec![0; 65_537].into(),
            })),
            "65537 bytes",
        ),
        (
            Some(Outcome::Unknown(v1::Unknown {
                error: "out of order".to_owned(),
            })),
            "out of order",
        ),
    ];
    for (outcome, expected) in cases {
        let mut points = Attached::new(&server, "points", 10).await;
        let wanted = execute(vec![action("spend", "points")], v1::Wait::Accepted);
        let tx_id = server
            .coordinator()
            .execute(wanted)
            .await
            .unwrap()
            .into_inner()
            .tx_id;
        let call = points.call().await;
        let mut answer = result(&call, done(b""));
        answer.outcome = outcome;
        points.send(answer).await;
        let again = points.call().await;
        assert_eq!((again.operation(), again.attempt), (v1::Operation::Try, 2));
        points.answer(&again, done(b"")).await;
        let confirm = points.call().await;
        points.answer(&confirm, done(b"")).await;
        let tx = server
            .until(&tx_id, |tx| tx.status() == v1::TxStatus::Success)
            .await;
        let attempt = &tx.actions[0].attempts[0];
        assert_eq!(attempt.outcome, "UNKNOWN");
        assert!(attempt.error.contains(expected), "{attempt:?}");
    }
}

#[tokio::test]
async fn an_answer_that_never_comes_times_out_and_a_late_one_does_not_count() {
    let server = Server::start().await;
    let mut points = Attached::new(&server, "points", 10).await;
    let mut slow = action("spend", "points");
    slow.retry = Some(v1::RetryPolicy {
        call_timeout_ms: 100,
        ..quick(5)
    });
    let wanted = execute(vec![slow], v1::Wait::Accepted);
    let tx_id = server
        .coordinator()
        .execute(wanted)
        .await
        .unwrap()
        .into_inner()
        .tx_id;
    let first = points.call().await;
    let second = points.call().await;
    assert_ne!(first.call_id, second.call_id);
    points
        .answer(&first, Outcome::Rejected(v1::Rejected::default()))
        .await;
    points.answer(&second, done(b"")).await;
    let confirm = points.call().await;
    assert_eq!(confirm.operation(), v1::Operation::Confirm);
    points.answer(&confirm, done(b"")).await;
    let tx = server
        .until(&tx_id, |tx| tx.status() == v1::TxStatus::Success)
        .await;
    assert_eq!(tx.biz_status(), v1::BizStatus::Success);
}

#[tokio::test]
async fn a_participant_that_drains_gets_no_new_calls() {
    let server = Server::start().await;
    let mut points = Attached::new(&server, "points", 10).await;
    let drain = message(ToServer::Drain(v1::Drain {}));
    points.send.send(drain).await.unwrap();
    let wanted = execute(vec![action("spend", "points")], v1::Wait::Accepted);
    server.coordinator().execute(wanted.clone()).await.unwrap();
    let nothing = timeout(Duration::from_millis(100), points.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    let mut second = Attached::new(&server, "points", 10).await;
    assert_eq!(second.call().await.operation(), v1::Operation::Try);
}

#[tokio::test]
async fn an_initiator_on_a_stream_is_asked_back() {
    let server = Server::start().await;
    let mut shop = Attached::new(&server, "shop", 10).await;
    let mut request = begin(Vec::new());
    request.timeout_ms = 1;
    request.check_back = Some(v1::CheckBack {
        participant: "shop".to_owned(),
        interval_ms: 10,
        max_interval_ms: 10,
        ..v1::CheckBack::default()
    });
    let tx_id = server
        .coordinator()
        .begin(request)
        .await
        .unwrap()
        .into_inner()
        .tx_id;
    for outcome in [v1::Outcome::Unspecified, v1::Outcome::Success] {
        let asked = match shop.next().await {
            FromServer::Calls(calls) => calls.check_backs.into_iter().next().unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(asked.tx_id, tx_id);
        let answer = v1::CheckBackResult {
            epoch: asked.epoch,
            call_id: asked.call_id,
            tx_id: asked.tx_id,
            outcome: outcome.into(),
            error: String::new(),
        };
        let results = v1::Results {
            results: Vec::new(),
            check_backs: vec![answer],
        };
        shop.send
            .send(message(ToServer::Results(results)))
            .await
            .unwrap();
    }
    let tx = server
        .until(&tx_id, |tx| tx.status() == v1::TxStatus::Success)
        .await;
    assert_eq!(tx.cause.unwrap().kind(), v1::CauseKind::CheckBack);
}
