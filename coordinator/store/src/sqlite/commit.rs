//! A batch of writes as one text with its values: one call of the driver, all or nothing.

use std::sync::Arc;

use futures::StreamExt;
use sqlx::{
    Arguments, AssertSqlSafe, Either, Encode, Error, Executor, Sqlite, SqliteConnection, Type,
    sqlite::SqliteArguments,
};
use tercet_core::{
    id::TxId,
    model::Owner,
    time::Timestamp,
    write::{ActionInsert, ActionWrite, ApplyFailure, Fence, Head, Write},
};

use super::failure::At;
use crate::{
    StoreError,
    columns::{after_json, attempts_json, ext_json, json, policy_json, unique_key},
};

/// The database's clock. A subquery, so that a statement reads it once and not once a row.
pub(super) const NOW: &str = "(SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000)";
/// Rows of one statement; their values stay below SQLite's limit of 32,766 variables.
const ROWS_AT_ONCE: usize = 1_024;

/// A multi-row INSERT. Its rows are rounded up to a power of two, so that there are few texts and their
/// prepared statements serve again: parsing costs more than the rows do. The rows that nobody
/// needs are NULL, and are passed over.
struct Insert {
    into: &'static str,
    columns: usize,
    /// Whether the last column is `db_update_time`, which the statement sets itself.
    stamped: bool,
}

const TX_INSERT: Insert = Insert {
    into: "tx_info (tx_id, business_type, business_id, unique_key, driver, check_back_info, \
           participants_info, ext_properties, deadline_at, create_time, status, biz_status, \
           decision_cause, retry_count, version, owner, waiting_for, next_attempt_at, decided_at, \
           finished_at, db_update_time)",
    columns: 20,
    stamped: true,
};
const TX_CHANGE: Insert = Insert {
    into: "tx_change (tx_id, expected, status, biz_status, decision_cause, retry_count, version, \
           owner, waiting_for, next_attempt_at, decided_at, finished_at)",
    columns: 12,
    stamped: false,
};
const ACTION_INSERT: Insert = Insert {
    into: "action_info (tx_id, action_name, position, action_type, participant, handler, payload, \
           run_after, wants_results, already_tried, policy, ext_properties, create_time, result, \
           status, retry_count, last_error, attempts, version, finished_at, db_update_time)",
    columns: 20,
    stamped: true,
};
const ACTION_CHANGE: Insert = Insert {
    into: "action_change (tx_id, action_name, expected, result, status, retry_count, last_error, \
           attempts, version, finished_at)",
    columns: 10,
    stamped: false,
};
const OPERATOR_INSERT: Insert = Insert {
    into: "operator_log (tx_id, version, at, command, reason, before, db_update_time)",
    columns: 6,
    stamped: true,
};

/// One commit, ready to be sent.
pub(super) struct Commit {
    text: String,
    values: SqliteArguments,
    statements: usize,
}

impl Commit {
    /// The commit of these writes: `tx_info` first, so that the fence speaks before anything else does.
    pub(super) fn of(batch: &[Write]) -> Result<Self, StoreError> {
        let mut draft = Draft::default();
        for write in batch {
            draft.sort(write).map_err(|what| refused(write.id, what))?;
        }
        draft.into_commit()
    }

    /// Carries it out. On an error it says where; the transaction may then still be open.
    pub(super) async fn run(self, connection: &mut SqliteConnection) -> Result<(), (Error, At)> {
        let statements = self.statements;
        let at = |done: usize| match done + 1 {
            next if next >= statements => At::Commit,
            _ => At::Statement,
        };
        let query = sqlx::query_with(AssertSqlSafe(self.text), self.values);
        let mut results = connection.fetch_many(query);
        let mut done = 0;
        while let Some(result) = results.next().await {
            match result {
                Ok(Either::Left(_)) => done += 1,
                Ok(Either::Right(_)) => {}
                Err(error) => return Err((error, at(done))),
            }
        }
        // The stream ends early, without an error, when the connection's thread does.
        match done {
            done if done == statements => Ok(()),
            done => Err((Error::WorkerCrashed, at(done))),
        }
    }
}

