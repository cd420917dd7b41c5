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

/// Reads a message from a row whose columns have the names of its fields; those after `with` have a function that
/// converts the column's value. A message that is listed names the field that is its key.
#[macro_export]
macro_rules! record {
    ($message:ty { $($field:ident),+ } $(with $converted:ident = $convert:path)? $(, by $key:ident)?) => {
        impl ::sqlx::FromRow<'_, ::sqlx::sqlite::SqliteRow> for $message {
            fn from_row(row: &::sqlx::sqlite::SqliteRow) -> Result<Self, ::sqlx::Error> {
                use ::sqlx::Row as _;
                Ok(Self {
                    $($field: row.try_get(stringify!($field))?,)+
                    $($converted: $convert(row.try_get(stringify!($converted))?)?.into(),)?
                })
            }
        }
        $(impl $crate::Listed for $message {
            fn key(&self) -> String {
                self.$key.to_string()
            }
        })?
    };
}

/// The movements of a user (empty: of all users) after a number. Both services have a table of this name, with columns of
/// their own beside these.
const LEDGER: &str = "SELECT * FROM ledger WHERE number > ?1 AND (?2 = '' OR user = ?2) \
                      ORDER BY number LIMIT ?3";

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

    /// The row of a name, which is `what` to the caller. The statement gets the name.
    pub async fn named<R: Record>(
        &self,
        statement: &'static str,
        what: &str,
        name: &str,
    ) -> Result<R, Status> {
        let query: Select<'_, R> = sqlx::query_as(statement).bind(name);
        let row = query.fetch_optional(&self.pool).await;
        let row = row.map_err(|error| self.failed(&error))?;
        row.ok_or_else(|| Status::not_found(format!("no {what} {name:?}")))
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

    /// A page of the ledger: the movements of a user, or of all.
    pub async fn ledger<R: Listed>(
        &self,
        user: &str,
        page_size: u32,
        cursor: &str,
    ) -> Result<Page<R>, Status> {
        self.by_number(LEDGER, user, page_size, cursor).await
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
