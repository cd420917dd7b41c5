//! Calls by HTTP POST.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use tercet_proto::v1;
use tokio::net::TcpListener;

use super::{ENCODED_ORDER, assert_attempts, register, run, spend};
use crate::harness::Server;

/// A participant's web server that keeps the requests that it gets.
#[derive(Clone, Default)]
pub(super) struct Web {
    requests: Arc<Mutex<Vec<(String, HeaderMap, Bytes)>>>,
}

impl Web {
    /// Serves on a free port; returns the address.
    pub(super) async fn serve(self) -> String {
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

    /// Answers the first Try with 503, the second with too much, and the first Confirm with a redirect.
    fn answer(&self, path: &str, headers: HeaderMap, body: Bytes) -> Response {
        let mut requests = self.requests.lock().unwrap();
        let earlier = requests.iter().filter(|(other, ..)| other == path);
        let before = earlier.count();
        let sold_out = body.as_ref() == b"sold out";
        requests.push((path.to_owned(), headers, body));
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
    let tx = run(&server, spend()).await;
    assert_eq!(tx.biz_status(), v1::BizStatus::Success);
    assert_eq!(tx.actions[0].result.as_ref(), b"reserved");
    assert_attempts(&tx.actions[0], &["503", "65537 bytes", "302"]);
    let requests = web.requests.lock().unwrap();
    let (_, headers, body) = &requests[0];
    assert_eq!(body.as_ref(), b"spend");
    assert_eq!(headers["tercet-tx-id"], tx.tx_id);
    assert_eq!(headers["tercet-operation"], "TRY");
    assert_eq!(headers["tercet-business-id"], ENCODED_ORDER);
}

#[tokio::test]
async fn http_conflict_is_a_rejection() {
    let server = Server::start().await;
    let address = Web::default().serve().await;
    register(&server, &address, v1::Protocol::Http).await;
    let sold_out = v1::Action {
        payload: "sold out".into(),
        ..spend()
    };
    let tx = run(&server, sold_out).await;
    assert_eq!(tx.biz_status(), v1::BizStatus::Failure);
    assert_eq!(tx.cause.unwrap().reason, "nothing left");
}
