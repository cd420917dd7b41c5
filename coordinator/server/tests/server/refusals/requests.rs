//! Bad requests about a transaction: of initiators, of operators, of people who read.

use tercet_proto::v1;

use super::{assert_nothing_was_written, invalid};
use crate::harness::{Server, Session, refusal, tcc};

fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

#[tokio::test]
async fn a_bad_action_to_add_names_its_fields() {
    let server = Server::knowing(["points"]).await;
    let mut client = server.coordinator();
    let nothing = v1::AddActionRequest::default();
    let refused = client.add_action(nothing).await;
    assert_eq!(refusal(refused), invalid("action, tx_id"));
    let wrong = v1::AddActionRequest {
        tx_id: new_id(),
        action: Some(v1::Action {
            name: String::new(),
            after: vec!["b".to_owned(), "b".to_owned()],
            ..tcc("points")
        }),
    };
    let refused = client.add_action(wrong).await;
    assert_eq!(refusal(refused), invalid("action.after[1], action.name"));
    assert_nothing_was_written(&server).await;
}

#[tokio::test]
async fn a_bad_decision_names_its_fields() {
    let server = Server::knowing(["points"]).await;
    let wrong = v1::DecideRequest {
        tx_id: "x".to_owned(),
        outcome: 0,
        reason: "r".repeat(1_025),
        wait: v1::Wait::Accepted.into(),
    };
    let refused = server.coordinator().decide(wrong).await;
    assert_eq!(refusal(refused), invalid("outcome, reason, tx_id, wait"));
    assert_nothing_was_written(&server).await;
}

#[tokio::test]
async fn a_bad_command_of_an_operator_names_its_fields() {
    let server = Server::knowing(["points"]).await;
    let mut operator = server.operator();
    let refused = operator.retry(v1::RetryRequest::default()).await;
    assert_eq!(refusal(refused), invalid("reason, tx_id"));
    let resolve = v1::ResolveRequest {
        tx_id: new_id(),
        actions: vec!["a".to_owned(), "a".to_owned(), String::new()],
        r#as: v1::ActionStatus::Tried.into(),
        reason: "seen".to_owned(),
    };
    let refused = operator.resolve(resolve).await;
    assert_eq!(refusal(refused), invalid("actions[1], actions[2], as"));
    let decide = v1::OperatorDecideRequest {
        tx_id: new_id(),
        ..v1::OperatorDecideRequest::default()
    };
    let refused = operator.decide(decide).await;
    assert_eq!(refusal(refused), invalid("outcome, reason"));
    assert_nothing_was_written(&server).await;
}

#[tokio::test]
async fn a_bad_get_names_its_fields_and_one_of_nothing_its_reason() {
    let server = Server::knowing(["points"]).await;
    let mut client = server.coordinator();
    let id = new_id();
    for (tx_id, business_type, business_id, expected) in [
        ("", "", "", "INVALID_ARGUMENT: tx_id"),
        ("x", "", "", "INVALID_ARGUMENT: tx_id"),
        ("", "t", "", "INVALID_ARGUMENT: business_id"),
        (&id, "t", "i", "INVALID_ARGUMENT: business_type"),
        (&id, "", "", "TX_NOT_FOUND"),
        ("", "t", "i", "BUSINESS_NOT_FOUND"),
    ] {
        let request = v1::GetRequest {
            tx_id: tx_id.to_owned(),
            business_type: business_type.to_owned(),
            business_id: business_id.to_owned(),
        };
        assert_eq!(refusal(client.get(request).await), expected);
    }
}

#[tokio::test]
async fn a_bad_list_names_its_fields() {
    let server = Server::start().await;
    let wrong = v1::ListRequest {
        business_type: "t\0".to_owned(),
        statuses: vec![v1::TxStatus::Success.into(), 0],
        biz_statuses: vec![99],
        older_than_ms: -1,
        younger_than_ms: -1,
        page_size: 501,
        cursor: "x".to_owned(),
        ..v1::ListRequest::default()
    };
    let refused = server.coordinator().list(wrong).await;
    let fields = "biz_statuses[0], business_type, cursor, older_than_ms, page_size, statuses[1], \
                  younger_than_ms";
    assert_eq!(refusal(refused), invalid(fields));
}

#[tokio::test]
async fn a_bad_watch_names_its_field() {
    let server = Server::start().await;
    let watch = v1::WatchRequest::default();
    let refused = server.coordinator().watch(watch).await.map(drop);
    assert_eq!(refusal(refused), invalid("tx_id"));
}

#[tokio::test]
async fn a_session_with_too_large_a_batch_ends() {
    let server = Server::start().await;
    let mut session = Session::open(&server).await;
    let batch = vec![v1::SessionRequest::default(); 1_025];
    session.send_message(batch).await;
    assert_eq!(refusal(session.next().await), invalid("requests"));
}
