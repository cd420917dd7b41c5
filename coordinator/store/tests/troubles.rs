//! SQLite in trouble: files that are damaged or open elsewhere, rows edited by hand, reads that take long.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::result_large_err,
    clippy::semicolon_if_nothing_returned,
    clippy::unused_async,
    dead_code,
    missing_docs,
    unreachable_pub,
    unused_macros,
    reason = "tests"
)]

mod conformance;

use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use conformance::fixture::{begin_all, change, decided, id, success, transaction};
use rusqlite::Connection;
use tempfile::TempDir;
use tercet_core::write::{ApplyFailure, Fence, Write};
use tercet_store::{
    Durability, ListQuery, SqliteOptions, SqliteStore, Store as _, Transactions as _, Views as _,
};

/// A database that has been closed, or killed with its log.
struct File {
    directory: TempDir,
}

impl File {
    fn path(&self) -> PathBuf {
        self.directory.path().join("tercet.db")
    }

    /// Makes a database of some hundred pages and closes it.
    async fn closed() -> Self {
        let file = Self {
            directory: TempDir::new().unwrap(),
        };
        let store = open(&file.path()).await.unwrap();
        fill(&store, 0..500).await;
        store.close().await.unwrap();
        file
    }

    /// Copies database and log of a store that is open, as a kill leaves them.
    async fn killed() -> Self {
        let closed = Self::closed().await;
        let store = open(&closed.path()).await.unwrap();
        fill(&store, 500..600).await;
        let file = Self {
            directory: TempDir::new().unwrap(),
        };
        for name in ["tercet.db", "tercet.db-wal"] {
            fs::copy(
                closed.directory.path().join(name),
                file.directory.path().join(name),
            )
            .unwrap();
        }
        store.close().await.unwrap();
        file
    }
}

async fn open(path: &Path) -> Result<SqliteStore, tercet_store::StoreError> {
    let options = SqliteOptions {
        durability: Durability::Off,
        allow_data_loss: true,
        ..SqliteOptions::default()
    };
    SqliteStore::open(path, options).await
}

async fn fill(store: &SqliteStore, numbers: std::ops::Range<u64>) {
    let all: Vec<_> = numbers.map(transaction).collect();
    begin_all(store, &all).await;
}

/// Opens the database, which must be refused; returns the words.
async fn refused(path: &Path) -> String {
    let error = open(path).await.err().expect("it is damaged");
    assert_eq!(error.kind, ApplyFailure::Fatal);
    error.to_string()
}

#[tokio::test]
async fn a_database_that_is_cut_off_is_refused_with_words() {
    for file in [File::closed().await, File::killed().await] {
        open(&file.path()).await.unwrap().close().await.unwrap();
        let whole = fs::metadata(file.path()).unwrap().len();
        let cut = OpenOptions::new().write(true).open(file.path()).unwrap();
        cut.set_len(whole / 2).unwrap();
        let words = refused(&file.path()).await;
        assert!(words.contains("damaged"), "{words}");
        assert!(words.contains("tercet.db"), "{words}");
    }
}

/// The log has some pages and the file is cut off: SQLite by itself notices nothing before it meets a missing page.
#[tokio::test]
async fn a_database_that_is_cut_off_beside_its_log_is_refused() {
    let file = File::killed().await;
    let whole = fs::metadata(file.path()).unwrap().len();
    let cut = OpenOptions::new().write(true).open(file.path()).unwrap();
    cut.set_len(whole / 2).unwrap();
    let words = refused(&file.path()).await;
    assert!(words.contains("damaged"), "{words}");
}

#[tokio::test]
async fn a_database_with_a_damaged_page_is_refused() {
    let file = File::closed().await;
    let mut bytes = fs::read(file.path()).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0xA5);
    fs::write(file.path(), bytes).unwrap();
    let words = refused(&file.path()).await;
    assert!(words.contains("damaged"), "{words}");
}

#[tokio::test]
async fn a_whole_database_is_opened_with_its_log() {
    let file = File::killed().await;
    let store = open(&file.path()).await.unwrap();
    assert_eq!(store.load(&[id(599)]).await.unwrap().len(), 1);
    store.close().await.unwrap();
}

/// A second name of the file has a log of its own: what is in the first one's would be lost.
#[tokio::test]
async fn a_file_with_two_names_is_refused() {
    let file = File::closed().await;
    let second = file.directory.path().join("second.db");
    fs::hard_link(file.path(), &second).unwrap();
    for path in [file.path(), second.clone()] {
        let words = refused(&path).await;
        assert!(words.contains("hard link"), "{words}");
    }
    fs::remove_file(second).unwrap();
    open(&file.path()).await.unwrap().close().await.unwrap();
}

