//! Batches of writes, each as one transaction of SQLite. They run on the connection's own thread, where one more
//! statement costs less than any way to save it.

use std::sync::LazyLock;

use rusqlite::{CachedStatement, Connection};
use sqlx::Sqlite;
use tercet_core::{
    id::TxId,
    model::DueRow,
    time::Timestamp,
    write::{ActionWrite, ApplyFailure, Fence, NewAction, OperatorEntry, Write},
};
use tercet_failpoint::reach;

use super::{
    bind::Parameters,
    codes::{self, At},
};
use crate::{
    StoreError,
    columns::{
        ActionColumns, ActionSpecColumns, ActionStateColumns, Columns, DueColumns, OperatorColumns,
        TxColumns, TxHeadColumns, TxSpecColumns,
    },
    sql::{Change, Changed, Dialect, check, delete, insert, insert_bare, update},
};

/// The texts of the statements of a commit: one per kind of row, made once.
struct Texts {
    tx_insert: String,
    tx_change: String,
    action_insert: String,
    action_change: String,
    due_remove: String,
    due_insert: String,
    operator_insert: String,
    clock: String,
}

static TEXTS: LazyLock<Texts> = LazyLock::new(|| Texts {
    tx_insert: insert::<Sqlite, TxColumns<'_>>(),
    tx_change: update::<Sqlite, TxHeadColumns<'_>>(&["tx_id", "version"]),
    action_insert: insert::<Sqlite, ActionColumns<'_>>(),
    action_change: update::<Sqlite, ActionStateColumns<'_>>(&["tx_id", "action_name", "version"]),
    due_remove: delete::<Sqlite, DueColumns<'_>>(),
    due_insert: insert_bare::<Sqlite, DueColumns<'_>>(),
    operator_insert: insert::<Sqlite, OperatorColumns<'_>>(),
    clock: format!("SELECT {}", Sqlite::CLOCK),
});

/// Applies every write, or fails; after an error the transaction may still be open.
pub(super) fn apply(connection: &Connection, batch: &[Write]) -> Result<(), StoreError> {
    let failed = |error: WriteError| error.of(format!("applying {} writes", batch.len()));
    write_all(connection, batch).map_err(failed)?;
    reach("store.commit.before");
    commit(connection).map_err(failed)
}

/// Changes one row that is no transaction's, or fails; after an error the transaction may still be open.
pub(super) fn change(
    connection: &Connection,
    doing: &str,
    change: Change,
) -> Result<Changed, StoreError> {
    let failed = |error: WriteError| error.of(doing);
    let changed = make_change(connection, change).map_err(failed)?;
    commit(connection).map_err(failed)?;
    Ok(changed)
}

fn write_all(connection: &Connection, batch: &[Write]) -> Result<(), WriteError> {
    run(connection, "BEGIN IMMEDIATE")?;
    let mut rows = Rows::prepare(connection)?;
    for write in batch {
        rows.write(write).map_err(|error| WriteError {
            what: format!("transaction {}: {}", write.id, error.what),
            ..error
        })?;
    }
    Ok(())
}

fn make_change(connection: &Connection, change: Change) -> Result<Changed, WriteError> {
    run(connection, "BEGIN IMMEDIATE")?;
    let now = clock(connection)?;
    let mut statement = connection.prepare_cached(change.statement)?;
    let mut parameters = Parameters::of(&mut statement);
    for value in (change.values)(now) {
        parameters = parameters.value(&value)?;
    }
    parameters.execute()?;
    let mut statement = connection.prepare_cached(change.read)?;
    let mut rows = statement.query([change.key])?;
    let number = rows.next()?.map(|row| row.get(0)).transpose()?;
    Ok(Changed { number, now })
}

fn run(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}

fn commit(connection: &Connection) -> Result<(), WriteError> {
    run(connection, "COMMIT").map_err(|error| WriteError::at(At::Commit, &error))
}

/// Reads the database's clock.
fn clock(connection: &Connection) -> rusqlite::Result<Timestamp> {
    let micros = connection
        .prepare_cached(&TEXTS.clock)?
        .query_row([], |row| row.get(0))?;
    Ok(Timestamp::from_micros(micros))
}

/// The reason why something was not written, or may not have been.
struct WriteError {
    kind: ApplyFailure,
    what: String,
}

impl WriteError {
    fn at(at: At, error: &rusqlite::Error) -> Self {
        Self {
            kind: codes::of(error, at),
            what: error.to_string(),
        }
    }

    /// Makes the error of a write that no row can keep.
    fn content(what: impl Into<String>) -> Self {
        Self {
            kind: ApplyFailure::Content,
            what: what.into(),
        }
    }

    fn of(self, doing: impl Into<String>) -> StoreError {
        StoreError::new(self.kind, doing, self.what)
    }
}

impl From<rusqlite::Error> for WriteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::at(At::Statement, &error)
    }
}

/// A value that no column can keep.
impl From<String> for WriteError {
    fn from(what: String) -> Self {
        Self::content(what)
    }
}

