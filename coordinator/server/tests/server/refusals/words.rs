//! Numbers that stand for no word of the wire: each field of an enumeration says which it knows.

use std::fmt::Debug;

use tercet_proto::v1;
use tonic::Status;

use crate::harness::{Server, begin, execute, handler, hello, open, tcc};

/// A number that no enumeration has.
const UNKNOWN: i32 = 99;

fn message<T: Debug>(result: Result<T, Status>) -> String {
    result.unwrap_err().message().to_owned()
}

/// Returns the names of an enumeration's values from 1 on.
fn names<E: TryFrom<i32>>(name: impl Fn(&E) -> &'static str) -> String {
    let values = (1..).map_while(|number| E::try_from(number).ok());
    values
        .map(|value| name(&value))
        .collect::<Vec<_>>()
        .join(", ")
}

#[track_caller]
fn assert_says(text: &str, field: &str, known: &str) {
    let expected = format!("{field}: has the unknown value {UNKNOWN}; known: {known}");
    assert!(text.contains(&expected), "{text}\nexpected: {expected}");
}

#[tokio::test]
async fn a_number_that_is_no_word_is_named_with_those_that_are() {
    let server = Server::knowing(["points"]).await;
    let mut client = server.coordinator();
    let modes = names(v1::Mode::as_str_name);
    let outcomes = names(v1::Outcome::as_str_name);
    let waits = names(v1::Wait::as_str_name);

    let wrong = v1::Action {
        mode: UNKNOWN,
        ..tcc("points")
    };
    let refused = client.begin(begin([wrong.clone()])).await;
    assert_says(&message(refused), "actions[0].mode", &modes);
    let request = v1::AddActionRequest {
        tx_id: uuid::Uuid::now_v7().to_string(),
        action: Some(wrong),
    };
    let refused = client.add_action(request).await;
    assert_says(&message(refused), "action.mode", &modes);

    let request = v1::ExecuteRequest {
        wait: UNKNOWN,
        ..execute([tcc("points")], v1::Wait::Decided)
    };
    let refused = message(client.execute(request).await);
    assert_says(&refused, "wait", &waits);
    let request = v1::DecideRequest {
        outcome: UNKNOWN,
        wait: UNKNOWN,
        ..v1::DecideRequest::default()
    };
    let refused = message(client.decide(request).await);
    assert_says(&refused, "outcome", &outcomes);
    assert_says(&refused, "wait", &waits);

    let request = v1::ListRequest {
        statuses: vec![1, UNKNOWN],
        biz_statuses: vec![UNKNOWN],
        ..v1::ListRequest::default()
    };
    let refused = message(client.list(request).await);
    let statuses = names(v1::TxStatus::as_str_name);
    assert_says(&refused, "statuses[1]", &statuses);
    let statuses = names(v1::BizStatus::as_str_name);
    assert_says(&refused, "biz_statuses[0]", &statuses);
}

#[tokio::test]
async fn so_is_one_of_an_operator_or_a_participant() {
    let server = Server::knowing(["points"]).await;
    let request = v1::OperatorDecideRequest {
        outcome: UNKNOWN,
        ..v1::OperatorDecideRequest::default()
    };
    let refused = message(server.operator().decide(request).await);
    let outcomes = names(v1::Outcome::as_str_name);
    assert_says(&refused, "outcome", &outcomes);
    let request = v1::ResolveRequest {
        r#as: UNKNOWN,
        ..v1::ResolveRequest::default()
    };
    let refused = message(server.operator().resolve(request).await);
    let ends = "ACTION_STATUS_CONFIRMED, ACTION_STATUS_CANCELLED";
    assert_says(&refused, "as", ends);

    let request = v1::RegisterRequest {
        protocol: UNKNOWN,
        ..v1::RegisterRequest::default()
    };
    let refused = message(server.participants().register(request).await);
    let protocols = names(v1::Protocol::as_str_name);
    assert_says(&refused, "protocol", &protocols);

    let mut first = hello("coupons", 1);
    if let Some(v1::attach_request::Message::Hello(hello)) = &mut first.message {
        let mut wrong = handler("reserve", v1::Mode::Tcc);
        wrong.mode = UNKNOWN;
        hello.handlers = vec![wrong];
    }
    let (_requests, replies) = open(&server, first).await;
    let ended = match replies {
        Ok(mut replies) => message(replies.message().await),
        Err(refused) => refused.message().to_owned(),
    };
    let modes = names(v1::Mode::as_str_name);
    assert_says(&ended, "hello.handlers[0].mode", &modes);
}
