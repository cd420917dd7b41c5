//! Lists of transactions for a person.

use sqlx::{QueryBuilder, Sqlite, SqlitePool};
use tercet_core::{
    limits::{BEGIN_AHEAD, BEGIN_WINDOW},
    model::{BizStatus, TxStatus},
    row::IllegalRow,
    time::Timestamp,
    write::ApplyFailure,
};

use super::{
    cells::{self, Cells, TX_COLUMNS},
    read::fetch,
};
use crate::{
    StoreError,
    columns::TxColumns,
    view::{LIST_LIMIT, ListQuery, TxView},
};

/// One page.
pub(super) async fn list(
    pool: &SqlitePool,
    query: &ListQuery,
) -> Result<Vec<Result<TxView, IllegalRow>>, StoreError> {
    let doing = "listing transactions";
    let rows = fetch(pool, doing, &mut text(query)).await?;
    let views = rows.iter().map(|row| {
        let id = Cells::from(row, 0)
            .id()
            .map_err(|what| StoreError::new(ApplyFailure::Fatal, doing, what))?;
        let tx = cells::tx(row, id).and_then(TxColumns::parse);
        Ok(tx.map(|tx| TxView {
            tx,
            actions: Vec::new(),
            operator_log: Vec::new(),
        }))
    });
    views.collect()
}

/// The statement of a page. Rows come from the narrowest source that has them all, newest first.
pub(super) fn text(query: &ListQuery) -> QueryBuilder<Sqlite> {
    let source = match query {
        query if query.business_type.is_some() && query.business_id.is_some() => {
            "tx_info t INDEXED BY tx_business"
        }
        _ => "tx_info t NOT INDEXED",
    };
    let mut text = QueryBuilder::new(format!("SELECT {TX_COLUMNS} FROM {source} WHERE TRUE"));
    if only_unfinished_or_parked(query) {
        text.push(
            " AND t.tx_id IN (\
             SELECT tx_id FROM tx_info INDEXED BY tx_due WHERE next_attempt_at IS NOT NULL \
             UNION ALL \
             SELECT tx_id FROM tx_info INDEXED BY tx_parked WHERE status = 'FAILURE')",
        );
    }
    push_filters(&mut text, query);
    push_times(&mut text, query);
    text.push(" ORDER BY t.tx_id DESC LIMIT ");
    text.push_bind(i64::from(query.limit.min(LIST_LIMIT)));
    text
}

/// Whether no transaction that is finished can be in the answer: then two small indexes have them all.
fn only_unfinished_or_parked(query: &ListQuery) -> bool {
    let undecided = |status: &BizStatus| matches!(status, BizStatus::Init | BizStatus::Unknown);
    query.stuck_since.is_some()
        || (!query.statuses.is_empty() && !query.statuses.contains(&TxStatus::Success))
        || (!query.biz_statuses.is_empty() && query.biz_statuses.iter().all(undecided))
}

fn push_filters(text: &mut QueryBuilder<Sqlite>, query: &ListQuery) {
    if let Some(business_type) = &query.business_type {
        text.push(" AND t.business_type = ")
            .push_bind(business_type.clone());
    }
    if let Some(business_id) = &query.business_id {
        text.push(" AND t.business_id = ")
            .push_bind(business_id.clone());
    }
    push_words(text, "t.status", query.statuses.iter().map(|s| s.word()));
    push_words(
        text,
        "t.biz_status",
        query.biz_statuses.iter().map(|s| s.word()),
    );
    if let Some(participant) = &query.participant {
        text.push(
            " AND EXISTS (SELECT 1 FROM action_info a WHERE a.tx_id = t.tx_id AND a.participant = ",
        );
        text.push_bind(participant.clone()).push(")");
    }
    if let Some(since) = query.stuck_since {
        text.push(" AND (t.status = 'FAILURE' OR t.biz_status = 'UNKNOWN' OR t.next_attempt_at < ");
        text.push_bind(since.as_micros()).push(")");
    }
}

fn push_words(
    text: &mut QueryBuilder<Sqlite>,
    column: &str,
    words: impl ExactSizeIterator<Item = &'static str>,
) {
    if words.len() == 0 {
        return;
    }
    text.push(format!(" AND {column} IN ("));
    let mut separated = text.separated(", ");
    for word in words {
        separated.push_bind(word);
    }
    text.push(")");
}

/// Ids order by the time that they carry, and that is near the time of the begin: so a time is a range of
/// ids too, and the rest of the table is not read.
fn push_times(text: &mut QueryBuilder<Sqlite>, query: &ListQuery) {
    if let Some(before) = query.before {
        text.push(" AND t.tx_id < ")
            .push_bind(before.as_bytes().to_vec());
    }
    if let Some(from) = query.begun_from {
        text.push(" AND t.create_time >= ")
            .push_bind(from.as_micros());
        text.push(" AND t.tx_id >= ")
            .push_bind(id_floor(from - BEGIN_WINDOW));
    }
    if let Some(until) = query.begun_until {
        text.push(" AND t.create_time <= ")
            .push_bind(until.as_micros());
        let first_after = until + BEGIN_AHEAD + std::time::Duration::from_millis(1);
        text.push(" AND t.tx_id <= ")
            .push_bind(id_floor(first_after));
    }
}

/// No `UUIDv7` of this millisecond or a later one is below this.
fn id_floor(time: Timestamp) -> Vec<u8> {
    let millis = u64::try_from(time.as_micros() / 1_000).unwrap_or(0);
    let mut id = vec![0; 16];
    id[..6].copy_from_slice(&millis.min((1 << 48) - 1).to_be_bytes()[2..]);
    id
}
