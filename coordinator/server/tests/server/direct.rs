//! Participants that are called at an address: `Participant/Invoke`, any gRPC method, HTTP POST.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response as HttpResponse},
    routing::post,
};
use prost::Message;
use tercet_proto::v1::{
    self,
    participant_server::{Participant, ParticipantServer},
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, metadata::KeyAndValueRef};

use crate::harness::{Attached, Server, action, begin, done, execute, rejected, result};

type Metadata = BTreeMap<String, String>;

/// What a scripted participant does with a call, by its number from 0.
type Script = dyn Fn(usize, &v1::Call) -> Result<v1::Result, Status> + Send + Sync;

/// A participant on a port of its own that keeps what it was sent.
#[derive(Clone)]
struct Scripted {
    seen: Arc<Mutex<Vec<(Metadata, v1::Call)>>>,
    script: Arc<Script>,
    delay: Duration,
}

#[tonic::async_trait]
impl Participant for Scripted {
    async fn invoke(&self, request: Request<v1::Call>) -> Result<Response<v1::Result>, Status> {
        let metadata = metadata(&request);
        let call = request.into_inner();
        let number = {
            let mut seen = self.seen.lock().unwrap();
            seen.push((metadata, call.clone()));
            seen.len() - 1
        };
        tokio::time::sleep(self.delay).await;
        (self.script)(number, &call).map(Response::new)
    }

    async fn check_back(
        &self,
        request: Request<v1::CheckBackCall>,
    ) -> Result<Response<v1::CheckBackResult>, Status> {
        let asked = request.into_inner();
        let mut response = Response::new(v1::CheckBackResult {
            epoch: asked.epoch,
            call_id: asked.call_id,
            tx_id: asked.tx_id,
            outcome: v1::Outcome::Failure.into(),
            error: String::new(),
        });
        response
            .metadata_mut()
            .insert("tercet-outcome", "FAILURE".parse().unwrap());
        Ok(response)
    }
}

fn metadata<T>(request: &Request<T>) -> Metadata {
    let pairs = request.metadata().iter().filter_map(|pair| match pair {
        KeyAndValueRef::Ascii(key, value) => {
            Some((key.to_string(), value.to_str().unwrap().to_owned()))
        }
        KeyAndValueRef::Binary(..) => None,
    });
    pairs.collect()
}

