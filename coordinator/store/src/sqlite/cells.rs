//! From a row of SQLite to columns.

use sqlx::{Decode, Row, Sqlite, Type, sqlite::SqliteRow};
use tercet_core::{id::TxId, model::Owner, row::IllegalRow};

use crate::columns::{ActionColumns, TxColumns, parse_owner};

/// The columns of `tx_info` as [`tx`] takes them.
pub(super) const TX_COLUMNS: &str = "t.tx_id, t.business_type, t.business_id, t.unique_key, \
    t.driver, t.status, t.biz_status, t.decision_cause, t.retry_count, t.check_back_info, \
    t.participants_info, t.ext_properties, t.version, t.owner, t.waiting_for, t.next_attempt_at, \
    t.deadline_at, t.create_time, t.decided_at, t.finished_at";
/// How many they are.
pub(super) const TX_COLUMN_COUNT: usize = 20;

/// The columns of `action_info` as [`action`] takes them.
pub(super) const ACTION_COLUMNS: &str = "a.action_name, a.position, a.action_type, a.participant, \
    a.handler, a.payload, a.run_after, a.wants_results, a.already_tried, a.policy, a.result, \
    a.status, a.retry_count, a.last_error, a.attempts, a.ext_properties, a.version, a.create_time, \
    a.finished_at";

/// The cells of a row, one after the other.
pub(super) struct Cells<'r> {
    row: &'r SqliteRow,
    at: usize,
}

impl<'r> Cells<'r> {
    /// From this column on.
    pub(super) fn from(row: &'r SqliteRow, at: usize) -> Self {
        Self { row, at }
    }

    /// The next one; or which column cannot be read, and why.
    pub(super) fn next<T>(&mut self) -> Result<T, String>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite>,
    {
        let at = self.at;
        self.at += 1;
        self.row.try_get(at).map_err(|error| error.to_string())
    }

    /// The next one as a transaction's id.
    pub(super) fn id(&mut self) -> Result<TxId, String> {
        let bytes: Vec<u8> = self.next()?;
        let length = bytes.len();
        let bytes = bytes
            .try_into()
            .map_err(|_| format!("a tx_id has {length} bytes, not 16"))?;
        Ok(TxId::from_bytes(bytes))
    }

    /// The next one as an owner.
    pub(super) fn owner(&mut self) -> Result<Owner, String> {
        parse_owner(self.next()?)
    }
}

/// The columns of `tx_info`, the row's first ones, after its id.
pub(super) fn tx(row: &SqliteRow, id: TxId) -> Result<TxColumns, IllegalRow> {
    tx_cells(&mut Cells::from(row, 1), id).map_err(|what| IllegalRow { id, what })
}

fn tx_cells(cells: &mut Cells<'_>, tx_id: TxId) -> Result<TxColumns, String> {
    Ok(TxColumns {
        tx_id,
        business_type: cells.next()?,
        business_id: cells.next()?,
        unique_key: cells.next()?,
        driver: cells.next()?,
        status: cells.next()?,
        biz_status: cells.next()?,
        decision_cause: cells.next()?,
        retry_count: cells.next()?,
        check_back_info: cells.next()?,
        participants_info: cells.next()?,
        ext_properties: cells.next()?,
        version: cells.next()?,
        owner: cells.next()?,
        waiting_for: cells.next()?,
        next_attempt_at: cells.next()?,
        deadline_at: cells.next()?,
        create_time: cells.next()?,
        decided_at: cells.next()?,
        finished_at: cells.next()?,
    })
}

/// The columns of `action_info` behind those of `tx_info`; `None`: the transaction has no action.
pub(super) fn action(row: &SqliteRow, id: TxId) -> Result<Option<ActionColumns>, IllegalRow> {
    action_cells(&mut Cells::from(row, TX_COLUMN_COUNT)).map_err(|what| IllegalRow { id, what })
}

fn action_cells(cells: &mut Cells<'_>) -> Result<Option<ActionColumns>, String> {
    let Some(action_name) = cells.next()? else {
        return Ok(None);
    };
    Ok(Some(ActionColumns {
        action_name,
        position: cells.next()?,
        action_type: cells.next()?,
        participant: cells.next()?,
        handler: cells.next()?,
        payload: cells.next()?,
        run_after: cells.next()?,
        wants_results: cells.next()?,
        already_tried: cells.next()?,
        policy: cells.next()?,
        result: cells.next()?,
        status: cells.next()?,
        retry_count: cells.next()?,
        last_error: cells.next()?,
        attempts: cells.next()?,
        ext_properties: cells.next()?,
        version: cells.next()?,
        create_time: cells.next()?,
        finished_at: cells.next()?,
    }))
}
