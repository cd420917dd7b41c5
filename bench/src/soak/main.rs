//! `cargo soak`: hours in the life of a coordinator, in minutes.
//!
//! `tercet serve` runs as a process of its own, with every setting at its default. This process plays all the others:
//! initiators and participants that are well, participants that hang, refuse and do not read, clients that do not read.
//! The coordinator is killed, ended and stopped; near the end the sick are healed and what was stuck must drain; then
//! every book must agree. `bench/README.md` explains the figures.
//!
//! | module | holds |
//! |---|---|
//! | `options`, `phases`, `names` | the options and times of a run; its phases; the participants |
//! | `stage` | the state that all tasks share |
//! | `coordinator`, `outages`, `trouble` | the process; when it was away; the choice of its troubles |
//! | `traffic`, `backlog` | the healthy transactions; the stuck ones |
//! | `participants`, `sick`, `stream`, `trickle`, `neglect` | the healthy participants; the sick ones; clients that do not read |
//! | `book`, `ledger`, `audit` | the books of initiators and participants; their comparison |
//! | `latency`, `sample`, `log` | what is measured |
//! | `report`, `picture`, `drawing` | the findings, the figures; SVG; the run as a picture |

mod audit;
mod backlog;
mod book;
mod coordinator;
mod drawing;
mod latency;
mod ledger;
mod log;
mod names;
mod neglect;
mod options;
mod outages;
mod participants;
mod phases;
mod picture;
mod report;
mod sample;
mod sick;
mod stage;
mod stream;
mod traffic;
mod trickle;
mod trouble;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tercet_bench::figures::file_system;
use tercet_bench::process::{Usage, build_coordinator, folder};
use tercet_sdk::initiator::Client;
use tokio::task::JoinHandle;

use crate::coordinator::Coordinator;
use crate::log::LogLines;
use crate::options::Options;
use crate::outages::Outages;
use crate::phases::Phase;
use crate::report::{Memory, Report};
use crate::sample::{Sampler, Samples};
use crate::stage::Stage;

/// The number of threads of this process's runtime.
const THREADS: usize = 2;
/// The time in which the coordinator has no load before its idle memory is read.
const IDLE: Duration = Duration::from_secs(2);
/// The initiators' clients, each with a connection of its own.
const CLIENTS: usize = 4;
/// The longest time from the end of the traffic to the end of the last transaction.
const PATIENCE: Duration = Duration::from_mins(5);

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()?
        .block_on(soak(&options))
}

async fn soak(options: &Options) -> anyhow::Result<ExitCode> {
    let program = options.server.clone().map_or_else(build_coordinator, Ok)?;
    let folder = folder("soak-", options.folder.as_deref())?;
    let report = match run(options, &program, folder.path()).await {
        Ok(report) => report,
        Err(error) => {
            let kept = folder.keep();
            return Err(error.context(format!("the run broke off; see {}", kept.display())));
        }
    };
    print!("{report}");
    if let Some(file) = &options.json {
        write(file, &format!("{:#}\n", report.json()))?;
    }
    if let Some(file) = &options.svg {
        write(file, &drawing::of(&report).svg())?;
    }
    if report.failures().is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("database and log are in {}", folder.keep().display());
    Ok(ExitCode::FAILURE)
}

fn write(file: &std::path::Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(file, text).with_context(|| format!("could not write {}", file.display()))
}

async fn run(
    options: &Options,
    program: &std::path::Path,
    folder: &std::path::Path,
) -> anyhow::Result<Report> {
    let outages = Arc::new(Outages::default());
    let coordinator = Coordinator::start(program, folder, Arc::clone(&outages)).await?;
    tokio::time::sleep(IDLE).await;
    let idle = Usage::of(coordinator.pid())?;
    let stage = Stage::new(coordinator.address(), options.seed, outages)?;
    let stage = Arc::new(stage);
    let pid = Arc::new(AtomicU32::new(coordinator.pid()));
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Client::connect([&stage.address]).await?);
    }
    let client = clients[0].clone();
    participants::start(&stage, &client).await?;
    sick::start(&stage, &client).await?;
    let samples = Arc::new(Samples::default());
    let looking = Sampler {
        stage: Arc::clone(&stage),
        samples: Arc::clone(&samples),
        pid: Arc::clone(&pid),
        database: folder.join("tercet.db"),
    };
    let sampling = Ending(tokio::spawn(looking.run()));
    let end = stage.clock.moment(options.length());
    let traffic = traffic::run(Arc::clone(&stage), clients, options.rate, end);
    let mut traffic = Ending(tokio::spawn(traffic));

    let coordinator = tokio::select! {
        coordinator = play(options, &stage, &client, coordinator, pid) => coordinator?,
        ended = &mut traffic.0 => {
            ended??;
            anyhow::bail!("the traffic ended before the run did");
        }
    };
    (&mut traffic.0).await??;
    stage.clock.begin(Phase::Settling);
    let unfinished = audit::settle(&client, PATIENCE).await?;
    let settled = stage.clock.now();
    tokio::time::sleep(IDLE).await;
    let at_end = Usage::of(coordinator.pid())?;
    drop(sampling);
    println!("{:>6} s  comparing the books", stage.clock.now().as_secs());
    let audit = audit::compare(&stage, &client).await?;
    Ok(Report {
        options: options.clone(),
        file_system: file_system(folder),
        memory: Memory {
            idle_kib: idle.resident_kib,
            end_kib: at_end.resident_kib,
        },
        samples: samples.all(),
        parked: samples.parked(),
        log: LogLines::read(coordinator.log_path())?,
        settled,
        unfinished,
        audit,
        stage,
    })
}

/// Plays the phases up to the end of the traffic.
async fn play(
    options: &Options,
    stage: &Arc<Stage>,
    client: &Client,
    coordinator: Coordinator,
    pid: Arc<AtomicU32>,
) -> anyhow::Result<Coordinator> {
    tokio::time::sleep_until(stage.clock.moment(options.quiet()).into()).await;
    stage.clock.begin(Phase::Filling);
    let filling = Instant::now();
    neglect::start(stage, client).await?;
    backlog::fill(stage, client, options.stuck).await?;
    println!(
        "{:>6} s  {} transactions were begun in {:.1} s and are stuck",
        stage.clock.now().as_secs(),
        options.stuck,
        filling.elapsed().as_secs_f64()
    );
    stage.clock.begin(Phase::Stuck);
    let troubles = trouble::run(
        Arc::clone(stage),
        coordinator,
        pid,
        StdRng::seed_from_u64(options.seed ^ 2),
        options.trouble_every(),
        stage.clock.moment(options.calm()),
    );
    let mut troubles = Ending(tokio::spawn(troubles));
    tokio::select! {
        () = tokio::time::sleep_until(stage.clock.moment(options.heal()).into()) => {}
        ended = &mut troubles.0 => return ended?,
    }
    stage.clock.begin(Phase::Draining);
    stage.heal();
    println!("{:>6} s  the sick are healed", stage.clock.now().as_secs());
    (&mut troubles.0).await?
}

/// A task that ends when this is dropped.
struct Ending<T>(JoinHandle<T>);

impl<T> Drop for Ending<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
