//! The bounds that a database of sqlx must satisfy, in one place.

use std::future::Future;

use sqlx::{
    ColumnIndex, Database, Decode, Encode, Executor, IntoArguments, QueryBuilder, Row, Type,
    ValueRef, database::HasStatementCache,
};

use super::Value;

#[expect(
    clippy::needless_pass_by_value,
    reason = "as Result::map_err hands it over"
)]
fn unreadable(error: sqlx::Error) -> String {
    format!("cannot be read: {error}")
}

/// A database of sqlx whose rows and parameters hold text, bytes and numbers. Every one of its databases is one, without
/// an implementation of its own.
pub(crate) trait Backend: Database {
    /// Reads the text in a row's cell. The errors of these functions read on from the column's name.
    fn text(row: &Self::Row, at: usize) -> Result<&str, String>;

    /// Reads the bytes in a row's cell.
    fn bytes(row: &Self::Row, at: usize) -> Result<&[u8], String>;

    /// Reads the number in a row's cell.
    fn integer(row: &Self::Row, at: usize) -> Result<i64, String>;

    /// Returns whether a row's cell is NULL.
    fn is_null(row: &Self::Row, at: usize) -> Result<bool, String>;

    /// Appends a parameter to a statement.
    fn push_value(statement: &mut QueryBuilder<Self>, value: &Value<'_>);

    /// Runs a query, whose text is not kept prepared, and reads all its rows.
    fn fetch_all(
        connection: &mut Self::Connection,
        query: &mut QueryBuilder<Self>,
    ) -> impl Future<Output = Result<Vec<Self::Row>, sqlx::Error>> + Send;
}

impl<D> Backend for D
where
    D: Database + HasStatementCache,
    D::Arguments: IntoArguments<D>,
    usize: ColumnIndex<D::Row>,
    str: Type<D>,
    [u8]: Type<D>,
    i64: Type<D>,
    for<'r> &'r str: Decode<'r, D> + Encode<'r, D> + Type<D>,
    for<'r> &'r [u8]: Decode<'r, D> + Encode<'r, D> + Type<D>,
    for<'r> i64: Decode<'r, D> + Encode<'r, D>,
    for<'r> Option<&'r str>: Encode<'r, D> + Type<D>,
    for<'r> Option<&'r [u8]>: Encode<'r, D> + Type<D>,
    for<'r> Option<i64>: Encode<'r, D> + Type<D>,
    for<'c> &'c mut D::Connection: Executor<'c, Database = D>,
{
    fn text(row: &Self::Row, at: usize) -> Result<&str, String> {
        row.try_get(at).map_err(unreadable)
    }

    fn bytes(row: &Self::Row, at: usize) -> Result<&[u8], String> {
        row.try_get(at).map_err(unreadable)
    }

    fn integer(row: &Self::Row, at: usize) -> Result<i64, String> {
        row.try_get(at).map_err(unreadable)
    }

    fn is_null(row: &Self::Row, at: usize) -> Result<bool, String> {
        let cell = row.try_get_raw(at).map_err(unreadable)?;
        Ok(cell.is_null())
    }

    fn push_value(statement: &mut QueryBuilder<Self>, value: &Value<'_>) {
        match value {
            Value::Text(text) => statement.push_bind(text.as_deref()),
            Value::Bytes(bytes) => statement.push_bind(bytes.as_deref()),
            Value::Integer(integer) => statement.push_bind(*integer),
        };
    }

    async fn fetch_all(
        connection: &mut Self::Connection,
        query: &mut QueryBuilder<Self>,
    ) -> Result<Vec<Self::Row>, sqlx::Error> {
        query.build().persistent(false).fetch_all(connection).await
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{MySql, Postgres, Sqlite};

    use super::Backend;

    #[test]
    fn every_database_has_what_stores_need() {
        fn is_driver<D: Backend>() {}
        is_driver::<Sqlite>();
        is_driver::<Postgres>();
        is_driver::<MySql>();
    }
}
