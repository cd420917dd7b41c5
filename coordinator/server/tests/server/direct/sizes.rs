//! Answers of any size: only the result of a Try has a limit, and a rejection is one however long it is.

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
    routing::post,
};
use tercet_proto::v1::{self, result::Outcome};
use tokio::{io::AsyncWriteExt, net::TcpListener};
use tonic::Status;

use super::{register, scripted::Scripted};
use crate::harness::{Server, action, done, execute, quick, rejected, result, tcc, until};

/// A text far above every limit, of characters that take nine bytes each in a header.
fn long() -> String {
    "满".repeat(40_000)
}

/// Makes an action of `shop` without a payload, for which there is time on a slow machine too.
fn patient(name: &str) -> v1::Action {
    v1::Action {
        payload: Bytes::new(),
        retry: Some(v1::RetryPolicy {
            call_timeout_ms: 15_000,
            ..quick(5)
        }),
        ..action(name, "shop")
    }
}

/// Executes an action of `shop` to its end.
async fn run(server: &Server) -> v1::Transaction {
    let state = server.execute([patient("spend")]).await;
    server.get(&state.tx_id).await
}

fn large(bytes: usize) -> Outcome {
    Outcome::Done(v1::Done {
        result: vec![0; bytes].into(),
    })
}

/// Serves these answers to a Try and to what follows it; returns the address.
async fn web(tried: (StatusCode, String), finished: (StatusCode, String)) -> String {
    let answer = move |headers: HeaderMap, _: Bytes| async move {
        if headers["tercet-operation"] == "TRY" {
            tried.into_response()
        } else {
            finished.into_response()
        }
    };
    let router = Router::new().fallback(post(answer));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn assert_committed_at_once(tx: &v1::Transaction) {
    assert_eq!(tx.status(), v1::TxStatus::Success, "{tx:?}");
    assert_eq!(tx.biz_status(), v1::BizStatus::Success);
    assert!(
        tx.actions[0].attempts.is_empty(),
        "{:?}",
        tx.actions[0].attempts
    );
    assert!(tx.actions[0].result.is_empty());
}

#[tokio::test]
async fn a_confirm_is_done_whatever_the_size_of_its_answer() {
    for bytes in [65_537, 6_000_000] {
        for protocol in [v1::Protocol::Invoke, v1::Protocol::Grpc] {
            let server = Server::start().await;
            let generic = protocol == v1::Protocol::Grpc;
            let shop = Scripted::new(move |number, call| match (number, generic) {
                (0, true) => Ok(v1::Result::default()),
                (0, false) => Ok(result(call, done(b""))),
                _ => Ok(result(call, large(bytes))),
            });
            register(&server, &shop.serve().await, protocol).await;
            assert_committed_at_once(&run(&server).await);
        }
        let server = Server::start().await;
        let done = (StatusCode::OK, "x".repeat(bytes));
        let address = web((StatusCode::NO_CONTENT, String::new()), done).await;
        register(&server, &address, v1::Protocol::Http).await;
        assert_committed_at_once(&run(&server).await);
    }
}

#[tokio::test]
async fn a_confirm_of_an_attached_participant_is_done_whatever_the_size_of_its_answer() {
    let server = Server::start().await;
    server
        .attach_answering("points", |call| match call.operation() {
            v1::Operation::Try => done(b""),
            _ => large(6_000_000),
        })
        .await;
    let state = server.execute([tcc("points")]).await;
    assert_committed_at_once(&server.get(&state.tx_id).await);
}

fn assert_rejected(tx: &v1::Transaction) {
    assert_eq!(tx.status(), v1::TxStatus::Success, "{tx:?}");
    let cause = tx.cause.as_ref().unwrap();
    assert_eq!(cause.kind(), v1::CauseKind::Rejected);
    assert_eq!(
        cause.reason,
        "满".repeat(341),
        "1,024 bytes, cut between characters"
    );
}

#[tokio::test]
async fn a_rejection_is_one_at_any_length() {
    let by_status = |_: usize, _: &v1::Call| Err(Status::aborted(long()));
    let by_result = |_: usize, call: &v1::Call| Ok(result(call, rejected(&long())));
    for (protocol, shop) in [
        (v1::Protocol::Grpc, Scripted::new(by_status)),
        (v1::Protocol::Invoke, Scripted::new(by_status)),
        (v1::Protocol::Invoke, Scripted::new(by_result)),
    ] {
        let server = Server::start().await;
        register(&server, &shop.serve().await, protocol).await;
        assert_rejected(&run(&server).await);
    }
    let server = Server::start().await;
    let conflict = (StatusCode::CONFLICT, long());
    let address = web(conflict.clone(), conflict).await;
    register(&server, &address, v1::Protocol::Http).await;
    assert_rejected(&run(&server).await);
}

/// The status of HTTP comes first, and is enough.
#[tokio::test]
async fn a_rejection_whose_words_do_not_all_come_is_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut stalled = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = "HTTP/1.1 409 Conflict\r\ncontent-length: 1000\r\n\r\nsold out";
            stream.write_all(head.as_bytes()).await.unwrap();
            stalled.push(stream);
        }
    });
    let server = Server::start().await;
    register(&server, &address, v1::Protocol::Http).await;
    let sold_out = v1::Action {
        retry: Some(quick(5)),
        ..patient("spend")
    };
    let state = server.execute([sold_out]).await;
    assert_eq!(state.cause.unwrap().reason, "sold out");
}

#[tokio::test]
async fn a_rejection_of_an_attached_participant_is_one_at_any_length() {
    let server = Server::start().await;
    server
        .attach_answering("points", |_| rejected(&long()))
        .await;
    let state = server.execute([tcc("points")]).await;
    assert_rejected(&server.get(&state.tx_id).await);
}

/// Other calls on the same connection are not lost with an answer that is long.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_rejection_takes_no_other_call_with_it() {
    let server = Server::start().await;
    let (waits, waited) = std::sync::mpsc::channel::<()>();
    let waited = std::sync::Mutex::new(waited);
    let shop = Scripted::new(move |_, call| match call.action.as_str() {
        "spend" => {
            // Answered once the rejection is there.
            tokio::task::block_in_place(|| waited.lock().unwrap().recv().unwrap_or_default());
            Ok(result(call, done(b"")))
        }
        _ => Err(Status::aborted(long())),
    });
    register(&server, &shop.serve().await, v1::Protocol::Invoke).await;
    let spent = server.hand_over([patient("spend")]).await;
    // The first call is under way before the other leaves.
    until(|| !shop.calls.lock().unwrap().is_empty()).await;
    let refused = server
        .carry_out(execute([patient("other")], v1::Wait::Completed))
        .await;
    assert_eq!(refused.biz_status(), v1::BizStatus::Failure);
    drop(waits);
    let tx = server.until(&spent, |tx| tx.decided_at_micros > 0).await;
    assert_eq!(tx.biz_status(), v1::BizStatus::Success);
    assert!(
        tx.actions[0].attempts.is_empty(),
        "{:?}",
        tx.actions[0].attempts
    );
}
