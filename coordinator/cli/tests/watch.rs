//! `tercet tx watch` through the death and the restart of the coordinator.

#![allow(clippy::unwrap_used)]

use std::{path::Path, process::Stdio, time::Duration};

use tercet_sdk::initiator::{Client, Decision, Wait};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// Time after which a test fails.
const PATIENCE: Duration = Duration::from_mins(1);

async fn line(lines: &mut (impl AsyncBufRead + Unpin)) -> String {
    let mut line = String::new();
    timeout(PATIENCE, lines.read_line(&mut line))
        .await
        .unwrap()
        .unwrap();
    line
}

/// Starts a coordinator; returns it with its address.
async fn serve(database: &Path, listen: &str) -> (Child, String) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_tercet"))
        .args(["serve", "--listen", listen, "--database"])
        .arg(database)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut out = BufReader::new(process.stdout.take().unwrap());
    let first = line(&mut out).await;
    let address = first.trim().strip_prefix("listening on http://").unwrap();
    (process, address.to_owned())
}

#[tokio::test]
async fn a_watch_goes_on_after_a_restart_of_the_coordinator() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("tercet.db");
    let (mut process, address) = serve(&database, "127.0.0.1:0").await;
    let client = Client::connect([format!("http://{address}")])
        .await
        .unwrap();
    let mut begun = client.begin("order", "order-1").send().await.unwrap();
    begun.leave();
    let tx_id = begun.id().to_string();

    let mut watch = Command::new(env!("CARGO_BIN_EXE_tercet"))
        .args(["tx", "watch", &tx_id])
        .env("TERCET_COORDINATOR", format!("http://{address}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut out = BufReader::new(watch.stdout.take().unwrap());
    let mut errors = BufReader::new(watch.stderr.take().unwrap());
    assert!(line(&mut out).await.starts_with("version 1: trying"));
    process.kill().await.unwrap();
    let lost = line(&mut errors).await;
    assert!(lost.contains("trying again"), "{lost}");
    let (_process, _) = serve(&database, &address).await;
    client
        .decide(
            begun.id(),
            Decision::Failure,
            "order withdrawn",
            Wait::Decided,
        )
        .await
        .unwrap();

    let end = line(&mut out).await;
    assert!(end.contains("rolled back"), "{end}");
    let code = timeout(PATIENCE, watch.wait()).await.unwrap().unwrap();
    assert_eq!(code.code(), Some(3));
}
