//! Transactions for people: one, the newest of a business, lists.

use std::collections::HashMap;

use sqlx::QueryBuilder;
use tercet_core::{
    id::TxId,
    limits::{BEGIN_AHEAD, BEGIN_WINDOW, BEGUN_AHEAD, OPERATOR_ENTRIES_SHOWN},
    model::{BizStatus, Transaction, TxStatus},
    row::IllegalRow,
    time::Timestamp,
    write::OperatorEntry,
};

use super::{
    Dialect, Readers, fetch, push_values,
    transactions::{row_id, rows, tx},
};
use crate::{
    FailingAction, LIST_LIMIT, ListQuery, StoreError, TxView,
    cells::{Cells, Column},
    columns::{Columns, OperatorColumns, QueueKey},
};

/// Reads one transaction with its actions and the last commands of operators.
pub(super) async fn view<D: Dialect>(
    readers: &Readers<D>,
    id: TxId,
) -> Result<Option<Result<TxView, IllegalRow>>, StoreError> {
    let doing = format!("reading transaction {id}");
    let (tx, actions) = match rows(readers, &doing, &[id]).await?.pop() {
        None => return Ok(None),
        Some(Err(illegal)) => return Ok(Some(Err(illegal))),
        Some(Ok(rows)) => rows,
    };
    if let Err(illegal) = Transaction::from_rows(tx.clone(), actions.clone()) {
        return Ok(Some(Err(illegal)));
    }
    let operator_log = operator_log(readers, &doing, id, tx.version).await?;
    Ok(Some(operator_log.map(|operator_log| TxView {
        tx,
        actions,
        operator_log,
        failing: Vec::new(),
    })))
}

/// Reads the last commands up to this version of the transaction, oldest first, or their first fault.
async fn operator_log<D: Dialect>(
    readers: &Readers<D>,
    doing: &str,
    id: TxId,
    version: u32,
) -> Result<Result<Vec<OperatorEntry>, IllegalRow>, StoreError> {
    let mut query = QueryBuilder::new(&*D::statements().operator_log);
    D::push_value(&mut query, &id.value());
    query.push(" AND version <= ");
    D::push_value(&mut query, &version.value());
    query.push(format_args!(
        " ORDER BY version DESC LIMIT {OPERATOR_ENTRIES_SHOWN}"
    ));
    let rows = fetch(readers, doing, &mut query).await?;
    let entries = rows.iter().rev().map(|row| {
        let columns = OperatorColumns::read(&mut Cells::<D>::of(row))?;
        Ok(columns.parse())
    });
    let entries = entries.collect::<Result<_, String>>();
    Ok(entries.map_err(|what| IllegalRow {
        id,
        what: format!("operator_log: {what}"),
    }))
}

/// Finds the newest transaction of a business.
pub(super) async fn find<D: Dialect>(
    readers: &Readers<D>,
    business_type: &str,
    business_id: &str,
) -> Result<Option<TxId>, StoreError> {
    let doing = "finding the newest transaction of a business";
    let mut query = QueryBuilder::new(&*D::statements().find);
    D::push_value(&mut query, &business_type.value());
    query.push(" AND business_id = ");
    D::push_value(&mut query, &business_id.value());
    query.push(" ORDER BY tx_id DESC LIMIT 1");
    let rows = fetch(readers, doing, &mut query).await?;
    let id = rows.first().map(row_id::<D>).transpose();
    id.map_err(|what| StoreError::unread(doing, what))
}

/// Reads one page of a list.
pub(super) async fn list<D: Dialect>(
    readers: &Readers<D>,
    query: &ListQuery,
) -> Result<Vec<Result<TxView, IllegalRow>>, StoreError> {
    let doing = "listing transactions";
    let rows = fetch(readers, doing, &mut list_query(query)).await?;
    let views = rows.iter().map(|row| {
        let id = row_id::<D>(row).map_err(|what| StoreError::unread(doing, what))?;
        Ok(tx::<D>(row, id).map(|tx| TxView {
            tx,
            actions: Vec::new(),
            operator_log: Vec::new(),
            failing: Vec::new(),
        }))
    });
    let mut views: Vec<Result<TxView, IllegalRow>> = views.collect::<Result<_, StoreError>>()?;
    add_failing(readers, doing, &mut views).await?;
    Ok(views)
}

/// Adds the actions whose calls fail to those transactions of a list that are not finished.
async fn add_failing<D: Dialect>(
    readers: &Readers<D>,
    doing: &str,
    views: &mut [Result<TxView, IllegalRow>],
) -> Result<(), StoreError> {
    let mut open: HashMap<TxId, &mut TxView> = views
        .iter_mut()
        .flatten()
        .filter(|view| view.tx.status != TxStatus::Success)
        .map(|view| (view.tx.spec.id, view))
        .collect();
    if open.is_empty() {
        return Ok(());
    }
    let mut query = QueryBuilder::new(
        "SELECT a.tx_id, a.action_name, a.participant, a.status, a.last_error FROM action_info a \
         WHERE a.last_error <> '' AND a.status IN ('INIT', 'TRIED', 'FAILED') AND a.tx_id IN (",
    );
    push_values(&mut query, open.keys().map(Column::value));
    query.push(") ORDER BY a.tx_id, a.position");
    let rows = fetch(readers, doing, &mut query).await?;
    for row in &rows {
        let (id, action) = failing::<D>(row).map_err(|what| StoreError::fatal(doing, what))?;
        if let Some(view) = open.get_mut(&id) {
            view.failing.push(action);
        }
    }
    Ok(())
}

