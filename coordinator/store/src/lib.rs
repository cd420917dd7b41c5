//! The place where transactions are kept: the trait [`Store`], and the databases that implement it.
//!
//! A store decides nothing: it carries out batches that the core's lane put together, and reports success or one of
//! five failures ([`ApplyFailure`](tercet_core::write::ApplyFailure)). The same conformance suite runs on every
//! store.
//!
//! [`Store`] is the sum of four traits, one per subject. Their methods can be called on a `dyn Store` and on a
//! `T: Store` without importing them; on a concrete store, import the trait that has the method.
//!
//! | module | holds |
//! |---|---|
//! | `transactions`, `nodes`, `views`, `registry` | the four traits, each with its own types |
//! | `columns` | the tables, column by column, and their conversion from and to the core's values |
//! | `sql` | what every SQL database shares: statements, reads, lists, nodes and participants |
//! | `sqlite` | SQLite: its dialect, and its commits on a thread of their own |

mod cells;
mod columns;
mod error;
mod nodes;
mod open;
mod registry;
mod sql;
mod sqlite;
mod transactions;
mod views;

use async_trait::async_trait;

pub use self::{
    error::StoreError,
    nodes::{Incarnation, Nodes, Renewal},
    open::{open, sqlite_path},
    registry::{ParticipantRow, Registry, UnreadableParticipant},
    sqlite::{Durability, SqliteOptions, SqliteStore},
    transactions::Transactions,
    views::{FailingAction, LIST_LIMIT, ListQuery, TxView, Views},
};

/// One database that keeps transactions.
///
/// Every call may be dropped while it runs: the effect is then that of
/// [`ApplyFailure::Unknown`](tercet_core::write::ApplyFailure::Unknown).
#[async_trait]
pub trait Store: Transactions + Nodes + Views + Registry + 'static {
    /// Closes the database once the calls under way have ended, and releases it; gives up after 10 s. Later calls fail;
    /// closing it again does nothing.
    async fn close(&self) -> Result<(), StoreError>;
}
