//! `cargo simulate`: many seeds, one seed again, or the code broken on purpose.

use std::{process::ExitCode, time::Instant};

use clap::Parser;
use tercet_tests::sim::{
    faults::Fault,
    run::{self, Summary},
};

/// Runs the shipped core in simulated worlds and checks every promise after every step.
#[derive(Debug, Parser)]
#[command(name = "simulate")]
struct Options {
    /// How many seeds to run.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Replays this seed and prints the history of the transaction that broke.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let held = match options.seed {
        Some(seed) => replay(seed),
        None => many(&options),
    };
    if held {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn replay(seed: u64) -> bool {
    match run::seed(seed, true) {
        Err(panic) => {
            println!("seed {seed}: the code panicked: {panic}");
            false
        }
        Ok(report) => match report.violation {
            None => {
                println!(
                    "seed {seed}: {} transactions, {} events: every promise held",
                    report.transactions, report.events
                );
                true
            }
            Some(violation) => {
                println!("{}\nseed {seed}: {violation}", report.history);
                false
            }
        },
    }
}

fn many(options: &Options) -> bool {
    let started = Instant::now();
    let summary = run::seeds(options.from, options.seeds, options.jobs, false, |work| {
        work()
    });
    print_summary(&summary);
    println!(
        "{} seeds in {:.1} s ({:.0} a second)",
        summary.seeds,
        started.elapsed().as_secs_f64(),
        summary.seeds as f64 / started.elapsed().as_secs_f64()
    );
    summary.held()
}

fn print_summary(summary: &Summary) {
    println!(
        "{} transactions, {} events, faults (at least {} a seed):",
        summary.transactions,
        summary.events,
        summary.fewest_faults.unwrap_or(0)
    );
    for (fault, count) in Fault::ALL.iter().zip(&summary.faults) {
        println!("  {count:>9}  {}", fault.word());
    }
    println!("state and event, how often:");
    for ((state, event), count) in summary.coverage.pairs() {
        println!("  {count:>9}  {state}, {event}");
    }
    for (seed, what) in summary.broken.iter().take(20) {
        println!("seed {seed}: {what}");
    }
    for (seed, what) in summary.crashed.iter().take(20) {
        println!("seed {seed} panicked: {what}");
    }
    println!(
        "{} seeds broke a promise, {} panicked; replay one with `cargo simulate --seed N`",
        summary.broken.len(),
        summary.crashed.len()
    );
}
