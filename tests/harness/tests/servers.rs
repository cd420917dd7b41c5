//! The servers start, answer, and are gone when they are dropped.
#![allow(clippy::unwrap_used)]

use sqlx::{Connection as _, MySqlConnection, PgConnection};
use tercet_harness::{MariaDbServer, PostgresServer};

fn is_gone(pid: u32) -> bool {
    !std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test]
async fn postgres_answers_durably_and_is_gone_afterwards() {
    let mut server = PostgresServer::start().await.unwrap();
    let url = server.database().await.unwrap();
    assert_ne!(
        url,
        server.database().await.unwrap(),
        "each test has a database of its own"
    );
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let fsync: String = sqlx::query_scalar("SHOW fsync")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(fsync, "on");
    let pid = server.daemon().pid();
    drop(server);
    assert!(is_gone(pid));
}

#[tokio::test]
async fn mariadb_answers_durably_and_is_gone_afterwards() {
    let mut server = MariaDbServer::start().await.unwrap();
    let url = server.database().await.unwrap();
    assert_ne!(
        url,
        server.database().await.unwrap(),
        "each test has a database of its own"
    );
    let mut connection = MySqlConnection::connect(&url).await.unwrap();
    let flush: u64 = sqlx::query_scalar("SELECT @@innodb_flush_log_at_trx_commit")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(flush, 1);
    let pid = server.daemon().pid();
    drop(server);
    assert!(is_gone(pid));
}
