//! Participants that answer nonsense: the answer counts as UNKNOWN, and the deadline decides.

use std::{sync::Arc, time::Duration};

use tercet_sdk::{
    initiator::{Action, CauseKind, Client, Outcome, RetryPolicy, Wait},
    proto,
};
use tercet_server::Config;
use tercet_store::{SqliteStore, Store};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// Serves these bytes on every connection, whatever the request.
async fn serving(bytes: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let bytes = bytes.clone();
            tokio::spawn(async move {
                let mut request = [0; 4_096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(&bytes).await;
            });
        }
    });
    url
}

async fn coordinator() -> Client {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::temporary().await.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(tercet_server::serve(
        listener,
        store,
        Config::default(),
        std::future::pending(),
    ));
    Client::connect([url]).await.unwrap()
}

async fn register(client: &Client, name: &str, protocol: proto::Protocol, address: String) {
    let methods = proto::Methods {
        handler: "deduct".to_owned(),
        r#try: if protocol == proto::Protocol::Grpc {
            "/a.B/Try"
        } else {
            "/try"
        }
        .to_owned(),
        confirm: String::new(),
        cancel: if protocol == proto::Protocol::Grpc {
            "/a.B/Cancel"
        } else {
            "/cancel"
        }
        .to_owned(),
    };
    let request = proto::RegisterRequest {
        participant: name.to_owned(),
        protocol: protocol.into(),
        address,
        methods: if protocol == proto::Protocol::Invoke {
            Vec::new()
        } else {
            vec![methods]
        },
        ..proto::RegisterRequest::default()
    };
    client.register(request).await.unwrap();
}

async fn tried(client: &Client, participant: &str) -> Outcome {
    let retry = RetryPolicy::new()
        .first_delay(Duration::from_millis(20))
        .max_delay(Duration::from_millis(50))
        .call_timeout(Duration::from_millis(200));
    client
        .execute("exchange", participant)
        .action(Action::compensate("deduct", participant).retry(retry))
        .timeout(Duration::from_millis(400))
        .wait(Wait::Decided)
        .send()
        .await
        .unwrap()
}

#[tokio::test]
async fn nonsense_is_unknown_whatever_the_protocol() {
    let client = coordinator().await;
    let long_header = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(600_000));
    let nonsense: [&[u8]; 8] = [
        b"",
        b"\0\xff\xfe nonsense \r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        b"HTTP/1.1 999 \xff\xff\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        long_header.as_bytes(),
    ];
    let protocols = [
        proto::Protocol::Http,
        proto::Protocol::Grpc,
        proto::Protocol::Invoke,
    ];
    let mut open = Vec::new();
    for (number, bytes) in nonsense.into_iter().enumerate() {
        for protocol in protocols {
            let name = format!("{}-{number}", protocol.as_str_name());
            register(&client, &name, protocol, serving(bytes.to_vec()).await).await;
            let client = client.clone();
            open.push(async move { (tried(&client, &name).await, name) });
        }
    }
    for (outcome, name) in futures::future::join_all(open).await {
        let Outcome::RolledBack { cause, .. } = outcome else {
            panic!("{name}: {outcome:?}");
        };
        assert_eq!(cause.kind, CauseKind::Deadline, "{name}");
    }
}

#[tokio::test]
async fn a_rejection_in_strange_bytes_is_a_rejection_that_can_be_read() {
    let client = coordinator().await;
    let mut answer = b"HTTP/1.1 409 Conflict\r\ncontent-length: 3000\r\n\r\n".to_vec();
    answer.extend([0xff, 0, 0xc3].repeat(1_000));
    register(
        &client,
        "shop",
        proto::Protocol::Http,
        serving(answer).await,
    )
    .await;

    let outcome = tried(&client, "shop").await;

    let Outcome::RolledBack { cause, .. } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(cause.kind, CauseKind::Rejected);
    assert!(
        !cause.reason.contains('\0') && cause.reason.len() <= 1_024,
        "{}",
        cause.reason.len()
    );
}

#[tokio::test]
async fn a_result_that_is_too_large_is_unknown() {
    let client = coordinator().await;
    let mut answer = b"HTTP/1.1 200 OK\r\ncontent-length: 70000\r\n\r\n".to_vec();
    answer.extend(vec![b'x'; 70_000]);
    register(
        &client,
        "shop",
        proto::Protocol::Http,
        serving(answer).await,
    )
    .await;

    let outcome = tried(&client, "shop").await;

    assert!(!outcome.is_committed(), "{outcome:?}");
}
