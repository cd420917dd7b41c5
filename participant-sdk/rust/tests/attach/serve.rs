//! The participant as a server.

use std::sync::Arc;

use tercet_sdk::{
    CallAnswer, CallInterceptor, Mode, Next, Participant,
    proto::{self, participant_client::ParticipantClient, result},
};
use tokio::{net::TcpListener, sync::oneshot};

use crate::{call, coordinator::SOON};

#[tokio::test]
async fn calls_and_check_backs_are_served_until_the_end() {
    let participant = crate::participant(&Arc::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        participant
            .serve(listener, async move { stopped.await.unwrap_or(()) })
            .await
    });
    let mut client = ParticipantClient::connect(url).await.unwrap();
    let result = client.invoke(call(1, "echo")).await.unwrap().into_inner();
    assert_eq!(result.call_id, 1);
    assert!(matches!(result.outcome, Some(result::Outcome::Done(_))));
    let check_back = proto::CheckBackCall {
        attempt: 2,
        ..Default::default()
    };
    let answer = client.check_back(check_back).await.unwrap().into_inner();
    assert_eq!(answer.outcome(), proto::Outcome::Success);
    drop(client);
    stop.send(()).unwrap();
    tokio::time::timeout(SOON, server)
        .await
        .expect("it does not end")
        .unwrap()
        .unwrap();
}

/// Loses the reply of every second call.
struct Loses;

#[tonic::async_trait]
impl CallInterceptor for Loses {
    async fn around(&self, call: &proto::Call, next: Next<'_>) -> CallAnswer {
        let outcome = next.run().await;
        if call.call_id.is_multiple_of(2) {
            outcome
        } else {
            CallAnswer::Unknown("lost".to_owned())
        }
    }
}

#[tokio::test]
async fn an_interceptor_stands_around_every_call() {
    let participant = Participant::builder("shop")
        .raw("echo", Mode::Tcc, |_| async {
            CallAnswer::Rejected("é".repeat(600))
        })
        .interceptor(Arc::new(Loses))
        .build()
        .unwrap();
    let outcome = async |id| participant.call(call(id, "echo")).await.outcome.unwrap();
    assert!(
        matches!(outcome(1).await, result::Outcome::Unknown(unknown) if unknown.error == "lost")
    );
    let result::Outcome::Rejected(rejected) = outcome(2).await else {
        panic!("not rejected")
    };
    assert_eq!(rejected.reason.len(), 1_024, "a reason is cut");
}

#[test]
fn a_participant_that_makes_no_sense_is_refused_by_name() {
    let echo = |_: proto::Call| async { CallAnswer::done() };
    let refused = |participant: &str, handlers: &[&str], concurrency: u32| {
        let builder = Participant::builder(participant).concurrency(concurrency);
        let handlers = handlers.iter().copied();
        let builder = handlers.fold(builder, |builder, name| builder.raw(name, Mode::Tcc, echo));
        builder.build().err().map(|error| error.field)
    };
    assert_eq!(refused("shop", &["a", "b"], 1), None);
    let long = "x".repeat(129);
    for name in ["", "a\0b", &long] {
        assert_eq!(refused(name, &[], 1).as_deref(), Some("participant"));
        assert_eq!(
            refused("shop", &["a", name], 1),
            Some(format!("handler {name:?}"))
        );
    }
    assert_eq!(
        refused("shop", &["a", "a"], 1).as_deref(),
        Some("handler \"a\"")
    );
    assert_eq!(refused("shop", &[], 0).as_deref(), Some("concurrency"));
    assert_eq!(
        refused("shop", &[], 100_001).as_deref(),
        Some("concurrency")
    );
    let many: Vec<String> = (0..257).map(|index| index.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(refused("shop", &many, 1).as_deref(), Some("handlers"));
}

/// Only a Try has a result, and so only a Try's answer can be too large.
#[tokio::test]
async fn a_confirm_is_done_whatever_the_size_of_what_it_returns() {
    let large = Participant::builder("shop")
        .raw("large", Mode::Tcc, |_| async {
            CallAnswer::Done(vec![0; 70_000])
        })
        .build()
        .unwrap();
    let answer = async |operation: proto::Operation| {
        let call = proto::Call {
            operation: operation.into(),
            participant: "shop".to_owned(),
            ..call(1, "large")
        };
        large.call(call).await.outcome.unwrap()
    };
    let done = result::Outcome::Done(proto::Done::default());
    assert_eq!(answer(proto::Operation::Confirm).await, done);
    assert_eq!(answer(proto::Operation::Cancel).await, done);
    let result::Outcome::Unknown(unknown) = answer(proto::Operation::Try).await else {
        panic!("a Try returns 64 KiB at most");
    };
    assert!(unknown.error.contains("70000 bytes"), "{}", unknown.error);
}