async fn scripted(
    delay: Duration,
    script: impl Fn(usize, &v1::Call) -> Result<v1::Result, Status> + Send + Sync + 'static,
) -> (Scripted, String) {
    let participant = Scripted {
        seen: Arc::default(),
        script: Arc::new(script),
        delay,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let service = ParticipantServer::new(participant.clone());
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    (participant, address)
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
        cancel: String::new(),
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

async fn register(server: &Server, address: &str, protocol: v1::Protocol) {
    let request = registration(address, protocol);
    server.participants().register(request).await.unwrap();
}

/// Executes one action of `shop` and waits for its end.
async fn run(server: &Server, change: impl FnOnce(&mut v1::Action)) -> v1::Transaction {
    let mut spend = action("spend", "shop");
    change(&mut spend);
    let mut wanted = execute(vec![spend], v1::Wait::Completed);
    wanted.begin.as_mut().unwrap().business_id = "Auftrag 7 für Jürgen, 50%".to_owned();
    let state = server
        .coordinator()
        .execute(wanted)
        .await
        .unwrap()
        .into_inner();
    server
        .until(&state.tx_id, |tx| tx.next_attempt_at_micros == 0)
        .await
}

#[tokio::test]
async fn invoke_carries_the_call_and_brings_the_result() {
    let server = Server::start().await;
    let (shop, address) = scripted(Duration::ZERO, |_, call| {
        Ok(result(call, done(b"reserved")))
    })
    .await;
    register(&server, &address, v1::Protocol::Invoke).await;
    let tx = run(&server, |_| {}).await;
    assert_eq!(tx.biz_status(), v1::BizStatus::Success);
    assert_eq!(tx.actions[0].result.as_ref(), b"reserved");
    let seen = shop.seen.lock().unwrap();
    let [(_, attempt), (_, confirm)] = seen.as_slice() else {
        panic!("{seen:?}")
    };
    assert_eq!(attempt.operation(), v1::Operation::Try);
    assert_eq!(attempt.payload.as_ref(), b"spend");
    assert_eq!(confirm.operation(), v1::Operation::Confirm);
    assert_eq!(confirm.results[0].result.as_ref(), b"reserved");
}

#[tokio::test]
async fn invoke_takes_wrong_answers_for_unknown_and_asks_again() {
    let server = Server::start().await;
    let (_shop, address) = scripted(Duration::ZERO, |number, call| match number {
        0 => Ok(v1::Result {
            call_id: call.call_id + 1,
            ..result(call, rejected("for another"))
        }),
        1 => Ok(result(
            call,
            v1::result::Outcome::Done(v1::Done {
                result: vec![0; 65_537].into(),
            }),
        )),
        2 => Err(Status::internal("the shop is closed")),
        3 => Ok(v1::Result {
            outcome: None,
            ..result(call, done(b""))
        }),
        4 => Ok(result(
            call,
            v1::result::Outcome::Done(v1::Done {
                result: vec![0; 200_000].into(),
            }),
        )),
        _ => Ok(result(call, done(b""))),
    })
    .await;
    register(&server, &address, v1::Protocol::Invoke).await;
    let tx = run(&server, |_| {}).await;
    assert_eq!(tx.biz_status(), v1::BizStatus::Success);
    let errors: Vec<_> = tx.actions[0]
        .attempts
        .iter()
        .map(|a| a.error.as_str())
        .collect();
    let expected = [
        "for another call",
        "65537 bytes",
        "the shop is closed",
        "without an outcome",
        "too large",
    ];
    assert_eq!(errors.len(), expected.len(), "{errors:?}");
    for (error, expected) in errors.iter().zip(expected) {
        assert!(error.contains(expected), "{error} lacks {expected}");
    }
}

#[tokio::test]
async fn generic_invocation_sends_the_payload_as_the_message_and_the_context_as_metadata() {
    let server = Server::start().await;
    let (shop, address) = scripted(Duration::ZERO, |_, call| {
        assert_eq!(call.action, "a message of its own");
        Ok(v1::Result {
            call_id: 42,
            ..v1::Result::default()
        })
    })
    .await;
    register(&server, &address, v1::Protocol::Grpc).await;
    let payload = v1::Call {
        action: "a message of its own".to_owned(),
        ..v1::Call::default()
    };
    let tx = run(&server, |action| {
        action.payload = payload.encode_to_vec().into();
    })
    .await;
    assert_eq!(tx.biz_status(), v1::BizStatus::Success);
    let result = v1::Result::decode(tx.actions[0].result.clone()).unwrap();
    assert_eq!(result.call_id, 42);
    let seen = shop.seen.lock().unwrap();
    let (context, _) = &seen[0];
    assert_eq!(context["tercet-tx-id"], tx.tx_id);
    assert_eq!(context["tercet-action"], "spend");
    assert_eq!(context["tercet-operation"], "TRY");
    assert_eq!(context["tercet-mode"], "TCC");
    assert_eq!(
        context["tercet-business-id"],
        "Auftrag%207%20f%C3%BCr%20J%C3%BCrgen,%2050%25"
    );
    assert_eq!(context["tercet-attempt"], "1");
    assert_eq!(seen[1].0["tercet-operation"], "CONFIRM");
}

#[tokio::test]
async fn aborted_is_a_rejection_of_a_try_and_its_cancel_without_a_method_parks() {
    let server = Server::start().await;
    let (_shop, address) = scripted(Duration::ZERO, |_, _| {
        Err(Status::aborted("short of stock"))
    })
    .await;
    register(&server, &address, v1::Protocol::Grpc).await;
    let tx = run(&server, |action| action.payload.clear()).await;
    assert_eq!(tx.biz_status(), v1::BizStatus::Failure);
    assert_eq!(tx.cause.unwrap().reason, "short of stock");

    // A Try that came through, and a Cancel nobody registered a method for.
    let points = Attached::new(&server, "points", 1).await;
    let _points = points.answering(|call| match call.operation() {
        v1::Operation::Try => Some(rejected("no points")),
        _ => Some(done(b"")),
    });
    let (_shop, address) = scripted(Duration::ZERO, |_, call| Ok(result(call, done(b"")))).await;
    register(&server, &address, v1::Protocol::Grpc).await;
    let mut second = action("second", "points");
    second.after = vec!["spend".to_owned()];
    let mut spend = action("spend", "shop");
    spend.payload.clear();
    let wanted = execute(vec![spend, second], v1::Wait::Completed);
    let state = server
        .coordinator()
        .execute(wanted)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(state.status(), v1::TxStatus::Failure);
    let tx = server.until(&state.tx_id, |_| true).await;
    assert!(
        tx.actions[0]
            .last_error
            .contains("no method registered for CANCEL"),
        "{tx:?}"
    );
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_unknown_and_says_so() {
    let server = Server::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    register(&server, &address, v1::Protocol::Invoke).await;
    let mut wanted = execute(vec![action("spend", "shop")], v1::Wait::Decided);
    wanted.begin.as_mut().unwrap().timeout_ms = 300;
    let state = server
        .coordinator()
        .execute(wanted)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(state.cause.unwrap().kind(), v1::CauseKind::Deadline);
    let tx = server
        .until(&state.tx_id, |tx| tx.status() == v1::TxStatus::Failure)
        .await;
    let error = &tx.actions[0].last_error;
    assert!(error.to_lowercase().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_unknown() {
    let server = Server::start().await;
    let (_shop, address) = scripted(Duration::from_mins(1), |_, call| {
        Ok(result(call, done(b"")))
    })
    .await;
    register(&server, &address, v1::Protocol::Invoke).await;
    let mut spend = action("spend", "shop");
    spend.retry = Some(v1::RetryPolicy {
        first_delay_ms: 10,
        max_delay_ms: 10,
        max_attempts: 1,
        call_timeout_ms: 50,
        ..v1::RetryPolicy::default()
    });
    let mut wanted = execute(vec![spend], v1::Wait::Completed);
    wanted.begin.as_mut().unwrap().timeout_ms = 200;
    let state = server
        .coordinator()
        .execute(wanted)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(state.status(), v1::TxStatus::Failure);
    let tx = server.until(&state.tx_id, |_| true).await;
    let attempt = tx.actions[0].attempts.first().unwrap();
    assert_eq!(attempt.outcome, "UNKNOWN");
    assert!(attempt.duration_micros >= 40_000, "{attempt:?}");
}

#[derive(Clone, Default)]
struct Web {
    seen: Arc<Mutex<Vec<(String, HeaderMap, Bytes)>>>,
}

impl Web {
    async fn serve(self) -> String {
        let answer = |path: &'static str| {
            post(
                move |State(web): State<Self>, headers: HeaderMap, body: Bytes| async move {
                    web.answer(path, headers, body)
                },
            )
        };
        let router = Router::new()
            .route("/try", answer("try"))
            .route("/confirm", answer("confirm"))
            .route("/outcome", answer("outcome"))
            .with_state(self);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    /// The first Try is answered 503, the second with too much, the first Confirm with a redirect.
    fn answer(&self, path: &str, headers: HeaderMap, body: Bytes) -> HttpResponse {
        let mut seen = self.seen.lock().unwrap();
        let before = seen.iter().filter(|(earlier, ..)| earlier == path).count();
        let sold_out = body.as_ref() == b"sold out";
        seen.push((path.to_owned(), headers, body));
        match (path, before) {
            ("outcome", _) => ([("tercet-outcome", "SUCCESS")], "").into_response(),
            _ if sold_out => (StatusCode::CONFLICT, "nothing left").into_response(),
            ("try", 0) => (StatusCode::SERVICE_UNAVAILABLE, "later").into_response(),
            ("try", 1) => vec![0_u8; 65_537].into_response(),
            ("try", _) => "reserved".into_response(),
            (_, 0) => (StatusCode::FOUND, [("location", "/try")]).into_response(),
            _ => "".into_response(),
        }
    }
}

#[tokio::test]
async fn http_posts_the_payload_with_the_context_as_headers() {
    let server = Server::start().await;
    let web = Web::default();
    let address = web.clone().serve().await;
    register(&server, &address, v1::Protocol::Http).await;
    let tx = run(&server, |_| {}).await;
    assert_eq!(tx.biz_status(), v1::BizStatus::Success);
    assert_eq!(tx.actions[0].result.as_ref(), b"reserved");
    let errors: Vec<_> = tx.actions[0]
        .attempts
        .iter()
        .map(|a| a.error.as_str())
        .collect();
    let expected = ["503", "65536 bytes", "302"];
    assert_eq!(errors.len(), expected.len(), "{errors:?}");
    for (error, expected) in errors.iter().zip(expected) {
        assert!(error.contains(expected), "{error} lacks {expected}");
    }
    let seen = web.seen.lock().unwrap();
    let (_, headers, body) = &seen[0];
    assert_eq!(body.as_ref(), b"spend");
    assert_eq!(headers["tercet-tx-id"], tx.tx_id);
    assert_eq!(headers["tercet-operation"], "TRY");
    assert_eq!(
        headers["tercet-business-id"],
        "Auftrag%207%20f%C3%BCr%20J%C3%BCrgen,%2050%25"
    );
}

#[tokio::test]
async fn http_conflict_is_a_rejection() {
    let server = Server::start().await;
    let address = Web::default().serve().await;
    register(&server, &address, v1::Protocol::Http).await;
    let tx = run(&server, |action| action.payload = "sold out".into()).await;
    assert_eq!(tx.biz_status(), v1::BizStatus::Failure);
    assert_eq!(tx.cause.unwrap().reason, "nothing left");
}

#[tokio::test]
async fn an_initiator_at_an_address_is_asked_back() {
    for (protocol, expected) in [
        (v1::Protocol::Invoke, v1::BizStatus::Failure),
        (v1::Protocol::Grpc, v1::BizStatus::Failure),
        (v1::Protocol::Http, v1::BizStatus::Success),
    ] {
        let server = Server::start().await;
        let address = match protocol {
            v1::Protocol::Http => Web::default().serve().await,
            _ => {
                scripted(Duration::ZERO, |_, call| Ok(result(call, done(b""))))
                    .await
                    .1
            }
        };
        register(&server, &address, protocol).await;
        let mut request = begin(Vec::new());
        request.timeout_ms = 1;
        request.check_back = Some(v1::CheckBack {
            participant: "shop".to_owned(),
            ..v1::CheckBack::default()
        });
        let tx_id = server
            .coordinator()
            .begin(request)
            .await
            .unwrap()
            .into_inner()
            .tx_id;
        let tx = server
            .until(&tx_id, |tx| tx.status() == v1::TxStatus::Success)
            .await;
        assert_eq!(tx.biz_status(), expected, "{protocol:?}");
    }
}
