//! The store's traits, implemented for every SQL database on the few operations that are its own.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tercet_core::{
    id::TxId,
    model::{DueRow, Owner, Transaction},
    row::IllegalRow,
    time::Timestamp,
    write::{ApplyFailure, Due, DueQuery, QueuesQuery, Standing, Write},
};
use tokio::time::timeout;

use super::{Dialect, ReadersByUse, due, registry, transactions, views};
use crate::{
    Incarnation, ListQuery, Nodes, ParticipantRow, Registry, Renewal, Store, StoreError,
    Transactions, TxView, UnreadableParticipant, Views, cells::Value,
};

/// The longest wait for a database to close: one whose disk hangs never does.
pub(crate) const CLOSE_WAIT: Duration = Duration::from_secs(10);

/// The operations of a SQL database that cannot be written once for all of them.
#[async_trait]
pub(crate) trait SqlStore: Send + Sync + 'static {
    /// The dialect that its database speaks.
    type Dialect: Dialect;

    /// Returns the connections that read.
    fn readers(&self) -> &ReadersByUse<Self::Dialect>;

    /// Waits while the database needs a moment without long reads; not for longer than such a read may take twice.
    async fn before_long_read(&self) {}

    /// Applies a batch that is not empty: see [`Transactions::apply`].
    async fn commit(&self, batch: Arc<Vec<Write>>) -> Result<(), StoreError>;

    /// Makes a change, and reads its result.
    async fn change(&self, doing: &str, change: Change) -> Result<Changed, StoreError>;

    /// Closes the connections that write; those that read are closed before.
    async fn close_writers(&self) -> Result<(), StoreError>;
}

/// A change of one row of a table without transactions: a statement and a read, in one transaction of the database.
pub(crate) struct Change {
    /// The statement, which changes one row or none.
    pub(crate) statement: &'static str,
    /// Makes the statement's parameters, given the database's clock.
    pub(crate) values: Box<dyn FnOnce(Timestamp) -> Vec<Value<'static>> + Send>,
    /// The read of one number of a row, whose key is the only parameter.
    pub(crate) read: &'static str,
    /// The row's key.
    pub(crate) key: String,
}

/// The result of a change.
pub(crate) struct Changed {
    /// The number that the row has afterwards; `None`: there is no such row.
    pub(crate) number: Option<i64>,
    /// The clock that the parameters were made with.
    pub(crate) now: Timestamp,
}

#[async_trait]
impl<S: SqlStore> Transactions for S {
    async fn apply(&self, batch: Arc<Vec<Write>>) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.commit(batch).await
    }

    async fn standing(&self, batch: &[Write]) -> Result<Vec<Standing>, StoreError> {
        transactions::standing(&self.readers().commits, batch).await
    }

    async fn load(&self, ids: &[TxId]) -> Result<Vec<Result<Transaction, IllegalRow>>, StoreError> {
        transactions::load(&self.readers().engine, ids).await
    }

    async fn due(&self, query: &DueQuery) -> Result<Vec<Due>, StoreError> {
        due::due(&self.readers().engine, query).await
    }

    async fn queues(&self, query: &QueuesQuery) -> Result<Vec<DueRow>, StoreError> {
        due::queues(&self.readers().engine, query).await
    }
}

#[async_trait]
impl<S: SqlStore> Nodes for S {
    async fn start_node(
        &self,
        node: &str,
        address: &str,
        lease: Duration,
    ) -> Result<Incarnation, StoreError> {
        registry::start_node(self, node, address, lease).await
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<Renewal, StoreError> {
        registry::renew(self, owner, lease).await
    }

    async fn end_node(&self, owner: &Owner) -> Result<(), StoreError> {
        registry::end_node(self, owner).await
    }
}

#[async_trait]
impl<S: SqlStore> Views for S {
    async fn view(&self, id: TxId) -> Result<Option<Result<TxView, IllegalRow>>, StoreError> {
        views::view(&self.readers().lookups, id).await
    }

    async fn find(
        &self,
        business_type: &str,
        business_id: &str,
    ) -> Result<Option<TxId>, StoreError> {
        views::find(&self.readers().lookups, business_type, business_id).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Result<TxView, IllegalRow>>, StoreError> {
        self.before_long_read().await;
        views::list(&self.readers().lists, query).await
    }
}

#[async_trait]
impl<S: SqlStore> Registry for S {
    async fn participants(
        &self,
    ) -> Result<Vec<Result<ParticipantRow, UnreadableParticipant>>, StoreError> {
        registry::participants(&self.readers().lookups).await
    }

    async fn put_participant(&self, row: &ParticipantRow) -> Result<u32, StoreError> {
        registry::put_participant(self, row).await
    }
}

#[async_trait]
impl<S: SqlStore> Store for S {
    async fn close(&self) -> Result<(), StoreError> {
        let closing = async {
            self.readers().close().await;
            self.close_writers().await
        };
        let doing = "closing the database";
        timeout(CLOSE_WAIT, closing).await.unwrap_or_else(|_| {
            let what = format!("it was not closed within {} s", CLOSE_WAIT.as_secs());
            Err(StoreError::new(ApplyFailure::Unknown, doing, what))
        })
    }
}
