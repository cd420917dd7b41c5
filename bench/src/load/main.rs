//! `cargo load`: how many transactions per second, how fast, with how much memory, and how much of that is
//! the disk.
//!
//! Three processes: this one with the initiators, `tercet serve`, and the participants (this
//! program started once more). Everything goes over TCP and through the SDK, as a user's own services
//! would; commits are durable. `bench/README.md` explains the figures.

mod children;
mod floor;
mod initiators;
mod participants;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tercet_bench::figures::file_system;
use tercet_bench::process::{Usage, build_coordinator, folder};

use crate::children::{Coordinator, Participants};
use crate::floor::Floor;
use crate::initiators::Initiators;
use crate::report::{Level, Processes, Report};

/// Measures committed two-branch TCC transactions per second.
#[derive(Parser)]
#[command(
    name = "cargo load",
    bin_name = "cargo load",
    args_conflicts_with_subcommands = true
)]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Role {
    /// The participants' process; started by the program itself.
    #[command(hide = true)]
    Participants {
        /// The coordinator's URL.
        #[arg(long)]
        coordinator: String,
    },
}

#[derive(Args)]
struct Options {
    /// The length of each level, in seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// The numbers of concurrent initiators, one level each.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8, 64, 256])]
    concurrency: Vec<usize>,
    /// Bytes of each action's payload.
    #[arg(long, default_value_t = 32)]
    payload: usize,
    /// Prints one JSON object and nothing else.
    #[arg(long)]
    json: bool,
    /// The folder of the database; by default a new one beside this program, which is removed.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// The coordinator's program; by default it is built.
    #[arg(long)]
    server: Option<PathBuf>,
    /// Leaves the floor out.
    #[arg(long)]
    no_floor: bool,
}

/// The time before each level in which connections, caches and the allocator warm up.
const WARM_UP: Duration = Duration::from_secs(1);
/// The time in which the coordinator has no load before its idle memory is read.
const IDLE: Duration = Duration::from_secs(2);
/// The number of threads of this process's runtime.
const THREADS: usize = 2;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.role {
        Some(Role::Participants { coordinator }) => participants::run(&coordinator),
        None => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .enable_all()
            .build()?
            .block_on(measure(arguments.options)),
    }
}

async fn measure(options: Options) -> anyhow::Result<()> {
    let program = options.server.clone().map_or_else(build_coordinator, Ok)?;
    let folder = folder("load-", options.folder.as_deref())?;
    let floor = if options.no_floor {
        None
    } else {
        Some(Floor::measure(folder.path(), options.payload)?)
    };

    let coordinator = Coordinator::start(&program, folder.path()).await?;
    tokio::time::sleep(IDLE).await;
    let idle = coordinator.usage()?;
    let participants = Participants::start(&coordinator.address).await?;
    let initiators = Initiators::connect(&coordinator.address, options.payload).await?;

    let mut levels = Vec::new();
    for &concurrency in &options.concurrency {
        initiators.run(concurrency, WARM_UP).await?;
        let before = usage(&coordinator, &participants)?;
        let run = initiators
            .run(concurrency, Duration::from_secs(options.seconds))
            .await?;
        let after = usage(&coordinator, &participants)?;
        levels.push(Level {
            concurrency,
            run,
            cpu: after.since(&before),
        });
    }
    let tally = initiators.tally().await?;
    let loaded = coordinator.usage()?;
    let calls = participants.stop().await?;
    coordinator.stop().await?;

    let report = Report {
        seconds: options.seconds,
        payload_bytes: options.payload,
        file_system: file_system(folder.path()),
        floor,
        levels,
        tally,
        calls,
        idle_kib: idle.resident_kib,
        loaded_kib: loaded.resident_kib,
    };
    if options.json {
        println!("{:#}", report.json());
    } else {
        print!("{report}");
    }
    report.check()
}

fn usage(coordinator: &Coordinator, participants: &Participants) -> anyhow::Result<Processes> {
    Ok(Processes {
        coordinator: coordinator.usage()?.cpu,
        participants: participants.usage()?.cpu,
        initiators: Usage::of(std::process::id())?.cpu,
    })
}
