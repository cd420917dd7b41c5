//! Rows of `participant_info` that cannot be read: everyone else is served.

use tercet_harness::wait_until;
use tercet_proto::v1::{self, attach_reply};
use tercet_store::{ParticipantRow, Registry as _, SqliteStore};

use crate::harness::{PATIENCE, Server, begin, done, hello, open, refusal, tcc};

fn row(participant: &str, protocol: &str, methods: &str) -> ParticipantRow {
    ParticipantRow {
        participant: participant.into(),
        protocol: protocol.to_owned(),
        address: String::new(),
        methods: methods.to_owned(),
        policy: String::new(),
        paused: false,
        version: 1,
    }
}

/// Starts a server over a database with two rows that cannot be read.
async fn server() -> Server {
    let store = SqliteStore::temporary().await.unwrap();
    for row in [row("points", "PIGEON", ""), row("shop", "GRPC", "{")] {
        store.put_participant(&row).await.unwrap();
    }
    let server = Server::on(store, |_| {}).await;
    server.attach_agreeing(["coupons"]).await;
    server
}

/// Returns the end of a stream of an instance, or `welcome`.
async fn attached(server: &Server, participant: &str) -> String {
    let (_requests, replies) = open(server, hello(participant, 1)).await;
    match replies.unwrap().message().await {
        Ok(Some(v1::AttachReply {
            message: Some(attach_reply::Message::Welcome(_)),
        })) => "welcome".to_owned(),
        end => refusal(end),
    }
}

#[tokio::test]
async fn others_are_served_and_requests_that_name_it_are_refused() {
    let server = server().await;
    let state = server.execute([tcc("coupons")]).await;
    assert_eq!(state.biz_status(), v1::BizStatus::Success);
    let refused = server
        .coordinator()
        .begin(begin([tcc("coupons"), tcc("points")]))
        .await;
    let text = refused.as_ref().unwrap_err().message().to_owned();
    assert_eq!(refusal(refused), "CORRUPT_ROW: actions[1].participant");
    assert!(text.contains("PIGEON"), "{text}");
    // It may have an address, which no Hello takes away.
    assert_eq!(attached(&server, "points").await, "CORRUPT_ROW");
    let known = server.known().await;
    let listed: Vec<_> = known
        .iter()
        .map(|it| (&*it.participant, it.unreadable.is_empty()))
        .collect();
    assert_eq!(
        listed,
        [("coupons", true), ("points", false), ("shop", false)]
    );
}

#[tokio::test]
async fn a_registration_repairs_it() {
    let server = server().await;
    let registration = v1::RegisterRequest {
        participant: "points".to_owned(),
        protocol: v1::Protocol::Attach.into(),
        ..v1::RegisterRequest::default()
    };
    server.participants().register(registration).await.unwrap();
    server.attach_agreeing(["points"]).await;
    let state = server.execute([tcc("points")]).await;
    assert_eq!(state.biz_status(), v1::BizStatus::Success);
}

/// A transaction of before waits for it, visibly, and goes on once the row is repaired at the SQL prompt.
#[tokio::test]
async fn it_is_taken_up_once_it_can_be_read() {
    let store = SqliteStore::temporary().await.unwrap();
    let mut server = Server::on(store, |_| {}).await;
    drop(server.attach("points").await);
    let tx_id = server.hand_over([tcc("points")]).await;
    server.until(&tx_id, |tx| tx.waiting_for == "points").await;
    let store = std::sync::Arc::clone(&server.store);
    server.stop();
    server.ended().await.unwrap();
    store
        .put_participant(&row("points", "PIGEON", ""))
        .await
        .unwrap();

    let server = Server::again(store).await;
    let tx = server.until(&tx_id, |tx| tx.waiting_for == "points").await;
    let words = |it: &String| it.contains("row of participant points") && it.contains("PIGEON");
    assert!(tx.obstacles.iter().any(words), "{:?}", tx.obstacles);
    server
        .store
        .put_participant(&row("points", "ATTACH", ""))
        .await
        .unwrap();
    wait_until("the row is taken up", 2 * PATIENCE, || async {
        (attached(&server, "points").await == "welcome").then_some(())
    })
    .await;
    server.attach_answering("points", |_| done(b"")).await;
    server.until_status(&tx_id, v1::TxStatus::Success).await;
}
