//! Participants that are called at an address: `Participant/Invoke`, any gRPC method, HTTP POST.

mod connections;
mod flood;
mod grpc;
mod http;
mod scripted;
mod sizes;
mod switched;

use tercet_proto::v1;

use self::{http::Web, scripted::Scripted};
use crate::harness::{Server, action, asking_back, done, of_order, result};

/// A business id that has to be encoded in metadata and headers.
const ORDER: &str = "Auftrag 7 für Jürgen, 50%";
const ENCODED_ORDER: &str = "Auftrag%207%20f%C3%BCr%20J%C3%BCrgen,%2050%25";

/// Registers the participant `shop` with its handler `spend`.
async fn register(server: &Server, address: &str, protocol: v1::Protocol) {
    let request = registration(address, protocol);
    server.participants().register(request).await.unwrap();
}

fn registration(address: &str, protocol: v1::Protocol) -> v1::RegisterRequest {
    let method = |name: &str| match protocol {
        v1::Protocol::Grpc => "/tercet.v1.Participant/Invoke".to_owned(),
        _ => format!("/{name}"),
    };
    let methods = v1::Methods {
        handler: "spend".to_owned(),
        r#try: method("try"),
        confirm: method("confirm"),
        cancel: method("cancel"),
    };
    let (methods, check_back) = match protocol {
        v1::Protocol::Invoke => (Vec::new(), String::new()),
        v1::Protocol::Grpc => (vec![methods], "/tercet.v1.Participant/CheckBack".to_owned()),
        _ => (vec![methods], "/outcome".to_owned()),
    };
    v1::RegisterRequest {
        participant: "shop".to_owned(),
        protocol: protocol.into(),
        address: address.to_owned(),
        methods,
        check_back,
        concurrency: 4,
    }
}

fn spend() -> v1::Action {
    action("spend", "shop")
}

/// Executes an action of `shop`, and waits until the transaction is finished or parked.
async fn run(server: &Server, action: v1::Action) -> v1::Transaction {
    let state = server.carry_out(of_order(ORDER, action)).await;
    server
        .until(&state.tx_id, |tx| tx.next_attempt_at_micros == 0)
        .await
}

/// Asserts that an action has as many attempts as given, each with an error that contains the text.
#[track_caller]
fn assert_attempts(action: &v1::ActionView, expected: &[&str]) {
    let errors: Vec<_> = action.attempts.iter().map(|a| a.error.as_str()).collect();
    assert_eq!(errors.len(), expected.len(), "{errors:?}");
    for (error, expected) in errors.iter().zip(expected) {
        assert!(error.contains(expected), "{error} lacks {expected}");
    }
}

#[tokio::test]
async fn an_initiator_at_an_address_is_asked_back() {
    let scripted = Scripted::new(|_, call| Ok(result(call, done(b""))));
    for (protocol, address, outcome) in [
        (
            v1::Protocol::Invoke,
            scripted.serve().await,
            v1::BizStatus::Failure,
        ),
        (
            v1::Protocol::Grpc,
            scripted.serve().await,
            v1::BizStatus::Failure,
        ),
        (
            v1::Protocol::Http,
            Web::default().serve().await,
            v1::BizStatus::Success,
        ),
    ] {
        let server = Server::start().await;
        register(&server, &address, protocol).await;
        let tx_id = server.begin(asking_back("shop")).await.tx_id;
        let tx = server.until_status(&tx_id, v1::TxStatus::Success).await;
        assert_eq!(tx.biz_status(), outcome, "{protocol:?}");
    }
}
