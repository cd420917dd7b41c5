//! Participants that attach: breaches of the protocol, and answers that are wrong.

use std::time::Duration;

use tercet_proto::v1::{
    self, attach_reply, attach_request::Message, result::Outcome, session_reply, session_request,
};
use tokio::time::{sleep, timeout};

use crate::harness::{
    Attached, PATIENCE, Server, Session, action, asking_back, done, execute, handler, hello,
    message, open, quick, refusal, rejected, result, tcc,
};

#[tokio::test]
async fn a_first_message_that_is_no_right_hello_is_refused_and_ends_the_stream() {
    let server = Server::start().await;
    let wrong_everywhere = message(Message::Hello(v1::Hello {
        instance: "\0".to_owned(),
        handlers: vec![v1::Handler {
            mode: 9,
            ..v1::Handler::default()
        }],
        ..v1::Hello::default()
    }));
    let handlers = (0..257).map(|number| handler(&format!("h{number}"), v1::Mode::Tcc));
    let one = |name: &str| vec![handler(name, v1::Mode::Tcc)];
    let with = |handlers| {
        message(Message::Hello(v1::Hello {
            participant: "points".to_owned(),
            instance: "test".to_owned(),
            concurrency: 1,
            handlers,
            answers_check_back: false,
        }))
    };
    let twice = |first, second| with(vec![handler("spend", first), handler("spend", second)]);
    let cases = [
        (
            twice(v1::Mode::Tcc, v1::Mode::Tcc),
            "INVALID_ARGUMENT: hello.handlers[1].name",
        ),
        (
            twice(v1::Mode::Tcc, v1::Mode::Compensate),
            "INVALID_ARGUMENT: hello.handlers[1].name",
        ),
        (
            twice(v1::Mode::Unspecified, v1::Mode::Deliver),
            "INVALID_ARGUMENT: hello.handlers[1].name",
        ),
        (with(handlers.collect()), "INVALID_ARGUMENT: hello.handlers"),
        (
            with(one(&"h".repeat(129))),
            "INVALID_ARGUMENT: hello.handlers[0].name",
        ),
        (with(one("h\0")), "INVALID_ARGUMENT: hello.handlers[0].name"),
        (
            message(Message::Results(v1::Results::default())),
            "ATTACH_PROTOCOL",
        ),
        (v1::AttachRequest::default(), "ATTACH_PROTOCOL"),
        (message(Message::Drain(v1::Drain {})), "ATTACH_PROTOCOL"),
        (
            hello("points", 100_001),
            "INVALID_ARGUMENT: hello.concurrency",
        ),
        (
            wrong_everywhere,
            "INVALID_ARGUMENT: hello.concurrency, hello.handlers[0].mode, hello.handlers[0].name, \
             hello.instance, hello.participant",
        ),
    ];
    for (first, expected) in cases {
        let (_requests, replies) = open(&server, first.clone()).await;
        let end = replies.unwrap().message().await;
        assert_eq!(refusal(end), expected, "{first:?}");
    }
    assert!(server.known().await.is_empty());
}

#[tokio::test]
async fn a_second_hello_ends_the_stream() {
    let server = Server::start().await;
    let mut points = server.attach("points").await;
    points.send(hello("points", 1)).await;
    assert_eq!(refusal(points.end().await), "ATTACH_PROTOCOL");
}

