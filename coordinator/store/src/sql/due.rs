//! Reads of `tx_due`: the rows of one queue, and the queues that have rows. Neither ever costs more than the rows that it
//! returns, however many others there are.

use sqlx::QueryBuilder;
use tercet_core::{
    model::{DueRow, Queue},
    write::{Due, DueQuery, QueuesQuery},
};

use super::{Among, Dialect, Readers, fetch, push_values};
use crate::{
    StoreError,
    cells::{Cells, Column},
    columns::{Columns, DueColumns, QueueKey, due_row},
};

/// Reads rows of one queue, in the order of (`at`, `tx_id`).
pub(super) async fn due<D: Dialect>(
    readers: &Readers<D>,
    query: &DueQuery,
) -> Result<Vec<Due>, StoreError> {
    let doing = "reading which transactions are due";
    let rows = fetch(readers, doing, &mut due_query(query)).await?;
    let due = rows.iter().map(|row| {
        let mut cells = Cells::<D>::of(row);
        Ok(Due {
            at: cells.next("at")?,
            id: cells.next("tx_id")?,
        })
    });
    due.collect::<Result<_, String>>()
        .map_err(|what| StoreError::unread(doing, what))
}

/// Makes the query for a page of a queue.
pub(crate) fn due_query<D: Dialect>(query: &DueQuery) -> QueryBuilder<D> {
    let mut text = QueryBuilder::new("SELECT at, tx_id FROM tx_due WHERE ");
    let key = QueueKey::of(&query.queue);
    push_name(&mut text, &key);
    text.push(" AND need = ");
    D::push_value(&mut text, &key.need.value());
    text.push(" AND business_type = ");
    D::push_value(&mut text, &key.business_type.value());
    text.push(" AND at <= ");
    D::push_value(&mut text, &query.until.value());
    if let Some(after) = query.after {
        text.push(" AND (at, tx_id) > (");
        push_values(&mut text, [after.at.value(), after.id.value()]);
        text.push(")");
    }
    text.push(" ORDER BY at, tx_id LIMIT ");
    D::push_value(&mut text, &query.limit.value());
    text
}

/// Finds the queues that have rows, each with its first row.
///
/// Queues of parked transactions are left out, and those that no queue of this program has the name of: such rows are
/// those of a later program, or made by hand.
pub(super) async fn queues<D: Dialect>(
    readers: &Readers<D>,
    query: &QueuesQuery,
) -> Result<Vec<DueRow>, StoreError> {
    let doing = "reading which queues have due transactions";
    let limit = query.limit as usize;
    let mut found: Vec<DueRow> = Vec::new();
    let mut after = query.after.as_ref().map(QueueKey::of);
    // Each round goes on behind the last queue of the one before, so that it ends with the queues.
    while found.len() < limit {
        let Some(mut text) = queues_query::<D>(query, after.take()) else {
            break;
        };
        let rows = fetch(readers, doing, &mut text).await?;
        for row in &rows {
            let columns = DueColumns::read(&mut Cells::<D>::of(row));
            let columns = columns.map_err(|what| StoreError::unread(doing, what))?;
            let (key, at) = columns.parts();
            found.extend(due_row(&key, at).filter(|row| row.queue != Queue::Parked));
            after = Some(key.into_owned());
        }
        if rows.len() < limit {
            break;
        }
    }
    found.truncate(limit);
    Ok(found)
}

/// Makes the query for the first row of each queue behind this one; `None`: there can be none.
pub(crate) fn queues_query<D: Dialect>(
    query: &QueuesQuery,
    after: Option<QueueKey<'_>>,
) -> Option<QueryBuilder<D>> {
    let columns = DueColumns::names().join(", ");
    let mut text = QueryBuilder::new(format!(
        "WITH RECURSIVE queue ({columns}, place) AS (SELECT first.*, 1 FROM (SELECT {columns} FROM tx_due WHERE "
    ));
    let among = match &query.of {
        None => {
            let after = after.unwrap_or(QueueKey::new("", "", "", ""));
            text.push("(kind, name, need, business_type) > (");
            push_values(
                &mut text,
                [
                    after.kind.value(),
                    after.name.value(),
                    after.need.value(),
                    after.business_type.value(),
                ],
            );
            text.push(")");
            Among::All
        }
        Some(participant) => {
            let first = QueueKey::new(QueueKey::WAIT, &**participant, "", "");
            let after = after.map_or_else(|| first.clone(), |after| after.max(first.clone()));
            if (&after.kind, &after.name) != (&first.kind, &first.name) {
                return None;
            }
            push_name(&mut text, &after);
            text.push(" AND (need, business_type) > (");
            push_values(&mut text, [after.need.value(), after.business_type.value()]);
            text.push(")");
            Among::SameName
        }
    };
    text.push(format_args!(
        " ORDER BY {columns} LIMIT 1) first UNION ALL SELECT "
    ));
    for column in DueColumns::names() {
        text.push(format_args!("t.{column}, "));
    }
    text.push("q.place + 1 FROM ").push(D::next_queue(among));
    text.push(" AND q.place < ");
    D::push_value(&mut text, &query.limit.value());
    text.push(format_args!(") SELECT {columns} FROM queue ORDER BY place"));
    Some(text)
}

/// Appends the condition that a row is of this queue's kind and name.
fn push_name<D: Dialect>(text: &mut QueryBuilder<D>, key: &QueueKey<'_>) {
    text.push("kind = ");
    D::push_value(text, &key.kind.value());
    text.push(" AND name = ");
    D::push_value(text, &key.name.value());
}
