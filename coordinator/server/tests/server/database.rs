//! A database that takes no writes, does not answer, or cannot be read for a while.

use std::{
    fs::File,
    io::{ErrorKind, Write as _},
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use tercet_core::write::ApplyFailure;
use tercet_proto::v1;
use tercet_server::ServeError;
use tercet_store::{SqliteOptions, SqliteStore};
use tokio::time::{sleep, timeout};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::harness::{Fault, PATIENCE, Server, begin, refusal};

/// A patience that a slow machine does not exceed by accident between two commits.
const SHORT: Duration = Duration::from_millis(500);

async fn serving(server: &Server, service: &str) -> bool {
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let mut health = HealthClient::new(server.channel());
    let state = health.check(request).await.unwrap().into_inner();
    state.status == 1
}

/// Waits until the server says that it serves, or does not.
async fn until_serving(server: &Server, expected: bool) {
    for service in ["tercet.v1.Coordinator", "tercet.v1.Operator", ""] {
        let until = async {
            while serving(server, service).await != expected {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let reached = timeout(PATIENCE, until).await;
        reached.unwrap_or_else(|_| panic!("{service:?} never was: serving {expected}"));
    }
}

/// Begins while the database takes no writes; returns the reason of the refusal.
async fn begin_in_vain(server: &Server) -> String {
    refusal(server.coordinator().begin(begin([])).await)
}

#[tokio::test]
async fn while_no_write_can_be_tried_requests_are_refused_and_then_all_goes_on() {
    let (server, database) = Server::faulty(|config| config.lane.patience = SHORT).await;
    until_serving(&server, true).await;
    for kind in [ApplyFailure::NotApplied, ApplyFailure::Fatal] {
        database.set(Some(Fault::Writes(kind)));
        assert_eq!(
            begin_in_vain(&server).await,
            "STORE_UNAVAILABLE",
            "{kind:?}"
        );
        until_serving(&server, false).await;
        let asked = Instant::now();
        assert_eq!(begin_in_vain(&server).await, "STORE_UNAVAILABLE");
        assert!(asked.elapsed() < SHORT, "refused without waiting");

        database.set(None);
        until_serving(&server, true).await;
        let state = server.begin(begin([])).await;
        assert_eq!(state.status(), v1::TxStatus::ProcessWaiting);
    }
}

/// A renewal of the lease is small, and finds room where a commit does not.
#[tokio::test]
async fn while_only_the_lease_is_renewed_health_stays_as_it_is() {
    let patience = Duration::from_secs(3);
    let (server, database) = Server::faulty(|config| config.lane.patience = patience).await;
    database.set(Some(Fault::Commits(ApplyFailure::NotApplied)));
    assert_eq!(begin_in_vain(&server).await, "STORE_UNAVAILABLE");
    until_serving(&server, false).await;
    database.renewed(2).await;
    assert!(!serving(&server, "").await);
    let asked = Instant::now();
    assert_eq!(begin_in_vain(&server).await, "STORE_UNAVAILABLE");
    assert!(asked.elapsed() < patience, "refused without waiting");
    assert!(!serving(&server, "").await);

    database.set(None);
    database.renewed(1).await;
    // On trial, the first commit that is applied ends it.
    server.begin(begin([])).await;
    until_serving(&server, true).await;
}

#[tokio::test]
async fn a_write_in_doubt_is_not_known_and_may_take_effect() {
    let (server, database) = Server::faulty(|config| config.lane.patience = SHORT).await;
    for fault in [Fault::Hangs, Fault::Writes(ApplyFailure::Unknown)] {
        database.set(Some(fault));
        let refused = server.coordinator().begin(begin([])).await;
        let text = format!("{refused:?}");
        assert_eq!(refusal(refused), "OUTCOME_UNKNOWN", "{fault:?}");
        until_serving(&server, false).await;
        database.set(None);
        until_serving(&server, true).await;
        // The begin went on without its caller.
        let id = text.split("transaction ").nth(1).unwrap();
        let id = id.split(' ').next().unwrap();
        server.get(id).await;
    }
}

#[tokio::test]
async fn a_read_that_fails_ends_nothing() {
    let (server, database) = Server::faulty(|config| config.lane.patience = SHORT).await;
    let unique = || v1::BeginRequest {
        unique_business: true,
        ..begin([])
    };
    let begun = server.begin(unique()).await;
    database.set(Some(Fault::Reads));
    // The row that has the business would have to be read.
    let refused = server.coordinator().begin(unique()).await;
    assert_eq!(refusal(refused), "STORE_UNAVAILABLE");
    database.set(None);
    until_serving(&server, true).await;
    assert_eq!(server.begin(unique()).await.tx_id, begun.tx_id);
}

/// A transaction that is not in memory is read for its Decide, and the database does not answer.
#[tokio::test]
async fn a_read_that_hangs_is_not_waited_for() {
    let (server, database) = Server::faulty(|config| config.lane.patience = SHORT).await;
    let elsewhere = uuid::Uuid::now_v7().to_string();
    let decide = || v1::DecideRequest {
        tx_id: elsewhere.clone(),
        outcome: v1::Outcome::Success.into(),
        ..v1::DecideRequest::default()
    };
    database.set(Some(Fault::ReadsHang));
    let refused = server.coordinator().decide(decide()).await;
    assert_eq!(refusal(refused), "STORE_UNAVAILABLE");
    database.set(None);
    let refused = server.coordinator().decide(decide()).await;
    assert_eq!(refusal(refused), "TX_NOT_FOUND");
}

/// Checks that the server ends because every write fails for good, with this error of the database.
async fn ends_for_good(server: Server, error: &str) {
    let ended = server.ended().await.unwrap_err();
    assert!(matches!(ended, ServeError::Driver(_)), "{ended:?}");
    let source = std::error::Error::source(&ended).unwrap().to_string();
    assert!(source.contains(error), "{source}");
}

/// What fails for good is tried again all the same, and ends the server only when it lasts.
#[tokio::test]
async fn a_database_that_never_takes_a_write_again_ends_the_server() {
    let (server, database) = Server::faulty(|config| {
        config.lane.patience = SHORT;
        config.lane.fatal_after = 2 * SHORT;
    })
    .await;
    database.set(Some(Fault::Writes(ApplyFailure::Fatal)));
    begin_in_vain(&server).await;
    ends_for_good(server, "the disk is full").await;
}

/// Writes of another table succeed: commits are tried again and again, and the server ends all the same.
#[tokio::test]
async fn a_missing_table_ends_the_server_though_the_lease_is_renewed() {
    let (server, database) = Server::faulty(|config| {
        config.lease = Duration::from_secs(1);
        config.lane.patience = PATIENCE;
        config.lane.fatal_after = 3 * SHORT;
    })
    .await;
    database.set(Some(Fault::Commits(ApplyFailure::Fatal)));
    let mut client = server.coordinator();
    let asking = tokio::spawn(async move {
        // Until the server is gone.
        while let Err(refused) = client.begin(begin([])).await
            && refused.message().contains("nothing was changed")
        {
            sleep(Duration::from_millis(50)).await;
        }
    });
    ends_for_good(server, "action_info").await;
    timeout(PATIENCE, asking).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_server_whose_database_hangs_stops_in_time() {
    let (mut server, database) = Server::faulty(|config| {
        config.lane.patience = SHORT;
        config.drain_timeout = SHORT;
    })
    .await;
    database.set(Some(Fault::Hangs));
    assert_eq!(begin_in_vain(&server).await, "OUTCOME_UNKNOWN");
    server.stop();
    server.ended().await.unwrap();
}

/// The database's clock is a month ahead for a while; initiators make their ids by clocks that are right.
#[tokio::test]
async fn ids_are_taken_after_a_jump_of_the_clock() {
    let (server, database) = Server::faulty(|config| {
        config.lease = Duration::from_secs(1);
    })
    .await;
    let with_id = || v1::BeginRequest {
        tx_id: uuid::Uuid::now_v7().to_string(),
        ..begin([])
    };
    let month = Duration::from_hours(24 * 30);
    // For one reading, which is not followed, and for as many as it takes to be followed.
    for readings in [1, 5] {
        let open = server.begin(with_id()).await;
        database.set(Some(Fault::ClockAhead(month)));
        database.renewed(readings).await;
        database.set(None);
        database.renewed(3).await;
        server.begin(with_id()).await;
        let made = server.begin(begin([])).await;
        let made = uuid::Uuid::parse_str(&made.tx_id).unwrap();
        let (seconds, _) = made.get_timestamp().unwrap().to_unix();
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        assert!(seconds <= now.as_secs() + 60, "its own ids are right too");
        if readings == 1 {
            let state = server.get(&open.tx_id).await;
            assert_eq!(state.status(), v1::TxStatus::ProcessWaiting);
            assert_eq!(
                state.biz_status(),
                v1::BizStatus::Init,
                "no deadline is over"
            );
        }
    }
}

/// A small disk of its own.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts it; `None` where this process may not.
    fn mount() -> Option<Self> {
        let folder = std::env::temp_dir().join(format!("tercet-disk-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&folder).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
            .arg(&folder)
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        std::fs::remove_dir(&folder).unwrap();
        None
    }

    /// Fills it to the last byte with this file.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("ballast");
        let mut file = File::create(&path).unwrap();
        for chunk in [64 * 1024, 1] {
            loop {
                match file.write_all(&vec![7; chunk]) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[tokio::test]
async fn a_full_disk_is_said_and_goes_on_by_itself_when_there_is_room() {
    // Where this process may not mount a disk, the faulty database of the other tests has to do.
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let store = SqliteStore::open(disk.0.join("tercet.db"), SqliteOptions::default())
        .await
        .unwrap();
    let server = Server::on(store, |config| config.lane.patience = SHORT).await;
    let mut begun = vec![server.begin(begin([])).await.tx_id];
    let ballast = disk.fill();
    // What was left of the last block of the log takes a few more.
    let reason = loop {
        match server.coordinator().begin(begin([])).await {
            Ok(state) => begun.push(state.into_inner().tx_id),
            Err(refused) => break refusal::<()>(Err(refused)),
        }
    };
    assert_eq!(reason, "STORE_UNAVAILABLE");
    until_serving(&server, false).await;
    server.get(&begun[0]).await;

    std::fs::remove_file(ballast).unwrap();
    until_serving(&server, true).await;
    begun.push(server.begin(begin([])).await.tx_id);
    for id in begun {
        server.get(&id).await;
    }
}
