//! Copies the write-ahead log into the database, beside the commits and not between them.

use std::{
    cell::Cell,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tokio::sync::watch;

use super::options::SqliteOptions;
use crate::sql::LIST_TIME;

/// The log is too long at this many times the pages after which it is copied: then further long reads wait until it has
/// started again, and its copy waits for the short ones.
const LOG_LIMIT: u32 = 4;

/// The longest wait of a copy for short reads, and with it of the next commit.
const READS_WAIT: Duration = Duration::from_millis(100);

thread_local! {
    /// The number of pages in the log after this thread's last commit.
    static PAGES: Cell<u32> = const { Cell::new(0) };
}

/// Makes the connection, which is this thread's, count the pages of its log instead of copying them itself.
pub(super) fn count_pages(connection: &Connection) {
    connection.wal_hook(Some(|_, pages| {
        PAGES.set(pages.try_into().unwrap_or_default());
        Ok(())
    }));
}

/// The thread that copies the log while commits go on. It cannot reach the end of the log while they do; the short
/// rest is copied between two commits, and then the log starts again from its beginning.
pub(super) struct Checkpoints {
    wanted: SyncSender<()>,
    /// Whether all but a short rest has been copied.
    nearly_done: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    /// The number of pages after which the log is copied.
    every: u32,
    /// The number of pages at which the log is to be copied next.
    due_at: u32,
    /// Whether further long reads wait.
    long_reads_wait: watch::Sender<bool>,
    /// When they no longer wait, though the log has not started again: another process may read for long.
    until: Instant,
    /// The number of pages at which the log is too long.
    limit: u32,
    busy_timeout: Duration,
}

impl Checkpoints {
    pub(super) fn start(
        path: PathBuf,
        options: SqliteOptions,
        long_reads_wait: watch::Sender<bool>,
    ) -> std::io::Result<Self> {
        let (every, busy_timeout) = (options.log_pages, options.busy_timeout);
        let (wanted, wants) = sync_channel(1);
        let nearly_done = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&nearly_done);
        let thread = thread::Builder::new()
            .name("tercet-log".into())
            .spawn(move || serve(&path, &options, &wants, &done))?;
        Ok(Self {
            wanted,
            nearly_done,
            thread,
            every,
            due_at: every,
            long_reads_wait,
            until: Instant::now(),
            limit: every.saturating_mul(LOG_LIMIT),
            busy_timeout,
        })
    }

    /// Starts a copy, or finishes one, where it is time. The thread that writes calls this between two transactions.
    pub(super) fn after_commit(&mut self, connection: &Connection) {
        let pages = PAGES.get();
        let waiting = *self.long_reads_wait.borrow();
        if pages >= self.limit && !waiting {
            self.long_reads_wait.send_replace(true);
            self.until = Instant::now() + 2 * LIST_TIME;
        }
        if self.nearly_done.swap(false, Ordering::Acquire) {
            // An error leaves the log as it is, and the next copy takes it up.
            let _ = if waiting {
                self.start_again(connection)
            } else {
                checkpoint(connection)
            };
            self.due_at = pages.saturating_add(if waiting { 1 } else { self.every });
        } else if pages >= self.due_at {
            // A thread that is still copying, or has ended, does not take this: the next one follows.
            let _ = self.wanted.try_send(());
            self.due_at = pages.saturating_add(if waiting { 1 } else { self.every });
        } else if pages < self.every {
            // The log has started again from its beginning.
            self.due_at = self.every;
        }
        if waiting {
            self.end_wait(pages);
        }
    }

    /// Lets long reads go on, once the log has started again or does not because of others.
    fn end_wait(&mut self, pages: u32) {
        if pages < self.limit {
            self.limit = self.every.saturating_mul(LOG_LIMIT);
        } else if Instant::now() >= self.until {
            let more = self.every.saturating_mul(LOG_LIMIT);
            self.limit = pages.saturating_add(more);
            self.due_at = pages.saturating_add(self.every);
        } else {
            return;
        }
        self.long_reads_wait.send_replace(false);
    }

    /// Copies the rest of the log and makes the next commit start it again: waits for the reads under way, and those that
    /// begin meanwhile need nothing of it.
    fn start_again(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.busy_timeout(READS_WAIT)?;
        let copied = connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()));
        connection.busy_timeout(self.busy_timeout)?;
        copied
    }

    /// Ends the thread.
    pub(super) fn stop(self) {
        drop(self.wanted);
        // Its panic does not matter here: the log is whole, and the next open copies it.
        let _ = self.thread.join();
    }
}

fn serve(
    path: &std::path::Path,
    options: &SqliteOptions,
    wants: &Receiver<()>,
    nearly_done: &AtomicBool,
) {
    let mut connection = None;
    while wants.recv().is_ok() {
        let open = match connection.take() {
            Some(open) => Ok(open),
            None => options.open_writer(path),
        };
        if let Ok(open) = open {
            if checkpoint(&open).is_ok() {
                nearly_done.store(true, Ordering::Release);
            }
            connection = Some(open);
        }
    }
}

/// Copies as much of the log as no reader still needs, and delays neither readers nor the writer.
fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}
