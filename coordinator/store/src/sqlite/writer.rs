//! The one connection that writes.

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Error, Executor, QueryBuilder, Row, Sqlite,
    SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteRow},
};
use tercet_core::write::{ApplyFailure, Write};
use tokio::sync::Mutex;

use super::{
    commit::Commit,
    failure::{self, At},
    read,
};
use crate::StoreError;

/// The one connection that writes. Whoever uses it takes it out, and puts it back only when it is known to be
/// outside of any transaction: after an error that leaves doubt, or when a call is dropped while it
/// runs, the next call opens a new one.
pub(super) struct Writer {
    options: SqliteConnectOptions,
    connection: Mutex<Option<SqliteConnection>>,
}

impl Writer {
    /// The writer of a database that `connection`, opened with `options`, has prepared.
    pub(super) async fn new(
        options: SqliteConnectOptions,
        mut connection: SqliteConnection,
    ) -> Result<Self, Error> {
        fence(&mut connection).await?;
        Ok(Self {
            options,
            connection: Mutex::new(Some(connection)),
        })
    }

    async fn open(&self) -> Result<SqliteConnection, Error> {
        let mut connection = self.options.connect().await?;
        fence(&mut connection).await?;
        Ok(connection)
    }

    /// Applies every write, or none.
    pub(super) async fn apply(&self, batch: &[Write]) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let commit = Commit::of(batch)?;
        let doing = || format!("applying {} writes", batch.len());
        let mut slot = self.connection.lock().await;
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => self
                .open()
                .await
                .map_err(|error| read::failed(&doing(), &error))?,
        };
        match commit.run(&mut connection).await {
            Ok(()) => {
                *slot = Some(connection);
                Ok(())
            }
            Err((error, at)) => {
                let kind = failure::of(&error, at);
                if is_sound(&error) && is_rolled_back(&mut connection).await {
                    *slot = Some(connection);
                }
                Err(StoreError::new(kind, doing(), error.to_string()))
            }
        }
    }

    /// Runs one statement, a transaction of its own, and gives the row that it returns, if any.
    pub(super) async fn statement(
        &self,
        doing: &str,
        query: &mut QueryBuilder<Sqlite>,
    ) -> Result<Option<SqliteRow>, StoreError> {
        let mut slot = self.connection.lock().await;
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => self
                .open()
                .await
                .map_err(|error| read::failed(doing, &error))?,
        };
        // All rows are asked for: the statement commits when it has run to its end.
        match query.build().fetch_all(&mut connection).await {
            Ok(mut rows) => {
                *slot = Some(connection);
                Ok(rows.pop())
            }
            Err(error) => {
                if is_sound(&error) && is_rolled_back(&mut connection).await {
                    *slot = Some(connection);
                }
                // A statement commits by itself: where in it an error came up is not known.
                let kind = failure::of(&error, At::Commit);
                Err(StoreError::new(kind, doing, error.to_string()))
            }
        }
    }

    /// Closes the connection; the last one of a database moves its log into it.
    pub(super) async fn close(&self) -> Result<(), StoreError> {
        let connection = self.connection.lock().await.take();
        let Some(connection) = connection else {
            return Ok(());
        };
        let closed = connection.close().await;
        closed.map_err(|error| read::failed("closing the database", &error))
    }
}

async fn fence(connection: &mut SqliteConnection) -> Result<(), Error> {
    connection.execute(include_str!("fence.sql")).await?;
    Ok(())
}

/// Whether the connection itself is none of the causes of the error.
fn is_sound(error: &Error) -> bool {
    match failure::of(error, At::Commit) {
        ApplyFailure::Moved | ApplyFailure::Content | ApplyFailure::NotApplied => true,
        ApplyFailure::Unknown | ApplyFailure::Fatal => false,
    }
}

/// Whether no transaction is open any more.
async fn is_rolled_back(connection: &mut SqliteConnection) -> bool {
    match connection.execute("ROLLBACK").await {
        Ok(_) => true,
        Err(error) => error
            .as_database_error()
            .is_some_and(|error| error.message().contains("no transaction is active")),
    }
}

/// Brings the tables up to this program's version. Tables of a later version are left as they are: the
/// program before works with them too.
pub(super) async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    super::migrations()
        .set_ignore_missing(true)
        .run_direct(None, connection, false)
        .await
        .map_err(|error| {
            StoreError::new(
                ApplyFailure::Fatal,
                "preparing the tables",
                error.to_string(),
            )
        })
}

/// The value of a pragma.
pub(super) async fn pragma(connection: &mut SqliteConnection, name: &str) -> Result<String, Error> {
    let row = sqlx::query(AssertSqlSafe(format!(
        "SELECT CAST((SELECT {name} FROM pragma_{name}) AS TEXT)"
    )))
    .fetch_one(connection)
    .await?;
    row.try_get(0)
}
