//! The end of a server, and its start.

use std::time::Duration;

use tercet_proto::v1::{self, attach_reply};
use tercet_server::ServeError;
use tercet_store::Nodes as _;
use tokio::time::timeout;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::harness::{PATIENCE, Server, begin, done, execute, hello, open, refusal, tcc};

/// The calls of the work in hand go on; Drain comes after the last of them.
#[tokio::test]
async fn a_stopping_server_finishes_the_work_in_hand_and_refuses_new_requests() {
    let mut server = Server::start().await;
    let mut points = server.attach("points").await;
    let mut client = server.coordinator();
    let request = execute([tcc("points")], v1::Wait::Completed);
    let waiting = tokio::spawn(async move { client.execute(request).await });
    let call = points.call().await;

    server.stop();
    until_draining(&server).await;
    points.answer(&call, done(b"")).await;
    points.agree_to(v1::Operation::Confirm).await;
    let state = waiting.await.unwrap().unwrap().into_inner();
    assert_eq!(state.status(), v1::TxStatus::Success);
    assert!(matches!(
        points.next().await,
        attach_reply::Message::Drain(_)
    ));
    assert_eq!(refusal(points.end().await), "DRAINING");
    server.ended().await.unwrap();
}

/// Waits until new requests are refused.
async fn until_draining(server: &Server) {
    let refused = timeout(PATIENCE, async {
        loop {
            if let Err(refused) = server.coordinator().begin(begin([])).await {
                return refused;
            }
        }
    });
    let refused = refused.await.unwrap();
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    assert_eq!(refusal::<()>(Err(refused)), "DRAINING");
}

/// The work in hand may need it.
#[tokio::test]
async fn a_participant_may_come_back_while_the_work_in_hand_goes_on() {
    let mut server = Server::start().await;
    let mut points = server.attach("points").await;
    let mut coupons = server.attach("coupons").await;
    server.hand_over([tcc("coupons")]).await;
    let held = coupons.call().await;
    let tx_id = server.hand_over([tcc("points")]).await;
    let _lost = points.call().await;
    drop(points);

    server.stop();
    until_draining(&server).await;
    let mut back = server.attach("points").await;
    back.agree_to(v1::Operation::Try).await;
    back.agree_to(v1::Operation::Confirm).await;
    server.until_status(&tx_id, v1::TxStatus::Success).await;
    coupons.answer(&held, done(b"")).await;
    coupons.agree_to(v1::Operation::Confirm).await;
    assert!(matches!(back.next().await, attach_reply::Message::Drain(_)));
    server.ended().await.unwrap();
}

#[tokio::test]
async fn no_call_follows_the_drain_and_no_participant_attaches_after_it() {
    let mut server = Server::with(|config| config.drain_timeout = Duration::from_secs(2)).await;
    let mut points = server.attach("points").await;
    let slow = v1::Action {
        retry: None,
        ..tcc("points")
    };
    server.hand_over([slow]).await;
    let call = points.call().await;
    server.stop();
    assert!(matches!(
        points.next().await,
        attach_reply::Message::Drain(_)
    ));
    let (_requests, late) = open(&server, hello("points", 1)).await;
    assert_eq!(refusal(late.unwrap().message().await), "DRAINING");
    // The answer counts; the Confirm that it leads to comes after the next start.
    points.answer(&call, done(b"")).await;
    assert_eq!(refusal(points.end().await), "DRAINING");
    server.ended().await.unwrap();
}

#[tokio::test]
async fn no_health_is_serving_while_the_server_drains() {
    let mut server = Server::start().await;
    let mut points = server.attach("points").await;
    let mut client = server.coordinator();
    let request = execute([tcc("points")], v1::Wait::Completed);
    let waiting = tokio::spawn(async move { client.execute(request).await });
    let call = points.call().await;
    server.stop();
    until_draining(&server).await;
    let mut health = HealthClient::new(server.channel());
    for service in [
        "",
        "tercet.v1.Coordinator",
        "tercet.v1.Participants",
        "tercet.v1.Operator",
    ] {
        let service = service.to_owned();
        let request = HealthCheckRequest { service };
        let state = health.check(request.clone()).await.unwrap().into_inner();
        assert_eq!(state.status(), ServingStatus::NotServing, "{request:?}");
    }
    points.answer(&call, done(b"")).await;
    points.agree_to(v1::Operation::Confirm).await;
    waiting.await.unwrap().unwrap();
    server.ended().await.unwrap();
}

#[tokio::test]
async fn a_server_that_cannot_finish_in_time_stops_all_the_same() {
    let mut server = Server::with(|config| config.drain_timeout = Duration::from_millis(100)).await;
    let mut points = server.attach("points").await;
    let mut client = server.coordinator();
    let request = execute([tcc("points")], v1::Wait::Completed);
    let waiting = tokio::spawn(async move { client.execute(request).await });
    let _never_answered = points.call().await;
    server.stop();
    server.ended().await.unwrap();
    let lost = timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert!(lost.is_err(), "{lost:?}");
}

#[tokio::test]
async fn a_node_that_was_started_again_elsewhere_ends_with_an_error() {
    let server = Server::with(|config| config.lease = Duration::from_millis(300)).await;
    // A server that answers has started.
    server.known().await;
    let lease = Duration::from_secs(1);
    server
        .store
        .start_node("node-1", "http://elsewhere:1", lease)
        .await
        .unwrap();
    match server.ended().await {
        Err(ServeError::Superseded { node, epoch }) => {
            assert_eq!((node.as_str(), epoch), ("node-1", 2));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn health_and_reflection_are_on() {
    let server = Server::start().await;
    let request = HealthCheckRequest {
        service: "tercet.v1.Coordinator".to_owned(),
    };
    let mut health = HealthClient::new(server.channel());
    let state = health.check(request).await.unwrap().into_inner();
    assert_eq!(state.status, 1);

    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::FileContainingSymbol(
            "tercet.v1.Coordinator".to_owned(),
        )),
    };
    let mut replies = ServerReflectionClient::new(server.channel())
        .server_reflection_info(tokio_stream::once(request))
        .await
        .unwrap()
        .into_inner();
    let reply = replies.message().await.unwrap().unwrap();
    let reply = reply.message_response.unwrap();
    assert!(
        matches!(reply, MessageResponse::FileDescriptorResponse(_)),
        "{reply:?}"
    );
}
