//! Messages of more elements than are accepted: refused before they are decoded, by the name of the field.

use prost::Message as _;
use tercet_proto::v1::{self, session_request::Request};
use tercet_server::bounds;

use super::{assert_nothing_was_written, invalid};
use crate::harness::{Server, begin, framed, hello, refusal, send, tcc};

/// Returns a field with this content, as often as it takes to have more elements than are accepted.
fn too_many(key: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    let one = [&[key, length], content].concat();
    one.repeat(bounds::MESSAGE_ELEMENTS + 1)
}

/// Returns a field with this content, once.
fn holding(key: u8, content: &[u8]) -> Vec<u8> {
    let mut field = vec![key];
    prost::encoding::encode_varint(content.len().try_into().unwrap(), &mut field);
    field.extend(content);
    field
}

#[tokio::test]
async fn every_method_refuses_more_elements_than_are_accepted() {
    let server = Server::knowing(["points"]).await;
    let actions = too_many(0x32, b"");
    for (method, message, field) in [
        ("Coordinator/Begin", actions.clone(), "actions"),
        // An entry of a map without a key.
        ("Coordinator/Begin", too_many(0x42, b""), "ext_properties"),
        (
            "Coordinator/Execute",
            holding(0x0a, &actions),
            "begin.actions",
        ),
        (
            "Coordinator/AddAction",
            holding(0x12, &too_many(0x32, b"")),
            "action.after",
        ),
        ("Coordinator/List", too_many(0x1a, &[1]), "statuses"),
        ("Coordinator/Session", too_many(0x0a, b""), "requests"),
        (
            "Coordinator/Session",
            holding(0x0a, &holding(0x12, &actions)),
            "requests.begin.actions",
        ),
        ("Operator/Resolve", too_many(0x12, b""), "actions"),
        ("Participants/Register", too_many(0x22, b""), "methods"),
        (
            "Participants/Attach",
            holding(0x0a, &too_many(0x22, b"")),
            "hello.handlers",
        ),
    ] {
        let path = format!("/tercet.v1.{method}");
        let status = send(&server, &path, &[], framed(&message)).await;
        assert_eq!(refusal::<()>(Err(status)), invalid(field), "{method}");
    }
    assert_nothing_was_written(&server).await;
}

#[tokio::test]
async fn messages_before_one_with_too_many_elements_count() {
    let server = Server::knowing(["points"]).await;
    let begin = v1::SessionRequest {
        id: 1,
        request: Some(Request::Begin(begin([tcc("points")]))),
    };
    let requests = v1::SessionRequests {
        requests: vec![begin],
    };
    let before = framed(&requests.encode_to_vec());
    let body = [before, framed(&too_many(0x0a, b""))].concat();
    let status = send(&server, "/tercet.v1.Coordinator/Session", &[], body).await;
    assert_eq!(refusal::<()>(Err(status)), invalid("requests"));
    let list = v1::ListRequest::default();
    let listed = server.coordinator().list(list).await.unwrap().into_inner();
    assert_eq!(listed.transactions.len(), 1);

    let results = [
        framed(&hello("points", 1).encode_to_vec()),
        framed(&holding(0x12, &too_many(0x0a, b""))),
    ];
    let path = "/tercet.v1.Participants/Attach";
    let status = send(&server, path, &[], results.concat()).await;
    assert_eq!(refusal::<()>(Err(status)), invalid("results.results"));
}
