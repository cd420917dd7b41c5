//! Reads of transactions. Each answer is that of one statement, so that it shows one point in time.

use sqlx::QueryBuilder;
use tercet_core::{
    id::TxId,
    model::Transaction,
    row::{ActionRow, IllegalRow, TxRow},
    write::{Fence, Standing, StandingRow, Write},
};

use super::{Dialect, IDS_AT_ONCE, Readers, fetch, push_values};
use crate::{
    StoreError,
    cells::{Cells, Column, Value},
    columns::{ActionColumns, Columns, StandingColumns, TxColumns, action_row, tx_row, unique_key},
};

/// The rows of a transaction, or their first fault.
pub(super) type Rows = Result<(TxRow, Vec<ActionRow>), IllegalRow>;

/// Reads those of the transactions that exist, by id.
pub(super) async fn load<D: Dialect>(
    readers: &Readers<D>,
    ids: &[TxId],
) -> Result<Vec<Result<Transaction, IllegalRow>>, StoreError> {
    let mut found = Vec::with_capacity(ids.len());
    for ids in ids.chunks(IDS_AT_ONCE) {
        for rows in rows(readers, "loading transactions", ids).await? {
            found.push(rows.and_then(|(tx, actions)| Transaction::from_rows(tx, actions)));
        }
    }
    Ok(found)
}

/// Reads the rows of at most [`IDS_AT_ONCE`] transactions, by id.
pub(super) async fn rows<D: Dialect>(
    readers: &Readers<D>,
    doing: &str,
    ids: &[TxId],
) -> Result<Vec<Rows>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = QueryBuilder::new(&*D::statements().rows);
    push_values(&mut query, ids.iter().map(Column::value));
    query.push(") ORDER BY t.tx_id, a.position");
    let rows = fetch(readers, doing, &mut query).await?;

    let mut found: Vec<(TxId, Rows)> = Vec::with_capacity(ids.len());
    for row in &rows {
        let id = row_id::<D>(row).map_err(|what| StoreError::unread(doing, what))?;
        if found.last().is_none_or(|(last, _)| *last != id) {
            let tx = tx::<D>(row, id).map(|tx| (tx, Vec::new()));
            found.push((id, tx));
        }
        if let Some((_, entry)) = found.last_mut() {
            add_action::<D>(entry, row, id);
        }
    }
    Ok(found.into_iter().map(|(_, rows)| rows).collect())
}

/// Reads the id with which the columns of `tx_info` begin.
pub(super) fn row_id<D: Dialect>(row: &D::Row) -> Result<TxId, String> {
    Cells::<D>::of(row).next("tx_id")
}

/// Reads the columns of `tx_info` with which a row begins.
pub(super) fn tx<D: Dialect>(row: &D::Row, id: TxId) -> Result<TxRow, IllegalRow> {
    TxColumns::read(&mut Cells::<D>::of(row))
        .and_then(tx_row)
        .map_err(|what| IllegalRow { id, what })
}

/// Adds the row's action to its transaction, or replaces the transaction with its first fault.
fn add_action<D: Dialect>(entry: &mut Rows, row: &D::Row, id: TxId) {
    let Ok((_, actions)) = entry else { return };
    match action::<D>(row, actions.len()) {
        Ok(action) => actions.extend(action),
        Err(what) => *entry = Err(IllegalRow { id, what }),
    }
}

/// Reads the action behind the columns of `tx_info`, at this place of its transaction; `None` where there is none.
fn action<D: Dialect>(row: &D::Row, place: usize) -> Result<Option<ActionRow>, String> {
    let mut cells = Cells::<D>::of(row).skip(TxColumns::COUNT);
    let Some(name) = cells.peek::<Option<&str>>("action_name")? else {
        return Ok(None);
    };
    ActionColumns::read(&mut cells)
        .and_then(|columns| action_row(columns, place))
        .map(Some)
        .map_err(|what| format!("action {name}: {what}"))
}

/// Reads the row that each write of the batch meets.
pub(super) async fn standing<D: Dialect>(
    readers: &Readers<D>,
    batch: &[Write],
) -> Result<Vec<Standing>, StoreError> {
    let mut found = Vec::with_capacity(batch.len());
    for batch in batch.chunks(IDS_AT_ONCE) {
        standing_chunk(readers, batch, &mut found).await?;
    }
    Ok(found)
}

async fn standing_chunk<D: Dialect>(
    readers: &Readers<D>,
    batch: &[Write],
    found: &mut Vec<Standing>,
) -> Result<(), StoreError> {
    let doing = "reading what stands for writes";
    let keys: Vec<Option<Vec<u8>>> = batch.iter().map(wanted_key).collect();
    let mut query = QueryBuilder::new(&*D::statements().standing);
    push_values(&mut query, batch.iter().map(|write| write.id.value()));
    query.push(")");
    if keys.iter().any(Option::is_some) {
        query.push(" OR unique_key IN (");
        let keys = keys.iter().flatten();
        push_values(&mut query, keys.map(|key| Value::Bytes(Some(key.into()))));
        query.push(")");
    }

    let rows = fetch(readers, doing, &mut query).await?;
    let rows: Vec<(StandingRow, Option<Vec<u8>>)> = rows
        .iter()
        .map(|row| Ok(StandingColumns::read(&mut Cells::<D>::of(row))?.parse()))
        .collect::<Result<_, String>>()
        .map_err(|what| StoreError::unread(doing, what))?;
    for (write, key) in batch.iter().zip(keys) {
        let own = rows.iter().find(|(row, _)| row.id == write.id);
        let row = own.or_else(|| {
            rows.iter()
                .find(|(_, taken)| key.is_some() && *taken == key)
        });
        found.push(Standing {
            row: row.map(|(row, _)| row.clone()),
        });
    }
    Ok(())
}

/// Returns the unique key that a begin wants.
fn wanted_key(write: &Write) -> Option<Vec<u8>> {
    match &write.fence {
        Fence::Absent(spec) if spec.unique_business => {
            unique_key(&spec.business_type, &spec.business_id).ok()
        }
        _ => None,
    }
}
