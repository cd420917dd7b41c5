//! Runs the crash matrix, or one role of it. See the library for a description.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use tercet_crash::{
    cast::{self, Places, Role},
    initiator::{self, Task},
    matrix::{self, Cell},
    points::Exchange,
    stage::Signal,
    storm::{self, Storm},
};

/// Kills and stops real processes, and compares the books afterwards
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    choice: Choice,
}

#[derive(Subcommand)]
enum Command {
    /// One role; the program starts itself with it
    #[command(hide = true)]
    Play {
        role: Role,
        #[command(flatten)]
        places: Places,
        #[command(flatten)]
        task: Task,
    },
}

#[derive(clap::Args)]
struct Choice {
    /// Write the table to this file
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// A few cells only, as every test run plays them
    #[arg(long)]
    short: bool,
    /// Points whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// This mode only
    #[arg(long)]
    mode: Option<Exchange>,
    /// This signal only
    #[arg(long)]
    signal: Option<Signal>,
    /// Storms: hits at random under load, one for each seed from --seed on
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    storms: u64,
    /// The seed of the first storm
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Orders of a storm
    #[arg(long, default_value_t = 400)]
    orders: usize,
    /// Hits of a storm
    #[arg(long, default_value_t = 20)]
    hits: usize,
    /// No cells, only storms
    #[arg(long)]
    only_storms: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    if let Some(Command::Play { role, places, task }) = cli.command {
        demo_service::log_to_stderr();
        match role {
            Role::Coordinator => cast::coordinator(&places).await?,
            Role::Points => cast::points(&places).await?,
            Role::Coupons => cast::coupons(&places).await?,
            Role::Initiator => initiator::run(&places, &task).await?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    if !tercet_failpoint::ENABLED {
        bail!("this program was built without fail points; use cargo crash");
    }
    play(&cli.choice).await
}

async fn play(choice: &Choice) -> anyhow::Result<ExitCode> {
    let cells = choice.cells();
    let mut results = Vec::with_capacity(cells.len());
    for cell in cells {
        let result = matrix::play(cell).await;
        println!(
            "{} {}: {} ({:.1} s to final)",
            if result.is_good { "good" } else { "NOT GOOD" },
            cell.name(),
            result.summary,
            result.to_final.as_secs_f64()
        );
        results.push(result);
    }
    let mut is_good = results.iter().all(|result| result.is_good);
    let mut storms = Vec::new();
    let mut kills = results
        .iter()
        .filter(|result| result.is_good && result.cell.signal == Signal::Kill)
        .count();
    for number in 0..choice.storms {
        let seed = choice.seed + number;
        let mode = choice
            .mode
            .unwrap_or(Exchange::ALL[usize::try_from(seed % 4).unwrap_or(0)]);
        let result = storm::run(Storm {
            seed,
            mode,
            orders: choice.orders,
            hits: choice.hits,
        })
        .await
        .with_context(|| format!("the storm of seed {seed}, mode {mode}"))?;
        println!("{result}");
        is_good &= result.is_good();
        kills += result.kills();
        storms.push(result.to_string());
    }
    println!("{} cells, {kills} kills", results.len());
    if let Some(file) = &choice.write {
        let page = if choice.only_storms {
            matrix::with_storms(&std::fs::read_to_string(file)?, &storms)
        } else {
            matrix::page(&results, &storms)
        };
        std::fs::write(file, page).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Choice {
    fn cells(&self) -> Vec<Cell> {
        let cells = if self.only_storms {
            Vec::new()
        } else if self.short {
            matrix::short()
        } else {
            matrix::all()
        };
        let wanted = |cell: &Cell| {
            self.only
                .as_ref()
                .is_none_or(|text| cell.point.name.contains(text.as_str()))
                && self.mode.is_none_or(|mode| cell.mode == mode)
                && self.signal.is_none_or(|signal| cell.signal == signal)
        };
        cells.into_iter().filter(wanted).collect()
    }
}