/// The writes of a batch by what they become, in the batch's order.
#[derive(Default)]
struct Draft<'a> {
    begins: Vec<(&'a Write, &'a tercet_core::model::TxSpec)>,
    changes: Vec<(&'a Write, u32)>,
    new_actions: Vec<(TxId, &'a ActionWrite, &'a ActionInsert)>,
    action_changes: Vec<(TxId, &'a ActionWrite, u32)>,
    commands: Vec<&'a Write>,
}

impl<'a> Draft<'a> {
    fn sort(&mut self, write: &'a Write) -> Result<(), String> {
        let expected = match &write.fence {
            Fence::Absent(spec) if spec.id == write.id => {
                self.begins.push((write, spec));
                0
            }
            Fence::Absent(spec) => return Err(format!("it begins transaction {}", spec.id)),
            Fence::Version(version) => {
                self.changes.push((write, *version));
                *version
            }
            #[allow(
                unreachable_patterns,
                reason = "a mutation of the core adds a fence that is none"
            )]
            _ => return Err("it has no fence".into()),
        };
        if expected.checked_add(1) != Some(write.head.version) {
            return Err(format!(
                "it makes version {} of version {expected}",
                write.head.version
            ));
        }
        for action in &write.actions {
            match (&action.insert, action.row.version.checked_sub(1)) {
                (Some(insert), Some(0)) => self.new_actions.push((write.id, action, insert)),
                (None, Some(before @ 1..)) => self.action_changes.push((write.id, action, before)),
                _ => {
                    return Err(format!(
                        "it makes version {} of action {}",
                        action.row.version, action.name
                    ));
                }
            }
        }
        if write.operator.is_some() {
            self.commands.push(write);
        }
        Ok(())
    }

    fn into_commit(self) -> Result<Commit, StoreError> {
        let mut text = Text::begin();
        text.insert(&TX_INSERT, self.begins.len());
        text.insert(&TX_CHANGE, self.changes.len());
        text.insert(&ACTION_INSERT, self.new_actions.len());
        text.insert(&ACTION_CHANGE, self.action_changes.len());
        text.insert(&OPERATOR_INSERT, self.commands.len());
        let (text, statements, variables) = text.commit();

        let mut values = Values::with_capacity(variables);
        for (write, spec) in &self.begins {
            values
                .begin(write, spec)
                .map_err(|what| refused(write.id, what))?;
        }
        values.pad(&TX_INSERT, self.begins.len());
        for (write, expected) in &self.changes {
            values
                .change(write, *expected)
                .map_err(|what| refused(write.id, what))?;
        }
        values.pad(&TX_CHANGE, self.changes.len());
        for (id, action, insert) in &self.new_actions {
            values
                .new_action(*id, action, insert)
                .map_err(|what| refused(*id, what))?;
        }
        values.pad(&ACTION_INSERT, self.new_actions.len());
        for (id, action, before) in &self.action_changes {
            values
                .action_change(*id, action, *before)
                .map_err(|what| refused(*id, what))?;
        }
        values.pad(&ACTION_CHANGE, self.action_changes.len());
        for write in &self.commands {
            values
                .command(write)
                .map_err(|what| refused(write.id, what))?;
        }
        values.pad(&OPERATOR_INSERT, self.commands.len());
        debug_assert_eq!(values.arguments.len(), variables);
        Ok(Commit {
            text,
            values: values.arguments,
            statements,
        })
    }
}

fn refused(id: TxId, what: String) -> StoreError {
    StoreError::new(
        ApplyFailure::Content,
        format!("preparing a write of transaction {id}"),
        what,
    )
}

/// The sizes of the statements that take this many rows.
fn statements(rows: usize) -> impl Iterator<Item = usize> {
    let rest = match rows % ROWS_AT_ONCE {
        0 => None,
        rest => Some(rest.next_power_of_two()),
    };
    std::iter::repeat_n(ROWS_AT_ONCE, rows / ROWS_AT_ONCE).chain(rest)
}

/// The text of a commit: it depends on numbers of rows alone, never on what is in them.
struct Text {
    sql: String,
    statements: usize,
    variables: usize,
}

impl Text {
    fn begin() -> Self {
        Self {
            sql: "BEGIN IMMEDIATE;".into(),
            statements: 1,
            variables: 0,
        }
    }

    fn insert(&mut self, insert: &Insert, rows: usize) {
        for rows in statements(rows) {
            self.statement(insert, rows);
        }
    }

    fn statement(&mut self, insert: &Insert, rows: usize) {
        self.sql.push_str("INSERT INTO ");
        self.sql.push_str(insert.into);
        if insert.stamped {
            self.sql.push_str(" SELECT *, ");
            self.sql.push_str(NOW);
            self.sql.push_str(" FROM (");
        }
        self.sql.push_str(" VALUES ");
        let mut row = "(?".to_owned();
        row.push_str(&",?".repeat(insert.columns - 1));
        row.push_str("),");
        self.sql.push_str(&row.repeat(rows));
        self.sql.pop();
        self.sql.push_str(if insert.stamped {
            ") WHERE column1 IS NOT NULL;"
        } else {
            ";"
        });
        self.variables += insert.columns * rows;
        self.statements += 1;
    }

    fn commit(mut self) -> (String, usize, usize) {
        self.sql.push_str("COMMIT");
        (self.sql, self.statements + 1, self.variables)
    }
}

/// The values of a commit, in the order of its text.
struct Values {
    arguments: SqliteArguments,
    /// The owner of the row before: a batch is nearly always one owner's.
    owner: Option<(Owner, Arc<str>)>,
}

