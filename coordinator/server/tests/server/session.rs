//! Sessions: many requests over one stream, each with one reply.

use std::time::Duration;

use tercet_proto::v1::{self, session_reply::Reply, session_request::Request};
use tokio::time::timeout;

use crate::harness::{PATIENCE, Server, Session, begin, execute, refusal, tcc};

fn get(tx_id: &str) -> Request {
    Request::Get(v1::GetRequest {
        tx_id: tx_id.to_owned(),
        ..v1::GetRequest::default()
    })
}

fn spend() -> Request {
    Request::Execute(execute([tcc("points")], v1::Wait::Completed))
}

/// Returns the error that a reply is: its reason, followed by the fields that it names.
fn error(reply: &Reply) -> String {
    let Reply::Error(error) = reply else {
        panic!("{reply:?}")
    };
    let fields = error.violations.iter().map(|v| format!(" {}", v.field));
    format!("{}{}", error.reason, fields.collect::<String>())
}

/// Returns the id of the transaction that a reply to a Get is.
fn transaction(reply: &Reply) -> &str {
    let Reply::Transaction(transaction) = reply else {
        panic!("{reply:?}")
    };
    &transaction.tx_id
}

#[tokio::test]
async fn a_session_carries_many_requests_at_once() {
    let server = Server::start().await;
    server.attach_agreeing(["points"]).await;
    let mut session = Session::open(&server).await;
    let mut batch: Vec<_> = (0..20).map(|id| (id, Some(spend()))).collect();
    let no_action = Request::Execute(execute([], v1::Wait::Decided));
    let unknown = uuid::Uuid::now_v7().to_string();
    batch.extend([
        (100, Some(no_action)),
        (101, Some(get(&unknown))),
        (102, None),
    ]);
    let batch = batch.into_iter();
    session
        .send_message(
            batch
                .map(|(id, request)| v1::SessionRequest { id, request })
                .collect(),
        )
        .await;

    let replies = session.replies(23).await;
    for id in 0..20 {
        match &replies[&id] {
            Reply::State(state) => assert_eq!(state.status(), v1::TxStatus::Success),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(error(&replies[&100]), "INVALID_ARGUMENT begin.actions");
    assert_eq!(error(&replies[&101]), "TX_NOT_FOUND");
    assert_eq!(error(&replies[&102]), "INVALID_ARGUMENT request");
}

#[tokio::test]
async fn a_request_id_that_is_still_open_is_refused_until_it_is_forgotten() {
    let server = Server::start().await;
    let mut points = server.attach("points").await;
    let mut session = Session::open(&server).await;
    session.send([(7, spend())]).await;
    let _never_answered = points.call().await;
    session.send([(7, spend())]).await;
    let replies = session.replies(1).await;
    assert_eq!(error(&replies[&7]), "REQUEST_ID_OPEN");
    session.send([(0, Request::Forget(7))]).await;
    session.send([(7, spend())]).await;
    let _called_again = points.call().await;
}

/// The read of a forgotten Get goes on; its reply must not come for the Get that has the id now. In one message no read
/// can end before its Forget; of many, some end before the read of the later Get.
#[tokio::test]
async fn a_get_with_the_id_of_a_forgotten_one_has_one_reply_its_own() {
    const IDS: u64 = 200;
    let server = Server::start().await;
    let first = server.begin(begin([])).await.tx_id;
    let second = server.begin(begin([])).await.tx_id;
    let mut session = Session::open(&server).await;
    let forgotten_and_reused = (0..IDS).flat_map(|id| {
        [
            (id, get(&first)),
            (0, Request::Forget(id)),
            (id, get(&second)),
        ]
    });
    session.send(forgotten_and_reused).await;

    let replies = session.replies(200).await;
    for id in 0..IDS {
        assert_eq!(transaction(&replies[&id]), second, "request {id}");
    }
    // Reads take turns: after one more round of them, every forgotten one has ended.
    session
        .send((IDS..2 * IDS).map(|id| (id, get(&first))))
        .await;
    let replies = session.replies(200).await;
    assert!(replies.keys().all(|id| *id >= IDS), "a second reply came");
    for reply in replies.values() {
        assert_eq!(transaction(reply), first);
    }
}

#[tokio::test]
async fn a_caller_that_ends_its_side_gets_every_reply_and_then_the_end() {
    let server = Server::start().await;
    let mut points = server.attach("points").await;
    let begun = server.begin(begin([])).await.tx_id;
    let mut session = Session::open(&server).await;
    let nothing = Request::Execute(execute([], v1::Wait::Decided));
    session
        .send([(1, spend()), (2, get(&begun)), (3, nothing)])
        .await;
    session.end_requests();
    let replies = session.replies(2).await;
    assert_eq!(transaction(&replies[&2]), begun);
    assert_eq!(error(&replies[&3]), "INVALID_ARGUMENT begin.actions");
    // The Execute is open, so the session is too.
    points.agree_to(v1::Operation::Try).await;
    points.agree_to(v1::Operation::Confirm).await;
    let replies = session.replies(1).await;
    assert!(matches!(replies[&1], Reply::State(_)), "{replies:?}");
    let end = timeout(PATIENCE, session.next()).await;
    assert!(end.expect("the session ends").unwrap().is_none());
}

#[tokio::test]
async fn requests_open_when_the_server_stops_have_an_unknown_outcome() {
    for ends_its_side in [false, true] {
        let hurry = Duration::from_millis(100);
        let mut server = Server::with(|config| config.drain_timeout = hurry).await;
        let mut points = server.attach("points").await;
        let mut session = Session::open(&server).await;
        session.send([(5, spend())]).await;
        let _never_answered = points.call().await;
        if ends_its_side {
            session.end_requests();
        }
        server.stop();
        let replies = session.replies(1).await;
        assert_eq!(error(&replies[&5]), "OUTCOME_UNKNOWN");
        let end = timeout(PATIENCE, session.next()).await;
        assert_eq!(refusal(end.expect("the session ends")), "DRAINING");
        server.ended().await.unwrap();
    }
}
