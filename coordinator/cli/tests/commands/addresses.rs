//! Addresses at which there is no coordinator.

use tokio::process::Command;

#[tokio::test]
async fn a_wrong_address_is_wrong_usage_and_nothing_is_reached() {
    for wrong in [
        "",
        "127.0.0.1:7460",
        "https://127.0.0.1:7460",
        "http://127.0.0.1",
        "http://127.0.0.1:70000",
        "http://127.0.0.1:7460/path",
        "http://127.0.0.1:7460#part",
        "http://a b:7460",
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_tercet"))
            .args(["tx", "list", "--coordinator", wrong])
            .output()
            .await
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong}: {error}");
        assert!(
            error.ends_with("; give http://host:port\n"),
            "{wrong}: {error}"
        );
    }
}

/// A port behind which something else answers is no coordinator that refuses.
#[tokio::test]
async fn a_port_of_another_protocol_is_no_coordinator() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            use tokio::io::AsyncWriteExt as _;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let output = Command::new(env!("CARGO_BIN_EXE_tercet"))
        .args(["tx", "list", "--coordinator", &address])
        .output()
        .await
        .unwrap();
    serving.abort();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{error}");
    assert!(error.contains("coordinator"), "{error}");
}

#[tokio::test]
async fn an_unreachable_coordinator_is_one_line_of_error() {
    let output = Command::new(env!("CARGO_BIN_EXE_tercet"))
        .args(["tx", "list", "--coordinator", "http://127.0.0.1:1"])
        .output()
        .await
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(
        error.contains("no coordinator can be reached at http://127.0.0.1:1"),
        "{error}"
    );
}
