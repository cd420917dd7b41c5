//! Cells of rows and parameters of statements: the Rust types that they can have, read from and given to every
//! database of sqlx.

mod backend;

use std::borrow::Cow;

use tercet_core::{
    id::TxId,
    model::{ActionStatus, BizStatus, Decider, Mode, TxStatus},
    time::Timestamp,
};

pub(crate) use self::backend::Backend;

/// The value of a parameter, in one of the three types that every database has.
#[derive(Clone, Debug)]
pub(crate) enum Value<'a> {
    Text(Option<Cow<'a, str>>),
    Bytes(Option<Cow<'a, [u8]>>),
    Integer(Option<i64>),
}

impl Value<'_> {
    /// Copies the value if it is borrowed.
    pub(crate) fn into_owned(self) -> Value<'static> {
        match self {
            Self::Text(text) => Value::Text(text.map(|text| Cow::Owned(text.into_owned()))),
            Self::Bytes(bytes) => Value::Bytes(bytes.map(|bytes| Cow::Owned(bytes.into_owned()))),
            Self::Integer(integer) => Value::Integer(integer),
        }
    }
}

/// A type that a column can have.
pub(crate) trait Column<'a>: Sized {
    /// The NULL of this type.
    const NULL: Value<'static>;

    /// Reads a row's cell. The error reads on from the column's name.
    fn read<B: Backend>(row: &'a B::Row, at: usize) -> Result<Self, String>;

    /// Returns the value to write.
    fn value(&self) -> Value<'_>;
}

/// The cells of a row, one after the other.
pub(crate) struct Cells<'a, B: Backend> {
    row: &'a B::Row,
    at: usize,
}

impl<'a, B: Backend> Cells<'a, B> {
    /// Starts at the first one.
    pub(crate) fn of(row: &'a B::Row) -> Self {
        Self { row, at: 0 }
    }

    /// Reads the next one, which is that of this column.
    pub(crate) fn next<T: Column<'a>>(&mut self, column: &str) -> Result<T, String> {
        let cell = self.peek(column)?;
        self.at += 1;
        Ok(cell)
    }

    /// Skips this number of cells.
    pub(crate) fn skip(mut self, cells: usize) -> Self {
        self.at += cells;
        self
    }

    /// Reads the next one without passing it.
    pub(crate) fn peek<T: Column<'a>>(&self, column: &str) -> Result<T, String> {
        T::read::<B>(self.row, self.at).map_err(|what| format!("{column} {what}"))
    }
}

/// Columns of text: borrowed, or made for the row.
macro_rules! texts {
    ($($type:ty),*) => {
        $(impl<'a> Column<'a> for $type {
            const NULL: Value<'static> = Value::Text(None);

            fn read<B: Backend>(row: &'a B::Row, at: usize) -> Result<Self, String> {
                B::text(row, at).map(Into::into)
            }

            fn value(&self) -> Value<'_> {
                Value::Text(Some(Cow::Borrowed(self)))
            }
        })*
    };
}
texts!(&'a str, Cow<'a, str>);

/// Columns of bytes: borrowed, or made for the row.
macro_rules! bytes {
    ($($type:ty),*) => {
        $(impl<'a> Column<'a> for $type {
            const NULL: Value<'static> = Value::Bytes(None);

            fn read<B: Backend>(row: &'a B::Row, at: usize) -> Result<Self, String> {
                B::bytes(row, at).map(Into::into)
            }

            fn value(&self) -> Value<'_> {
                Value::Bytes(Some(Cow::Borrowed(self)))
            }
        })*
    };
}
bytes!(&'a [u8], Cow<'a, [u8]>);

/// Columns that hold one word out of several.
macro_rules! words {
    ($($type:ty),*) => {
        $(impl<'a> Column<'a> for $type {
            const NULL: Value<'static> = Value::Text(None);

            fn read<B: Backend>(row: &'a B::Row, at: usize) -> Result<Self, String> {
                let word = B::text(row, at)?;
                Self::from_word(word).ok_or_else(|| format!("{word:?} is no word of this column"))
            }

            fn value(&self) -> Value<'_> {
                Value::Text(Some(Cow::Borrowed(self.word())))
            }
        })*
    };
}
words!(TxStatus, BizStatus, ActionStatus, Mode, Decider);

impl<'a> Column<'a> for i64 {
    const NULL: Value<'static> = Value::Integer(None);

    fn read<B: Backend>(row: &'a B::Row, at: usize) -> Result<Self, String> {
        B::integer(row, at)
    }

    fn value(&self) -> Value<'_> {
        Value::Integer(Some(*self))
    }
}

impl<'a> Column<'a> for u32 {
    const NULL: Value<'static> = Value::Integer(None);

    fn read<B: Backend>(row: &'a B::Row, at: usize) -> Result<Self, String> {
        let integer = B::integer(row, at)?;
        Self::try_from(integer).map_err(|_| format!("is {integer}"))
    }

    fn value(&self) -> Value<'_> {
        Value::Integer(Some((*self).into()))
    }
}

impl<'a> Column<'a> for bool {
    const NULL: Value<'static> = Value::Integer(None);

    fn read<B: Backend>(row: &'a B::Row, at: usize) -> Result<Self, String> {
        match B::integer(row, at)? {
            0 => Ok(false),
            1 => Ok(true),
            integer => Err(format!("is {integer}, neither 0 nor 1")),
        }
    }

    fn value(&self) -> Value<'_> {
        Value::Integer(Some((*self).into()))
    }
}

impl<'a> Column<'a> for Timestamp {
    const NULL: Value<'static> = Value::Integer(None);

    fn read<B: Backend>(row: &'a B::Row, at: usize) -> Result<Self, String> {
        let micros = B::integer(row, at)?;
        Ok(Self::from_micros(micros))
    }

    fn value(&self) -> Value<'_> {
        Value::Integer(Some(self.as_micros()))
    }
}

impl<'a> Column<'a> for TxId {
    const NULL: Value<'static> = Value::Bytes(None);

    fn read<B: Backend>(row: &'a B::Row, at: usize) -> Result<Self, String> {
        let bytes = B::bytes(row, at)?;
        let id = bytes
            .try_into()
            .map_err(|_| format!("has {} bytes, not 16", bytes.len()))?;
        Ok(Self::from_bytes(id))
    }

    fn value(&self) -> Value<'_> {
        Value::Bytes(Some(Cow::Borrowed(self.as_bytes())))
    }
}

impl<'a, T: Column<'a>> Column<'a> for Option<T> {
    const NULL: Value<'static> = T::NULL;

    fn read<B: Backend>(row: &'a B::Row, at: usize) -> Result<Self, String> {
        if B::is_null(row, at)? {
            return Ok(None);
        }
        T::read::<B>(row, at).map(Some)
    }

    fn value(&self) -> Value<'_> {
        self.as_ref().map_or(T::NULL, T::value)
    }
}
