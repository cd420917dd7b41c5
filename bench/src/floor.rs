//! The floor: what the disk and SQLite alone allow, measured in the same run and the same folder.
//!
//! The same rows as those of a two-branch TCC transaction are written through one connection with the
//! coordinator's own tables and settings, and without anything else: no network, no participants, no
//! decisions. Three commits, as in the coordinator: the begin with its actions, the decision, the
//! completion.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use uuid::Uuid;

use crate::participants::{FIRST, HANDLER, SECOND};
use crate::process::Usage;
use crate::report::per_second;

/// The coordinator's own tables.
const TABLES: &str = include_str!("../../migrations/sqlite/0001_first_tables.sql");
/// Transactions of one commit.
const GROUPS: [usize; 2] = [1, 64];
/// How long each group is measured.
const LENGTH: Duration = Duration::from_secs(2);
/// Writes whose fdatasync is measured.
const SYNCS: usize = 500;
/// Bytes of such a write.
const SYNC_BYTES: usize = 4096;
/// Pages of the write-ahead log before it is copied into the database, as in the coordinator.
const WAL_PAGES: &str = "16000";
/// Page cache of the connection, in KiB (negative, as SQLite wants it), as in the coordinator.
const CACHE_KIB: &str = "-32768";
/// Any time will do.
const AT: u64 = 1_800_000_000_000_000;

/// One number of transactions a commit.
struct Group {
    size: usize,
    transactions: u64,
    commits: u64,
    took: Duration,
    cpu: Duration,
}

impl Group {
    /// CPU time a transaction, in microseconds.
    fn cpu_us(&self) -> f64 {
        1e6 / per_second(self.transactions, self.cpu)
    }
}

/// What was measured.
pub(crate) struct Floor {
    sync_p50: Duration,
    sync_p99: Duration,
    groups: Vec<Group>,
}

impl Floor {
    /// Measures in this folder.
    pub(crate) async fn measure(folder: &Path, payload: usize) -> anyhow::Result<Self> {
        let (sync_p50, sync_p99) = syncs(folder)?;
        let mut groups = Vec::new();
        for size in GROUPS {
            let file = folder.join(format!("floor-{size}.db"));
            groups.push(group(&file, size, payload, LENGTH).await?);
        }
        Ok(Self {
            sync_p50,
            sync_p99,
            groups,
        })
    }

    pub(crate) fn json(&self) -> Value {
        let groups: Vec<Value> = self
            .groups
            .iter()
            .map(|group| {
                json!({
                    "transactions_per_commit": group.size,
                    "transactions_per_second": per_second(group.transactions, group.took),
                    "commits_per_second": per_second(group.commits, group.took),
                    "cpu_us_per_transaction": group.cpu_us(),
                })
            })
            .collect();
        json!({
            "fdatasync_us": { "p50": micros(self.sync_p50), "p99": micros(self.sync_p99) },
            "sqlite": groups,
        })
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

impl fmt::Display for Floor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Floor: fdatasync of a {SYNC_BYTES}-byte append takes {:.0} us (p50), {:.0} us (p99). The same\n\
             rows written by one SQLite connection and nothing else, in three commits a group (begin,\n\
             decision, completion):",
            micros(self.sync_p50),
            micros(self.sync_p99),
        )?;
        for group in &self.groups {
            writeln!(
                f,
                "{:>10} {:>12.0} transactions/s in {:.0} commits/s, {:.1} CPU us per transaction",
                format!("group {}", group.size),
                per_second(group.transactions, group.took),
                per_second(group.commits, group.took),
                group.cpu_us(),
            )?;
        }
        Ok(())
    }
}

/// How long it takes until appended bytes are on the disk: median and 99th percentile.
fn syncs(folder: &Path) -> anyhow::Result<(Duration, Duration)> {
    let mut file = std::fs::File::create(folder.join("floor.sync"))?;
    let bytes = [b'x'; SYNC_BYTES];
    let mut took = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&bytes)?;
        let started = Instant::now();
        file.sync_data()?;
        took.push(started.elapsed());
    }
    took.sort_unstable();
    Ok((took[SYNCS / 2], took[SYNCS * 99 / 100]))
}

