//! Transactions as people see them.

use async_trait::async_trait;
use tercet_core::{
    id::TxId,
    model::{ActionStatus, BizStatus, Name, TxStatus},
    row::{ActionRow, IllegalRow, TxRow},
    time::Timestamp,
    write::OperatorEntry,
};

use crate::StoreError;

/// Transactions as people see them: one, the newest of a business, lists.
#[async_trait]
pub trait Views: Send + Sync {
    /// Reads one transaction with its actions and the last commands of operators.
    async fn view(&self, id: TxId) -> Result<Option<Result<TxView, IllegalRow>>, StoreError>;

    /// Finds the newest transaction of a business.
    async fn find(
        &self,
        business_type: &str,
        business_id: &str,
    ) -> Result<Option<TxId>, StoreError>;

    /// Lists transactions, newest first, without actions.
    async fn list(&self, query: &ListQuery) -> Result<Vec<Result<TxView, IllegalRow>>, StoreError>;
}

/// One transaction as a person or a caller sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxView {
    /// Its row.
    pub tx: TxRow,
    /// Its actions, by position. Empty in a list.
    pub actions: Vec<ActionRow>,
    /// The last [`OPERATOR_ENTRIES_SHOWN`](tercet_core::limits::OPERATOR_ENTRIES_SHOWN) commands of
    /// operators, oldest first. Empty in a list.
    pub operator_log: Vec<OperatorEntry>,
    /// In a list: the actions that are not finished and whose last call did not go well, by position. Empty
    /// otherwise.
    pub failing: Vec<FailingAction>,
}

/// An action that is not finished and whose last call did not go well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailingAction {
    /// Its name.
    pub name: Name,
    /// Its participant.
    pub participant: Name,
    /// Its status: INIT, TRIED or FAILED.
    pub status: ActionStatus,
    /// The last error.
    pub last_error: String,
}

/// A query for a list of transactions, newest first. A field that is `None` or empty does not filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Transactions with this business type.
    pub business_type: Option<String>,
    /// Transactions with this business id.
    pub business_id: Option<String>,
    /// Transactions with one of these statuses.
    pub statuses: Vec<TxStatus>,
    /// Transactions with one of these business statuses.
    pub biz_statuses: Vec<BizStatus>,
    /// Transactions with an action of this participant.
    pub participant: Option<String>,
    /// Transactions begun at this time or before.
    pub begun_until: Option<Timestamp>,
    /// Transactions begun at this time or later.
    pub begun_from: Option<Timestamp>,
    /// Transactions that are parked, whose initiator is being asked back, that were at rest and could have gone on before
    /// this, that were decided before this and have calls that fail, or that were begun after it by more than
    /// [`BEGUN_AHEAD`](tercet_core::limits::BEGUN_AHEAD), with a clock that was wrong.
    pub stuck_since: Option<Timestamp>,
    /// Transactions with an id below this one: the last of the page before.
    pub before: Option<TxId>,
    /// At most this many, and never more than [`LIST_LIMIT`].
    pub limit: u32,
}

/// The most transactions in one page of a list.
pub const LIST_LIMIT: u32 = 1_000;
