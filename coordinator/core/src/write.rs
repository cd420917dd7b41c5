//! One change of one transaction: a compare-and-set of its `tx_info` row together with its
//! `action_info` rows, all or nothing.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    id::TxId,
    model::{ActionSpec, ActionStatus, Attempt, Name, Owner, Phase, TxSpec},
    time::Timestamp,
};

/// One change of one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The transaction.
    pub id: TxId,
    /// Insert the row, or change the one that has this version.
    pub fence: Fence,
    /// The columns of `tx_info` that change, with their new values.
    pub head: Head,
    /// The rows of `action_info` that change.
    pub actions: Vec<ActionWrite>,
    /// An operator's command, kept in the same write.
    pub operator: Option<OperatorEntry>,
    /// Whether somebody waits for it; the others wait for company.
    pub urgent: bool,
}

/// The condition under which a write holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fence {
    /// No row has the id, and none the unique key.
    Absent(Arc<TxSpec>),
    /// The row has this version.
    Version(u32),
    /// No condition: only a mutation makes it.
    #[cfg(feature = "mutations")]
    Dropped,
    /// No condition, and the `tx_info` row stays as it is: only a mutation makes it.
    #[cfg(feature = "mutations")]
    ActionsOnly,
}

/// The columns of `tx_info` that a write sets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Head {
    /// `status`, `biz_status`, `decision_cause`, `decided_at`, `finished_at`.
    pub phase: Phase,
    /// `retry_count`.
    pub check_backs: u32,
    /// `version`, the new one.
    pub version: u32,
    /// `owner`.
    pub owner: Owner,
    /// `waiting_for`.
    pub waiting_for: Option<Name>,
    /// `next_attempt_at`.
    pub next_attempt_at: Option<Timestamp>,
}

/// One row of `action_info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionWrite {
    /// Its name.
    pub name: Name,
    /// Insert it; `None`: change it.
    pub insert: Option<ActionInsert>,
    /// The columns that a write sets.
    pub row: ActionRow,
}

/// What a new row of `action_info` carries besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionInsert {
    /// Its place in the transaction, from 0: the column `position`.
    pub position: u32,
    /// The columns that never change.
    pub spec: Arc<ActionSpec>,
    /// `create_time`.
    pub create_time: Timestamp,
}

/// The columns of `action_info` that a write sets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ActionRow {
    /// `status`.
    pub status: ActionStatus,
    /// `result`.
    pub result: Bytes,
    /// `retry_count`.
    pub retry_count: u32,
    /// `last_error`.
    pub last_error: String,
    /// `attempts`.
    pub attempts: Vec<Attempt>,
    /// `version`, the new one; the row must have had the one before.
    pub version: u32,
    /// `finished_at`.
    pub finished_at: Option<Timestamp>,
}

/// One row of `operator_log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorEntry {
    /// When it was carried out.
    pub at: Timestamp,
    /// The command with its arguments.
    pub command: String,
    /// Why.
    pub reason: String,
    /// The statuses before it.
    pub before: String,
}

/// What one write of a batch finds in the database: what `Store::standing` reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The row that stands in the write's way or is its own: that with the write's id, or else that
    /// with its unique key. `None`: there is neither.
    pub row: Option<StandingRow>,
}

/// Who wrote a row last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingRow {
    /// Its id; another one than the write's when the unique key is taken.
    pub id: TxId,
    /// Its version.
    pub version: u32,
    /// Who wrote it last.
    pub owner: Owner,
}

/// Why a batch of writes was not applied, or may not have been: the four kinds of store errors, and
/// the fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApplyFailure {
    /// Nothing was applied: at least one write's condition did not hold.
    Moved,
    /// Nothing was applied, and the same may succeed later: a deadlock, a lock time-out, a node that
    /// is not ready.
    NotApplied,
    /// It may have been applied, now or later.
    Unknown,
    /// Nothing was applied: a value of one write is refused by the database.
    Content,
    /// Nothing will ever be applied: schema, permission.
    Fatal,
}

/// Which rows are due: a question of the loader to the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DueQuery {
    /// Rows that wait for this participant; `None`: rows that wait for none.
    pub waiting_for: Option<Name>,
    /// Rows whose `next_attempt_at` is not after this.
    pub until: Timestamp,
    /// Rows after this one, in the order of (`next_attempt_at`, `tx_id`).
    pub after: Option<Due>,
    /// At most this many.
    pub limit: u32,
}

/// A row that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Due {
    /// Its `next_attempt_at`.
    pub at: Timestamp,
    /// Its id.
    pub id: TxId,
}