#[tokio::test]
async fn a_participant_is_known_after_its_first_hello_and_counted_while_it_is_there() {
    let server = Server::start().await;
    let points = server.attach("points").await;
    let known = server.known().await;
    assert_eq!(known[0].participant, "points");
    assert_eq!(known[0].protocol(), v1::Protocol::Attach);
    assert_eq!(known[0].attached, 1);
    drop(points);
    timeout(PATIENCE, async {
        while server.known().await[0].attached != 0 {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
}

/// Answers that do not count: the Try is still open after them, and its true answer counts.
#[tokio::test]
async fn an_answer_for_another_call_does_not_count() {
    let server = Server::start().await;
    let mut points = server.attach("points").await;
    let mut other = server.attach("coupons").await;
    let tx_id = server.hand_over([tcc("points")]).await;
    let call = points.call().await;
    let right = result(&call, rejected(""));
    let wrong = |change: &dyn Fn(&mut v1::Result)| {
        let mut wrong = right.clone();
        change(&mut wrong);
        wrong
    };
    for result in [
        wrong(&|r| r.epoch += 1),
        wrong(&|r| r.call_id += 1),
        wrong(&|r| r.tx_id = uuid::Uuid::now_v7().to_string()),
        wrong(&|r| r.tx_id = "none".to_owned()),
        wrong(&|r| r.action = "other".to_owned()),
        wrong(&|r| r.operation = v1::Operation::Cancel.into()),
        wrong(&|r| r.operation = 0),
    ] {
        points.send_result(result).await;
    }
    // The right result on another stream.
    other.send_result(right).await;
    points.answer(&call, done(b"")).await;
    points.agree_to(v1::Operation::Confirm).await;
    let tx = server.until_status(&tx_id, v1::TxStatus::Success).await;
    assert_eq!(tx.biz_status(), v1::BizStatus::Success);
    assert_silent(&mut other, Duration::from_millis(50)).await;
}

/// Answers that count as UNKNOWN: the Try is called again.
#[tokio::test]
async fn an_answer_without_a_usable_outcome_is_unknown_and_the_try_is_repeated() {
    let server = Server::start().await;
    let too_large = Outcome::Done(v1::Done {
        result: vec![0; 65_537].into(),
    });
    let unknown = Outcome::Unknown(v1::Unknown {
        error: "out of order".to_owned(),
    });
    for (outcome, expected) in [
        (None, "without an outcome"),
        (Some(too_large), "65537 bytes"),
        (Some(unknown), "out of order"),
    ] {
        let mut points = server.attach("points").await;
        let tx_id = server.hand_over([tcc("points")]).await;
        let call = points.call().await;
        let wrong = v1::Result {
            outcome,
            ..result(&call, done(b""))
        };
        points.send_result(wrong).await;
        let again = points.agree_to(v1::Operation::Try).await;
        assert_eq!(again.attempt, 2);
        points.agree_to(v1::Operation::Confirm).await;
        let tx = server.until_status(&tx_id, v1::TxStatus::Success).await;
        let attempt = &tx.actions[0].attempts[0];
        assert_eq!(attempt.outcome, "UNKNOWN");
        assert!(attempt.error.contains(expected), "{attempt:?}");
    }
}

#[tokio::test]
async fn an_answer_that_never_comes_times_out_and_a_late_one_does_not_count() {
    let server = Server::start().await;
    let mut points = server.attach("points").await;
    let retry = v1::RetryPolicy {
        call_timeout_ms: 100,
        ..quick(5)
    };
    let slow = v1::Action {
        retry: Some(retry),
        ..tcc("points")
    };
    let tx_id = server.hand_over([slow]).await;
    let first = points.call().await;
    let second = points.call().await;
    assert_ne!(first.call_id, second.call_id);
    points.answer(&first, rejected("")).await;
    points.answer(&second, done(b"")).await;
    points.agree_to(v1::Operation::Confirm).await;
    let tx = server.until_status(&tx_id, v1::TxStatus::Success).await;
    assert_eq!(tx.biz_status(), v1::BizStatus::Success);
}

#[tokio::test]
async fn a_participant_that_drains_gets_no_new_calls() {
    let server = Server::start().await;
    let mut points = server.attach("points").await;
    points.send(message(Message::Drain(v1::Drain {}))).await;
    server.hand_over([tcc("points")]).await;
    assert_silent(&mut points, Duration::from_millis(100)).await;
    let mut second = server.attach("points").await;
    assert_eq!(second.call().await.operation(), v1::Operation::Try);
}

#[tokio::test]
async fn an_initiator_on_a_stream_is_asked_back() {
    let server = Server::start().await;
    let mut shop = server.attach("shop").await;
    let tx_id = server.begin(asking_back("shop")).await.tx_id;
    for outcome in [v1::Outcome::Unspecified, v1::Outcome::Success] {
        let question = shop.question().await;
        assert_eq!(question.tx_id, tx_id);
        let answer = v1::CheckBackResult {
            epoch: question.epoch,
            call_id: question.call_id,
            tx_id: question.tx_id,
            outcome: outcome.into(),
            error: "the row is locked".to_owned(),
        };
        shop.send_results(v1::Results {
            results: Vec::new(),
            check_backs: vec![answer],
        })
        .await;
        if outcome == v1::Outcome::Unspecified {
            assert_shows_the_last_question(&server, &tx_id).await;
        }
    }
    let tx = server.until_status(&tx_id, v1::TxStatus::Success).await;
    assert_eq!(tx.cause.unwrap().kind(), v1::CauseKind::CheckBack);
    assert_eq!(tx.last_check_back.unwrap().number, 1, "it stays");
}

/// Asserts that Get and List say why the first question brought no outcome.
async fn assert_shows_the_last_question(server: &Server, tx_id: &str) {
    let tx = server.until(tx_id, |tx| tx.last_check_back.is_some()).await;
    let last = tx.last_check_back.unwrap();
    assert_eq!((last.number, &*last.error), (1, "the row is locked"));
    assert!(last.at_micros >= tx.deadline_at_micros, "{last:?}");
    assert!(last.next_at_micros >= last.at_micros, "{last:?}");
    let words = "shop was asked 1 time(s) without an outcome, the last time: the row is locked.";
    assert!(tx.obstacles[0].contains(words), "{:?}", tx.obstacles);
    let listed = server.coordinator().list(v1::ListRequest::default()).await;
    let transactions = listed.unwrap().into_inner().transactions;
    assert_eq!(transactions[0].obstacles, [words]);
}

/// Each result and payload is within its limit; together they are more than one message may have.
#[tokio::test]
async fn a_call_that_is_too_long_fails_alone_with_words() {
    const RESULT: &[u8] = &[b'r'; 65_536];
    let server = Server::start().await;
    server.attach_answering("points", |_| done(RESULT)).await;
    let mut coupons = server.attach("coupons").await;
    let first: Vec<_> = (0..63)
        .map(|place| action(&format!("a{place}"), "points"))
        .collect();
    let last = v1::Action {
        after: first.iter().map(|action| action.name.clone()).collect(),
        wants_results: true,
        payload: vec![b'p'; 65_536].into(),
        ..action("sum", "coupons")
    };
    let mut request = execute([], v1::Wait::Accepted);
    request.begin.as_mut().unwrap().actions = [first, vec![last]].concat();
    let tx_id = server.carry_out(request).await.tx_id;
    let is_unsent = |tx: &v1::Transaction| !tx.actions[63].last_error.is_empty();
    let tx = server.until(&tx_id, is_unsent).await;
    let error = &tx.actions[63].last_error;
    assert!(
        error.contains("the TRY of action sum was not sent to coupons: it has 41"),
        "{error}"
    );
    // The stream is as it was.
    server.hand_over([tcc("coupons")]).await;
    let call = coupons.agree_to(v1::Operation::Try).await;
    assert_eq!(call.action, "coupons");
}

/// Asserts that no message comes to a participant within this time.
async fn assert_silent(participant: &mut Attached, time: Duration) {
    let message: Result<attach_reply::Message, _> = timeout(time, participant.next()).await;
    assert!(message.is_err(), "{message:?}");
}

/// In a rolling deployment only some instances have a new handler: calls of its actions go to these alone, and wait for one
/// of them where there is none.
#[tokio::test]
async fn calls_go_to_the_streams_that_have_their_handler() {
    let server = Server::start().await;
    // It was there before, and may come back: what it has is not refused.
    let own = || vec![handler("points", v1::Mode::Tcc)];
    drop(server.attach_with("points", own(), false).await);
    let other_name = vec![handler("other", v1::Mode::Tcc)];
    let other_mode = vec![handler("points", v1::Mode::Deliver)];
    let mut strangers = [
        server.attach_with("points", Vec::new(), true).await,
        server.attach_with("points", other_name, true).await,
        server.attach_with("points", other_mode, true).await,
    ];
    let spend = v1::Action {
        retry: Some(quick(100)),
        ..tcc("points")
    };
    let tx_id = server.hand_over([spend]).await;
    let tx = server.until(&tx_id, |tx| tx.waiting_for == "points").await;
    assert!(
        tx.obstacles[0].contains("handler points"),
        "{:?}",
        tx.obstacles
    );

    let mut points = server.attach_with("points", own(), false).await;
    points.agree_to(v1::Operation::Try).await;
    points.agree_to(v1::Operation::Confirm).await;
    server.until_status(&tx_id, v1::TxStatus::Success).await;
    for _ in 0..20 {
        let tx_id = server.hand_over([tcc("points")]).await;
        points.agree_to(v1::Operation::Try).await;
        points.agree_to(v1::Operation::Confirm).await;
        server.until_status(&tx_id, v1::TxStatus::Success).await;
    }
    // A question goes to those that answer one, and to no other: the first message that one of them gets.
    server.begin(asking_back("points")).await;
    let [first, second, third] = &mut strangers;
    let question = tokio::select! {
        question = first.question() => question,
        question = second.question() => question,
        question = third.question() => question,
        _ = points.next() => panic!("it answers no questions"),
    };
    assert_eq!(question.business_id, "order-1");
}

/// Calls with large payloads that a participant does not read, and whose transactions are decided meanwhile: those that its
/// connection has not taken never come.
#[tokio::test]
async fn calls_of_decided_transactions_leave_the_queue_of_a_participant_that_does_not_read() {
    const TRANSACTIONS: usize = 300;
    let server = Server::start().await;
    server
        .attach_answering("coupons", |_| rejected("sold out"))
        .await;
    let mut points = server.attach_many("points", 1_000).await;
    let mut session = Session::open(&server).await;
    let large = v1::Action {
        payload: vec![7; 65_536].into(),
        retry: Some(v1::RetryPolicy {
            call_timeout_ms: 60_000,
            ..quick(5)
        }),
        ..tcc("points")
    };
    for number in 0..TRANSACTIONS {
        let request = execute([large.clone(), tcc("coupons")], v1::Wait::Decided);
        let id = u64::try_from(number).unwrap();
        session
            .send([(id, session_request::Request::Execute(request))])
            .await;
    }
    for reply in session.replies(TRANSACTIONS).await.into_values() {
        let session_reply::Reply::State(state) = reply else {
            panic!("{reply:?}");
        };
        assert_eq!(state.biz_status(), v1::BizStatus::Failure);
    }
    let (mut tries, mut cancels) = (0, 0);
    while cancels < TRANSACTIONS {
        match points.call().await.operation() {
            v1::Operation::Try => tries += 1,
            _ => cancels += 1,
        }
    }
    // The connection takes up to 2 MiB, and a message or two.
    assert!(tries < TRANSACTIONS / 2, "{tries} Tries came");
}
