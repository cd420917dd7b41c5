//! Calls by `Participant/Invoke` and to any gRPC method.

use std::time::Duration;

use prost::Message;
use tercet_proto::v1::{self, result::Outcome};
use tokio::net::TcpListener;
use tonic::Status;

use super::{
    ENCODED_ORDER, assert_attempts, register, registration, run, scripted::Scripted, spend,
};
use crate::harness::{Server, action, done, execute, rejected, result};

fn large(bytes: usize) -> Outcome {
    Outcome::Done(v1::Done {
        result: vec![0; bytes].into(),
    })
}

#[tokio::test]
async fn invoke_carries_the_call_and_brings_the_result() {
    let server = Server::start().await;
    let shop = Scripted::new(|_, call| Ok(result(call, done(b"reserved"))));
    register(&server, &shop.serve().await, v1::Protocol::Invoke).await;
    let tx = run(&server, spend()).await;
    assert_eq!(tx.biz_status(), v1::BizStatus::Success);
    assert_eq!(tx.actions[0].result.as_ref(), b"reserved");
    let calls = shop.calls.lock().unwrap();
    let [(_, attempt), (_, confirm)] = calls.as_slice() else {
        panic!("{calls:?}")
    };
    assert_eq!(attempt.operation(), v1::Operation::Try);
    assert_eq!(attempt.payload.as_ref(), b"spend");
    assert_eq!(confirm.operation(), v1::Operation::Confirm);
    assert_eq!(confirm.results[0].result.as_ref(), b"reserved");
}

#[tokio::test]
async fn invoke_takes_wrong_answers_for_unknown_and_calls_again() {
    let server = Server::start().await;
    let shop = Scripted::new(|number, call| match number {
        0 => Ok(v1::Result {
            call_id: call.call_id + 1,
            ..result(call, rejected("for another"))
        }),
        1 => Ok(result(call, large(65_537))),
        2 => Err(Status::internal("the shop is closed")),
        3 => Ok(v1::Result {
            outcome: None,
            ..result(call, done(b""))
        }),
        4 => Ok(result(call, large(200_000))),
        _ => Ok(result(call, done(b""))),
    });
    register(&server, &shop.serve().await, v1::Protocol::Invoke).await;
    let tx = run(&server, spend()).await;
    assert_eq!(tx.biz_status(), v1::BizStatus::Success);
    assert_attempts(
        &tx.actions[0],
        &[
            "for another call",
            "65537 bytes",
            "the shop is closed",
            "without an outcome",
            "200000 bytes",
        ],
    );
}

#[tokio::test]
async fn generic_invocation_sends_the_payload_as_the_message_and_the_context_as_metadata() {
    let server = Server::start().await;
    let shop = Scripted::new(|_, call| {
        assert_eq!(call.action, "a message of its own");
        Ok(v1::Result {
            call_id: 42,
            ..v1::Result::default()
        })
    });
    register(&server, &shop.serve().await, v1::Protocol::Grpc).await;
    let message = v1::Call {
        action: "a message of its own".to_owned(),
        ..v1::Call::default()
    };
    let action = v1::Action {
        payload: message.encode_to_vec().into(),
        ..spend()
    };
    let tx = run(&server, action).await;
    assert_eq!(tx.biz_status(), v1::BizStatus::Success);
    let result = v1::Result::decode(tx.actions[0].result.clone()).unwrap();
    assert_eq!(result.call_id, 42);
    let calls = shop.calls.lock().unwrap();
    let (context, _) = &calls[0];
    for (name, value) in [
        ("tercet-tx-id", tx.tx_id.as_str()),
        ("tercet-action", "spend"),
        ("tercet-operation", "TRY"),
        ("tercet-mode", "TCC"),
        ("tercet-business-id", ENCODED_ORDER),
        ("tercet-attempt", "1"),
    ] {
        assert_eq!(context[name], value, "{name}");
    }
    assert_eq!(calls[1].0["tercet-operation"], "CONFIRM");
}

#[tokio::test]
async fn aborted_is_a_rejection_of_a_try() {
    let server = Server::start().await;
    let shop = Scripted::new(|_, _| Err(Status::aborted("short of stock")));
    register(&server, &shop.serve().await, v1::Protocol::Grpc).await;
    let without_payload = v1::Action {
        payload: bytes::Bytes::new(),
        ..spend()
    };
    let tx = run(&server, without_payload).await;
    assert_eq!(tx.biz_status(), v1::BizStatus::Failure);
    assert_eq!(tx.cause.unwrap().reason, "short of stock");
}

/// A later registration has no method for what was begun before.
#[tokio::test]
async fn a_cancel_without_a_registered_method_parks() {
    let server = Server::start().await;
    let mut points = server.attach("points").await;
    let shop = Scripted::new(|_, call| Ok(result(call, done(b""))));
    let mut registration = registration(&shop.serve().await, v1::Protocol::Grpc);
    let mut client = server.participants();
    client.register(registration.clone()).await.unwrap();
    let first = v1::Action {
        payload: bytes::Bytes::new(),
        ..spend()
    };
    let second = v1::Action {
        after: vec!["spend".to_owned()],
        ..action("second", "points")
    };
    let tx_id = server.hand_over([first, second]).await;
    let call = points.call().await;
    registration.methods[0].cancel.clear();
    client.register(registration).await.unwrap();
    points.answer(&call, rejected("no points")).await;
    let tx = server.until_status(&tx_id, v1::TxStatus::Failure).await;
    assert!(
        tx.actions[0]
            .last_error
            .contains("no method registered for CANCEL"),
        "{tx:?}"
    );
}

#[tokio::test]
async fn a_try_to_an_address_without_a_listener_was_never_sent() {
    let server = Server::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    register(&server, &address, v1::Protocol::Invoke).await;
    let mut request = execute([spend()], v1::Wait::Decided);
    request.begin.as_mut().unwrap().timeout_ms = 300;
    let state = server.carry_out(request).await;
    assert_eq!(state.cause.unwrap().kind(), v1::CauseKind::Deadline);
    let tx = server
        .until_status(&state.tx_id, v1::TxStatus::Success)
        .await;
    assert_eq!(tx.actions[0].status(), v1::ActionStatus::Cancelled);
    for attempt in &tx.actions[0].attempts {
        assert_eq!(
            (attempt.outcome.as_str(), attempt.number),
            ("UNREACHABLE", 1)
        );
        let error = attempt.error.to_lowercase();
        assert!(error.contains("refused"), "{error}");
    }
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_unknown() {
    let server = Server::start().await;
    let shop = Scripted::new(|_, call| Ok(result(call, done(b"")))).slow(Duration::from_mins(1));
    register(&server, &shop.serve().await, v1::Protocol::Invoke).await;
    let spend = v1::Action {
        retry: Some(v1::RetryPolicy {
            first_delay_ms: 10,
            max_delay_ms: 10,
            max_attempts: 1,
            call_timeout_ms: 50,
            ..v1::RetryPolicy::default()
        }),
        ..spend()
    };
    let mut request = execute([spend], v1::Wait::Completed);
    request.begin.as_mut().unwrap().timeout_ms = 200;
    let state = server.carry_out(request).await;
    assert_eq!(state.status(), v1::TxStatus::Failure);
    let tx = server.get(&state.tx_id).await;
    let attempt = tx.actions[0].attempts.first().unwrap();
    assert_eq!(attempt.outcome, "UNKNOWN");
    assert!(attempt.duration_micros >= 40_000, "{attempt:?}");
}
