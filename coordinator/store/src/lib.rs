//! Where transactions are kept: the trait [`Store`], and the databases that implement it.
//!
//! A store decides nothing: it carries out batches that the core's lane put together and says which of
//! five things came of it ([`ApplyFailure`](tercet_core::write::ApplyFailure)). The same conformance
//! suite runs on every store.

mod columns;
mod error;
mod sqlite;
mod view;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tercet_core::{
    id::TxId,
    model::{Owner, Transaction},
    row::IllegalRow,
    write::{Due, DueQuery, Standing, Write},
};

pub use self::{
    error::StoreError,
    sqlite::{Durability, SqliteOptions, SqliteStore},
    view::{Incarnation, LIST_LIMIT, ListQuery, ParticipantRow, Renewal, TxView},
};

/// One database that keeps transactions.
///
/// Every call may be dropped while it runs: the effect is then that of
/// [`ApplyFailure::Unknown`](tercet_core::write::ApplyFailure::Unknown).
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Starts a new incarnation of the node: raises its epoch and leases it.
    async fn start_node(
        &self,
        node: &str,
        address: &str,
        lease: Duration,
    ) -> Result<Incarnation, StoreError>;

    /// Renews the incarnation's lease and reads the clock.
    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<Renewal, StoreError>;

    /// Ends the incarnation's lease.
    async fn end_node(&self, owner: &Owner) -> Result<(), StoreError>;

    /// Applies every write of the batch in one commit, or none. The batch is sorted by id and holds
    /// at most one write of a transaction. It is shared, so that a store can hand it to a thread.
    async fn apply(&self, batch: Arc<Vec<Write>>) -> Result<(), StoreError>;

    /// What stands in the database for each write of the batch, in its order.
    async fn standing(&self, batch: &[Write]) -> Result<Vec<Standing>, StoreError>;

    /// The transactions with these ids that exist, each read at one point in time: its row first.
    async fn load(&self, ids: &[TxId]) -> Result<Vec<Result<Transaction, IllegalRow>>, StoreError>;

    /// Unfinished rows that are due, in the order of (`next_attempt_at`, `tx_id`).
    async fn due(&self, query: &DueQuery) -> Result<Vec<Due>, StoreError>;

    /// One transaction for a person, with its actions.
    async fn view(&self, id: TxId) -> Result<Option<Result<TxView, IllegalRow>>, StoreError>;

    /// The newest transaction of this business.
    async fn find(
        &self,
        business_type: &str,
        business_id: &str,
    ) -> Result<Option<TxId>, StoreError>;

    /// Transactions for a person, newest first, without actions.
    async fn list(&self, query: &ListQuery) -> Result<Vec<Result<TxView, IllegalRow>>, StoreError>;

    /// Every participant that is known, by name.
    async fn participants(&self) -> Result<Vec<ParticipantRow>, StoreError>;

    /// Makes a participant known, or replaces what was known; gives the row's version.
    async fn put_participant(&self, row: &ParticipantRow) -> Result<u32, StoreError>;
}
