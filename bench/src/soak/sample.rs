//! Looks at the coordinator once a second: memory, CPU, threads, files, the database, what waits.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tercet_bench::figures::{lossy, mib};
use tercet_bench::process::{Usage, open_files};
use tercet_proto::v1;
use tercet_proto::v1::coordinator_client::CoordinatorClient;
use tercet_proto::v1::participants_client::ParticipantsClient;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tonic::transport::{Channel, Endpoint};

use crate::ledger::lock;
use crate::stage::Stage;

/// The interval between two samples.
const EVERY: Duration = Duration::from_secs(1);
/// The samples between two lines on standard output, and between two looks for parked transactions.
const LINE_EVERY: usize = 10;
/// The time that the coordinator may take to say what waits.
const ASK_TIMEOUT: Duration = Duration::from_millis(500);

/// One look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// The time since the start.
    pub(crate) at: Duration,
    /// The figures of the coordinator's process; absent while it is away.
    pub(crate) process: Option<Process>,
    /// Bytes of the database, its log included.
    pub(crate) database_bytes: u64,
    /// Bytes of the database's log.
    pub(crate) log_bytes: u64,
    /// Actions of sick participants that are begun and not done.
    pub(crate) backlog: u64,
    /// Calls that the coordinator says are under way, and that wait in its memory; absent when it does not say.
    pub(crate) calls: Option<(u32, u32)>,
}

impl Sample {
    pub(crate) fn json(&self) -> Value {
        json!({
            "at": self.at.as_secs_f64(),
            "resident_kib": self.process.map(|one| one.resident_kib),
            "peak_kib": self.process.map(|one| one.peak_kib),
            "cpu_percent": self.process.map(|one| one.cpu_percent),
            "threads": self.process.map(|one| one.threads),
            "files": self.process.map(|one| one.files),
            "database_bytes": self.database_bytes,
            "log_bytes": self.log_bytes,
            "stuck": self.backlog,
            "calls_open": self.calls.map(|calls| calls.0),
            "calls_waiting": self.calls.map(|calls| calls.1),
        })
    }
}

/// The figures that /proc has of a process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Process {
    pub(crate) resident_kib: u64,
    pub(crate) peak_kib: u64,
    /// Of one CPU, since the last look.
    pub(crate) cpu_percent: f64,
    pub(crate) threads: u64,
    pub(crate) files: usize,
}

/// Everything that was seen.
#[derive(Default)]
pub(crate) struct Samples {
    samples: Mutex<Vec<Sample>>,
    parked: Mutex<usize>,
}

impl Samples {
    pub(crate) fn all(&self) -> Vec<Sample> {
        lock(&self.samples).clone()
    }

    /// Returns the most parked transactions that were seen.
    pub(crate) fn parked(&self) -> usize {
        *lock(&self.parked)
    }
}

/// The one who looks.
pub(crate) struct Sampler {
    pub(crate) stage: Arc<Stage>,
    pub(crate) samples: Arc<Samples>,
    pub(crate) pid: Arc<AtomicU32>,
    pub(crate) database: PathBuf,
}