/// The file got a second name, or another one, while it was open: the lock is the file's, not the name's.
#[tokio::test]
async fn a_file_that_is_open_by_another_name_is_refused() {
    let file = File::closed().await;
    let store = open(&file.path()).await.unwrap();
    let second = file.directory.path().join("second.db");
    fs::rename(file.path(), &second).unwrap();
    let words = refused(&second).await;
    assert!(words.contains("another process has"), "{words}");
    // Another process sees it too.
    let other = Command::new("flock")
        .args(["--nonblock", second.to_str().unwrap(), "true"])
        .stderr(Stdio::null())
        .status();
    // Without that program nothing is shown.
    if let Ok(status) = other {
        assert!(!status.success(), "the file is locked");
    }
    fs::rename(&second, file.path()).unwrap();
    store.close().await.unwrap();
    drop(store);
    open(&file.path()).await.unwrap().close().await.unwrap();
}

/// A row edited by hand stands in the way of its own writes, and of no others.
#[tokio::test]
async fn a_row_edited_by_hand_stands_in_the_way_of_its_own_write_alone() {
    let file = File::closed().await;
    let store = open(&file.path()).await.unwrap();
    let person = Connection::open(file.path()).unwrap();
    let sql = "UPDATE tx_info SET version = -3 WHERE tx_id = ?";
    person.execute(sql, [id(1).as_bytes()]).unwrap();
    let (one, two) = (transaction(1), transaction(2));
    let batch: Vec<Write> = vec![
        change(&one, &decided(&one, success())),
        change(&two, &decided(&two, success())),
    ];
    let standing = store.standing(&batch).await.unwrap();
    let rows: Vec<_> = standing.into_iter().map(|it| it.row.unwrap()).collect();
    assert_eq!((rows[0].id, rows[0].version), (id(1), 0));
    assert_eq!((rows[1].id, rows[1].version), (id(2), 1));
    assert!(batch.iter().all(|write| write.fence == Fence::Version(1)));
    let loaded = store.load(&[id(1), id(2)]).await.unwrap();
    assert!(loaded[0].is_err() && loaded[1].is_ok());
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_command_edited_by_hand_is_a_fault_of_its_transaction() {
    let file = File::closed().await;
    let store = open(&file.path()).await.unwrap();
    let person = Connection::open(file.path()).unwrap();
    person
        .execute(
            "INSERT INTO operator_log (tx_id, version, at, command, reason, before, db_update_time) \
             VALUES (?, -1, 0, 'decide', 'because', '', 0)",
            [id(1).as_bytes()],
        )
        .unwrap();
    let view = store.view(id(1)).await.unwrap().unwrap();
    assert!(view.unwrap_err().to_string().contains("operator_log"));
    store.view(id(2)).await.unwrap().unwrap().unwrap();
    store.close().await.unwrap();
}

/// Makes lists slow that ask for a participant: for each row all actions are compared with one another.
fn slow_lists(path: &Path) {
    let person = Connection::open(path).unwrap();
    person
        .execute_batch(
            "ALTER TABLE action_info RENAME TO plain; \
             CREATE VIEW action_info AS SELECT a.tx_id, a.action_name || b.action_name || \
             c.action_name AS participant FROM plain a, plain b, plain c;",
        )
        .unwrap();
}

/// Lists that read for long are ended, with words, and nothing else waits for them.
#[tokio::test]
async fn long_lists_are_ended_and_delay_no_other_read() {
    let file = File::closed().await;
    let store = std::sync::Arc::new(open(&file.path()).await.unwrap());
    let one = transaction(1);
    let batch = [change(&one, &decided(&one, success()))];
    slow_lists(&file.path());
    let lists: Vec<_> = (0..6)
        .map(|_| {
            let store = std::sync::Arc::clone(&store);
            tokio::spawn(async move {
                let query = ListQuery {
                    participant: Some("nobody".to_owned()),
                    limit: 10,
                    ..ListQuery::default()
                };
                store.list(&query).await
            })
        })
        .collect();
    let started = Instant::now();
    store.standing(&batch).await.unwrap();
    store.find("points_for_coupon", "order-1").await.unwrap();
    assert!(
        lists.iter().all(|list| !list.is_finished()),
        "they take as long as they may"
    );
    for list in lists {
        let words = list.await.unwrap().unwrap_err().to_string();
        let expected = ["ended after 5 s", "as many reads of this kind"];
        assert!(expected.iter().any(|it| words.contains(it)), "{words}");
    }
    assert!(started.elapsed() < Duration::from_mins(1));
}
