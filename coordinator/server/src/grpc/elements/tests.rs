#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const BEGIN: &str = "/tercet.v1.Coordinator/Begin";
const SESSION: &str = "/tercet.v1.Coordinator/Session";
const LIST: &str = "/tercet.v1.Coordinator/List";

/// Counts the elements of a message that comes in pieces of this size.
fn count(method: &str, bytes: &[u8], piece: usize) -> Result<usize, Unfit> {
    let mut elements = Elements::of_method(method).unwrap();
    elements.begin(bytes.len());
    for piece in bytes.chunks(piece) {
        elements.advance(piece)?;
    }
    Ok(elements.count())
}

/// Counts the elements of a message that comes in pieces of every size, with the same result.
fn counted(method: &str, bytes: &[u8]) -> Result<usize, Unfit> {
    let whole = count(method, bytes, usize::MAX);
    for piece in 1..=bytes.len().min(64) {
        assert_eq!(count(method, bytes, piece), whole, "in pieces of {piece}");
    }
    whole
}

fn action(after: usize) -> v1::Action {
    v1::Action {
        name: "reserve".to_owned(),
        payload: vec![0x32; 300].into(),
        after: vec!["a".to_owned(); after],
        retry: Some(v1::RetryPolicy {
            max_age_ms: -1,
            ..v1::RetryPolicy::default()
        }),
        ext_properties: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
        ..v1::Action::default()
    }
}

fn session() -> v1::SessionRequests {
    let begin = v1::BeginRequest {
        business_id: "7".to_owned(),
        actions: vec![action(3), action(0), v1::Action::default()],
        ..v1::BeginRequest::default()
    };
    let add = v1::AddActionRequest {
        action: Some(action(1)),
        ..v1::AddActionRequest::default()
    };
    let requests = [
        v1::session_request::Request::Execute(v1::ExecuteRequest {
            begin: Some(begin),
            ..v1::ExecuteRequest::default()
        }),
        v1::session_request::Request::AddAction(add),
        v1::session_request::Request::Forget(u64::MAX),
    ];
    let requests = requests.map(|request| v1::SessionRequest {
        id: 1 << 40,
        request: Some(request),
    });
    v1::SessionRequests {
        requests: requests.into(),
    }
}

#[test]
fn every_method_is_known() {
    let files = FileDescriptorSet::decode(v1::FILE_DESCRIPTOR_SET).unwrap();
    let services = files.file.iter().flat_map(|file| &file.service);
    let methods: usize = services.map(|service| service.method.len()).sum();
    assert!(methods > 10);
    assert_eq!(SCHEMA.requests.len(), methods);
    for method in [BEGIN, SESSION, LIST] {
        assert!(Elements::of_method(method).is_some());
    }
    assert!(Elements::of_method("/tercet.v1.Coordinator/None").is_none());
}

#[test]
fn an_element_takes_no_more_than_it_counts() {
    for bytes in [
        size_of::<v1::SessionRequest>(),
        size_of::<v1::Action>(),
        size_of::<v1::Result>(),
        size_of::<v1::CheckBackResult>(),
        size_of::<v1::Handler>(),
        size_of::<v1::Methods>(),
        size_of::<(String, String)>(),
    ] {
        assert!(bytes <= bounds::ELEMENT_BYTES, "{bytes}");
    }
}

#[test]
fn elements_of_every_depth_are_counted_and_contents_are_not_read() {
    // Requests, the actions of one, and what these have: three times a property, and names.
    let expected = 3 + 3 + 3 + 4;
    let bytes = session().encode_to_vec();
    assert_eq!(counted(SESSION, &bytes), Ok(expected));
    assert_eq!(counted(SESSION, &bytes.repeat(2)), Ok(2 * expected));

    let list = v1::ListRequest {
        statuses: vec![1, 2, 300, -1],
        stuck: true,
        ..v1::ListRequest::default()
    };
    assert_eq!(counted(LIST, &list.encode_to_vec()), Ok(4));
    // The same field without packing.
    assert_eq!(counted(LIST, b"\x18\x01\x18\x02\x18\xac\x02"), Ok(3));
    assert_eq!(counted(BEGIN, b""), Ok(0));
    // Fields of another version: of a fixed size, and a group with fields inside that look like actions.
    let unknown = b"\xfd\x03abcd\xf9\x03abcdefgh\xfb\x03\x32\x00\x32\x00\xfc\x03\x32\x00";
    assert_eq!(counted(BEGIN, unknown), Ok(1));
    assert!(v1::BeginRequest::decode(&unknown[..]).is_ok());
}

#[test]
fn more_elements_than_the_bound_are_refused_by_the_name_of_their_field() {
    let most = bounds::MESSAGE_ELEMENTS;
    let actions = |number: usize| b"\x32\x00".repeat(number);
    assert_eq!(count(BEGIN, &actions(most), 1_000), Ok(most));
    let refused = Err(Unfit::TooMany("actions".to_owned()));
    assert_eq!(count(BEGIN, &actions(most + 1), 1_000), refused);

    // In parts of messages that are put together, and inside others.
    let mut bytes = session().encode_to_vec();
    let execute = [&[0x0a, 100][..], &actions(50)].concat();
    let request = [&[0x2a, 102][..], &execute].concat();
    let requests = [&[0x0a, 104][..], &request].concat();
    bytes.extend(requests.repeat(most / 50));
    let path = "requests.execute.begin.actions".to_owned();
    assert_eq!(count(SESSION, &bytes, 1_000), Err(Unfit::TooMany(path)));

    let statuses = [&[0x1a, 0x81, 0x80, 8][..], &vec![1; 0x2_0001]].concat();
    let refused = Err(Unfit::TooMany("statuses".to_owned()));
    assert_eq!(count(LIST, &statuses, 1_000), refused);
}

/// Decoding takes in what such a message holds before it finds that.
#[test]
fn messages_that_are_longer_than_what_holds_them_are_refused() {
    for (bytes, message, what) in [
        (
            &b"\x0a\x04\x22\x10\x0a\x0c"[..],
            "SessionRequest",
            "a field is longer than the message",
        ),
        (b"\x0a\x01\x22", "SessionRequest", "it is cut off"),
        (b"\x0a", "SessionRequests", "it is cut off"),
        (b"\x0a\x80", "SessionRequests", "it is cut off"),
        (b"\x0b", "SessionRequests", "it is cut off"),
        (
            b"\x0c",
            "SessionRequests",
            "a field has no type that exists",
        ),
        (
            b"\x0f",
            "SessionRequests",
            "a field has no type that exists",
        ),
        (
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            "SessionRequests",
            "a number is too long",
        ),
    ] {
        let malformed = Unfit::Malformed(message.to_owned(), what);
        assert_eq!(counted(SESSION, bytes), Err(malformed), "{bytes:?}");
        assert!(v1::SessionRequests::decode(bytes).is_err(), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn what_can_be_decoded_is_not_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        piece in 1_usize..40,
    ) {
        let mut bytes = session().encode_to_vec();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let whole = count(SESSION, &bytes, usize::MAX);
        prop_assert_eq!(&count(SESSION, &bytes, piece), &whole);
        if let Ok(decoded) = v1::SessionRequests::decode(&*bytes) {
            prop_assert!(whole.unwrap() >= decoded.requests.len());
        }
    }
}
