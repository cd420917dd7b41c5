//! The part of a store that every SQL database shares: statements, reads, lists, nodes and participants.
//!
//! A database brings a [`Dialect`] with the few words that differ, and an [`SqlStore`] with its commits.

mod check;
mod dialect;
mod due;
mod migrations;
mod readers;
mod registry;
mod statements;
mod store;
mod transactions;
mod views;

use std::time::Instant;

use sqlx::QueryBuilder;

use self::readers::unavailable;
pub(crate) use self::{
    check::check,
    dialect::{Among, Dialect, Index},
    migrations::{MigrationFile, migrator},
    readers::{LIST_TIME, Readers, ReadersByUse},
    statements::{Statements, delete, insert, insert_bare, update},
    store::{Change, Changed, SqlStore},
};
#[cfg(test)]
pub(crate) use self::{
    due::{due_query, queues_query},
    store::CLOSE_WAIT,
    views::list_query,
};
use crate::{
    StoreError,
    cells::{Backend, Value},
};

/// Ids in one statement, at most.
const IDS_AT_ONCE: usize = 1_000;

/// Runs a query that bounds the number of its rows itself.
async fn fetch<D: Dialect>(
    readers: &Readers<D>,
    doing: &str,
    query: &mut QueryBuilder<D>,
) -> Result<Vec<D::Row>, StoreError> {
    let failed = |what: String| StoreError::unread(doing, what);
    let connection = readers.pool.acquire().await;
    let mut connection = connection.map_err(|error| failed(unavailable(&error)))?;
    let started = Instant::now();
    if let Some(limit) = readers.limit {
        let bounded = D::interrupt_after(&mut connection, limit).await;
        bounded.map_err(|error| failed(error.to_string()))?;
    }
    let rows = D::fetch_all(&mut connection, query).await;
    rows.map_err(|error| {
        failed(match readers.limit {
            Some(limit) if started.elapsed() >= limit => format!(
                "the read was ended after {} s; ask for less: one business, or a shorter time",
                limit.as_secs()
            ),
            _ => error.to_string(),
        })
    })
}

/// Appends the parameters, separated by commas.
fn push_values<'v, D: Backend>(
    query: &mut QueryBuilder<D>,
    values: impl IntoIterator<Item = Value<'v>>,
) {
    for (place, value) in values.into_iter().enumerate() {
        if place > 0 {
            query.push(", ");
        }
        D::push_value(query, &value);
    }
}
