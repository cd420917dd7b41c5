//! Reading transactions: each answer is one statement, so that it shows one point in time.

use sqlx::{QueryBuilder, Sqlite, SqlitePool, sqlite::SqliteRow};
use tercet_core::{
    id::TxId,
    limits::OPERATOR_ENTRIES_SHOWN,
    model::Transaction,
    row::{ActionInfoRow, IllegalRow, TxRow},
    time::Timestamp,
    write::{ApplyFailure, Due, DueQuery, Fence, OperatorEntry, Standing, StandingRow, Write},
};

use super::{
    cells::{self, ACTION_COLUMNS, Cells, TX_COLUMNS},
    failure,
};
use crate::{StoreError, columns, view::TxView};

/// Ids of one statement.
const IDS_AT_ONCE: usize = 1_000;

/// A read that did not work.
pub(super) fn failed(doing: &str, error: &sqlx::Error) -> StoreError {
    StoreError::new(failure::of_read(error), doing, error.to_string())
}

/// A row that is not even read: nobody can say whose it is.
fn unreadable(doing: &str, what: String) -> StoreError {
    StoreError::new(ApplyFailure::Fatal, doing, what)
}

/// A transaction's rows, or what is wrong with them.
type Rows = Result<(TxRow, Vec<ActionInfoRow>), IllegalRow>;

/// The transactions with these ids that exist, by id.
pub(super) async fn load(
    pool: &SqlitePool,
    ids: &[TxId],
) -> Result<Vec<Result<Transaction, IllegalRow>>, StoreError> {
    let mut found = Vec::with_capacity(ids.len());
    for ids in ids.chunks(IDS_AT_ONCE) {
        for rows in rows(pool, "loading transactions", ids).await? {
            found.push(rows.and_then(|(tx, actions)| Transaction::from_rows(tx, actions)));
        }
    }
    Ok(found)
}

/// The rows of at most [`IDS_AT_ONCE`] transactions, by id.
async fn rows(pool: &SqlitePool, doing: &str, ids: &[TxId]) -> Result<Vec<Rows>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = QueryBuilder::<Sqlite>::new(format!(
        "SELECT {TX_COLUMNS}, {ACTION_COLUMNS} \
         FROM tx_info t LEFT JOIN action_info a ON a.tx_id = t.tx_id WHERE t.tx_id IN ("
    ));
    push_ids(&mut query, ids);
    query.push(") ORDER BY t.tx_id, a.position");
    let rows = fetch(pool, doing, &mut query).await?;

    let mut found: Vec<(TxId, Rows)> = Vec::with_capacity(ids.len());
    for row in &rows {
        let id = Cells::from(row, 0)
            .id()
            .map_err(|what| unreadable(doing, what))?;
        if found.last().is_none_or(|(last, _)| *last != id) {
            let tx = cells::tx(row, id).and_then(columns::TxColumns::parse);
            found.push((id, tx.map(|tx| (tx, Vec::new()))));
        }
        if let Some((_, entry)) = found.last_mut() {
            add_action(entry, row, id);
        }
    }
    Ok(found.into_iter().map(|(_, rows)| rows).collect())
}

/// Adds the row's action to its transaction; the first thing that is wrong with it stays.
fn add_action(entry: &mut Rows, row: &SqliteRow, id: TxId) {
    let Ok((_, actions)) = entry else { return };
    let action = cells::action(row, id)
        .and_then(|action| action.map(|a| a.parse(id, actions.len())).transpose());
    match action {
        Ok(action) => actions.extend(action),
        Err(illegal) => *entry = Err(illegal),
    }
}

/// One transaction for a person.
pub(super) async fn view(
    pool: &SqlitePool,
    id: TxId,
) -> Result<Option<Result<TxView, IllegalRow>>, StoreError> {
    let doing = format!("reading transaction {id}");
    let (tx, actions) = match rows(pool, &doing, &[id]).await?.pop() {
        None => return Ok(None),
        Some(Err(illegal)) => return Ok(Some(Err(illegal))),
        Some(Ok(rows)) => rows,
    };
    if let Err(illegal) = Transaction::from_rows(tx.clone(), actions.clone()) {
        return Ok(Some(Err(illegal)));
    }
    let operator_log = operator_log(pool, &doing, id, tx.version).await?;
    Ok(Some(Ok(TxView {
        tx,
        actions,
        operator_log,
    })))
}

/// The last commands up to this version of the transaction, oldest first.
async fn operator_log(
    pool: &SqlitePool,
    doing: &str,
    id: TxId,
    version: u32,
) -> Result<Vec<OperatorEntry>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT at, command, reason, before FROM operator_log WHERE tx_id = ",
    );
    query.push_bind(id.as_bytes().as_slice());
    query.push(" AND version <= ").push_bind(i64::from(version));
    query.push(format!(
        " ORDER BY version DESC LIMIT {OPERATOR_ENTRIES_SHOWN}"
    ));
    let rows = fetch(pool, doing, &mut query).await?;
    let entries = rows.iter().rev().map(|row| {
        let mut cells = Cells::from(row, 0);
        Ok(OperatorEntry {
            at: Timestamp::from_micros(cells.next()?),
            command: cells.next()?,
            reason: cells.next()?,
            before: cells.next()?,
        })
    });
    entries
        .collect::<Result<_, String>>()
        .map_err(|what| unreadable(doing, what))
}

