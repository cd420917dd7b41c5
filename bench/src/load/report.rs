//! The report, for people and for scripts.

use std::fmt;
use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};
use tercet_bench::figures::{cpus, lossy, mib, per_second};

use crate::floor::Floor;
use crate::initiators::{Run, Tally};

/// The CPU time of each process.
pub(crate) struct Processes {
    pub(crate) coordinator: Duration,
    pub(crate) participants: Duration,
    pub(crate) initiators: Duration,
}

impl Processes {
    /// Returns the CPU time used since `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            coordinator: self.coordinator.saturating_sub(before.coordinator),
            participants: self.participants.saturating_sub(before.participants),
            initiators: self.initiators.saturating_sub(before.initiators),
        }
    }
}

/// The measurements with one number of concurrent initiators.
pub(crate) struct Level {
    pub(crate) concurrency: usize,
    pub(crate) run: Run,
    pub(crate) cpu: Processes,
}

impl Level {
    fn per_second(&self) -> f64 {
        per_second(self.run.committed, self.run.took)
    }

    fn latency_ms(&self, percentile: f64) -> f64 {
        Duration::from_micros(self.run.latency.value_at_percentile(percentile)).as_secs_f64() * 1e3
    }

    /// Returns CPU time per transaction, in microseconds.
    fn cpu_us(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() * 1e6 / lossy(self.run.committed.max(1))
    }
}

/// All measurements.
pub(crate) struct Report {
    pub(crate) seconds: u64,
    pub(crate) payload_bytes: usize,
    pub(crate) file_system: String,
    pub(crate) floor: Option<Floor>,
    pub(crate) levels: Vec<Level>,
    pub(crate) tally: Tally,
    pub(crate) calls: String,
    pub(crate) idle_kib: u64,
    pub(crate) loaded_kib: u64,
}

impl Report {
    /// Checks that everything that was answered as committed is committed.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.tally.all_committed(),
            "{} transactions were answered as committed, but the coordinator lists {:?} and of a \
             sample of {} only {} have both actions CONFIRMED",
            self.tally.begun,
            self.tally.by_status,
            self.tally.sample.1,
            self.tally.sample.0,
        );
        Ok(())
    }

    pub(crate) fn json(&self) -> Value {
        let levels: Vec<Value> = self
            .levels
            .iter()
            .map(|level| {
                json!({
                    "initiators": level.concurrency,
                    "committed": level.run.committed,
                    "seconds": level.run.took.as_secs_f64(),
                    "per_second": level.per_second(),
                    "p50_ms": level.latency_ms(50.0),
                    "p99_ms": level.latency_ms(99.0),
                    "max_ms": level.latency_ms(100.0),
                    "cpu_us_per_transaction": {
                        "coordinator": level.cpu_us(level.cpu.coordinator),
                        "participants": level.cpu_us(level.cpu.participants),
                        "initiators": level.cpu_us(level.cpu.initiators),
                    },
                })
            })
            .collect();
        json!({
            "payload_bytes": self.payload_bytes,
            "file_system": self.file_system,
            "cpus": cpus(),
            "floor": self.floor.as_ref().map(Floor::json),
            "levels": levels,
            "coordinator_rss_kib": { "idle": self.idle_kib, "loaded": self.loaded_kib },
            "listed": self.tally.by_status,
            "begun": self.tally.begun,
            "all_committed": self.tally.all_committed(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Two-branch TCC transactions through Execute, answered when the decision is durable; no-op\n\
             participants; SQLite in WAL mode with synchronous=FULL on {}. Coordinator, participants\n\
             and initiators are three processes on one machine with {} CPUs; {} s per level after a\n\
             warm-up; payload {} bytes per action; random business ids.\n",
            self.file_system,
            cpus(),
            self.seconds,
            self.payload_bytes,
        )?;
        writeln!(
            f,
            "{:>10} {:>12} {:>9} {:>9} {:>9}   CPU us per transaction",
            "", "", "", "", ""
        )?;
        writeln!(
            f,
            "{:>10} {:>12} {:>9} {:>9} {:>9}   {:>11} {:>12} {:>10}",
            "initiators",
            "committed/s",
            "p50 ms",
            "p99 ms",
            "max ms",
            "coordinator",
            "participants",
            "initiators",
        )?;
        for level in &self.levels {
            writeln!(
                f,
                "{:>10} {:>12.0} {:>9.2} {:>9.2} {:>9.2}   {:>11.1} {:>12.1} {:>10.1}",
                level.concurrency,
                level.per_second(),
                level.latency_ms(50.0),
                level.latency_ms(99.0),
                level.latency_ms(100.0),
                level.cpu_us(level.cpu.coordinator),
                level.cpu_us(level.cpu.participants),
                level.cpu_us(level.cpu.initiators),
            )?;
        }
        if let Some(floor) = &self.floor {
            write!(f, "\n{floor}")?;
        }
        writeln!(
            f,
            "\ncoordinator's memory (VmRSS): {:.1} MiB idle, {:.1} MiB after the load",
            mib(self.idle_kib),
            mib(self.loaded_kib),
        )?;
        writeln!(
            f,
            "afterwards List shows {:?} of {} begun; both actions CONFIRMED in {} of {} looked at",
            self.tally.by_status, self.tally.begun, self.tally.sample.0, self.tally.sample.1,
        )?;
        writeln!(f, "calls that the participants counted: {}", self.calls)
    }
}
