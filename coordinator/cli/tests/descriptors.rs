//! A coordinator with a low limit of open files.

#![allow(clippy::unwrap_used)]

use std::{
    fs::{self, File},
    path::Path,
    process::Stdio,
    time::Duration,
};

use tempfile::TempDir;
use tercet_harness::wait_until;
use tercet_sdk::proto::{self, coordinator_client::CoordinatorClient};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};
use tonic::transport::Endpoint;

const PATIENCE: Duration = Duration::from_mins(1);

/// Starts a coordinator that may have so many files open.
fn start(files: u32, folder: &Path) -> Child {
    Command::new("sh")
        .args(["-c", r#"ulimit -n "$0" && exec "$@""#])
        .arg(files.to_string())
        .arg(env!("CARGO_BIN_EXE_tercet"))
        .args(["serve", "--until-stdin-ends", "--listen", "127.0.0.1:0"])
        .arg("--database")
        .arg(folder.join("tercet.db"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(File::create(folder.join("log")).unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn a_hopeless_limit_of_open_files_is_refused_before_anything_is_done() {
    let folder = TempDir::with_prefix("tercet-files-").unwrap();
    let ended = start(64, folder.path()).wait_with_output();
    let ended = timeout(PATIENCE, ended).await.unwrap().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stdout.is_empty(), "nothing is announced");
    assert!(!folder.path().join("tercet.db").exists());
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(log.contains("64 files") && log.contains("128"), "{log}");
}

/// Idle connections take no descriptor that the database needs.
#[tokio::test]
async fn connections_leave_descriptors_for_the_database() {
    let folder = TempDir::with_prefix("tercet-files-").unwrap();
    let mut process = start(128, folder.path());
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
    let address = line.unwrap().replace("listening on ", "");
    let channel = Endpoint::from_shared(address.clone()).unwrap();
    let mut client = CoordinatorClient::new(channel.connect().await.unwrap());

    let mut idle = Vec::new();
    for _ in 0..150 {
        let stream = TcpStream::connect(address.replace("http://", ""));
        idle.push(timeout(PATIENCE, stream).await.unwrap().unwrap());
    }
    let log = || fs::read_to_string(folder.path().join("log")).unwrap();
    wait_until("the line of a full door", PATIENCE, || async {
        let line = "no more connections are accepted";
        log().contains(line).then_some(())
    })
    .await;
    let request = proto::ListRequest::default();
    let listed = timeout(PATIENCE, client.list(request)).await.unwrap();
    listed.unwrap();
    let log = log();
    let warned = log
        .lines()
        .find(|line| line.contains("limit of open files"));
    let warned = warned.unwrap();
    for number in ["connections=48", "bound=4096", "open_files=128"] {
        assert!(warned.contains(number), "{warned}");
    }
    assert!(!log.contains("could not be accepted"), "{log}");
}
