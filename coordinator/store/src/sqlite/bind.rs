//! The parameters of a prepared statement of `rusqlite`.

use rusqlite::{
    Error, Statement, ToSql,
    types::{ToSqlOutput, ValueRef},
};

use crate::{
    cells::{Column, Value},
    columns::Columns,
};

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = match self {
            Self::Text(Some(text)) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(Some(bytes)) => ValueRef::Blob(bytes),
            Self::Integer(Some(integer)) => ValueRef::Integer(*integer),
            Self::Text(None) | Self::Bytes(None) | Self::Integer(None) => ValueRef::Null,
        };
        Ok(ToSqlOutput::Borrowed(value))
    }
}

/// The parameters of a statement, given one after the other.
pub(super) struct Parameters<'s, 'c> {
    statement: &'s mut Statement<'c>,
    given: usize,
}

impl<'s, 'c> Parameters<'s, 'c> {
    /// Starts with the first one.
    pub(super) fn of(statement: &'s mut Statement<'c>) -> Self {
        Self {
            statement,
            given: 0,
        }
    }

    /// Gives the next one.
    pub(super) fn value(mut self, value: &Value<'_>) -> rusqlite::Result<Self> {
        self.give(value)?;
        Ok(self)
    }

    /// Gives the next ones: the values of these columns.
    pub(super) fn columns<'a>(mut self, columns: &impl Columns<'a>) -> rusqlite::Result<Self> {
        columns.each_value(&mut |value| self.give(&value))?;
        Ok(self)
    }

    /// Gives the next one: the value of a column.
    pub(super) fn column<'a>(self, column: &impl Column<'a>) -> rusqlite::Result<Self> {
        self.value(&column.value())
    }

    /// Runs the statement, which reads nothing, and returns the number of rows that it changed.
    pub(super) fn execute(self) -> rusqlite::Result<usize> {
        let expected = self.statement.parameter_count();
        if self.given != expected {
            return Err(Error::InvalidParameterCount(self.given, expected));
        }
        self.statement.raw_execute()
    }

    fn give(&mut self, value: &Value<'_>) -> rusqlite::Result<()> {
        self.given += 1;
        self.statement.raw_bind_parameter(self.given, value)
    }
}
