//! The part of a store that every SQL database shares: statements, reads, lists, nodes and participants.
//!
//! A database brings a [`Dialect`] with the few words that differ, and an [`SqlStore`] with its commits.

mod check;
mod dialect;
mod due;
mod migrations;
mod registry;
mod statements;
mod store;
mod transactions;
mod views;

use sqlx::{Pool, QueryBuilder};

pub(crate) use self::{
    check::check,
    dialect::{Among, Dialect, Index},
    migrations::{MigrationFile, migrator},
    statements::{Statements, delete, insert, insert_bare, update},
    store::{Change, Changed, SqlStore},
};
#[cfg(test)]
pub(crate) use self::{
    due::{due_query, queues_query},
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
    pool: &Pool<D>,
    doing: &str,
    query: &mut QueryBuilder<D>,
) -> Result<Vec<D::Row>, StoreError> {
    let rows = D::fetch_all(pool, query).await;
    rows.map_err(|error| StoreError::new(D::read_failure(&error), doing, error))
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