impl Sampler {
    /// Looks until it is dropped.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let channel = Endpoint::from_shared(self.stage.address.clone())?.connect_lazy();
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut before: Option<(u32, Duration, Instant)> = None;
        for number in 0.. {
            ticks.tick().await;
            let pid = self.pid.load(Ordering::Relaxed);
            let process = look(pid, &mut before);
            let sample = Sample {
                at: self.stage.clock.now(),
                process,
                log_bytes: self.bytes("-wal"),
                database_bytes: self.bytes("") + self.bytes("-wal"),
                backlog: self.stage.backlog(),
                calls: timeout(ASK_TIMEOUT, calls(&channel)).await.ok().flatten(),
            };
            if number % LINE_EVERY == LINE_EVERY - 1 {
                self.look_for_parked(&channel).await;
                self.line(&sample)?;
            }
            lock(&self.samples.samples).push(sample);
        }
        Ok(())
    }

    fn bytes(&self, suffix: &str) -> u64 {
        let mut path = self.database.clone().into_os_string();
        path.push(suffix);
        std::fs::metadata(path).map_or(0, |metadata| metadata.len())
    }

    async fn look_for_parked(&self, channel: &Channel) {
        let request = v1::ListRequest {
            statuses: vec![v1::TxStatus::Failure.into()],
            page_size: 500,
            ..v1::ListRequest::default()
        };
        let mut client = CoordinatorClient::new(channel.clone());
        if let Ok(Ok(reply)) = timeout(ASK_TIMEOUT, client.list(request)).await {
            let mut most = lock(&self.samples.parked);
            *most = (*most).max(reply.into_inner().transactions.len());
        }
    }

    fn line(&self, sample: &Sample) -> anyhow::Result<()> {
        let healthy = self.stage.latency.lately(sample.at)?;
        let process = sample.process.unwrap_or_default();
        // Without an answer in time it is not known.
        let calls = sample.calls.map_or_else(
            || "?".to_owned(),
            |(open, waiting)| format!("{open} open, {waiting} waiting"),
        );
        println!(
            "{:>6} s  {:<8} healthy p50 {:.1} p99 {:.1} max {:.0} ms | memory {:.0} MiB, CPU {:.0} %, \
             {} threads, {} files | database {:.0} MiB, log {:.0} MiB | stuck {}, calls {calls} | \
             errors {}",
            sample.at.as_secs(),
            self.stage.clock.phase().word(),
            healthy.p50_ms,
            healthy.p99_ms,
            healthy.max_ms,
            mib(process.resident_kib),
            process.cpu_percent,
            process.threads,
            process.files,
            mib(sample.database_bytes / 1024),
            mib(sample.log_bytes / 1024),
            sample.backlog,
            self.stage.book.errors().values().sum::<u64>(),
        );
        Ok(())
    }
}

/// Reads /proc; CPU time counts from the last look at the same process.
fn look(pid: u32, before: &mut Option<(u32, Duration, Instant)>) -> Option<Process> {
    let now = Instant::now();
    let usage = Usage::of(pid).ok()?;
    let last = before.replace((pid, usage.cpu, now));
    let cpu_percent = match last {
        Some((same, cpu, at)) if same == pid => {
            let used = usage.cpu.saturating_sub(cpu).as_secs_f64();
            100.0 * used / (now - at).as_secs_f64().max(f64::EPSILON)
        }
        _ => 0.0,
    };
    Some(Process {
        resident_kib: usage.resident_kib,
        peak_kib: usage.peak_kib,
        cpu_percent,
        threads: usage.threads,
        files: open_files(pid).unwrap_or(0),
    })
}

/// Asks how many calls are under way and wait in memory, of all participants together.
async fn calls(channel: &Channel) -> Option<(u32, u32)> {
    let mut client = ParticipantsClient::new(channel.clone());
    let mut request = v1::ListParticipantsRequest::default();
    let (mut open, mut waiting) = (0, 0);
    loop {
        let page = client.list(request.clone()).await.ok()?.into_inner();
        for participant in page.participants {
            open += participant.calls_open;
            waiting += participant.calls_waiting;
        }
        if page.next_cursor.is_empty() {
            return Some((open, waiting));
        }
        request.cursor = page.next_cursor;
    }
}

/// The extremes of the coordinator's memory and more, over all samples.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extremes {
    pub(crate) peak_kib: u64,
    pub(crate) threads: u64,
    pub(crate) files: usize,
    pub(crate) database_bytes: u64,
    pub(crate) log_bytes: u64,
    pub(crate) cpu_percent: f64,
}

impl Extremes {
    pub(crate) fn of(samples: &[Sample]) -> Self {
        let mut most = Self::default();
        let (mut cpu, mut looks) = (0.0, 0_u64);
        for sample in samples {
            most.database_bytes = most.database_bytes.max(sample.database_bytes);
            most.log_bytes = most.log_bytes.max(sample.log_bytes);
            if let Some(process) = sample.process {
                most.peak_kib = most.peak_kib.max(process.peak_kib);
                most.threads = most.threads.max(process.threads);
                most.files = most.files.max(process.files);
                cpu += process.cpu_percent;
                looks += 1;
            }
        }
        most.cpu_percent = cpu / lossy(looks.max(1));
        most
    }
}
