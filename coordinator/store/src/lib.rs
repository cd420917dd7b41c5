//! Where transactions are kept: the trait [`Store`], and the databases that implement it.
//!
//! A store decides nothing: it carries out batches that the core's lane put together and says which of
//! five things came of it ([`ApplyFailure`]). The same conformance suite runs on every store.

use std::time::Duration;

use async_trait::async_trait;
use tercet_core::{
    id::TxId,
    model::{BizStatus, Name, Owner, Transaction, TxStatus},
    row::{ActionInfoRow, IllegalRow, TxRow},
    time::Timestamp,
    write::{ApplyFailure, Due, DueQuery, OperatorEntry, Standing, Write},
};
use thiserror::Error;

/// What a store could not do.
#[derive(Debug, Error)]
#[error("{doing}: {what}")]
pub struct StoreError {
    /// What became of the writes, where there were any; what to expect of another try, otherwise.
    pub kind: ApplyFailure,
    /// What was being done, to what.
    pub doing: String,
    /// What the database said.
    pub what: String,
}

/// A node's incarnation, as [`Store::start_node`] made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incarnation {
    /// The node and its new epoch.
    pub owner: Owner,
    /// The database's clock.
    pub now: Timestamp,
}

/// What a renewal found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lease is renewed; the database's clock says this.
    Renewed(Timestamp),
    /// Another incarnation of this node has started: this one must exit.
    Superseded {
        /// Its epoch.
        epoch: u64,
    },
}

/// One participant as it is registered: a row of `participant_info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParticipantRow {
    /// Its name.
    pub participant: Name,
    /// `ATTACH`, `INVOKE`, `GRPC` or `HTTP`.
    pub protocol: String,
    /// Where it is called; empty for `ATTACH`.
    pub address: String,
    /// JSON: handler to methods, and the check-back's.
    pub methods: String,
    /// JSON: its limits.
    pub policy: String,
    /// Writes of the row.
    pub version: u32,
}

/// One transaction as a person or a caller sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxView {
    /// Its row.
    pub tx: TxRow,
    /// Its actions, by position. Empty in a list.
    pub actions: Vec<ActionInfoRow>,
    /// The last commands of operators, oldest first. Empty in a list.
    pub operator_log: Vec<OperatorEntry>,
}

/// Which transactions to list, newest first. What is `None` or empty does not filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Equal to.
    pub business_type: Option<String>,
    /// Equal to.
    pub business_id: Option<String>,
    /// Any of these.
    pub statuses: Vec<TxStatus>,
    /// Any of these.
    pub biz_statuses: Vec<BizStatus>,
    /// Having an action of this participant.
    pub participant: Option<String>,
    /// Begun not after this.
    pub begun_until: Option<Timestamp>,
    /// Begun not before this.
    pub begun_from: Option<Timestamp>,
    /// Parked, being asked back, or with a step that was due before this.
    pub stuck_since: Option<Timestamp>,
    /// Transactions with an id below this one: the last of the page before.
    pub before: Option<TxId>,
    /// At most this many.
    pub limit: u32,
}

/// One database that keeps transactions.
///
/// Every call may be dropped while it runs: the effect is then that of [`ApplyFailure::Unknown`].
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
    /// at most one write of a transaction.
    async fn apply(&self, batch: &[Write]) -> Result<(), StoreError>;

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
