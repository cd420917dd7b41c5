//! The participant's own database: the barrier's table, the initiator's row, and one small file per
//! dialect with the differences.
//!
//! | table | `tercet_barrier` |
//! |---|---|
//! | `tx_id` | the transaction, in its hyphenated form |
//! | `action` | the action's name; empty: the initiator's own row |
//! | `state` | `TRYING`, `TRIED`, `CONFIRMED`, `CANCELLED`, `REJECTED`; `SUCCESS` or `FAILURE` in the initiator's |
//! | `result` | the bytes that its Try returned |
//! | `rejection` | the reason for which its Try was refused |
//! | `changed_at` | the time of the last change, by the database's clock, UTC |

mod barrier;
mod initiator_row;
mod mysql;
mod postgres;
mod rows;
mod sqlite;
mod statements;

pub use barrier::{Barrier, MAX_LOCAL_ATTEMPTS, create_table};
pub(crate) use barrier::{Code, MAX_RESULT_BYTES};
pub use initiator_row::{
    CHECK_BACK_LOCK_WAIT, InitiatorRowError, check_back_initiator_row, insert_initiator_row,
};

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

    /// The differences between databases.
    pub trait Dialect: sqlx::Database {
        /// The statements.
        const STATEMENTS: Statements;

        /// Set if only one local transaction can write at a time. The others then wait for their turn
        /// in this process, instead of requesting the lock again and again.
        const ONE_WRITER: bool = false;

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

/// The two functions of a dialect that have the same text for every driver but no common type.
macro_rules! driver {
    ($database:ty) => {
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