fn failing<D: Dialect>(row: &D::Row) -> Result<(TxId, FailingAction), String> {
    let mut cells = Cells::<D>::of(row);
    let id = cells.next("tx_id")?;
    let name: &str = cells.next("action_name")?;
    let participant: &str = cells.next("participant")?;
    let status = cells.next("status")?;
    let last_error: &str = cells.next("last_error")?;
    let action = FailingAction {
        name: name.into(),
        participant: participant.into(),
        status,
        last_error: last_error.to_owned(),
    };
    Ok((id, action))
}

/// Makes the query for a page. Its rows come from the narrowest source that has them all, newest first.
pub(crate) fn list_query<D: Dialect>(query: &ListQuery) -> QueryBuilder<D> {
    let statements = D::statements();
    let of_business = query.business_type.is_some() && query.business_id.is_some();
    let mut text = QueryBuilder::new(if of_business {
        &*statements.transactions_of_business
    } else {
        &*statements.transactions
    });
    text.push(" WHERE TRUE");
    match query.statuses.as_slice() {
        [TxStatus::Failure] => {
            text.push(" AND t.tx_id IN (SELECT tx_id FROM tx_due WHERE kind = ");
            D::push_value(&mut text, &QueueKey::PARKED.value());
            text.push(")");
        }
        _ if only_unfinished_or_parked(query) => {
            text.push(" AND t.tx_id IN (SELECT tx_id FROM tx_due)");
        }
        _ => {}
    }
    push_filters(&mut text, query);
    push_times(&mut text, query);
    text.push(" ORDER BY t.tx_id DESC LIMIT ");
    D::push_value(&mut text, &query.limit.min(LIST_LIMIT).value());
    text
}

/// Returns whether no finished transaction can be in the answer: `tx_due` then has all of them.
fn only_unfinished_or_parked(query: &ListQuery) -> bool {
    let undecided = |status: &BizStatus| matches!(status, BizStatus::Init | BizStatus::Unknown);
    query.stuck_since.is_some()
        || (!query.statuses.is_empty() && !query.statuses.contains(&TxStatus::Success))
        || (!query.biz_statuses.is_empty() && query.biz_statuses.iter().all(undecided))
}

fn push_filters<D: Dialect>(text: &mut QueryBuilder<D>, query: &ListQuery) {
    push_compared(text, "t.business_type =", query.business_type.as_deref());
    push_compared(text, "t.business_id =", query.business_id.as_deref());
    push_words(text, "t.status", &query.statuses);
    push_words(text, "t.biz_status", &query.biz_statuses);
    if let Some(participant) = query.participant.as_deref() {
        text.push(
            " AND EXISTS (SELECT 1 FROM action_info a WHERE a.tx_id = t.tx_id AND a.participant = ",
        );
        D::push_value(text, &participant.value());
        text.push(")");
    }
    if let Some(since) = query.stuck_since {
        text.push(
            " AND (t.status = 'FAILURE' OR t.biz_status = 'UNKNOWN' OR t.tx_id IN \
             (SELECT tx_id FROM tx_due WHERE kind IN (",
        );
        push_values(text, [QueueKey::TIME.value(), QueueKey::WAIT.value()]);
        text.push(") AND at < ");
        D::push_value(text, &since.value());
        text.push(") OR t.create_time > ");
        D::push_value(text, &(since + BEGUN_AHEAD).value());
        // The last error is that of phase two, or of a Try before it: for longer than this no phase two of it should run.
        text.push(" OR (t.status = 'PROCESSING' AND t.decided_at < ");
        D::push_value(text, &since.value());
        text.push(
            " AND EXISTS (SELECT 1 FROM action_info a WHERE a.tx_id = t.tx_id AND a.last_error <> '' \
             AND a.status IN ('INIT', 'TRIED', 'FAILED'))))",
        );
    }
}

/// Appends a comparison with a value, if there is one.
fn push_compared<'v, D: Dialect>(
    text: &mut QueryBuilder<D>,
    comparison: &str,
    value: Option<impl Column<'v>>,
) {
    if let Some(value) = value {
        text.push(format_args!(" AND {comparison} "));
        D::push_value(text, &value.value());
    }
}

/// Appends the condition that a column has one of these words, if there are any.
fn push_words<'v, D: Dialect>(text: &mut QueryBuilder<D>, column: &str, words: &[impl Column<'v>]) {
    if words.is_empty() {
        return;
    }
    text.push(format_args!(" AND {column} IN ("));
    push_values(text, words.iter().map(Column::value));
    text.push(")");
}

/// Appends the bounds of the time of the begin. Ids order by the time that they carry, and that is near the time of
/// the begin: so a time is a range of ids too, and the rest of the table is not read.
fn push_times<D: Dialect>(text: &mut QueryBuilder<D>, query: &ListQuery) {
    push_compared(text, "t.tx_id <", query.before);
    push_compared(text, "t.create_time >=", query.begun_from);
    let first = query.begun_from.map(|from| id_floor(from - BEGIN_WINDOW));
    push_compared(text, "t.tx_id >=", first);
    push_compared(text, "t.create_time <=", query.begun_until);
    let first_after = query
        .begun_until
        .map(|until| id_floor(until + BEGIN_AHEAD + std::time::Duration::from_millis(1)));
    push_compared(text, "t.tx_id <=", first_after);
}

/// Returns an id below which there is no `UUIDv7` of this millisecond or a later one.
fn id_floor(time: Timestamp) -> TxId {
    let millis = u64::try_from(time.as_micros() / 1_000).unwrap_or(0);
    let mut id = [0; 16];
    id[..6].copy_from_slice(&millis.min((1 << 48) - 1).to_be_bytes()[2..]);
    TxId::from_bytes(id)
}
