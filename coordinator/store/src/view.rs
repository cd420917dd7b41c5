//! What a store is asked for and what it gives, besides transactions and writes.

use tercet_core::{
    id::TxId,
    model::{BizStatus, Name, Owner, TxStatus},
    row::{ActionInfoRow, TxRow},
    time::Timestamp,
    write::OperatorEntry,
};

/// A node's incarnation, as [`Store::start_node`](crate::Store::start_node) made it.
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
    /// The last [`OPERATOR_ENTRIES_SHOWN`](tercet_core::limits::OPERATOR_ENTRIES_SHOWN) commands of
    /// operators, oldest first. Empty in a list.
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
    /// At most this many, and never more than [`LIST_LIMIT`].
    pub limit: u32,
}

/// Transactions of one page of a list at most.
pub const LIST_LIMIT: u32 = 1_000;
