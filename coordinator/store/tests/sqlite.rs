//! The conformance suite on SQLite, and what only SQLite has.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::result_large_err,
    clippy::semicolon_if_nothing_returned,
    missing_docs,
    unreachable_pub,
    reason = "tests"
)]

mod conformance;

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tercet_core::id::TxId;
use tercet_store::{SqliteOptions, SqliteStore, Store};

use conformance::Database;

struct Sqlite {
    directory: TempDir,
    store: Option<SqliteStore>,
}

impl Sqlite {
    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("tercet.db")
    }
}

#[async_trait]
impl Database for Sqlite {
    async fn empty() -> Self {
        let mut database = Self {
            directory: TempDir::new().unwrap(),
            store: None,
        };
        database.restart().await;
        database
    }

    fn store(&self) -> &dyn Store {
        self.store.as_ref().expect("the store is open")
    }

    async fn restart(&mut self) {
        if let Some(store) = self.store.take() {
            store.close().await.unwrap();
        }
        let store = SqliteStore::open(self.path(), SqliteOptions::default()).await;
        self.store = Some(store.unwrap());
    }

    async fn tamper(&self, sql: &str) {
        let options = SqliteConnectOptions::new().filename(self.path());
        let mut connection = options.connect().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
    }

    fn literal(id: TxId) -> String {
        format!("x'{}'", id.0.simple())
    }
}

conformance!(Sqlite);
