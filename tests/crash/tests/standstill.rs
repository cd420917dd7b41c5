//! A coordinator that is stopped while a write is under way.

#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, path::Path, process::Command, time::Duration};

use tercet_failpoint::VARIABLE;
use tercet_harness::{Daemon, free_port, wait_until};
use tercet_proto::v1::{BeginRequest, TxStatus, coordinator_client::CoordinatorClient};
use tonic::transport::Channel;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

/// Time after which a test fails.
const PATIENCE: Duration = Duration::from_mins(1);
/// Longer than the database may be silent, which is 5 s.
const STANDSTILL: Duration = Duration::from_secs(7);

/// Starts a coordinator that hits a fail point.
fn start(folder: &Path, failpoint: &str) -> (Daemon, String) {
    let here = || SocketAddr::from(([127, 0, 0, 1], free_port().unwrap())).to_string();
    let address = here();
    let mut command = Command::new(env!("CARGO_BIN_EXE_crash_matrix"));
    command
        .args(["play", "coordinator", "--coordinator", &address])
        .args(["--points", &here(), "--coupons", &here()])
        .args(["--mode", "tcc", "--orders", "0", "--at-once", "1"])
        .arg("--folder")
        .arg(folder)
        .env(VARIABLE, failpoint);
    let log = folder.join("coordinator.log");
    let daemon = Daemon::spawn("coordinator", &mut command, &log).unwrap();
    (daemon, format!("http://{address}"))
}

async fn connect(url: &str) -> Channel {
    wait_until("the coordinator's start", PATIENCE, || async {
        Channel::from_shared(url.to_owned())
            .unwrap()
            .connect()
            .await
            .ok()
    })
    .await
}

fn begin(business_id: &str) -> BeginRequest {
    BeginRequest {
        business_type: "points_for_coupon".to_owned(),
        business_id: business_id.to_owned(),
        timeout_ms: 60_000,
        ..BeginRequest::default()
    }
}

#[tokio::test]
async fn a_stopped_process_is_no_database_that_is_silent() {
    let folder = tempfile::tempdir().unwrap();
    let (mut coordinator, url) = start(folder.path(), "coordinator.commit.before=stop@1");
    let channel = connect(&url).await;
    let watch = HealthCheckRequest::default();
    let health = HealthClient::new(channel.clone()).watch(watch).await;
    let mut health = health.unwrap().into_inner();
    let first = health.message().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);

    let mut client = CoordinatorClient::new(channel.clone());
    let begun = tokio::spawn(async move { client.begin(begin("order-1")).await });
    wait_until("the stop", PATIENCE, || async {
        let log = coordinator.log();
        log.contains("failpoint coordinator.commit.before reached")
            .then_some(())
    })
    .await;
    // The standstill itself: nothing happens meanwhile that could be waited for.
    tokio::time::sleep(STANDSTILL).await;
    coordinator.resume();
    let begun = tokio::time::timeout(PATIENCE, begun).await.unwrap();
    let begun = begun.unwrap().expect("the write was applied");
    let status = begun.into_inner().status();
    assert_eq!(status, TxStatus::ProcessWaiting);

    let mut client = CoordinatorClient::new(channel);
    client.begin(begin("order-2")).await.unwrap();
    let changed = tokio::time::timeout(Duration::ZERO, health.message()).await;
    assert!(changed.is_err(), "health changed: {changed:?}");
    let log = coordinator.log();
    assert_eq!(log.matches("the process stood still").count(), 1, "{log}");
    for word in ["ERROR", "does not answer", "takes no writes"] {
        assert!(!log.contains(word), "{log}");
    }
}
