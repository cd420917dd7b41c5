//! The context of a transaction passes unchanged through gRPC metadata.

#![allow(clippy::unwrap_used, missing_docs)]

mod coordinator_mock;

use std::{convert::Infallible, time::Duration};

use coordinator_mock::{Mock, running};
use http::{Request, Response};
use prost::Message;
use tercet_sdk::{
    Mode, Operation,
    initiator::{Action, Client, ContextLayer, LiveTransaction, TransactionContext, key},
    proto as v1,
};
use tower::{Layer, ServiceExt, service_fn};
use uuid::Uuid;

type Answer = Response<Option<TransactionContext>>;

/// Serves a request behind the server's layer, and answers with the context that is found there.
async fn serve(request: Request<()>) -> Answer {
    let service = service_fn(|request: Request<()>| async move {
        let context = request.extensions().get::<TransactionContext>().cloned();
        Ok::<_, Infallible>(Response::new(context))
    });
    let served = ContextLayer::server().layer(service).oneshot(request);
    served.await.unwrap()
}

/// Returns the request as it leaves the client's layer.
async fn send(context: TransactionContext) -> Request<()> {
    let service = service_fn(|mut request: Request<()>| async move {
        request.extensions_mut().clear();
        Ok::<_, Infallible>(Response::new(Some(request)))
    });
    let mut request = Request::new(());
    let (_, extensions, ()) = context.request(()).into_parts();
    *request.extensions_mut() = http_extensions(extensions);
    let sent = ContextLayer::client().layer(service).oneshot(request);
    sent.await.unwrap().into_body().unwrap()
}

fn http_extensions(mut extensions: tonic::Extensions) -> http::Extensions {
    let mut http = http::Extensions::new();
    http.insert(extensions.remove::<TransactionContext>().unwrap());
    http
}

async fn live(business_id: &str) -> (LiveTransaction, Mock) {
    let mock = Mock::start(|_, request| running(request)).await;
    let client = Client::connect([mock.address.clone()]).await.unwrap();
    let draft = client.begin("order", business_id).property("who", "Zoë");
    let draft = draft.action(Action::compensate("take", "points").property("from", "left"));
    let draft = draft.action(Action::deliver("tell", "mail"));
    (draft.send().await.unwrap(), mock)
}

#[tokio::test]
async fn a_context_arrives_as_it_left() {
    let (tx, _mock) = live("注文 7").await;
    let context = tx.context("take").unwrap();
    let sent = send(context.clone()).await;
    let plain = sent.headers()[key::BUSINESS_ID].to_str().unwrap();
    assert_eq!(plain, "%E6%B3%A8%E6%96%87%207");
    let answer = serve(sent).await.into_body().unwrap();
    assert_eq!(
        (answer.mode, answer.operation),
        (Mode::Compensate, Operation::Try)
    );
    assert_eq!(answer.business_id, "注文 7");
    // On the wire the time left is whole milliseconds.
    assert!(
        answer
            .time_left
            .unwrap()
            .abs_diff(context.time_left.unwrap())
            .as_millis()
            <= 1
    );
    let mut expected = context.clone();
    expected.time_left = answer.time_left;
    assert_eq!(answer, expected);
}

