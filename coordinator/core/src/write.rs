//! One change of one transaction: a compare-and-set of its `tx_info` row together with its
//! `action_info` rows, all or nothing.

use std::sync::Arc;

use crate::{
    id::TxId,
    model::{ActionSpec, ActionState, DueRow, Name, Owner, Phase, Queue, Rest, TxSpec, Unanswered},
    time::Timestamp,
};

/// One change of one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The transaction.
    pub id: TxId,
    /// The condition under which it is applied.
    pub fence: Fence,
    /// The columns of `tx_info` that change, with their new values.
    pub head: Head,
    /// The rows of `action_info` that change.
    pub actions: Vec<ActionWrite>,
    /// The rows of `tx_due` that change.
    pub due: DueChange,
    /// An operator's command, kept in the same write.
    pub operator: Option<OperatorEntry>,
    /// Whether a caller waits for it; other writes linger for company.
    pub urgent: bool,
}

/// The condition under which a write is applied.
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
    /// `last_check_back`.
    pub last_check_back: Option<Box<Unanswered>>,
    /// `version`, the new one.
    pub version: u32,
    /// `owner`.
    pub owner: Owner,
    /// `rest`.
    pub rest: Option<Box<Rest>>,
    /// `write_id`: a random number by which a write of unknown outcome recognises its own row.
    pub write_id: i64,
}

/// A change of one row of `action_info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionWrite {
    /// The action's name.
    pub name: Name,
    /// The rest of a new row; `None`: the row exists and changes.
    pub insert: Option<NewAction>,
    /// The columns that the write sets. A row that exists must have the version before this one.
    pub state: ActionState,
}

/// The columns that only a new row of `action_info` sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAction {
    /// Its place in the transaction, from 0: the column `position`.
    pub position: u32,
    /// The columns that never change.
    pub spec: Arc<ActionSpec>,
    /// `create_time`.
    pub create_time: Timestamp,
}

/// A change of the rows of `tx_due` of one transaction. Every row to remove is there, and none of those to add.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DueChange {
    /// Rows to remove, each by its whole key.
    pub remove: Vec<DueRow>,
    /// Rows to add.
    pub add: Vec<DueRow>,
}

/// One row of `operator_log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorEntry {
    /// When it was carried out.
    pub at: Timestamp,
    /// The operator who gave it.
    pub who: Name,
    /// The command with its arguments.
    pub command: String,
    /// The operator's reason.
    pub reason: String,
    /// The statuses before it.
    pub before: String,
}

/// The row that one write of a batch meets in the database, as `Transactions::standing` reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The row that stands in the write's way or is its own: that with the write's id, or else that
    /// with its unique key. `None`: there is neither.
    pub row: Option<StandingRow>,
}

/// The identity, version and last write of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingRow {
    /// Its id; another one than the write's when the unique key is taken.
    pub id: TxId,
    /// Its version; 0, which no write leaves, where version or owner cannot be read.
    pub version: u32,
    /// The `write_id` of the write that made this version.
    pub write_id: i64,
}

/// The reason why a batch of writes was not applied, or may not have been: the four kinds of store errors, and
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

/// A query for rows of one queue of `tx_due`, from the loader to the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DueQuery {
    /// The queue.
    pub queue: Queue,
    /// Rows whose `at` is not after this.
    pub until: Timestamp,
    /// Rows after this one, in the order of (`at`, `tx_id`).
    pub after: Option<Due>,
    /// At most this many.
    pub limit: u32,
}

/// A query for the queues of `tx_due` that have rows, but those of parked transactions; from the loader to the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueuesQuery {
    /// Queues of this participant only.
    pub of: Option<Name>,
    /// Queues after this one, in the order of (`kind`, `name`, `business_type`).
    pub after: Option<Queue>,
    /// At most this many.
    pub limit: u32,
}

/// A row that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Due {
    /// Its `at`.
    pub at: Timestamp,
    /// Its id.
    pub id: TxId,
}

/// The result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WriteResult {
    /// It is durable.
    Durable,
    /// It changed nothing: the row has moved on, or is not there.
    Moved,
    /// It changed nothing: this other transaction has the unique key, or this very one exists.
    Exists(TxId),
    /// It changed nothing: the database refuses one of its values.
    Refused,
    /// It is not known whether it was applied, and it is not tried again.
    Lost,
    /// It was not applied and is not tried again: the database takes no writes, and callers wait for this one.
    NotApplied,
    /// The database does not say whether it is applied. It stays in the lane, and its result follows.
    Unanswered,
}
