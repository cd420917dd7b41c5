//! The one connection that writes, on a thread of its own.

use std::{io, path::PathBuf, thread};

use rusqlite::{Connection, Params, types::FromSql};
use tercet_core::write::ApplyFailure;
use tokio::sync::{mpsc, oneshot};

use super::{
    checkpoint::Checkpoints,
    failure::{self, At},
    lock::ProcessLock,
    options::SqliteOptions,
};
use crate::StoreError;

/// Jobs that wait for the thread; whoever has more waits with them.
const QUEUE: usize = 16;

type Job = Box<dyn FnOnce(&mut Held) + Send>;

/// The one connection that writes, on a thread of its own: a commit is one message there and one back. A
/// job that was handed over is carried out, whether or not anybody still waits for it.
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
    ended: oneshot::Receiver<rusqlite::Result<()>>,
}

impl Writer {
    /// Opens the database at `path`, which exists, and keeps `lock` until it is closed again.
    pub(super) async fn open(
        path: PathBuf,
        options: SqliteOptions,
        lock: ProcessLock,
    ) -> Result<Self, StoreError> {
        let doing = format!("opening {}", path.display());
        let failed =
            |error: io::Error| StoreError::new(ApplyFailure::Fatal, &doing, error.to_string());
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (end, ended) = oneshot::channel();
        let writer = Self { jobs, ended };
        let held = Held {
            connection: None,
            checkpoints: Checkpoints::start(path.clone(), options.clone()).map_err(failed)?,
            path,
            options,
            _lock: lock,
        };
        thread::Builder::new()
            .name("tercet-sqlite".into())
            .spawn(move || {
                let _ = end.send(held.serve(queue));
            })
            .map_err(failed)?;
        writer.run(&doing, |_| Ok(())).await?;
        Ok(writer)
    }

    /// Runs a job on the connection; its transaction, if it leaves one open, is rolled back.
    ///
    /// When the call is dropped, the job may run all the same.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        doing: &str,
        job: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let lost = |kind| StoreError::new(kind, doing, "the thread that writes has ended");
        let (reply, result) = oneshot::channel();
        let job = Box::new(move |held: &mut Held| {
            // Whoever does not wait any more does not want to know.
            let _ = reply.send(held.run(job));
        });
        let handed_over = self.jobs.send(job).await;
        handed_over.map_err(|_| lost(ApplyFailure::Fatal))?;
        result.await.map_err(|_| lost(ApplyFailure::Unknown))?
    }

    /// Runs a statement that is a transaction of its own; it is told the database's clock.
    pub(super) async fn statement<T: Send + 'static>(
        &self,
        doing: &str,
        statement: impl FnOnce(&Connection, i64) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let what = doing.to_owned();
        self.run(doing, move |connection| {
            let done = clock(connection).and_then(|now| statement(connection, now));
            done.map_err(|error| failed(&what, &error))
        })
        .await
    }

    /// Closes the connection once the jobs before have ended; the last one of a database moves its log
    /// into it.
    pub(super) async fn close(self) -> Result<(), StoreError> {
        drop(self.jobs);
        let what = match self.ended.await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the thread that writes has ended badly".into(),
        };
        Err(StoreError::new(
            ApplyFailure::Unknown,
            "closing the database",
            what,
        ))
    }
}

/// What the thread owns.
struct Held {
    /// Known to be outside of any transaction. After an error that leaves doubt there is none, and the next
    /// job opens a new one.
    connection: Option<Connection>,
    checkpoints: Checkpoints,
    path: PathBuf,
    options: SqliteOptions,
    /// Let go of after the connection.
    _lock: ProcessLock,
}

impl Held {
    fn serve(mut self, mut jobs: mpsc::Receiver<Job>) -> rusqlite::Result<()> {
        while let Some(job) = jobs.blocking_recv() {
            job(&mut self);
            if let Some(connection) = &self.connection {
                self.checkpoints.after_commit(connection);
            }
        }
        self.checkpoints.stop();
        match self.connection.take() {
            Some(connection) => connection.close().map_err(|(_, error)| error),
            None => Ok(()),
        }
    }

    fn run<T>(
        &mut self,
        job: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.open()?,
        };
        let result = job(&connection);
        let kind = result.as_ref().err().map(|error| error.kind);
        if is_sound(kind) && is_rolled_back(&connection) {
            self.connection = Some(connection);
        }
        result
    }

    fn open(&self) -> Result<Connection, StoreError> {
        let opened = self.options.open_writer(&self.path);
        opened.map_err(|error| failed(&format!("opening {}", self.path.display()), &error))
    }
}

/// Whether the connection itself is no cause of the error.
fn is_sound(error: Option<ApplyFailure>) -> bool {
    match error {
        None | Some(ApplyFailure::Moved | ApplyFailure::Content | ApplyFailure::NotApplied) => true,
        Some(ApplyFailure::Unknown | ApplyFailure::Fatal) => false,
    }
}

/// Whether no transaction is open any more.
fn is_rolled_back(connection: &Connection) -> bool {
    connection.is_autocommit() || connection.execute_batch("ROLLBACK").is_ok()
}

/// The database's clock.
pub(super) fn clock(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000";
    connection
        .prepare_cached(sql)?
        .query_row([], |row| row.get(0))
}

/// Runs a statement that is a transaction of its own, and gives the cell that it returns, if it does.
pub(super) fn only_cell<T: FromSql>(
    connection: &Connection,
    sql: &str,
    values: impl Params,
) -> rusqlite::Result<Option<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(values)?;
    let mut cell = None;
    // To the end: only there the statement commits.
    while let Some(row) = rows.next()? {
        cell = Some(row.get(0)?);
    }
    Ok(cell)
}

/// An error somewhere in a job; where is not known.
fn failed(doing: &str, error: &rusqlite::Error) -> StoreError {
    StoreError::new(failure::of(error, At::Commit), doing, error.to_string())
}