/// The prepared statements of a commit. Each finds its row by the primary key, whatever the planner's statistics; the
/// number of rows that it changed shows whether the row had the version that the write expects.
struct Rows<'c> {
    tx_insert: CachedStatement<'c>,
    tx_change: CachedStatement<'c>,
    action_insert: CachedStatement<'c>,
    action_change: CachedStatement<'c>,
    due_remove: CachedStatement<'c>,
    due_insert: CachedStatement<'c>,
    operator_insert: CachedStatement<'c>,
    /// The database's clock when the transaction began.
    now: Timestamp,
}

impl<'c> Rows<'c> {
    fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        let texts = &*TEXTS;
        Ok(Self {
            tx_insert: connection.prepare_cached(&texts.tx_insert)?,
            tx_change: connection.prepare_cached(&texts.tx_change)?,
            action_insert: connection.prepare_cached(&texts.action_insert)?,
            action_change: connection.prepare_cached(&texts.action_change)?,
            due_remove: connection.prepare_cached(&texts.due_remove)?,
            due_insert: connection.prepare_cached(&texts.due_insert)?,
            operator_insert: connection.prepare_cached(&texts.operator_insert)?,
            now: clock(connection)?,
        })
    }

    /// Writes the rows of one transaction, that of `tx_info` first: it decides whether the write holds.
    fn write(&mut self, write: &Write) -> Result<(), WriteError> {
        check(write)?;
        if let Fence::Absent(spec) = &write.fence {
            let row = (TxSpecColumns::of(spec)?, TxHeadColumns::of(&write.head)?);
            insert_row(&mut self.tx_insert, &row, self.now)?;
        } else {
            self.change(write)?;
        }
        for action in &write.actions {
            match &action.insert {
                Some(new) => self.add_action(write.id, action, new)?,
                None => self.change_action(write.id, action)?,
            }
        }
        for row in &write.due.remove {
            self.remove_due(write.id, row)?;
        }
        for row in &write.due.add {
            let parameters = Parameters::of(&mut self.due_insert);
            parameters
                .columns(&DueColumns::of(write.id, row))?
                .execute()?;
        }
        match &write.operator {
            Some(entry) => self.add_command(write, entry),
            None => Ok(()),
        }
    }

    fn change(&mut self, write: &Write) -> Result<(), WriteError> {
        let expected = write.head.version - 1;
        let changed = Parameters::of(&mut self.tx_change)
            .columns(&TxHeadColumns::of(&write.head)?)?
            .column(&self.now)?
            .column(&write.id)?
            .column(&expected)?
            .execute()?;
        match changed {
            1 => Ok(()),
            _ => Err(WriteError {
                kind: ApplyFailure::Moved,
                what: format!("it does not have version {expected}"),
            }),
        }
    }

    fn add_action(
        &mut self,
        id: TxId,
        action: &ActionWrite,
        new: &NewAction,
    ) -> Result<(), WriteError> {
        let spec = ActionSpecColumns::of(id, &action.name, new)?;
        let state = ActionStateColumns::of(&action.state)?;
        insert_row(&mut self.action_insert, &(spec, state), self.now)
    }

    fn change_action(&mut self, id: TxId, action: &ActionWrite) -> Result<(), WriteError> {
        let expected = action.state.version - 1;
        let changed = Parameters::of(&mut self.action_change)
            .columns(&ActionStateColumns::of(&action.state)?)?
            .column(&self.now)?
            .column(&id)?
            .column(&&*action.name)?
            .column(&expected)?
            .execute()?;
        match changed {
            1 => Ok(()),
            _ => Err(WriteError::content(format!(
                "action {} does not have version {expected}, although the transaction has the version \
                 that goes with it",
                action.name
            ))),
        }
    }

    /// Removes a row of `tx_due` by its whole key.
    fn remove_due(&mut self, id: TxId, row: &DueRow) -> Result<(), WriteError> {
        let columns = DueColumns::of(id, row);
        let parameters = Parameters::of(&mut self.due_remove);
        match parameters.columns(&columns)?.execute()? {
            1 => Ok(()),
            _ => Err(WriteError::content(format!(
                "tx_due has no row ({}, {}, {}, {}, {}), although the transaction has the version that goes with it",
                columns.kind,
                columns.name,
                columns.need,
                columns.business_type,
                row.at.as_micros()
            ))),
        }
    }

    fn add_command(&mut self, write: &Write, entry: &OperatorEntry) -> Result<(), WriteError> {
        let columns = OperatorColumns::of(write.id, write.head.version, entry);
        insert_row(&mut self.operator_insert, &columns, self.now)
    }
}

/// Inserts a row with these columns.
fn insert_row<'a>(
    statement: &mut CachedStatement<'_>,
    columns: &impl Columns<'a>,
    now: Timestamp,
) -> Result<(), WriteError> {
    let parameters = Parameters::of(statement).columns(columns)?;
    parameters.column(&now)?.execute()?;
    Ok(())
}
