//! SIGTERM, while the database hangs.

#![allow(clippy::unwrap_used)]

use std::{path::Path, process::Command, time::Duration};

use tercet_failpoint::VARIABLE;
use tercet_harness::{Daemon, wait_until};
use tercet_sdk::proto::{BeginRequest, TxStatus, coordinator_client::CoordinatorClient};

/// Time after which a test fails.
const PATIENCE: Duration = Duration::from_mins(1);
/// The longest time that a stop takes beyond `drain_timeout`, as documented.
const STOP_BOUND: Duration = Duration::from_secs(16);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Starts a coordinator; returns it with its address.
async fn serve(folder: &Path, log: &str, failpoint: Option<&str>) -> (Daemon, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tercet"));
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--drain-timeout"])
        .arg(format!("{}s", DRAIN_TIMEOUT.as_secs()))
        .arg("--database")
        .arg(folder.join("tercet.db"));
    if let Some(failpoint) = failpoint {
        command.env(VARIABLE, failpoint);
    }
    let daemon = Daemon::spawn("coordinator", &mut command, &folder.join(log)).unwrap();
    let address = wait_until("the coordinator's start", PATIENCE, || async {
        let log = daemon.log();
        let mut lines = log.lines();
        let address = lines.find_map(|line| line.strip_prefix("listening on "))?;
        Some(address.to_owned())
    })
    .await;
    (daemon, address)
}

/// The thread that writes hangs within a commit, as on a disk that no longer answers. Nothing can end that but the end
/// of the process.
#[tokio::test]
async fn a_process_whose_writer_hangs_ends_within_its_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let hangs = Some("store.commit.before=hang@1");
    let (mut coordinator, address) = serve(folder.path(), "log", hangs).await;
    let request = BeginRequest {
        business_type: "order".to_owned(),
        business_id: "order-1".to_owned(),
        unique_business: true,
        timeout_ms: 60_000,
        ..BeginRequest::default()
    };
    let mut client = CoordinatorClient::connect(address).await.unwrap();
    let first = request.clone();
    let begun = tokio::spawn(async move { client.begin(first).await });
    wait_until("the hang", PATIENCE, || async {
        let log = coordinator.log();
        log.contains("failpoint store.commit.before reached")
            .then_some(())
    })
    .await;

    coordinator.terminate();
    let ended = coordinator
        .wait(DRAIN_TIMEOUT + STOP_BOUND + PATIENCE / 2)
        .await;
    let log = coordinator.log();
    assert_eq!(ended.code(), Some(1), "{ended}: {log}");
    for line in [
        "draining",
        "not all work in hand was done in time; it goes on after the next start",
        "the database does not answer; the lease was not ended, and runs out",
    ] {
        assert!(log.contains(line), "no {line:?} in: {log}");
    }
    let last =
        "error: the database cannot be closed: closing the database: it was not closed within 10 s";
    assert_eq!(log.lines().last(), Some(last), "{log}");
    // The caller got no answer that the begin is known to be durable: it is not.
    begun.await.unwrap().unwrap_err();

    let (_again, address) = serve(folder.path(), "log of the next", None).await;
    let mut client = CoordinatorClient::connect(address).await.unwrap();
    let begun = client.begin(request).await.unwrap().into_inner();
    assert_eq!(begun.status(), TxStatus::ProcessWaiting);
}
