//! The participant's own database: the barrier's table, the initiator's row, and one small file per
//! dialect with the differences.
//!
//! | table | `tercet_barrier` |
//! |---|---|
//! | `tx_id` | the transaction, in its hyphenated form |
//! | `action` | the action's name; empty: the initiator's own row |
//! | `state` | `TRYING`, `TRIED`, `CONFIRMED`, `CANCELLED`, `REJECTED`; `SUCCESS` or `FAILURE` in the initiator's; `RUNNING` while the code runs |
//! | `result` | the bytes that its Try returned |
//! | `rejection` | the reason for which its Try was refused; with `RUNNING` the operation whose code runs |
//! | `changed_at` | the time of the last change, by the database's clock, UTC |
//!
//! The row of the nil UUID, in state `PURGED`, shows in `rejection` how far rows have been removed.

mod barrier;
mod initiator_row;
mod local;
mod mysql;
mod postgres;
mod retention;
mod rows;
mod sqlite;
mod statements;

pub use barrier::{Barrier, MAX_LOCAL_ATTEMPTS, create_table};
pub(crate) use barrier::{Code, MAX_RESULT_BYTES};
pub use initiator_row::{CHECK_BACK_LOCK_WAIT, InitiatorRowError};
pub(crate) use local::Lease;
pub use retention::MIN_RETENTION;

use futures::future::BoxFuture;
use statements::Statements;

/// A database that the barrier works on: [`Sqlite`](sqlx::Sqlite), [`Postgres`](sqlx::Postgres),
/// [`MySql`](sqlx::MySql) (MariaDB too). Sealed.
pub trait Database: dialect::Dialect {}

impl Database for sqlx::Sqlite {}
impl Database for sqlx::Postgres {}
impl Database for sqlx::MySql {}

/// The connection that an action's code receives, inside the open local transaction.
pub type Connection<D> = <D as sqlx::Database>::Connection;

/// A parameter of a statement.
#[derive(Clone, Copy, Debug)]
pub enum Bind<'a> {
    /// A string.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A number.
    Number(i64),
}

/// A row of the table, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// The state's word.
    pub state: String,
    /// The Try's result.
    pub result: Vec<u8>,
    /// The Try's rejection.
    pub rejection: String,
}

/// The trait of the dialects; unnameable from outside, which seals [`Database`].
pub(crate) mod dialect {
    use super::{Bind, BoxFuture, Statements, StoredRow};

    /// The moment at which a connection is sealed for the code of users, and the one at which it no
    /// longer is.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Sealing {
        /// By [`Statements::begin_for_code`], until [`Statements::keep`] or [`Statements::undo`] is
        /// committed.
        Begin,
        /// By [`Statements::savepoint`], until [`Statements::unseal`] after the local transaction.
        Savepoint,
        /// By [`refuse_commits`](Dialect::refuse_commits), from the savepoint to its end.
        Hook,
    }

    /// The differences between databases.
    pub trait Dialect: sqlx::Database {
        /// The statements.
        const STATEMENTS: Statements;

        /// Set if only one local transaction can write at a time. The others then wait for their turn
        /// in this process, instead of requesting the lock again and again.
        const ONE_WRITER: bool = false;

        /// The moment at which a connection is sealed for the code of users.
        const SEALING: Sealing;

        /// Runs statements without parameters, in one exchange with the server.
        fn run_statements<'c>(
            connection: &'c mut Self::Connection,
            sql: &'static str,
        ) -> BoxFuture<'c, Result<(), sqlx::Error>>;

        /// Refuses every commit on this connection, or no longer does. Does nothing where statements
        /// seal the connection.
        fn refuse_commits(
            _connection: &mut Self::Connection,
            _refuse: bool,
        ) -> BoxFuture<'_, Result<(), sqlx::Error>> {
            Box::pin(async { Ok(()) })
        }

        /// Runs a statement; returns the number of rows that it changed, as the driver counts.
        fn execute<'c>(
            connection: &'c mut Self::Connection,
            sql: &'static str,
            binds: &'c [Bind<'c>],
        ) -> BoxFuture<'c, Result<u64, sqlx::Error>>;

        /// Reads one row.
        fn fetch<'c>(
            connection: &'c mut Self::Connection,
            sql: &'static str,
            binds: &'c [Bind<'c>],
        ) -> BoxFuture<'c, Result<Option<StoredRow>, sqlx::Error>>;

        /// Returns the action's name as a parameter: text, or bytes if only these compare byte by
        /// byte.
        fn name(action: &str) -> Bind<'_> {
            Bind::Text(action)
        }

        /// Returns true if the same local transaction may succeed when it is repeated: after a
        /// deadlock, a serialization failure, a busy database.
        fn is_transient(error: &dyn sqlx::error::DatabaseError) -> bool;

        /// Returns true if the wait for a lock timed out.
        fn is_lock_timeout(error: &dyn sqlx::error::DatabaseError) -> bool;
    }
}

/// The three functions of a dialect that have the same text for every driver but no common type.
macro_rules! driver {
    ($database:ty) => {
        fn run_statements<'c>(
            connection: &'c mut Self::Connection,
            sql: &'static str,
        ) -> futures::future::BoxFuture<'c, Result<(), sqlx::Error>> {
            Box::pin(async move { sqlx::raw_sql(sql).execute(connection).await.map(drop) })
        }

        fn execute<'c>(
            connection: &'c mut Self::Connection,
            sql: &'static str,
            binds: &'c [$crate::database::Bind<'c>],
        ) -> futures::future::BoxFuture<'c, Result<u64, sqlx::Error>> {
            Box::pin(async move {
                let query = $crate::database::bind_all!(sqlx::query::<$database>(sql), binds);
                Ok(query.execute(connection).await?.rows_affected())
            })
        }

        fn fetch<'c>(
            connection: &'c mut Self::Connection,
            sql: &'static str,
            binds: &'c [$crate::database::Bind<'c>],
        ) -> futures::future::BoxFuture<
            'c,
            Result<Option<$crate::database::StoredRow>, sqlx::Error>,
        > {
            Box::pin(async move {
                let query = $crate::database::bind_all!(sqlx::query_as::<$database, _>(sql), binds);
                let row: Option<(String, Vec<u8>, String)> =
                    query.fetch_optional(connection).await?;
                Ok(row.map(|(state, result, rejection)| $crate::database::StoredRow {
                    state,
                    result,
                    rejection,
                }))
            })
        }
    };
}

/// Binds the parameters in order.
macro_rules! bind_all {
    ($query:expr, $binds:expr) => {{
        let mut query = $query;
        for bind in $binds {
            query = match *bind {
                $crate::database::Bind::Text(text) => query.bind(text),
                $crate::database::Bind::Bytes(bytes) => query.bind(bytes),
                $crate::database::Bind::Number(number) => query.bind(number),
            };
        }
        query
    }};
}

pub(crate) use {bind_all, driver};
