//! The floor: the speed of the disk and SQLite alone, measured in the same run and the same folder.
//!
//! The same rows as those of a two-branch TCC transaction are written through one connection with the
//! coordinator's own tables and settings, and without anything else: no network, no participants, no
//! decisions. Three commits, as in the coordinator: the begin with its actions, the decision, the
//! completion.

use std::fmt;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use serde_json::{Value, json};
use tercet_bench::figures::per_second;
use tercet_bench::process::Usage;
use uuid::Uuid;

use crate::participants::{FIRST, HANDLER, SECOND};

/// The coordinator's own tables.
const TABLES: [&str; 3] = [
    include_str!("../../../migrations/sqlite/0001_first_tables.sql"),
    include_str!("../../../migrations/sqlite/0002_who_and_paused.sql"),
    include_str!("../../../migrations/sqlite/0003_due_rows.sql"),
];
/// Transactions per commit.
const GROUPS: [usize; 2] = [1, 64];
/// The time for which each group is measured.
const LENGTH: Duration = Duration::from_secs(2);
/// Writes whose fdatasync is measured.
const SYNCS: usize = 500;
/// Bytes of such a write.
const SYNC_BYTES: usize = 4096;
/// The connection's settings, as in the coordinator; here SQLite itself copies the log after as many pages.
const SETTINGS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
    PRAGMA wal_autocheckpoint = 16000; PRAGMA cache_size = -32768; PRAGMA temp_store = MEMORY;";
/// The time in every row; it does not matter.
const AT: i64 = 1_800_000_000_000_000;

/// The measurement of one number of transactions per commit.
struct Group {
    size: usize,
    transactions: u64,
    commits: u64,
    took: Duration,
    cpu: Duration,
}

impl Group {
    /// Returns the CPU time per transaction, in microseconds.
    fn cpu_us(&self) -> f64 {
        1e6 / per_second(self.transactions, self.cpu)
    }
}

/// All measurements of the floor.
pub(crate) struct Floor {
    sync_p50: Duration,
    sync_p99: Duration,
    groups: Vec<Group>,
}

impl Floor {
    /// Measures in this folder.
    pub(crate) fn measure(folder: &Path, payload: usize) -> anyhow::Result<Self> {
        let (sync_p50, sync_p99) = syncs(folder)?;
        let mut groups = Vec::new();
        for size in GROUPS {
            let file = folder.join(format!("floor-{size}.db"));
            groups.push(group(&file, size, payload, LENGTH)?);
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

/// Measures the time until appended bytes are on the disk: median and 99th percentile.
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

fn group(file: &Path, size: usize, payload: usize, length: Duration) -> anyhow::Result<Group> {
    let connection = Connection::open(file)?;
    connection.execute_batch(SETTINGS)?;
    for tables in TABLES {
        connection.execute_batch(tables)?;
    }
    let payload = vec![b'x'; payload];
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
        let ids: Vec<Uuid> = (0..size).map(|_| Uuid::now_v7()).collect();
        commit(&connection, &ids, |id| begin(&connection, id, &payload))?;
        commit(&connection, &ids, |id| decide(&connection, id))?;
        commit(&connection, &ids, |id| complete(&connection, id))?;
        sum.commits += 3;
        sum.transactions += u64::try_from(size)?;
    }
    sum.took = started.elapsed();
    sum.cpu = Usage::of(std::process::id())?
        .cpu
        .saturating_sub(before.cpu);
    Ok(sum)
}

/// Writes each of the transactions, in one commit.
fn commit(
    connection: &Connection,
    ids: &[Uuid],
    write: impl Fn(&[u8]) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    for id in ids {
        write(id.as_bytes())?;
    }
    connection.prepare_cached("COMMIT")?.execute([])?;
    Ok(())
}

/// Inserts one row of `tx_info` and two of `action_info`.
fn begin(connection: &Connection, id: &[u8], payload: &[u8]) -> rusqlite::Result<()> {
    let begun = format!(
        r#"[{{"action":"first","participant":"{FIRST}","mode":"TCC"}},{{"action":"second","participant":"{SECOND}","mode":"TCC"}}]"#
    );
    connection
        .prepare_cached(
            "INSERT INTO tx_info (tx_id, business_type, business_id, decider, status, biz_status, \
             retry_count, participants_info, version, write_id, owner, deadline_at, create_time, \
             db_update_time) VALUES (?1, 'load', ?2, 'COORDINATOR', 'PROCESS_WAITING', 'INIT', 0, \
             ?3, 1, random(), 'floor@1', ?4, ?4, ?4)",
        )?
        .execute(params![id, Uuid::new_v4().to_string(), begun, AT])?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO action_info (tx_id, action_name, position, action_type, participant, handler, \
         payload, wants_results, already_tried, result, status, retry_count, last_error, version, \
         create_time, db_update_time) VALUES (?1, ?2, ?3, 'TCC', ?4, ?5, ?6, 0, 0, X'', 'INIT', 0, \
         '', 1, ?7, ?7)",
    )?;
    insert.execute(params![id, "first", 0, FIRST, HANDLER, payload, AT])?;
    insert.execute(params![id, "second", 1, SECOND, HANDLER, payload, AT])?;
    connection
        .prepare_cached(
            "INSERT INTO tx_due (kind, name, business_type, at, tx_id) \
             VALUES ('HAND', 'floor@1', '', 0, ?1)",
        )?
        .execute(params![id])?;
    Ok(())
}

fn decide(connection: &Connection, id: &[u8]) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE tx_info SET status = 'PROCESSING', biz_status = 'SUCCESS', \
             decision_cause = '{\"kind\":\"ALL_TRIED\"}', decided_at = ?2, version = 2, \
             write_id = random() \
             WHERE tx_id = ?1 AND version = 1",
        )?
        .execute(params![id, AT])?;
    Ok(())
}

fn complete(connection: &Connection, id: &[u8]) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE tx_info SET status = 'SUCCESS', finished_at = ?2, version = 3, \
             write_id = random() WHERE tx_id = ?1 AND version = 2",
        )?
        .execute(params![id, AT])?;
    let mut update = connection.prepare_cached(
        "UPDATE action_info SET status = 'CONFIRMED', finished_at = ?3, version = 2 \
         WHERE tx_id = ?1 AND action_name = ?2 AND version = 1",
    )?;
    update.execute(params![id, "first", AT])?;
    update.execute(params![id, "second", AT])?;
    connection
        .prepare_cached(
            "DELETE FROM tx_due WHERE kind = 'HAND' AND name = 'floor@1' AND business_type = '' \
             AND at = 0 AND tx_id = ?1",
        )?
        .execute(params![id])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_a_transaction_leaves_in_the_coordinators_tables() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("floor.db");
        let group = group(&file, 3, 8, Duration::from_millis(1)).unwrap();
        assert_eq!(
            (group.transactions % 3, group.commits),
            (0, group.transactions)
        );

        let connection = Connection::open(&file).unwrap();
        let counts: (i64, i64) = connection
            .query_row(
                "SELECT (SELECT count(*) FROM tx_info WHERE status = 'SUCCESS' AND version = 3),
                        (SELECT count(*) FROM action_info WHERE status = 'CONFIRMED' AND version = 2)",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .unwrap();
        let transactions = i64::try_from(group.transactions).unwrap();
        assert_eq!(counts, (transactions, 2 * transactions));
    }
}