/// Unfinished rows that are due.
pub(super) async fn due(pool: &SqlitePool, query: &DueQuery) -> Result<Vec<Due>, StoreError> {
    let doing = "reading which transactions are due";
    let mut text = due_query(query);
    let rows = fetch(pool, doing, &mut text).await?;
    let due = rows.iter().map(|row| {
        let mut cells = Cells::from(row, 0);
        Ok(Due {
            at: Timestamp::from_micros(cells.next()?),
            id: cells.id()?,
        })
    });
    due.collect::<Result<_, String>>()
        .map_err(|what| unreadable(doing, what))
}

/// The index is named: a planner with odd statistics must not scan, and a schema without it must fail.
pub(super) fn due_query(query: &DueQuery) -> QueryBuilder<Sqlite> {
    let mut text = QueryBuilder::new(
        "SELECT next_attempt_at, tx_id FROM tx_info INDEXED BY tx_due WHERE waiting_for IS ",
    );
    text.push_bind(query.waiting_for.clone());
    text.push(" AND next_attempt_at IS NOT NULL AND next_attempt_at <= ");
    text.push_bind(query.until.as_micros());
    if let Some(after) = query.after {
        text.push(" AND (next_attempt_at, tx_id) > (");
        text.push_bind(after.at.as_micros());
        text.push(", ");
        text.push_bind(after.id.as_bytes().to_vec());
        text.push(")");
    }
    text.push(" ORDER BY next_attempt_at, tx_id LIMIT ");
    text.push_bind(i64::from(query.limit));
    text
}

/// What stands in the way of each write, or is its own.
pub(super) async fn standing(
    pool: &SqlitePool,
    batch: &[Write],
) -> Result<Vec<Standing>, StoreError> {
    let mut found = Vec::with_capacity(batch.len());
    for batch in batch.chunks(IDS_AT_ONCE) {
        standing_chunk(pool, batch, &mut found).await?;
    }
    Ok(found)
}

async fn standing_chunk(
    pool: &SqlitePool,
    batch: &[Write],
    found: &mut Vec<Standing>,
) -> Result<(), StoreError> {
    let doing = "reading what stands for writes";
    let keys: Vec<Option<Vec<u8>>> = batch.iter().map(wanted_key).collect();
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT tx_id, version, owner, unique_key FROM tx_info WHERE tx_id IN (",
    );
    push_ids(
        &mut query,
        &batch.iter().map(|write| write.id).collect::<Vec<_>>(),
    );
    query.push(") OR unique_key IN (");
    let mut separated = query.separated(", ");
    for key in keys.iter().flatten() {
        separated.push_bind(key.clone());
    }
    query.push(")");

    let rows = fetch(pool, doing, &mut query).await?;
    let rows: Vec<(StandingRow, Option<Vec<u8>>)> = rows
        .iter()
        .map(standing_row)
        .collect::<Result<_, String>>()
        .map_err(|what| unreadable(doing, what))?;
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

/// The unique key that a begin wants.
fn wanted_key(write: &Write) -> Option<Vec<u8>> {
    match &write.fence {
        Fence::Absent(spec) if spec.unique_business => {
            columns::unique_key(&spec.business_type, &spec.business_id).ok()
        }
        _ => None,
    }
}

fn standing_row(row: &SqliteRow) -> Result<(StandingRow, Option<Vec<u8>>), String> {
    let mut cells = Cells::from(row, 0);
    let row = StandingRow {
        id: cells.id()?,
        version: columns::count("version", cells.next()?)?,
        owner: cells.owner()?,
    };
    Ok((row, cells.next()?))
}

/// The newest transaction of this business.
pub(super) async fn find(
    pool: &SqlitePool,
    business_type: &str,
    business_id: &str,
) -> Result<Option<TxId>, StoreError> {
    let doing = "finding the newest transaction of a business";
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT tx_id FROM tx_info INDEXED BY tx_business WHERE business_type = ",
    );
    query.push_bind(business_type);
    query.push(" AND business_id = ").push_bind(business_id);
    query.push(" ORDER BY tx_id DESC LIMIT 1");
    let rows = fetch(pool, doing, &mut query).await?;
    let id = rows.first().map(|row| Cells::from(row, 0).id()).transpose();
    id.map_err(|what| unreadable(doing, what))
}

/// Runs a query whose rows are bounded by what it asks for.
pub(super) async fn fetch(
    pool: &SqlitePool,
    doing: &str,
    query: &mut QueryBuilder<Sqlite>,
) -> Result<Vec<SqliteRow>, StoreError> {
    let query = query.build().persistent(false);
    query
        .fetch_all(pool)
        .await
        .map_err(|error| failed(doing, &error))
}

fn push_ids(query: &mut QueryBuilder<Sqlite>, ids: &[TxId]) {
    let mut separated = query.separated(", ");
    for id in ids {
        separated.push_bind(id.as_bytes().to_vec());
    }
}