/// A Try that the initiator makes has the properties that the coordinator's calls have.
#[tokio::test]
async fn the_properties_of_an_action_are_overlaid_on_those_of_its_transaction() {
    let (mut tx, _mock) = live("7").await;
    let own = tx.context("take").unwrap().properties;
    let expected = [("from", "left"), ("who", "Zoë")];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(own.into_iter().collect::<Vec<_>>(), expected);

    let added = Action::tcc("give", "coupons");
    let added = added.property("who", "Ada").property("kind", "coffee");
    tx.add_action(added).await.unwrap();
    let sent = send(tx.context("give").unwrap()).await;
    let arrived = serve(sent).await.into_body().unwrap().properties;
    let expected = [("kind", "coffee"), ("who", "Ada")];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(arrived.into_iter().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn plain_metadata_is_enough_for_other_languages() {
    let tx_id = Uuid::now_v7();
    let request = Request::builder()
        .header(key::TX_ID, tx_id.to_string())
        .header(key::ACTION, "take%20100%25")
        .header(key::OPERATION, "CANCEL")
        .header(key::MODE, "TCC")
        .body(())
        .unwrap();
    let context = serve(request).await.into_body().unwrap();
    assert_eq!(
        (context.tx_id, context.operation),
        (tx_id, Operation::Cancel)
    );
    assert_eq!((context.mode, context.time_left), (Mode::Tcc, None));
    assert_eq!(context.action, "take 100%");
}

/// A time that is over stays different from one that is not given, in both forms of the context.
#[tokio::test]
async fn a_time_left_of_zero_arrives_as_zero() {
    let (tx, _mock) = live("7").await;
    let over = [Some(Duration::ZERO), None].map(|time_left| {
        let mut context = tx.context("take").unwrap();
        context.time_left = time_left;
        context
    });
    for context in over {
        let time_left = context.time_left;
        let whole = send(context).await;
        let mut plain = Request::builder();
        for (name, value) in whole.headers() {
            if name != key::CONTEXT {
                plain = plain.header(name, value);
            }
        }
        for request in [whole, plain.body(()).unwrap()] {
            let arrived = serve(request).await.into_body().unwrap();
            assert_eq!(arrived.time_left, time_left);
        }
    }
}

/// A context of another language may be one message, without entries of its own.
#[tokio::test]
async fn the_message_alone_is_enough() {
    let call = v1::Call {
        tx_id: Uuid::now_v7().to_string(),
        action: "take".to_owned(),
        operation: v1::Operation::Try.into(),
        mode: v1::Mode::Tcc.into(),
        business_id: "注文 7".to_owned(),
        time_left_ms: Some(0),
        ..v1::Call::default()
    };
    let mut metadata = tonic::metadata::MetadataMap::new();
    let value = tonic::metadata::MetadataValue::from_bytes(&call.encode_to_vec());
    metadata.insert_bin(key::CONTEXT, value);
    let mut request = Request::new(());
    *request.headers_mut() = metadata.into_headers();
    let context = serve(request).await.into_body().unwrap();
    assert_eq!(
        (&*context.action, &*context.business_id),
        ("take", "注文 7")
    );
    assert_eq!(context.time_left, Some(Duration::ZERO));
}

#[tokio::test]
async fn no_metadata_is_no_context_and_nonsense_is_refused() {
    assert_eq!(serve(Request::new(())).await.into_body(), None);
    let right = ("tercet-tx-id", "0192aaaa-0000-7000-8000-000000000000");
    let take = ("tercet-action", "take");
    let cases: [&[_]; 4] = [
        &[("tercet-tx-id", "7"), take],
        &[right, ("tercet-action", "")],
        &[("tercet-context-bin", "!!"), take],
        &[right, take, ("tercet-time-left-ms", "soon")],
    ];
    for case in cases {
        let mut builder = Request::builder()
            .header(key::OPERATION, "TRY")
            .header(key::MODE, "TCC");
        for (name, value) in case {
            builder = builder.header(*name, *value);
        }
        let answer = serve(builder.body(()).unwrap()).await;
        let status = tonic::Status::from_header_map(answer.headers()).unwrap();
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{case:?}");
    }
}

#[tokio::test]
async fn only_actions_that_have_a_try_have_a_context() {
    let (tx, _mock) = live("7").await;
    assert!(tx.context("take").is_ok());
    let unknown = tx.context("unknown").unwrap_err().to_string();
    assert!(unknown.contains("add it first"), "{unknown}");
    let deliver = tx.context("tell").unwrap_err().to_string();
    assert!(deliver.contains("has no Try"), "{deliver}");
}
