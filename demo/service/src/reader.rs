//! The queries of a service, answered from its database: single rows, and lists in pages.

use sqlx::query::QueryAs;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{FromRow, Sqlite, SqlitePool};
use tonic::Status;

/// Rows of a page when the caller does not say.
const DEFAULT_SIZE: u32 = 500;
/// Rows of a page at most.
const MAX_SIZE: u32 = 5_000;

/// Reads a service's database for its query service.
#[derive(Clone, Debug)]
pub struct Reader {
    service: &'static str,
    pool: SqlitePool,
}

/// A message that is read from a row.
pub trait Record: for<'r> FromRow<'r, SqliteRow> + Send + Unpin {}

impl<T: for<'r> FromRow<'r, SqliteRow> + Send + Unpin> Record for T {}

/// A message of a list that is sorted by a growing key.
pub trait Listed: Record {
    /// The key. A page that ends with this message goes on behind it.
    fn key(&self) -> String;
}

/// One page of a list, and the cursor of the next one; empty: this was the last.
pub type Page<R> = (Vec<R>, String);

impl Reader {
    /// Reads the database of the service of this name.
    pub fn new(service: &'static str, pool: SqlitePool) -> Self {
        Self { service, pool }
    }

    /// The row of a query that always has one.
    pub async fn one<R: Record>(&self, query: Select<'_, R>) -> Result<R, Status> {
        let row = query.fetch_one(&self.pool).await;
        row.map_err(|error| self.failed(&error))
    }

    /// The row of a query, if there is one.
    pub async fn optional<R: Record>(&self, query: Select<'_, R>) -> Result<Option<R>, Status> {
        let row = query.fetch_optional(&self.pool).await;
        row.map_err(|error| self.failed(&error))
    }

    /// A page of a list that is sorted by a name. The statement gets the name after which the page
    /// begins and the page's size.
    pub async fn by_name<R: Listed>(
        &self,
        statement: &'static str,
        page_size: u32,
        cursor: &str,
    ) -> Result<Page<R>, Status> {
        let size = size(page_size)?;
        let query = sqlx::query_as(statement).bind(cursor).bind(size);
        self.page(query, size).await
    }

    /// A page of a list that is sorted by a number. The statement gets the number after which the page
    /// begins, the user whose rows are listed (empty: all users'), and the page's size.
    pub async fn by_number<R: Listed>(
        &self,
        statement: &'static str,
        user: &str,
        page_size: u32,
        cursor: &str,
    ) -> Result<Page<R>, Status> {
        let size = size(page_size)?;
        let query = sqlx::query_as(statement).bind(number(cursor)?);
        self.page(query.bind(user).bind(size), size).await
    }

    async fn page<R: Listed>(&self, query: Select<'_, R>, size: u32) -> Result<Page<R>, Status> {
        let rows = query.fetch_all(&self.pool).await;
        let rows = rows.map_err(|error| self.failed(&error))?;
        let full = usize::try_from(size).is_ok_and(|size| rows.len() >= size);
        let last = rows.last().filter(|_| full);
        let next_cursor = last.map_or_else(String::new, Listed::key);
        Ok((rows, next_cursor))
    }

    fn failed(&self, error: &sqlx::Error) -> Status {
        tracing::error!(%error, "a query failed");
        Status::internal(format!(
            "the {} database failed; the service's log says why",
            self.service
        ))
    }
}

/// A query for rows that are read as `R`.
type Select<'q, R> = QueryAs<'q, Sqlite, R, SqliteArguments>;

#[allow(clippy::result_large_err, reason = "tonic's own error type")]
fn size(page_size: u32) -> Result<u32, Status> {
    match page_size {
        0 => Ok(DEFAULT_SIZE),
        size if size > MAX_SIZE => Err(Status::invalid_argument(format!(
            "page_size is {size}, at most {MAX_SIZE} is allowed"
        ))),
        size => Ok(size),
    }
}

#[allow(clippy::result_large_err, reason = "tonic's own error type")]
fn number(cursor: &str) -> Result<i64, Status> {
    if cursor.is_empty() {
        return Ok(0);
    }
    cursor.parse().map_err(|_| {
        Status::invalid_argument("cursor is not the next_cursor of a page of this list")
    })
}
