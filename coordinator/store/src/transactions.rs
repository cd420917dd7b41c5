//! Writes of transactions, and the reads that the engine needs.

use std::sync::Arc;

use async_trait::async_trait;
use tercet_core::{
    id::TxId,
    model::{DueRow, Transaction},
    row::IllegalRow,
    write::{Due, DueQuery, QueuesQuery, Standing, Write},
};

use crate::StoreError;

/// Writes of transactions, and the reads that the engine needs: the tables `tx_info`, `action_info`,
/// `tx_due` and `operator_log`.
#[async_trait]
pub trait Transactions: Send + Sync {
    /// Applies every write of the batch in one commit, or none. The batch is sorted by id and holds
    /// at most one write per transaction. It is shared, so that a store can hand it to a thread.
    async fn apply(&self, batch: Arc<Vec<Write>>) -> Result<(), StoreError>;

    /// Reads the row that each write of the batch meets in the database, in the batch's order.
    async fn standing(&self, batch: &[Write]) -> Result<Vec<Standing>, StoreError>;

    /// Reads those of the transactions that exist, in the order of their ids, each as it stands at one point in
    /// time.
    async fn load(&self, ids: &[TxId]) -> Result<Vec<Result<Transaction, IllegalRow>>, StoreError>;

    /// Reads rows of one queue of `tx_due`, in the order of (`at`, `tx_id`).
    async fn due(&self, query: &DueQuery) -> Result<Vec<Due>, StoreError>;

    /// Finds the queues of `tx_due` that have rows, each with its first row, in the order in which the database compares
    /// `kind`, `name` and `business_type`: as bytes. That of parked transactions is not among them.
    async fn queues(&self, query: &QueuesQuery) -> Result<Vec<DueRow>, StoreError>;
}
