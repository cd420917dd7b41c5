//! A batch of writes as one transaction of SQLite. It runs on the connection's own thread, where a
//! statement costs less than anything that would save one.

use rusqlite::{CachedStatement, Connection, params};
use tercet_core::{
    id::TxId,
    model::TxSpec,
    time::Timestamp,
    write::{ActionInsert, ActionWrite, ApplyFailure, Fence, Head, OperatorEntry, Write},
};

use super::{
    failure::{self, At},
    writer::clock,
};
use crate::{
    StoreError,
    columns::{after_json, attempts_json, ext_json, json, policy_json, unique_key},
};

const TX_INSERT: &str = "INSERT INTO tx_info (tx_id, business_type, business_id, unique_key, driver, \
    check_back_info, participants_info, ext_properties, deadline_at, create_time, status, biz_status, \
    decision_cause, retry_count, version, owner, waiting_for, next_attempt_at, decided_at, \
    finished_at, db_update_time) \
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
const TX_CHANGE: &str = "UPDATE tx_info SET status = ?3, biz_status = ?4, decision_cause = ?5, \
    retry_count = ?6, version = ?7, owner = ?8, waiting_for = ?9, next_attempt_at = ?10, \
    decided_at = ?11, finished_at = ?12, db_update_time = ?13 WHERE tx_id = ?1 AND version = ?2";
const ACTION_INSERT: &str = "INSERT INTO action_info (tx_id, action_name, position, action_type, \
    participant, handler, payload, run_after, wants_results, already_tried, policy, ext_properties, \
    create_time, result, status, retry_count, last_error, attempts, version, finished_at, \
    db_update_time) \
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
const ACTION_CHANGE: &str = "UPDATE action_info SET result = ?4, status = ?5, retry_count = ?6, \
    last_error = ?7, attempts = ?8, version = ?9, finished_at = ?10, db_update_time = ?11 \
    WHERE tx_id = ?1 AND action_name = ?2 AND version = ?3";
const OPERATOR_INSERT: &str = "INSERT INTO operator_log (tx_id, version, at, command, reason, before, \
    db_update_time) VALUES (?, ?, ?, ?, ?, ?, ?)";

/// Applies every write, or fails; the transaction may then still be open.
pub(super) fn apply(connection: &Connection, batch: &[Write]) -> Result<(), StoreError> {
    let failed = |Failure { kind, what }| {
        StoreError::new(kind, format!("applying {} writes", batch.len()), what)
    };
    write_all(connection, batch).map_err(failed)?;
    run(connection, "COMMIT").map_err(|error| failed(Failure::at(At::Commit, &error)))
}

fn write_all(connection: &Connection, batch: &[Write]) -> Result<(), Failure> {
    run(connection, "BEGIN IMMEDIATE")?;
    let mut rows = Rows::prepare(connection)?;
    for write in batch {
        rows.write(write).map_err(|failure| failure.of(write.id))?;
    }
    Ok(())
}

fn run(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}

/// Why a batch is not applied, or may not be.
struct Failure {
    kind: ApplyFailure,
    what: String,
}

impl Failure {
    fn at(at: At, error: &rusqlite::Error) -> Self {
        Self {
            kind: failure::of(error, at),
            what: error.to_string(),
        }
    }

    /// A write that no row can keep.
    fn content(what: impl Into<String>) -> Self {
        Self {
            kind: ApplyFailure::Content,
            what: what.into(),
        }
    }

    fn of(self, id: TxId) -> Self {
        Self {
            kind: self.kind,
            what: format!("transaction {id}: {}", self.what),
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::at(At::Statement, &error)
    }
}

/// What the columns of a row cannot say.
impl From<String> for Failure {
    fn from(what: String) -> Self {
        Self::content(what)
    }
}

/// A statement for each kind of row. Each finds its row by the primary key, whatever the planner thinks of
/// the table, and its count says whether the row had the version that the write expects.
struct Rows<'c> {
    tx_insert: CachedStatement<'c>,
    tx_change: CachedStatement<'c>,
    action_insert: CachedStatement<'c>,
    action_change: CachedStatement<'c>,
    operator_insert: CachedStatement<'c>,
    /// The database's clock when the transaction began.
    now: i64,
}

