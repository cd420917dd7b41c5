//! The columns of the tables. Each is written down once, in [`tables`]; the lists of names in statements, the readers of
//! rows and the values of parameters all come from there.

mod convert;
mod tables;

pub(crate) use self::{
    convert::{QueueKey, action_row, due_row, tx_row, unique_key},
    tables::{
        ActionColumns, ActionSpecColumns, ActionStateColumns, DueColumns, NodeColumns,
        OperatorColumns, ParticipantColumns, StandingColumns, TxColumns, TxHeadColumns,
        TxSpecColumns,
    },
};
use crate::cells::{Backend, Cells, Value};

/// The column for the time of the last write, which every table but `tx_due` has besides those in [`tables`]. It is written
/// with each row and never read.
pub(crate) const WRITTEN_AT: &str = "db_update_time";

/// A group of columns of one table, in the order in which statements name them.
pub(crate) trait Columns<'a>: Sized {
    /// The table.
    const TABLE: &'static str;
    /// The number of columns.
    const COUNT: usize;

    /// Returns their names.
    fn names() -> Vec<&'static str>;

    /// Reads them from the next cells of a row.
    fn read<B: Backend>(cells: &mut Cells<'a, B>) -> Result<Self, String>;

    /// Hands over their values one by one, until one is refused.
    fn each_value<E>(&self, take: &mut impl FnMut(Value<'_>) -> Result<(), E>) -> Result<(), E>;
}

/// The columns of the first, then those of the second.
impl<'a, First: Columns<'a>, Second: Columns<'a>> Columns<'a> for (First, Second) {
    const TABLE: &'static str = First::TABLE;
    const COUNT: usize = First::COUNT + Second::COUNT;

    fn names() -> Vec<&'static str> {
        [First::names(), Second::names()].concat()
    }

    fn read<B: Backend>(cells: &mut Cells<'a, B>) -> Result<Self, String> {
        Ok((First::read(cells)?, Second::read(cells)?))
    }

    fn each_value<E>(&self, take: &mut impl FnMut(Value<'_>) -> Result<(), E>) -> Result<(), E> {
        self.0.each_value(take)?;
        self.1.each_value(take)
    }
}

/// Defines a group of columns of one table: a struct with a field for each, and its [`Columns`].
macro_rules! columns {
    (
        $(#[$doc:meta])*
        $columns:ident<$a:lifetime>: $table:literal { $($column:ident: $type:ty,)+ }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub(crate) struct $columns<$a> {
            $(pub(crate) $column: $type,)+
        }

        impl<$a> $crate::columns::Columns<$a> for $columns<$a> {
            const TABLE: &'static str = $table;
            const COUNT: usize = [$(stringify!($column)),+].len();

            fn names() -> Vec<&'static str> {
                vec![$(stringify!($column)),+]
            }

            fn read<B: $crate::cells::Backend>(
                cells: &mut $crate::cells::Cells<$a, B>,
            ) -> Result<Self, String> {
                Ok(Self { $($column: cells.next(stringify!($column))?,)+ })
            }

            fn each_value<E>(
                &self,
                take: &mut impl FnMut($crate::cells::Value<'_>) -> Result<(), E>,
            ) -> Result<(), E> {
                $(take($crate::cells::Column::value(&self.$column))?;)+
                Ok(())
            }
        }
    };
}
pub(crate) use columns;
