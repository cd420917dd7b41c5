//! The one connection that writes, on a thread of its own.

use std::{io, path::PathBuf, thread};

use rusqlite::Connection;
use tercet_core::write::ApplyFailure;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    checkpoint::Checkpoints,
    codes::{self, At},
    lock::ProcessLock,
    options::SqliteOptions,
};
use crate::StoreError;

/// Jobs that wait for the thread. The callers of more wait until there is room.
const QUEUE: usize = 16;

/// A message to the thread.
enum Message {
    /// A job for the connection.
    Job(Box<dyn FnOnce(&mut WriterThread) + Send>),
    /// The end: no more jobs are taken, and those that wait are carried out.
    Close,
}

/// The way to the thread that writes: a commit is one message there and one back. A job that was handed over is
/// carried out, even if its caller no longer waits.
pub(super) struct Writer {
    messages: mpsc::Sender<Message>,
    /// The result of closing the connection, once the thread has ended.
    ended: watch::Receiver<Option<Result<(), String>>>,
}

impl Writer {
    /// Opens the database at `path`, which exists, and keeps `lock` until it is closed again.
    pub(super) async fn open(
        path: PathBuf,
        options: SqliteOptions,
        lock: ProcessLock,
        log_waits: watch::Sender<bool>,
    ) -> Result<Self, StoreError> {
        let doing = format!("opening {}", path.display());
        let failed = |error: io::Error| StoreError::fatal(&doing, error);
        let (messages, queue) = mpsc::channel(QUEUE);
        let (end, ended) = watch::channel(None);
        let writer = Self { messages, ended };
        let thread = WriterThread {
            connection: None,
            checkpoints: Checkpoints::start(path.clone(), options.clone(), log_waits)
                .map_err(failed)?,
            path,
            options,
            _lock: lock,
        };
        thread::Builder::new()
            .name("tercet-sqlite".into())
            .spawn(move || {
                let closed = thread.serve(queue).map_err(|error| error.to_string());
                end.send_replace(Some(closed));
            })
            .map_err(failed)?;
        writer.run(&doing, |_| Ok(())).await?;
        Ok(writer)
    }

    /// Runs a job on the connection; its transaction, if it leaves one open, is rolled back.
    ///
    /// When the call is dropped, the job may still run.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        doing: &str,
        job: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let lost = |kind| StoreError::new(kind, doing, "the thread that writes has ended");
        let (reply, result) = oneshot::channel();
        let job = Box::new(move |thread: &mut WriterThread| {
            // A caller that was dropped takes no result.
            let _ = reply.send(thread.run(job));
        });
        let handed_over = self.messages.send(Message::Job(job)).await;
        handed_over.map_err(|_| lost(ApplyFailure::Fatal))?;
        result.await.map_err(|_| lost(ApplyFailure::Unknown))?
    }

    /// Closes the connection once the jobs before have ended. The last connection of a database copies the log into
    /// it.
    pub(super) async fn close(&self) -> Result<(), StoreError> {
        // An error means that it is closing already, or has ended.
        let _ = self.messages.send(Message::Close).await;
        let mut ended = self.ended.clone();
        let ended = ended.wait_for(Option::is_some).await;
        let what = match ended.as_deref() {
            Ok(Some(Err(error))) => error.clone(),
            Ok(_) => return Ok(()),
            Err(_) => "the thread that writes has ended badly".into(),
        };
        Err(StoreError::new(
            ApplyFailure::Unknown,
            "closing the database",
            what,
        ))
    }
}

/// The state of the thread that writes.
struct WriterThread {
    /// The connection, known to be outside of any transaction. `None` after an error that leaves a doubt of that: the
    /// next job opens a new one.
    connection: Option<Connection>,
    checkpoints: Checkpoints,
    path: PathBuf,
    options: SqliteOptions,
    /// Released after the connection is closed.
    _lock: ProcessLock,
}

impl WriterThread {
    fn serve(mut self, mut messages: mpsc::Receiver<Message>) -> rusqlite::Result<()> {
        while let Some(message) = messages.blocking_recv() {
            match message {
                Message::Job(job) => job(&mut self),
                Message::Close => messages.close(),
            }
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
        opened.map_err(|error| {
            let doing = format!("opening {}", self.path.display());
            StoreError::new(codes::of(&error, At::Statement), doing, error)
        })
    }
}

/// Returns whether the error, if any, leaves the connection usable.
fn is_sound(error: Option<ApplyFailure>) -> bool {
    match error {
        None | Some(ApplyFailure::Moved | ApplyFailure::Content | ApplyFailure::NotApplied) => true,
        Some(ApplyFailure::Unknown | ApplyFailure::Fatal) => false,
    }
}

/// Returns whether no transaction is open, rolling back one that is.
fn is_rolled_back(connection: &Connection) -> bool {
    connection.is_autocommit() || connection.execute_batch("ROLLBACK").is_ok()
}
