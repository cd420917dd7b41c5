//! The differences between databases.

use std::{future::Future, time::Duration};

use super::Statements;
use crate::cells::Backend;

/// The differences of one database in the statements that all of them share.
pub(crate) trait Dialect: Backend {
    /// The expression for the database's clock, in whole microseconds since 1970-01-01 UTC.
    const CLOCK: &'static str;

    /// Returns the statements of this dialect, made once.
    fn statements() -> &'static Statements;

    /// Returns the words behind the name of `tx_info` that make a statement use this index and no other, whatever the
    /// planner's statistics; empty where the dialect has none.
    fn hint(index: Index) -> &'static str;

    /// Returns the words behind `FROM` that give, for each row `q` of a table `queue` with the columns that name a queue of
    /// `tx_due`, the first row `t` of the queue behind it: of all queues, or of those with the same kind and name. They
    /// end with a condition, and must cost a few searches, however many rows a queue has.
    fn next_queue(among: Among) -> String;

    /// Returns the name of a statement's parameter at this place, from 1.
    fn placeholder(_place: usize) -> String {
        "?".into()
    }

    /// Returns the words before the assignments with which an INSERT changes the row that already has this key.
    fn on_conflict(key: &str) -> String {
        format!("ON CONFLICT ({key}) DO UPDATE SET")
    }

    /// Returns the expression, in such an assignment, for the value that the INSERT has for a column.
    fn inserted(column: &str) -> String {
        format!("excluded.{column}")
    }

    /// Makes the database interrupt the next read of this connection after this time, even if its caller no longer
    /// waits.
    fn interrupt_after(
        connection: &mut Self::Connection,
        limit: Duration,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

/// The queues of `tx_due` among which the next one is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Among {
    /// All of them.
    All,
    /// Those with the same kind and name.
    SameName,
}

/// An index of `tx_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Index {
    /// The primary key: all transactions, by id.
    PrimaryKey,
    /// `tx_business`: all transactions, by business type and id.
    Business,
}
