//! A database whose clock is wrong for a while.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tercet_proto::v1;

use crate::harness::{Fault, Faulty, Server, begin};

const MONTH: Duration = Duration::from_hours(24 * 30);

fn config(config: &mut tercet_server::Config) {
    config.lease = Duration::from_secs(1);
    // Everything that waits is in the table.
    config.engine.hold = Duration::ZERO;
}

/// The clock is a month ahead, for as many readings as it takes to be believed.
async fn is_ahead(database: &Faulty) {
    database.set(Some(Fault::ClockAhead(MONTH)));
    database.renewed(4).await;
}

async fn is_right_again(database: &Faulty) {
    database.set(None);
    database.renewed(3).await;
}

fn ends_after(timeout: Duration) -> v1::BeginRequest {
    v1::BeginRequest {
        timeout_ms: timeout.as_millis().try_into().unwrap(),
        ..begin([])
    }
}

async fn is_open(server: &Server, tx_id: &str) -> bool {
    server.get(tx_id).await.status() == v1::TxStatus::ProcessWaiting
}

fn now_micros() -> u128 {
    let now = SystemTime::UNIX_EPOCH.elapsed();
    now.unwrap().as_micros()
}

async fn begun_at(server: &Server, tx_id: &str) -> u128 {
    let micros = server.get(tx_id).await.create_time_micros;
    micros.try_into().unwrap()
}

/// Phase one has its time, not more and not less; what is stored is right as soon as the clock is.
#[tokio::test]
async fn a_clock_that_is_ahead_for_a_while_moves_no_deadline() {
    let (server, database) = Server::faulty(config).await;
    let long = server.begin(ends_after(Duration::from_hours(1))).await;
    is_ahead(&database).await;
    assert!(is_open(&server, &long.tx_id).await, "it has an hour");
    let short = server.begin(ends_after(Duration::from_secs(6))).await;
    let month = MONTH.as_micros();
    assert!(begun_at(&server, &short.tx_id).await > now_micros() + month / 2);

    is_right_again(&database).await;
    server
        .until_status(&short.tx_id, v1::TxStatus::Success)
        .await;
    assert!(is_open(&server, &long.tx_id).await, "it has an hour");
    let after = server.begin(begin([])).await;
    assert!(begun_at(&server, &after.tx_id).await < now_micros() + month / 2);
}

/// The coordinator restarts while the clock is set right: nothing waits for the wrong time to come.
#[tokio::test]
async fn what_was_begun_with_a_wrong_clock_ends_after_a_restart() {
    let (mut server, database) = Server::faulty(config).await;
    is_ahead(&database).await;
    let begun = server.begin(ends_after(Duration::from_secs(4))).await;
    server.stop();
    server.ended().await.unwrap();
    database.set(None);
    let server = Server::over_faulty(Arc::clone(&database), config).await;
    server
        .until_status(&begun.tx_id, v1::TxStatus::Success)
        .await;
}