impl Values {
    fn with_capacity(variables: usize) -> Self {
        let mut arguments = SqliteArguments::default();
        arguments.reserve(variables, 0);
        Self {
            arguments,
            owner: None,
        }
    }

    /// The rows that nobody needs.
    fn pad(&mut self, insert: &Insert, rows: usize) {
        let spare = statements(rows).sum::<usize>() - rows;
        for _ in 0..spare * insert.columns {
            // NULL can always be added.
            let _ = self.arguments.add(None::<i64>);
        }
    }

    fn add<'t, T: Encode<'t, Sqlite> + Type<Sqlite>>(&mut self, value: T) -> Result<(), String> {
        self.arguments.add(value).map_err(|error| error.to_string())
    }

    fn word(&mut self, word: &str) -> Result<(), String> {
        self.add(Arc::<str>::from(word))
    }

    fn time(&mut self, time: Option<Timestamp>) -> Result<(), String> {
        self.add(time.map(Timestamp::as_micros))
    }

    fn id(&mut self, id: TxId) -> Result<(), String> {
        self.add(id.as_bytes().as_slice())
    }

    fn owner(&mut self, owner: &Owner) -> Result<(), String> {
        let text = match &self.owner {
            Some((last, text)) if last == owner => Arc::clone(text),
            _ => {
                let text: Arc<str> = owner.to_string().into();
                self.owner = Some((owner.clone(), Arc::clone(&text)));
                text
            }
        };
        self.add(text)
    }

    /// `status` to `finished_at`, as both statements of `tx_info` order them.
    fn head(&mut self, head: &Head) -> Result<(), String> {
        self.word(head.phase.status().word())?;
        self.word(head.phase.biz_status().word())?;
        let cause = head.phase.decision().map(|decision| json(&decision.cause));
        self.add(cause.transpose()?)?;
        self.add(i64::from(head.check_backs))?;
        self.add(i64::from(head.version))?;
        self.owner(&head.owner)?;
        self.add(head.waiting_for.clone())?;
        self.time(head.next_attempt_at)?;
        self.time(head.phase.decided_at())?;
        self.time(head.phase.finished_at())
    }

    fn begin(&mut self, write: &Write, spec: &tercet_core::model::TxSpec) -> Result<(), String> {
        self.id(write.id)?;
        self.add(Arc::clone(&spec.business_type))?;
        self.add(Arc::clone(&spec.business_id))?;
        let key = unique_key(&spec.business_type, &spec.business_id)?;
        self.add(spec.unique_business.then_some(key))?;
        self.word(spec.driver.word())?;
        self.add(spec.check_back.as_ref().map(json).transpose()?)?;
        self.add(json(&spec.begun)?)?;
        self.add(ext_json(&spec.ext)?)?;
        self.time(Some(spec.deadline))?;
        self.time(Some(spec.create_time))?;
        self.head(&write.head)
    }

    fn change(&mut self, write: &Write, expected: u32) -> Result<(), String> {
        self.id(write.id)?;
        self.add(i64::from(expected))?;
        self.head(&write.head)
    }

    fn new_action(
        &mut self,
        id: TxId,
        action: &ActionWrite,
        insert: &ActionInsert,
    ) -> Result<(), String> {
        let spec = &insert.spec;
        self.id(id)?;
        self.add(Arc::clone(&action.name))?;
        self.add(i64::from(insert.position))?;
        self.word(spec.mode.word())?;
        self.add(Arc::clone(&spec.participant))?;
        self.add(Arc::clone(&spec.handler))?;
        self.add(&spec.payload[..])?;
        self.add(after_json(&spec.after)?)?;
        self.add(spec.wants_results)?;
        self.add(spec.already_tried)?;
        self.add(policy_json(&spec.retry)?)?;
        self.add(ext_json(&spec.ext)?)?;
        self.time(Some(insert.create_time))?;
        self.row(action)
    }

    fn action_change(&mut self, id: TxId, action: &ActionWrite, before: u32) -> Result<(), String> {
        self.id(id)?;
        self.add(Arc::clone(&action.name))?;
        self.add(i64::from(before))?;
        self.row(action)
    }

    /// `result` to `finished_at`, as both statements of `action_info` order them.
    fn row(&mut self, action: &ActionWrite) -> Result<(), String> {
        let row = &action.row;
        self.add(&row.result[..])?;
        self.word(row.status.word())?;
        self.add(i64::from(row.retry_count))?;
        self.add(row.last_error.as_str())?;
        self.add(attempts_json(&row.attempts)?)?;
        self.add(i64::from(row.version))?;
        self.time(row.finished_at)
    }

    fn command(&mut self, write: &Write) -> Result<(), String> {
        let Some(entry) = &write.operator else {
            return Ok(());
        };
        self.id(write.id)?;
        self.add(i64::from(write.head.version))?;
        self.time(Some(entry.at))?;
        self.add(entry.command.as_str())?;
        self.add(entry.reason.as_str())?;
        self.add(entry.before.as_str())
    }
}
