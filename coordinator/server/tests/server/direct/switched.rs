//! Participants that are registered at an address and attach as well, one after the other.

use tercet_proto::v1::{self, attach_reply};
use tercet_store::Registry as _;
use tokio::time::timeout;

use super::Scripted;
use crate::harness::{PATIENCE, Server, done, hello, open, refusal, result, tcc};

fn at_address(address: &str) -> v1::RegisterRequest {
    v1::RegisterRequest {
        protocol: v1::Protocol::Invoke.into(),
        address: address.to_owned(),
        ..attaching()
    }
}

fn attaching() -> v1::RegisterRequest {
    v1::RegisterRequest {
        participant: "shop".to_owned(),
        protocol: v1::Protocol::Attach.into(),
        ..v1::RegisterRequest::default()
    }
}

/// Returns the end of a stream whose instance attaches as `shop`.
async fn attached(server: &Server) -> String {
    let (_requests, replies) = open(server, hello("shop", 1)).await;
    match replies.unwrap().message().await {
        Ok(Some(v1::AttachReply {
            message: Some(attach_reply::Message::Welcome(_)),
        })) => "welcome".to_owned(),
        end => refusal(end),
    }
}

#[tokio::test]
async fn no_hello_takes_the_address_of_a_registered_participant_away() {
    let server = Server::start().await;
    let mut client = server.participants();
    let address = "http://127.0.0.1:1";
    client.register(at_address(address)).await.unwrap();
    assert_eq!(attached(&server).await, "PARTICIPANT_REGISTERED");
    let known = server.known().await.remove(0);
    assert_eq!(
        (known.protocol(), &*known.address),
        (v1::Protocol::Invoke, address)
    );
    let rows = server.store.participants().await.unwrap();
    let row = rows[0].as_ref().unwrap();
    assert_eq!((row.protocol.as_str(), row.version), ("INVOKE", 1));

    let reply = client.register(attaching()).await.unwrap().into_inner();
    assert_eq!(reply.replaced, Some(at_address(address)));
    assert_eq!(attached(&server).await, "welcome");
}

/// Its instances learn of it, and what was under way on their streams goes to the address.
#[tokio::test]
async fn a_registration_ends_the_streams_of_instances_that_are_attached() {
    let server = Server::start().await;
    let mut attached = server.attach("shop").await;
    let tx_id = server.hand_over([tcc("shop")]).await;
    assert_eq!(attached.call().await.operation(), v1::Operation::Try);

    let shop = Scripted::new(|_, call| Ok(result(call, done(b""))));
    let address = shop.serve().await;
    let mut client = server.participants();
    client.register(at_address(&address)).await.unwrap();

    let end = timeout(PATIENCE, attached.end()).await.unwrap();
    assert_eq!(refusal(end), "PARTICIPANT_REGISTERED");
    let tx = server.until_status(&tx_id, v1::TxStatus::Success).await;
    assert_eq!(tx.biz_status(), v1::BizStatus::Success);
    let calls = shop.calls.lock().unwrap();
    let operations: Vec<_> = calls.iter().map(|(_, call)| call.operation()).collect();
    assert_eq!(operations, [v1::Operation::Try, v1::Operation::Confirm]);
}
