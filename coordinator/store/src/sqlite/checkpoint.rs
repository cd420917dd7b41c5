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
};

use rusqlite::Connection;

use super::options::SqliteOptions;

/// Pages of the log after which they are copied into the database: 64 MiB, and again after as many where a long read
/// kept a copy from reaching the end. Larger than SQLite's default, so that a page that is changed again and again
/// is copied once.
const LOG_PAGES: u32 = 16_000;

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
    /// The number of pages at which the log is to be copied next.
    due_at: u32,
}

impl Checkpoints {
    pub(super) fn start(path: PathBuf, options: SqliteOptions) -> std::io::Result<Self> {
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
            due_at: LOG_PAGES,
        })
    }

    /// Starts a copy, or finishes one, where it is time. The thread that writes calls this between two transactions.
    pub(super) fn after_commit(&mut self, connection: &Connection) {
        let pages = PAGES.get();
        if self.nearly_done.swap(false, Ordering::Acquire) {
            // An error leaves the log as it is, and the next copy takes it up.
            let _ = checkpoint(connection);
            self.due_at = pages.saturating_add(LOG_PAGES);
        } else if pages >= self.due_at {
            // A thread that is still copying, or has ended, does not take this: the next one follows.
            let _ = self.wanted.try_send(());
            self.due_at = pages.saturating_add(LOG_PAGES);
        } else if pages < LOG_PAGES {
            // The log has started again from its beginning.
            self.due_at = LOG_PAGES;
        }
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
