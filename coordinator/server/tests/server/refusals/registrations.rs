//! Bad registrations of participants.

use tercet_proto::v1;
use tercet_store::Registry as _;

use super::{cases, invalid};
use crate::harness::{Server, refusal};

fn right() -> v1::RegisterRequest {
    v1::RegisterRequest {
        participant: "shop".to_owned(),
        protocol: v1::Protocol::Grpc.into(),
        address: "http://127.0.0.1:1".to_owned(),
        methods: vec![v1::Methods {
            handler: "h".to_owned(),
            r#try: "/a.B/C".to_owned(),
            ..v1::Methods::default()
        }],
        ..v1::RegisterRequest::default()
    }
}

/// Makes a right registration, changed.
fn with(change: impl FnOnce(&mut v1::RegisterRequest)) -> v1::RegisterRequest {
    let mut request = right();
    change(&mut request);
    request
}

/// Makes a right registration with another address.
fn at(address: &str) -> v1::RegisterRequest {
    with(|r| r.address = address.to_owned())
}

fn wrong() -> Vec<(&'static str, v1::RegisterRequest, &'static str)> {
    let attach = with(|r| {
        r.protocol = v1::Protocol::Attach.into();
        r.check_back = "/a.B/C".to_owned();
        r.concurrency = 1;
    });
    let invoke_with_methods = with(|r| {
        r.protocol = v1::Protocol::Invoke.into();
        r.check_back = "/a.B/C".to_owned();
    });
    let http_without_path = with(|r| {
        r.protocol = v1::Protocol::Http.into();
        r.methods[0].cancel = "no path".to_owned();
    });
    let http = |path: &str| {
        with(|r| {
            r.protocol = v1::Protocol::Http.into();
            path.clone_into(&mut r.methods[0].cancel);
        })
    };
    cases! {
        "no participant":          with(|r| r.participant.clear())                => "participant";
        "no protocol":             with(|r| r.protocol = 0)                       => "protocol";
        "a protocol of tomorrow":  with(|r| r.protocol = 9)                       => "protocol";
        "ATTACH with an address":  attach => "address, check_back, concurrency, methods";
        "an encrypted address":    at("https://127.0.0.1:1")                      => "address";
        "an address with a user":  at("http://u:p@127.0.0.1:1")                   => "address";
        "an address, no scheme":   at("127.0.0.1:1")                              => "address";
        "port 0":                  at("http://127.0.0.1:0")                       => "address";
        "a port above 65535":      at("http://127.0.0.1:70000")                   => "address";
        "no port":                 at("http://127.0.0.1")                         => "address";
        "an address with a path":  at("http://127.0.0.1:1/pay")                   => "address";
        "an address, a slash":     at("http://127.0.0.1:1/")                      => "address";
        "an address with a query": at("http://127.0.0.1:1?a=b")                   => "address";
        "an address, a fragment":  at("http://127.0.0.1:1#a")                     => "address";
        "half an IPv4 address":    at("http://127.1:1")                           => "address";
        "a method with a query":   with(|r| r.methods[0].r#try += "?a")           => "methods[0].try";
        "a method, a fragment":    with(|r| r.methods[0].r#try += "#a")           => "methods[0].try";
        "a method with ..":        with(|r| r.methods[0].r#try = "/a/..".into())  => "methods[0].try";
        "a path with ..":          http("/a/../b")                              => "methods[0].cancel";
        "a path with escaped ..":  http("/a/%2e%2E/b")                            => "methods[0].cancel";
        "a path with //":          http("/a//b")                                  => "methods[0].cancel";
        "a path with a fragment":  http("/a#b")                                   => "methods[0].cancel";
        "a path with a space":     http("/a b")                                   => "methods[0].cancel";
        "a path, a bare %":        http("/a%b")                                   => "methods[0].cancel";
        "too many calls at once":  with(|r| r.concurrency = 10_001)               => "concurrency";
        "no methods":              with(|r| r.methods.clear())                    => "methods";
        "a method, no service":    with(|r| r.methods[0].r#try = "/C".to_owned()) => "methods[0].try";
        "a handler, no method":    with(|r| r.methods[0].r#try.clear())           => "methods[0]";
        "a handler twice":         with(|r| r.methods.push(r.methods[0].clone())) => "methods[1].handler";
        "a check-back, no method": with(|r| r.check_back = "x".to_owned())        => "check_back";
        "INVOKE with methods":     invoke_with_methods                            => "check_back, methods";
        "HTTP, no path":           http_without_path                              => "methods[0].cancel";
    }
}

#[tokio::test]
async fn a_bad_registration_names_its_fields() {
    let server = Server::start().await;
    let mut client = server.participants();
    for (case, request, fields) in wrong() {
        let refused = client.register(request).await;
        assert_eq!(refusal(refused), invalid(fields), "{case}");
    }
    assert!(server.store.participants().await.unwrap().is_empty());
    for version in [1, 2] {
        let registered = client.register(right()).await.unwrap();
        assert_eq!(registered.into_inner().version, version);
    }
}

#[tokio::test]
async fn a_registration_is_kept_and_listed_as_it_was_given_and_a_later_one_replaces_the_whole() {
    let server = Server::start().await;
    let mut client = server.participants();
    let first = v1::RegisterRequest {
        check_back: "/a.B/Outcome".to_owned(),
        concurrency: 5,
        ..right()
    };
    let reply = client.register(first.clone()).await.unwrap().into_inner();
    assert_eq!((reply.version, reply.replaced), (1, None));
    let known = server.known().await.remove(0);
    assert_eq!(
        (
            &*known.address,
            &known.methods,
            &*known.check_back,
            known.concurrency
        ),
        (&*first.address, &first.methods, "/a.B/Outcome", 5)
    );
    let reply = client.register(right()).await.unwrap().into_inner();
    assert_eq!((reply.version, reply.replaced), (2, Some(first)));
    let known = server.known().await.remove(0);
    assert_eq!((&*known.check_back, known.concurrency), ("", 0));
}
