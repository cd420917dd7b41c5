//! The participant's own database: the barrier's table, the initiator's row, and one small file per
//! dialect with what really differs.
//!
//! | table | `tercet_barrier` |
//! |---|---|
//! | `tx_id` | the transaction, in its hyphenated form |
//! | `action` | the action's name; empty: the initiator's own row |
//! | `state` | `TRYING`, `TRIED`, `CONFIRMED`, `CANCELLED`, `REJECTED`; `SUCCESS` or `FAILURE` in the initiator's |
//! | `result` | what its Try returned |
//! | `rejection` | why its Try was refused |
//! | `changed_at` | when, by the database's clock, UTC |

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

/// One parameter of a statement.
#[derive(Clone, Copy, Debug)]
pub enum Bind<'a> {
    /// A string.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A number.
    Number(i64),
}

/// One row of the table, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// The state's word.
    pub state: String,
    /// The Try's result.
    pub result: Vec<u8>,
    /// The Try's rejection.
    pub rejection: String,
}

/// What the dialects give; unnameable from outside, which seals [`Database`].
pub(crate) mod dialect {
    use super::{Bind, BoxFuture, Statements, StoredRow};

    /// What differs from database to database.
    pub trait Dialect: sqlx::Database {
        /// The statements.
        const STATEMENTS: Statements;

        /// Whether only one local transaction can write at a time, so that the others had better wait
        /// for their turn here than ask for the lock again and again.
        const ONE_WRITER: bool = false;

        /// Runs a statement; how many rows it changed, as the driver counts.
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

        /// The action's name as a parameter: text, or bytes where only these compare byte by byte.
        fn name(action: &str) -> Bind<'_> {
            Bind::Text(action)
        }

        /// Whether the same local transaction, tried again, may well succeed: a deadlock, a
        /// serialization failure, a busy database.
        fn is_transient(error: &dyn sqlx::error::DatabaseError) -> bool;

        /// Whether a lock was waited for too long.
        fn is_lock_timeout(error: &dyn sqlx::error::DatabaseError) -> bool;
    }
}

/// The two functions of a dialect that read alike for every driver but have no common type.
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

/// Binds every parameter in its order.
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