impl<'c> Rows<'c> {
    fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            tx_insert: connection.prepare_cached(TX_INSERT)?,
            tx_change: connection.prepare_cached(TX_CHANGE)?,
            action_insert: connection.prepare_cached(ACTION_INSERT)?,
            action_change: connection.prepare_cached(ACTION_CHANGE)?,
            operator_insert: connection.prepare_cached(OPERATOR_INSERT)?,
            now: clock(connection)?,
        })
    }

    /// The row of `tx_info` first: the fence speaks before the actions are touched.
    fn write(&mut self, write: &Write) -> Result<(), Failure> {
        match &write.fence {
            Fence::Absent(spec) => self.begin(write, spec)?,
            Fence::Version(expected) => self.change(write, *expected)?,
            #[allow(
                unreachable_patterns,
                reason = "a mutation of the core adds a fence that is none"
            )]
            _ => return Err(Failure::content("it has no fence")),
        }
        for action in &write.actions {
            match (&action.insert, action.row.version) {
                (Some(insert), 1) => self.add_action(write.id, action, insert)?,
                (None, 2..) => self.change_action(write.id, action)?,
                (_, version) => {
                    let what = format!("it makes version {version} of action {}", action.name);
                    return Err(Failure::content(what));
                }
            }
        }
        match &write.operator {
            Some(entry) => self.add_command(write, entry),
            None => Ok(()),
        }
    }

    fn begin(&mut self, write: &Write, spec: &TxSpec) -> Result<(), Failure> {
        if spec.id != write.id {
            let what = format!("it begins transaction {}", spec.id);
            return Err(Failure::content(what));
        }
        let head = &write.head;
        follows(0, head)?;
        let unique_key = spec
            .unique_business
            .then(|| unique_key(&spec.business_type, &spec.business_id))
            .transpose()?;
        self.tx_insert.execute(params![
            write.id.as_bytes(),
            spec.business_type,
            spec.business_id,
            unique_key,
            spec.driver.word(),
            spec.check_back.as_ref().map(json).transpose()?,
            json(&spec.begun)?,
            ext_json(&spec.ext)?,
            spec.deadline.as_micros(),
            spec.create_time.as_micros(),
            head.phase.status().word(),
            head.phase.biz_status().word(),
            cause(head)?,
            head.check_backs,
            head.version,
            head.owner.to_string(),
            head.waiting_for,
            micros(head.next_attempt_at),
            micros(head.phase.decided_at()),
            micros(head.phase.finished_at()),
            self.now,
        ])?;
        Ok(())
    }

    fn change(&mut self, write: &Write, expected: u32) -> Result<(), Failure> {
        let head = &write.head;
        follows(expected, head)?;
        let changed = self.tx_change.execute(params![
            write.id.as_bytes(),
            expected,
            head.phase.status().word(),
            head.phase.biz_status().word(),
            cause(head)?,
            head.check_backs,
            head.version,
            head.owner.to_string(),
            head.waiting_for,
            micros(head.next_attempt_at),
            micros(head.phase.decided_at()),
            micros(head.phase.finished_at()),
            self.now,
        ])?;
        match changed {
            1 => Ok(()),
            _ => Err(Failure {
                kind: ApplyFailure::Moved,
                what: format!("it does not have version {expected}"),
            }),
        }
    }

    fn add_action(
        &mut self,
        id: TxId,
        action: &ActionWrite,
        insert: &ActionInsert,
    ) -> Result<(), Failure> {
        let (spec, row) = (&insert.spec, &action.row);
        self.action_insert.execute(params![
            id.as_bytes(),
            action.name,
            insert.position,
            spec.mode.word(),
            spec.participant,
            spec.handler,
            &spec.payload[..],
            after_json(&spec.after)?,
            spec.wants_results,
            spec.already_tried,
            policy_json(&spec.retry)?,
            ext_json(&spec.ext)?,
            insert.create_time.as_micros(),
            &row.result[..],
            row.status.word(),
            row.retry_count,
            row.last_error,
            attempts_json(&row.attempts)?,
            row.version,
            micros(row.finished_at),
            self.now,
        ])?;
        Ok(())
    }

    fn change_action(&mut self, id: TxId, action: &ActionWrite) -> Result<(), Failure> {
        let row = &action.row;
        let expected = row.version - 1;
        let changed = self.action_change.execute(params![
            id.as_bytes(),
            action.name,
            expected,
            &row.result[..],
            row.status.word(),
            row.retry_count,
            row.last_error,
            attempts_json(&row.attempts)?,
            row.version,
            micros(row.finished_at),
            self.now,
        ])?;
        match changed {
            1 => Ok(()),
            _ => Err(Failure::content(format!(
                "action {} does not have version {expected}, although the transaction has the version \
                 that goes with it",
                action.name
            ))),
        }
    }

    fn add_command(&mut self, write: &Write, entry: &OperatorEntry) -> Result<(), Failure> {
        self.operator_insert.execute(params![
            write.id.as_bytes(),
            write.head.version,
            entry.at.as_micros(),
            entry.command,
            entry.reason,
            entry.before,
            self.now,
        ])?;
        Ok(())
    }
}

/// Whether a write makes the version after the one that it expects.
fn follows(expected: u32, head: &Head) -> Result<(), Failure> {
    if expected.checked_add(1) == Some(head.version) {
        return Ok(());
    }
    Err(Failure::content(format!(
        "it makes version {} of version {expected}",
        head.version
    )))
}

fn cause(head: &Head) -> Result<Option<String>, String> {
    let decision = head.phase.decision();
    decision.map(|decision| json(&decision.cause)).transpose()
}

fn micros(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_micros)
}