async fn group(
    file: &Path,
    size: usize,
    payload: usize,
    length: Duration,
) -> anyhow::Result<Group> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", WAL_PAGES)
        .pragma("cache_size", CACHE_KIB);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    connection.execute(TABLES).await?;
    let payload = "78".repeat(payload);
    let mut sum = Group {
        size,
        transactions: 0,
        commits: 0,
        took: Duration::ZERO,
        cpu: Duration::ZERO,
    };
    let before = Usage::of(std::process::id())?;
    let started = Instant::now();
    while started.elapsed() < length {
        let ids: Vec<String> = (0..size)
            .map(|_| Uuid::now_v7().simple().to_string())
            .collect();
        for text in [begin(&ids, &payload)?, decision(&ids), completion(&ids)] {
            connection
                .execute(AssertSqlSafe(text))
                .await
                .context("the floor's own statement")?;
            sum.commits += 1;
        }
        sum.transactions += u64::try_from(size)?;
    }
    sum.took = started.elapsed();
    sum.cpu = Usage::of(std::process::id())?
        .cpu
        .saturating_sub(before.cpu);
    connection.close().await?;
    Ok(sum)
}

/// One row of `tx_info` and two of `action_info` each.
fn begin(ids: &[String], payload: &str) -> anyhow::Result<String> {
    let begun = format!(
        r#"[{{"action":"first","participant":"{FIRST}","mode":"TCC"}},{{"action":"second","participant":"{SECOND}","mode":"TCC"}}]"#
    );
    let mut transactions = String::new();
    let mut actions = String::new();
    for id in ids {
        let comma = if transactions.is_empty() { "" } else { "," };
        let business_id = Uuid::new_v4();
        write!(
            transactions,
            "{comma}(X'{id}','load','{business_id}','COORDINATOR','PROCESS_WAITING','INIT',0,'{begun}',\
             1,'floor@1',{AT},{AT},{AT},{AT})"
        )?;
        write!(
            actions,
            "{comma}(X'{id}','first',0,'TCC','{FIRST}','{HANDLER}',X'{payload}',0,0,X'','INIT',0,'',1,\
             {AT},{AT}),\
             (X'{id}','second',1,'TCC','{SECOND}','{HANDLER}',X'{payload}',0,0,X'','INIT',0,'',1,{AT},{AT})"
        )?;
    }
    Ok(format!(
        "BEGIN IMMEDIATE; INSERT INTO tx_info (tx_id, business_type, business_id, driver, status, \
         biz_status, retry_count, participants_info, version, owner, next_attempt_at, deadline_at, \
         create_time, db_update_time) VALUES {transactions}; \
         INSERT INTO action_info (tx_id, action_name, position, action_type, participant, handler, \
         payload, wants_results, already_tried, result, status, retry_count, last_error, version, \
         create_time, db_update_time) VALUES {actions}; COMMIT"
    ))
}

fn decision(ids: &[String]) -> String {
    format!(
        "BEGIN IMMEDIATE; UPDATE tx_info SET status = 'PROCESSING', biz_status = 'SUCCESS', \
         decision_cause = '{{\"kind\":\"ALL_TRIED\"}}', decided_at = {AT}, version = 2 \
         WHERE tx_id IN ({}) AND version = 1; COMMIT",
        literals(ids)
    )
}

fn completion(ids: &[String]) -> String {
    let literals = literals(ids);
    format!(
        "BEGIN IMMEDIATE; UPDATE tx_info SET status = 'SUCCESS', finished_at = {AT}, \
         next_attempt_at = NULL, version = 3 WHERE tx_id IN ({literals}) AND version = 2; \
         UPDATE action_info SET status = 'CONFIRMED', finished_at = {AT}, version = 2 \
         WHERE tx_id IN ({literals}) AND version = 1; COMMIT"
    )
}

fn literals(ids: &[String]) -> String {
    ids.iter()
        .map(|id| format!("X'{id}'"))
        .collect::<Vec<_>>()
        .join(",")
}

/// The kind of file system that a folder is on, from /proc/mounts.
pub(crate) fn file_system(folder: &Path) -> String {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let longest = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .filter(|(point, _)| folder.starts_with(point))
        .max_by_key(|(point, _)| point.len());
    longest.map_or_else(
        || "an unknown file system".to_owned(),
        |(_, kind)| kind.to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, Row as _};

    use super::*;

    #[tokio::test]
    async fn writes_what_a_transaction_leaves_in_the_coordinators_tables() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("floor.db");
        let group = group(&file, 3, 8, Duration::from_millis(1)).await.unwrap();
        assert_eq!(
            (group.transactions % 3, group.commits),
            (0, group.transactions)
        );

        let options = SqliteConnectOptions::new().filename(&file);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        let row = sqlx::query(
            "SELECT (SELECT count(*) FROM tx_info WHERE status = 'SUCCESS' AND version = 3),
                    (SELECT count(*) FROM action_info WHERE status = 'CONFIRMED' AND version = 2)",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        let transactions = i64::try_from(group.transactions).unwrap();
        assert_eq!(
            (row.get::<i64, _>(0), row.get::<i64, _>(1)),
            (transactions, 2 * transactions)
        );
    }
}
